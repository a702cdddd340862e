//! Every path of the API, in this file only, and what stands around all of them.

use std::any::Any;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use rdev_contract::id::{ExecId, ProjectId, SessionId};
use tower_http::catch_panic::CatchPanicLayer;

use crate::problem::ApiError;
use crate::state::Gateway;
use crate::{
    accept, control, conversations, cors, events, execs, health, output, published, screen,
    sessions, usage,
};

/// Names of the path parameters.
pub(crate) mod parameter {
    /// A [`rdev_contract::id::ProjectId`].
    pub(crate) const PROJECT: &str = "project";
    /// A [`rdev_contract::id::SessionId`].
    pub(crate) const SESSION: &str = "session";
    /// A [`rdev_contract::id::StreamId`].
    pub(crate) const STREAM: &str = "stream";
    /// A [`rdev_contract::id::ConversationId`].
    pub(crate) const CONVERSATION: &str = "conversation";
    /// The name of a published schema and `.json`.
    pub(crate) const SCHEMA: &str = "schema";
}

const HEALTH: &str = "/healthz";
const READY: &str = "/readyz";
const ASYNCAPI: &str = "/asyncapi.json";
const SCHEMAS: &str = "/schemas";
const SCHEMA: &str = "/schemas/{schema}";
const SESSIONS: &str = "/projects/{project}/sessions";
const SESSION: &str = "/projects/{project}/sessions/{session}";
const EXEC: &str = "/projects/{project}/sessions/{session}/exec";
const EVENTS: &str = "/projects/{project}/sessions/{session}/events";
const EXECS: &str = "/projects/{project}/sessions/{session}/execs";
const EXEC_VIEW: &str = "/projects/{project}/sessions/{session}/execs/{stream}";
const EXEC_EVENTS: &str = "/projects/{project}/sessions/{session}/execs/{stream}/events";
const CANCEL: &str = "/projects/{project}/sessions/{session}/execs/{stream}/cancel";
const SIGNAL: &str = "/projects/{project}/sessions/{session}/execs/{stream}/signal";
const STDIN: &str = "/projects/{project}/sessions/{session}/execs/{stream}/stdin";
const RESIZE: &str = "/projects/{project}/sessions/{session}/execs/{stream}/resize";
const OUTPUT: &str = "/projects/{project}/sessions/{session}/execs/{stream}/output";
const SCREEN: &str = "/projects/{project}/sessions/{session}/execs/{stream}/screen";
const PROJECT_EXECS: &str = "/projects/{project}/execs";
const USAGE: &str = "/projects/{project}/usage";
const CONVERSATIONS: &str = "/projects/{project}/conversations";
const CONVERSATION: &str = "/projects/{project}/conversations/{conversation}";
const MESSAGES: &str = "/projects/{project}/conversations/{conversation}/messages";

/// The whole API.
pub(crate) fn router(gateway: Gateway) -> Router {
    let cors = gateway.cors.clone();
    Router::new()
        .route(HEALTH, get(health::alive))
        .route(READY, get(health::ready))
        .route(ASYNCAPI, get(published::asyncapi))
        .route(SCHEMAS, get(published::list))
        .route(SCHEMA, get(published::schema))
        .route(SESSIONS, post(sessions::create).get(sessions::list))
        .route(SESSION, get(sessions::get).delete(sessions::end))
        .route(EXEC, post(accept::exec))
        .route(EVENTS, get(events::session))
        .route(EXECS, get(execs::list))
        .route(EXEC_VIEW, get(execs::get))
        .route(EXEC_EVENTS, get(events::exec))
        .route(CANCEL, post(control::cancel))
        .route(SIGNAL, post(control::signal))
        .route(STDIN, post(control::stdin))
        .route(RESIZE, post(control::resize))
        .route(OUTPUT, get(output::get))
        .route(SCREEN, get(screen::get))
        .route(PROJECT_EXECS, get(execs::of_project))
        .route(USAGE, get(usage::of_project))
        .route(CONVERSATIONS, get(conversations::list))
        .route(CONVERSATION, get(conversations::get))
        .route(MESSAGES, get(conversations::messages))
        .fallback(async || ApiError::NoSuchRoute)
        .method_not_allowed_fallback(other_method)
        .with_state(gateway)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(cors, cors::answer))
        .layer(middleware::from_fn(log))
}

/// Where a published schema is.
pub(crate) fn schema_url(name: &str) -> String {
    format!("{SCHEMAS}/{name}.json")
}

/// Where a session is.
pub(crate) fn session_url(project: &ProjectId, session: SessionId) -> String {
    format!("/projects/{project}/sessions/{session}")
}

/// Where the events of an exec are. Clients of the original API compare this text.
pub(crate) fn stream_url(exec: &ExecId) -> String {
    let session = session_url(&exec.project, exec.session);
    format!("{session}/events?stream_id={}", exec.stream)
}

/// The router adds `Allow` to whatever is answered here.
async fn other_method(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    ApiError::MethodNotAllowed.into_response()
}

fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let reason = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    ApiError::internal(format!("panic: {reason}")).into_response()
}

async fn log(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    tracing::debug!(%method, path, status, "request");
    response
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
