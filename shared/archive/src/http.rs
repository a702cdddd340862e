//! How S3 is spoken to: as everything else that is asked over HTTP. The client library's own way would
//! bring a second implementation of TLS, and rustls refuses to choose between two.

use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use object_store::ClientOptions;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest,
    HttpResponse, HttpService,
};
use rdev_runtime::http::{self, Schemes, SendError};

/// A few megabytes on a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Any: nothing asks for more than a few megabytes at a time.
const ANSWER_MAX_BYTES: usize = usize::MAX;

/// Makes clients.
#[derive(Debug)]
pub(crate) struct Connector;

#[derive(Debug)]
struct Service(http::HttpClient);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allows_http = options.get_config_value(&ClientConfigKey::AllowHttp);
        let schemes = if allows_http.as_deref() == Some("true") {
            Schemes::Any
        } else {
            Schemes::Encrypted
        };
        let client = http::HttpClient::new(schemes);
        let client = client.map_err(|reason| object_store::Error::Generic {
            store: "S3",
            source: reason.into(),
        })?;
        Ok(HttpClient::new(Service(client)))
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request = request.map(|body| body.map_err(Into::into).boxed());
        let answer = self.0.send(request, ANSWER_MAX_BYTES, REQUEST_TIMEOUT);
        let answer = answer.await.map_err(|error| {
            let kind = match &error {
                SendError::Connect(_) => HttpErrorKind::Connect,
                SendError::Request(_) => HttpErrorKind::Request,
                SendError::Answer(_) => HttpErrorKind::Interrupted,
                SendError::Timeout => HttpErrorKind::Timeout,
            };
            HttpError::new(kind, error)
        })?;
        Ok(answer.map(Into::into))
    }
}
