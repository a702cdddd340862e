//! How S3 is spoken to: over the same hyper and rustls that the rest of rdev has. The client library's own
//! way would bring a second implementation of TLS, and rustls refuses to choose between two.

use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector as Connector, HttpError, HttpErrorKind, HttpRequest,
    HttpRequestBody, HttpResponse, HttpService,
};

/// A store that is there answers a connection at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A few megabytes on a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that wait for the next request, to each host.
const POOL_MAX_IDLE: usize = 16;

/// Makes clients.
#[derive(Debug)]
pub(crate) struct Hyper;

#[derive(Debug)]
struct Service(Client<HttpsConnector<HttpConnector>, HttpRequestBody>);

impl Connector for Hyper {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let failed = |error: std::io::Error| object_store::Error::Generic {
            store: "S3",
            source: format!("no certificate authorities: {error}; set SSL_CERT_FILE").into(),
        };
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new();
        let https = https.with_native_roots().map_err(failed)?;
        let allows_http = options.get_config_value(&ClientConfigKey::AllowHttp);
        let https = if allows_http.as_deref() == Some("true") {
            https.https_or_http()
        } else {
            https.https_only()
        };
        let connector = https.enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(POOL_MAX_IDLE)
            .build(connector);
        Ok(HttpClient::new(Service(client)))
    }
}

#[async_trait]
impl HttpService for Service {
    /// Answers are read whole: nothing asks for more than a few megabytes at a time.
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = async {
            let answer = self.0.request(request).await.map_err(|error| {
                let kind = if error.is_connect() {
                    HttpErrorKind::Connect
                } else {
                    HttpErrorKind::Request
                };
                HttpError::new(kind, error)
            })?;
            let (parts, body) = answer.into_parts();
            let broken = |error| HttpError::new(HttpErrorKind::Interrupted, error);
            let body = body.collect().await.map_err(broken)?.to_bytes();
            Ok(HttpResponse::from_parts(parts, body.into()))
        };
        tokio::time::timeout(REQUEST_TIMEOUT, answer)
            .await
            .map_err(|elapsed| HttpError::new(HttpErrorKind::Timeout, elapsed))?
    }
}
