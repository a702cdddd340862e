//! HTTPS, where the settings name a certificate.
//!
//! The files are read at the start, and again when they have changed: certificates are renewed while a
//! gateway runs. Invariant: a file that cannot be used any more changes nothing, and is told.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// Between two looks whether the files have changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

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
    /// Whether this is HTTPS.
    pub(crate) const fn is_on(&self) -> bool {
        self.tls_cert.is_some()
    }

    /// Reads the files; none for plain HTTP.
    pub(crate) fn load(&self) -> Result<Option<Tls>, String> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let files = Files {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let state = State {
            modified: files.modified(),
            looked_at: Instant::now(),
            acceptor: files.acceptor()?,
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

struct State {
    modified: [Option<SystemTime>; 2],
    looked_at: Instant,
    acceptor: TlsAcceptor,
}

impl Tls {
    /// What takes the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked_at.elapsed() >= LOOK_INTERVAL {
            state.looked_at = Instant::now();
            let modified = self.files.modified();
            if modified != state.modified {
                state.modified = modified;
                match self.files.acceptor() {
                    Ok(acceptor) => {
                        state.acceptor = acceptor;
                        tracing::info!("serving with the certificate that was put there");
                    }
                    Err(error) => tracing::error!(error, "serving with the former certificate"),
                }
            }
        }
        state.acceptor.clone()
    }
}

impl Files {
    fn modified(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key].map(|path| std::fs::metadata(path).ok()?.modified().ok())
    }

    fn acceptor(&self) -> Result<TlsAcceptor, String> {
        let of = |variable: &str, path: &Path, error: &dyn std::fmt::Display| {
            format!("{variable} {}: {error}", path.display())
        };
        let wrong_certificate =
            |error: &dyn std::fmt::Display| of("RDEV_TLS_CERT", &self.certificate, error);
        let wrong_key = |error: &dyn std::fmt::Display| of("RDEV_TLS_KEY", &self.key, error);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&self.certificate)
            .map_err(|error| wrong_certificate(&error))?
            .collect();
        let chain = chain.map_err(|error| wrong_certificate(&error))?;
        if chain.is_empty() {
            return Err(wrong_certificate(&"there is no certificate in it"));
        }
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
