//! Where the keys of an issuer are: in a file, or at an address.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use axum::http::{Request, StatusCode, Uri};
use bytes::Bytes;
use jsonwebtoken::jwk::JwkSet;
use rdev_runtime::http::{self, HttpClient, Schemes};

/// Sets of keys are a few kilobytes.
const JWKS_MAX_BYTES: usize = 1024 * 1024;
/// Requests wait for it, if they are signed with a key that is not known.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A file, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// Is read again when it may have changed.
    File(PathBuf),
    /// Answers with the keys.
    Address(Uri),
}

impl FromStr for JwksSource {
    type Err = String;

    /// An address has to be of https, or on this machine: whoever can change the answer can make tokens.
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_local = host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback());
        match uri.scheme_str() {
            Some("https") => Ok(Self::Address(uri)),
            Some("http") if is_local => Ok(Self::Address(uri)),
            Some(_) | None => Err(
                "give a file, an https:// address, or an http:// address of \
                                   127.0.0.1"
                    .to_owned(),
            ),
        }
    }
}

impl JwksSource {
    /// The keys.
    ///
    /// # Errors
    /// Says what does not work.
    pub(super) async fn read(&self) -> Result<JwkSet, String> {
        let bytes = match self {
            Self::File(path) => tokio::fs::read(path)
                .await
                .map_err(|error| format!("{}: {error}", path.display()))?
                .into(),
            Self::Address(uri) => get(uri)
                .await
                .map_err(|reason| format!("{uri}: {reason}"))?,
        };
        serde_json::from_slice(&bytes).map_err(|error| format!("no set of keys: {error}"))
    }
}

/// Once in minutes: no connection is kept.
async fn get(uri: &Uri) -> Result<Bytes, String> {
    let client = HttpClient::new(Schemes::Any)?;
    let mut request = Request::new(http::body(Bytes::new()));
    *request.uri_mut() = uri.clone();
    let answer = client.send(request, JWKS_MAX_BYTES, READ_TIMEOUT).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status() != StatusCode::OK {
        return Err(answer.status().to_string());
    }
    Ok(answer.into_body())
}

#[cfg(test)]
mod tests {
    use super::JwksSource;

    #[test]
    fn keys_come_from_where_nobody_can_change_them() {
        for source in [
            "jwks.json",
            "/etc/rdev/jwks.json",
            "https://issuer.example/keys",
            "http://127.0.0.1:8000/keys",
            "http://[::1]/keys",
        ] {
            assert!(source.parse::<JwksSource>().is_ok(), "{source}");
        }
        for source in [
            "http://issuer.example/keys",
            "http://127.0.0.1.example/keys",
            "ftp://127.0.0.1/keys",
            "https://",
        ] {
            assert!(source.parse::<JwksSource>().is_err(), "{source}");
        }
    }
}
