//! HTTPS, where the settings name a certificate.
//!
//! The files are read at the start, and again when they have changed, which each new connection finds out:
//! certificates are renewed while a gateway runs. Invariant: a file that cannot be used any more changes
//! nothing, is told, and tried again now and then.

mod own;

use std::fmt::Display;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What makes files usable does not always change them: rights, for one.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// What HTTPS needs: both, or none for plain HTTP.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TlsArgs {
    /// Certificate of this gateway, with those behind it (a file of PEM); with RDEV_TLS_KEY it serves
    /// HTTPS and nothing else.
    #[arg(
        long,
        env = "RDEV_TLS_CERT",
        value_name = "RDEV_TLS_CERT",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,
    /// Private key of that certificate (a file of PEM).
    #[arg(
        long,
        env = "RDEV_TLS_KEY",
        value_name = "RDEV_TLS_KEY",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,
}

impl TlsArgs {
    fn files(&self) -> Option<Files> {
        Some(Files {
            certificate: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
        })
    }

    /// What connects to this gateway itself; none for plain HTTP. Does not read the files: a gateway goes
    /// on with the former ones where those that are there are wrong.
    pub(crate) fn connector_to_itself(&self) -> Result<Option<TlsConnector>, String> {
        self.files().map(|_| own::connector()).transpose()
    }

    /// Reads the files; none for plain HTTP.
    pub(crate) fn load(&self) -> Result<Option<Tls>, String> {
        let Some(files) = self.files() else {
            return Ok(None);
        };
        let state = State {
            stamps: files.stamps(),
            acceptor: files.acceptor()?,
            failure: None,
        };
        Ok(Some(Tls {
            files,
            state: Mutex::new(state),
        }))
    }
}

/// A certificate that may be renewed.
pub(crate) struct Tls {
    files: Files,
    state: Mutex<State>,
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What tells a file from the one that was there before.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    /// Another one if it was put in the other's place.
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        Ok(Self {
            modified: metadata.modified()?,
            inode: metadata.ino(),
        })
    }
}

type Stamps = [Option<Stamp>; 2];

struct State {
    /// Of the files that are used.
    stamps: Stamps,
    acceptor: TlsAcceptor,
    /// The last try to use others, since then.
    failure: Option<(Stamps, Instant)>,
}

impl State {
    /// Whether files that failed are not to be tried again yet.
    fn waits(&self, stamps: &Stamps) -> bool {
        let failure = self.failure.as_ref();
        failure.is_some_and(|(failed, at)| failed == stamps && at.elapsed() < RETRY_INTERVAL)
    }
}

impl Tls {
    /// What takes the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Costs microseconds beside the milliseconds of a handshake.
        let stamps = self.files.stamps();
        if stamps != state.stamps && !state.waits(&stamps) {
            match self.files.acceptor() {
                Ok(acceptor) => {
                    state.acceptor = acceptor;
                    (state.stamps, state.failure) = (stamps, None);
                    tracing::info!("serving with the certificate that was put there");
                }
                Err(error) => {
                    state.failure = Some((stamps, Instant::now()));
                    tracing::error!(error, "serving with the former certificate");
                }
            }
        }
        state.acceptor.clone()
    }
}

impl Files {
    fn stamps(&self) -> Stamps {
        [&self.certificate, &self.key].map(|path| Stamp::of(path).ok())
    }

    /// The certificate and those behind it: at least one.
    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let wrong = |error: &dyn Display| wrong("RDEV_TLS_CERT", &self.certificate, error);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&self.certificate)
            .map_err(|error| wrong(&error))?
            .collect();
        let chain = chain.map_err(|error| wrong(&error))?;
        if chain.is_empty() {
            return Err(wrong(&"there is no certificate in it"));
        }
        Ok(chain)
    }

    fn acceptor(&self) -> Result<TlsAcceptor, String> {
        let wrong_key = |error: &dyn Display| wrong("RDEV_TLS_KEY", &self.key, error);
        let chain = self.chain()?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong_key(&error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| wrong_key(&error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn wrong(variable: &str, path: &Path, error: &dyn Display) -> String {
    format!("{variable} {}: {error}", path.display())
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
