//! TLS towards PostgreSQL, as its address asks for it.
//!
//! `sslmode=require` and `verify-full` mean the same here: there is TLS, and the server's certificate is
//! good for its name. Its authority is that of `sslrootcert=FILE`, or one of the machine's. Everything
//! else means that there is no TLS: a connection that falls back protects from nobody.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres_rustls::MakeRustlsConnect;

/// What an address says of TLS.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The address without it, as the client library takes it.
    pub(crate) address: String,
    /// There must be TLS.
    pub(crate) is_required: bool,
    /// File with the authority.
    pub(crate) authority: Option<String>,
}

impl Asked {
    /// Takes what it says out of an address.
    pub(crate) fn of(address: &str) -> Result<Self, String> {
        let Some((before, query)) = address.split_once('?') else {
            return Ok(Self {
                address: address.to_owned(),
                ..Self::default()
            });
        };
        let mut asked = Self::default();
        let mut rest = Vec::new();
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("sslmode", "require" | "verify-full")) => asked.is_required = true,
                Some(("sslmode", "disable" | "prefer" | "allow")) => {}
                Some(("sslmode", other)) => {
                    return Err(format!(
                        "sslmode={other}: give disable, require or verify-full"
                    ));
                }
                Some(("sslrootcert", file)) => asked.authority = Some(file.to_owned()),
                Some(_) | None => rest.push(pair),
            }
        }
        if asked.authority.is_some() && !asked.is_required {
            return Err("sslrootcert needs sslmode=verify-full".to_owned());
        }
        asked.address = before.to_owned();
        if !rest.is_empty() {
            asked.address = format!("{before}?{}", rest.join("&"));
        }
        Ok(asked)
    }
}

/// How connections are encrypted, where they are. A machine without authorities of its own is no
/// hindrance where nobody asks for them.
pub(crate) fn connector(asked: &Asked) -> Result<MakeRustlsConnect, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = match &asked.authority {
        Some(file) => builder.with_root_certificates(roots(file)?),
        None if !asked.is_required => builder.with_root_certificates(RootCertStore::empty()),
        None => builder
            .with_platform_verifier()
            .map_err(|error| error.to_string())?,
    };
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

fn roots(file: &str) -> Result<RootCertStore, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("sslrootcert {file}: {error}");
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"there is no certificate in it"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(address: &str, is_required: bool, authority: Option<&str>) -> Asked {
        Asked {
            address: address.to_owned(),
            is_required,
            authority: authority.map(str::to_owned),
        }
    }

    #[test]
    fn what_an_address_says_of_tls_is_taken_out_of_it() {
        for (address, wanted) in [
            ("postgres://u@h/d", asked("postgres://u@h/d", false, None)),
            ("host=h user=u", asked("host=h user=u", false, None)),
            (
                "postgres://u@h/d?sslmode=disable",
                asked("postgres://u@h/d", false, None),
            ),
            (
                "postgres://u@h/d?a=b&sslmode=require&c=d",
                asked("postgres://u@h/d?a=b&c=d", true, None),
            ),
            (
                "postgres://u@h/d?sslmode=verify-full&sslrootcert=/ca.pem",
                asked("postgres://u@h/d", true, Some("/ca.pem")),
            ),
        ] {
            assert_eq!(Asked::of(address), Ok(wanted));
        }
        for address in [
            "postgres://u@h/d?sslmode=verify-ca",
            "postgres://u@h/d?sslmode=",
            "postgres://u@h/d?sslrootcert=/ca.pem",
        ] {
            assert!(Asked::of(address).is_err(), "{address}");
        }
    }

    #[test]
    fn an_authority_that_is_none_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        for authority in [path, "/nowhere/ca.pem"] {
            let error = connector(&asked("", true, Some(authority))).err().unwrap();
            assert!(error.contains(authority), "{error}");
        }
        assert!(connector(&asked("", false, None)).is_ok());
    }
}
