//! Where requests belong in traces: in that of their caller, or in one of their own. The answer names it
//! in a header, and in the body if it is a problem, so that people can ask about it.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use rdev_contract::id::ExecId;
use rdev_contract::trace::{TRACE_PARENT, TraceParent};
use rdev_runtime::trace::{TARGET, Traced};
use tracing::field::Empty;
use tracing::{Instrument, Span, error_span};

/// Names the trace in every answer.
pub(crate) const TRACE_HEADER: HeaderName = HeaderName::from_static("rdev-trace-id");

tokio::task_local! {
    static PLACE: TraceParent;
}

/// Where the request that is being answered belongs; none outside of one.
pub(crate) fn place() -> Option<TraceParent> {
    PLACE.try_get().ok()
}

/// Answers a request as a part of its trace. Probes come every few seconds: nobody collects them.
pub(crate) async fn within(
    request: Request,
    (method, route): (&'static str, &'static str),
    is_probe: bool,
    answer: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    let parent = request.headers().get(TRACE_PARENT);
    let parent = parent.and_then(|parent| parent.to_str().ok()?.parse().ok());
    let path = request.uri().path();
    let traced = Traced::new(span(is_probe, method, route, path), parent);
    let logs = error_span!("request", method, path, trace_id = Empty);
    traced.tell(&logs);
    let answering = PLACE.scope(traced.place(), answer(request));
    let answering = answering.instrument(logs);
    let mut response = traced.of(answering).await;
    let status = response.status();
    traced.note("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        traced.failed(status);
    }
    if let Ok(trace) = HeaderValue::try_from(traced.place().trace_id()) {
        response.headers_mut().insert(TRACE_HEADER, trace);
    }
    response
}

/// Never with the query: tickets are in it.
fn span(is_probe: bool, method: &'static str, route: &'static str, path: &str) -> Span {
    if is_probe {
        return Span::none();
    }
    error_span!(
        target: TARGET,
        "request",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        url.path = path,
    )
}

/// Appending the command of this exec, in the request that is being answered.
pub(crate) fn append(exec: &ExecId) -> Traced {
    let span = error_span!(
        target: TARGET,
        "append command",
        otel.kind = "producer",
        messaging.system = "nats",
        project.id = %exec.project,
        session.id = %exec.session,
        stream.id = %exec.stream,
    );
    Traced::new(span, place())
}
