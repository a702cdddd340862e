//! The one client of HTTP: of object stores, of issuers of tokens, of collectors of spans.
//!
//! It is the hyper and the rustls that the services have anyway, with the certificate authorities of the
//! machine. Requests and answers have one type of body each, so that all of it is compiled here, once.

use std::io;
use std::time::Duration;

use async_recursion::async_recursion as boxed;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

/// Whoever is there takes a connection at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that wait for the next request, to each host.
const POOL_MAX_IDLE: usize = 16;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What is sent.
pub type Body = BoxBody<Bytes, BoxError>;

/// Which addresses may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schemes {
    /// `http://` alone. Needs no certificate authorities.
    Plain,
    /// `https://` alone.
    Encrypted,
    /// Both.
    Any,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// There is no connection.
    #[error(transparent)]
    Connect(hyper_util::client::legacy::Error),
    /// The request, or the beginning of its answer, did not get through.
    #[error(transparent)]
    Request(hyper_util::client::legacy::Error),
    /// The answer broke off, or is too long.
    #[error(transparent)]
    Answer(BoxError),
    /// It took too long.
    #[error("no answer in time")]
    Timeout,
}

/// Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct HttpClient(Client<HttpsConnector<HttpConnector>, Body>);

impl HttpClient {
    /// Without connections so far.
    ///
    /// # Errors
    /// Says that there are no certificate authorities.
    pub fn new(schemes: Schemes) -> Result<Self, String> {
        let no_roots =
            |error: io::Error| format!("no certificate authorities: {error}; set SSL_CERT_FILE");
        let https = HttpsConnectorBuilder::new();
        let https = if schemes == Schemes::Plain {
            let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
            https.with_tls_config(config.with_no_client_auth())
        } else {
            https.with_native_roots().map_err(no_roots)?
        };
        let https = match schemes {
            Schemes::Encrypted => https.https_only(),
            Schemes::Plain | Schemes::Any => https.https_or_http(),
        };
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(POOL_MAX_IDLE)
            .build(https.enable_http1().wrap_connector(http));
        Ok(Self(client))
    }

    /// Asks, and reads the answer whole: so many bytes at most, and within this time.
    ///
    /// # Errors
    /// [`SendError`]. An answer of any status is none.
    #[boxed]
    pub async fn send(
        &self,
        request: Request<Body>,
        max_bytes: usize,
        limit: Duration,
    ) -> Result<Response<Bytes>, SendError> {
        let answer = async {
            let answer = self.0.request(request).await.map_err(|error| {
                if error.is_connect() {
                    SendError::Connect(error)
                } else {
                    SendError::Request(error)
                }
            })?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, max_bytes).collect().await;
            let body = body.map_err(SendError::Answer)?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(limit, answer)
            .await
            .unwrap_or(Err(SendError::Timeout))
    }
}

/// The body of a request that has these bytes.
pub fn body(bytes: Bytes) -> Body {
    http_body_util::Full::new(bytes)
        .map_err(|never| match never {})
        .boxed()
}
