//! `/healthz`, `/readyz` and `/metrics` of every service, on an address of their own, and the check
//! that containers make of themselves. Just enough HTTP/1.1 for that: one request a connection.
//!
//! Not on the address of the API: metrics tell of all projects, and whoever may call the API need not
//! know what the others do.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::metrics;
pub use crate::readiness::Readiness;

/// A probe's request line and headers; what is longer is no probe.
const REQUEST_MAX_BYTES: usize = 8 * 1024;
/// A probe that takes longer is cut off.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two tries to accept while that fails.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Where a service answers probes, and tells what it counts.
#[derive(Debug, Clone, clap::Args)]
pub struct HealthArgs {
    /// Address for /healthz, /readyz and /metrics; none if not set.
    #[arg(long, env = "RDEV_HEALTH_LISTEN", value_name = "RDEV_HEALTH_LISTEN")]
    pub health_listen: Option<SocketAddr>,
}

/// Answers probes for ever, if there is an address for that.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve_at(address: Option<SocketAddr>, readiness: Readiness) -> io::Result<()> {
    match address {
        Some(address) => serve(address, readiness).await,
        None => std::future::pending().await,
    }
}

/// Answers probes for ever.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(address: SocketAddr, readiness: Readiness) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Without free file descriptors it fails at once and again; that ends no service.
            Err(error) => {
                tracing::warn!(%error, "a probe was not accepted");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
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
    const OK: &str = "200 OK";
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        if request.len() > REQUEST_MAX_BYTES || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let mut content_type = "text/plain; charset=utf-8";
    let (status, body) = if request.starts_with(b"GET /healthz ") {
        (OK, "alive\n".to_owned())
    } else if request.starts_with(b"GET /readyz ") {
        let (is_ready, body) = readiness.report();
        let unready = "503 Service Unavailable";
        (if is_ready { OK } else { unready }, body)
    } else if request.starts_with(b"GET /metrics ") {
        content_type = metrics::CONTENT_TYPE;
        (OK, metrics::exposition())
    } else {
        let places = "only /healthz, /readyz and /metrics are here\n";
        ("404 Not Found", places.to_owned())
    };
    let mut response = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        response,
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
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
    check_through(address, async |stream| Ok(stream)).await
}

/// The same of a service that is reached through something, such as TLS.
///
/// # Errors
/// See [`check_self`].
pub async fn check_through<S: AsyncRead + AsyncWrite + Unpin>(
    address: SocketAddr,
    through: impl AsyncFnOnce(TcpStream) -> io::Result<S>,
) -> io::Result<()> {
    const READY: &[u8] = b"HTTP/1.1 200";
    let probe = async {
        let mut stream = through(TcpStream::connect(address).await?).await?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await?;
        let mut head = [0; READY.len()];
        stream.read_exact(&mut head).await?;
        Ok(head)
    };
    let head: io::Result<_> = tokio::time::timeout(PROBE_TIMEOUT, probe)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    if head? == READY {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "the service at {address} is not ready"
    )))
}
