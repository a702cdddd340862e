//! Where spans go: to a collector of OpenTelemetry over HTTP, by the standard variables. Without a
//! collector in them nothing is exported.

use std::env;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::KeyValue;
use opentelemetry_http::HttpError;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;

use crate::http::{self as client, HttpClient, Schemes};
use crate::metrics::{self, Counter, Many};

/// Either names a collector.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
];
/// Either may ask for a protocol that is not spoken here.
const PROTOCOLS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
];
const PROTOCOL: &str = "http/protobuf";
/// As the specification has it; a collector that does not answer holds up nothing but spans.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// A collector's answer to spans is a few bytes.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// Exports spans of the service of this name, if the variables say where to.
///
/// # Errors
/// Names the variable that cannot be followed.
pub(super) fn provider(service: &'static str) -> Result<Option<SdkTracerProvider>, String> {
    let is_off = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
    if is_off || ENDPOINTS.into_iter().find_map(set).is_none() {
        return Ok(None);
    }
    for name in PROTOCOLS {
        if let Some(other) = set(name).filter(|protocol| protocol != PROTOCOL) {
            return Err(format!(
                "{name}: {other} is not spoken here: leave it away or set {PROTOCOL}, for which \
                 collectors listen on port 4318"
            ));
        }
    }
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Sender::new()?)
        .build()
        .map_err(|error| format!("{}: {error}", ENDPOINTS[0]))?;
    let mut resource = Resource::builder();
    if set("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(service);
    }
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.with_attribute(version).build());
    Ok(Some(provider.build()))
}

fn set(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Sends spans. The exporter calls it from a thread of its own, so it works on our runtime.
struct Sender {
    client: HttpClient,
    runtime: Handle,
    is_failing: AtomicBool,
    exports: Many<Counter, 1>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sender")
    }
}

impl Sender {
    fn new() -> Result<Self, String> {
        let is_plain = |name: &&str| set(name).is_none_or(|url| url.starts_with("http://"));
        let schemes = if ENDPOINTS.iter().all(is_plain) {
            Schemes::Plain
        } else {
            Schemes::Any
        };
        let exports = metrics::counters(
            "rdev_trace_exports",
            "Batches of spans for the collector: sent or failed",
            ["result"],
        );
        Ok(Self {
            client: HttpClient::new(schemes)?,
            runtime: Handle::current(),
            is_failing: AtomicBool::new(false),
            exports,
        })
    }

    fn took(&self, sent: Result<(), &str>) {
        let result = if sent.is_ok() { "sent" } else { "failed" };
        self.exports.of([result]).inc();
        let failed_before = self.is_failing.swap(sent.is_err(), Ordering::Relaxed);
        match sent {
            // Once an outage: a collector that is away for a day is not worth thousands of lines.
            Err(reason) if !failed_before => {
                tracing::warn!(reason, "spans cannot be exported, and are lost");
            }
            Ok(()) if failed_before => tracing::info!("spans are exported again"),
            Ok(()) | Err(_) => {}
        }
    }
}

#[async_trait]
impl opentelemetry_http::HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let request = request.map(client::body);
        let sending = self.runtime.spawn(async move {
            let sent = client.send(request, ANSWER_MAX_BYTES, SEND_TIMEOUT).await;
            sent.map_err(HttpError::from)
        });
        let response = match sending.await {
            Ok(response) => response,
            Err(_) => Err(io::Error::other("the runtime has ended").into()),
        };
        match &response {
            Ok(response) if response.status().is_success() => self.took(Ok(())),
            Ok(response) => self.took(Err(response.status().as_str())),
            Err(error) => self.took(Err(&error.to_string())),
        }
        response
    }
}
