//! `/healthz` and `/readyz` of services that have no HTTP API, and the check that containers
//! make of themselves. Just enough HTTP/1.1 for probes: one request a connection.

use std::fmt::{self, Write as _};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A probe's request line and headers; what is longer is no probe.
const REQUEST_MAX_BYTES: usize = 8 * 1024;
/// A probe that takes longer is cut off.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a service without an HTTP API answers probes.
#[derive(Debug, Clone, clap::Args)]
pub struct HealthArgs {
    /// Address for /healthz and /readyz; none if not set.
    #[arg(long, env = "RDEV_HEALTH_LISTEN", value_name = "RDEV_HEALTH_LISTEN")]
    pub health_listen: Option<SocketAddr>,
}

/// Whether the service can do its work right now, and what else it has to tell.
#[derive(Clone, Default)]
pub struct Readiness {
    is_ready: Arc<AtomicBool>,
    report: Option<Arc<dyn Fn() -> String + Send + Sync>>,
}

impl fmt::Debug for Readiness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Readiness")
            .field("is_ready", &self.is_ready)
            .finish_non_exhaustive()
    }
}

impl Readiness {
    /// With lines that `/readyz` shows behind its answer. They are made anew for each probe.
    #[must_use]
    pub fn reporting(report: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self {
            report: Some(Arc::new(report)),
            ..Self::default()
        }
    }

    /// Not ready yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells probes from now on.
    pub fn set(&self, ready: bool) {
        self.is_ready.store(ready, Ordering::Relaxed);
    }

    /// The answer of `/readyz`: status and body.
    fn answer(&self) -> (&'static str, String) {
        let (status, word) = if self.is_ready.load(Ordering::Relaxed) {
            ("200 OK", "ready")
        } else {
            ("503 Service Unavailable", "not ready")
        };
        let report = self.report.as_ref().map(|report| report());
        (status, format!("{word}\n{}", report.unwrap_or_default()))
    }
}

/// Answers probes for ever.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(address: SocketAddr, readiness: Readiness) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let readiness = readiness.clone();
        tokio::spawn(async move {
            match tokio::time::timeout(PROBE_TIMEOUT, answer(stream, &readiness)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "probe broke off"),
                Err(_) => tracing::debug!("probe took too long"),
            }
        });
    }
}

async fn answer(mut stream: TcpStream, readiness: &Readiness) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        if request.len() > REQUEST_MAX_BYTES || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let (status, body) = if request.starts_with(b"GET /healthz ") {
        ("200 OK", "alive\n".to_owned())
    } else if request.starts_with(b"GET /readyz ") {
        readiness.answer()
    } else {
        let places = "only /healthz and /readyz are here\n";
        ("404 Not Found", places.to_owned())
    };
    let mut response = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        response,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

/// Asks the `/readyz` of the service with this setting; for `--check-health`.
///
/// # Errors
/// When it is not ready, does not answer in time, or has no address for probes.
pub async fn check_self(address: Option<SocketAddr>) -> io::Result<()> {
    let Some(address) = address else {
        return Err(io::Error::other(
            "set it to the address of the service to be checked",
        ));
    };
    let probe = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await?;
        let mut response = Vec::new();
        stream
            .take(REQUEST_MAX_BYTES as u64)
            .read_to_end(&mut response)
            .await?;
        Ok(response)
    };
    let response: io::Result<Vec<u8>> = tokio::time::timeout(PROBE_TIMEOUT, probe)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    if response?.starts_with(b"HTTP/1.1 200") {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "the service at {address} is not ready"
    )))
}
