//! Every path of the API, in this file only, with what it needs of whoever asks, and what stands
//! around all of them.

mod openapi;

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use rdev_contract::id::{ExecId, ProjectId, SessionId};
use rdev_contract::key::Scope;
use tower_http::catch_panic::CatchPanicLayer;

use crate::metrics::OpenRequest;
use crate::problem::ApiError;
use crate::state::Gateway;
use crate::traces;
use crate::trust::{self, Access, Guard, Trust};
use crate::{
    accept, approvals, console, control, conversations, cors, events, execs, health, keys, output,
    projects, published, screen, sessions, tickets, timeline, usage,
};

/// Names of the path parameters.
pub(crate) mod parameter {
    /// A [`rdev_contract::id::ProjectId`].
    pub(crate) const PROJECT: &str = "project";
    /// A [`rdev_contract::id::SessionId`].
    pub(crate) const SESSION: &str = "session";
    /// A [`rdev_contract::id::StreamId`].
    pub(crate) const STREAM: &str = "stream";
    /// An agent's own name of a question.
    pub(crate) const APPROVAL: &str = "approval";
    /// A [`rdev_contract::id::ConversationId`].
    pub(crate) const CONVERSATION: &str = "conversation";
    /// A [`rdev_contract::id::KeyId`].
    pub(crate) const KEY: &str = "key";
    /// The name of a published schema and `.json`.
    pub(crate) const SCHEMA: &str = "schema";
    /// A file of the console.
    pub(crate) const FILE: &str = "file";
    /// The directory of the console that it is in.
    pub(crate) const DIRECTORY: &str = "directory";
}

const ROOT: &str = "/";
const CONSOLE_BARE: &str = "/console";
/// Where people begin.
pub(crate) const CONSOLE: &str = "/console/";
const CONSOLE_FILE: &str = "/console/{file}";
const CONSOLE_PART: &str = "/console/{directory}/{file}";
const HEALTH: &str = "/healthz";
const READY: &str = "/readyz";
const OPENAPI: &str = "/openapi.json";
const DOCS: &str = "/docs";
const ASYNCAPI: &str = "/asyncapi.json";
const SCHEMAS: &str = "/schemas";
const SCHEMA: &str = "/schemas/{schema}";
const KEYS: &str = "/keys";
const KEY: &str = "/keys/{key}";
const KEY_ROTATE: &str = "/keys/{key}/rotate";
const PROJECTS: &str = "/projects";
const SESSIONS: &str = "/projects/{project}/sessions";
const SESSION: &str = "/projects/{project}/sessions/{session}";
const EXEC: &str = "/projects/{project}/sessions/{session}/exec";
const EVENTS: &str = "/projects/{project}/sessions/{session}/events";
const TICKETS: &str = "/projects/{project}/sessions/{session}/tickets";
const EXECS: &str = "/projects/{project}/sessions/{session}/execs";
const EXEC_VIEW: &str = "/projects/{project}/sessions/{session}/execs/{stream}";
const EXEC_EVENTS: &str = "/projects/{project}/sessions/{session}/execs/{stream}/events";
const CANCEL: &str = "/projects/{project}/sessions/{session}/execs/{stream}/cancel";
const SIGNAL: &str = "/projects/{project}/sessions/{session}/execs/{stream}/signal";
const STDIN: &str = "/projects/{project}/sessions/{session}/execs/{stream}/stdin";
const RESIZE: &str = "/projects/{project}/sessions/{session}/execs/{stream}/resize";
const APPROVALS: &str = "/projects/{project}/sessions/{session}/execs/{stream}/approvals";
const APPROVAL: &str = "/projects/{project}/sessions/{session}/execs/{stream}/approvals/{approval}";
const SESSION_APPROVALS: &str = "/projects/{project}/sessions/{session}/approvals";
const OUTPUT: &str = "/projects/{project}/sessions/{session}/execs/{stream}/output";
const SCREEN: &str = "/projects/{project}/sessions/{session}/execs/{stream}/screen";
const TIMELINE: &str = "/projects/{project}/sessions/{session}/execs/{stream}/timeline";
const PROJECT_EXECS: &str = "/projects/{project}/execs";
const USAGE: &str = "/projects/{project}/usage";
const CONVERSATIONS: &str = "/projects/{project}/conversations";
const CONVERSATION: &str = "/projects/{project}/conversations/{conversation}";
const MESSAGES: &str = "/projects/{project}/conversations/{conversation}/messages";

const OPEN: Access = Access::Open;
const READ: Access = Access::Project(Scope::Read);
const FEED: Access = Access::Feed;
const EXECUTE: Access = Access::Project(Scope::Exec);
const READ_SOME: Access = Access::Some(Scope::Read);
const ADMIN: Access = Access::Some(Scope::Admin);

/// Every route, and what it needs of whoever asks.
fn routes(trust: &Trust) -> Routes {
    Routes::new(trust)
        .get(ROOT, OPEN, console::redirect)
        .get(CONSOLE_BARE, OPEN, console::redirect)
        .get(CONSOLE, OPEN, console::index)
        .get(CONSOLE_FILE, OPEN, console::file)
        .get(CONSOLE_PART, OPEN, console::file)
        .get(HEALTH, OPEN, health::alive)
        .get(READY, OPEN, health::ready)
        .get(OPENAPI, OPEN, openapi::json)
        .get(DOCS, OPEN, openapi::page)
        .get(ASYNCAPI, OPEN, published::asyncapi)
        .get(SCHEMAS, OPEN, published::list)
        .get(SCHEMA, OPEN, published::schema)
        .post(KEYS, ADMIN, keys::create)
        .get(KEYS, ADMIN, keys::list)
        .delete(KEY, ADMIN, keys::revoke)
        .post(KEY_ROTATE, ADMIN, keys::rotate)
        .get(PROJECTS, READ_SOME, projects::list)
        .post(SESSIONS, EXECUTE, sessions::create)
        .get(SESSIONS, READ, sessions::list)
        .get(SESSION, READ, sessions::get)
        .delete(SESSION, EXECUTE, sessions::end)
        .post(EXEC, EXECUTE, accept::exec)
        .get(EVENTS, FEED, events::session)
        .post(TICKETS, READ, tickets::create)
        .get(EXECS, READ, execs::list)
        .get(EXEC_VIEW, READ, execs::get)
        .get(EXEC_EVENTS, FEED, events::exec)
        .post(CANCEL, EXECUTE, control::cancel)
        .post(SIGNAL, EXECUTE, control::signal)
        .post(STDIN, EXECUTE, control::stdin)
        .post(RESIZE, EXECUTE, control::resize)
        .get(APPROVALS, READ, approvals::of_exec)
        .post(APPROVAL, EXECUTE, approvals::answer)
        .get(SESSION_APPROVALS, READ, approvals::of_session)
        .get(OUTPUT, READ, output::get)
        .get(SCREEN, READ, screen::get)
        .get(TIMELINE, READ, timeline::of_exec)
        .get(PROJECT_EXECS, READ, execs::of_project)
        .get(USAGE, READ, usage::of_project)
        .get(CONVERSATIONS, READ, conversations::list)
        .get(CONVERSATION, READ, conversations::get)
        .get(MESSAGES, READ, conversations::messages)
}

/// A route, and what it needs.
type Declared = (Method, &'static str, Access);

/// Collects routes. There is no way to add one without saying what it needs.
struct Routes {
    router: Router<Gateway>,
    trust: Trust,
    /// What was added, for tests.
    declared: Vec<Declared>,
}

impl Routes {
    fn new(trust: &Trust) -> Self {
        Self {
            router: Router::new(),
            trust: trust.clone(),
            declared: Vec::new(),
        }
    }

    fn get<T: 'static>(
        self,
        path: &'static str,
        access: Access,
        handler: impl Handler<T, Gateway>,
    ) -> Self {
        self.add(Method::GET, path, access, get(handler))
    }

    fn post<T: 'static>(
        self,
        path: &'static str,
        access: Access,
        handler: impl Handler<T, Gateway>,
    ) -> Self {
        self.add(Method::POST, path, access, post(handler))
    }

    fn delete<T: 'static>(
        self,
        path: &'static str,
        access: Access,
        handler: impl Handler<T, Gateway>,
    ) -> Self {
        self.add(Method::DELETE, path, access, delete(handler))
    }

    fn add(
        mut self,
        method: Method,
        path: &'static str,
        access: Access,
        mut route: MethodRouter<Gateway>,
    ) -> Self {
        self.declared.push((method, path, access));
        if access != Access::Open {
            let trust = self.trust.clone();
            let guard = Guard { trust, access };
            route = route.route_layer(middleware::from_fn_with_state(guard, trust::guard));
        }
        self.router = self.router.route(path, route);
        self
    }
}

/// The whole API.
pub(crate) fn router(gateway: Gateway) -> Router {
    let cors = gateway.cors.clone();
    let Routes {
        router, declared, ..
    } = routes(&gateway.trust);
    let paths: HashSet<_> = declared.into_iter().map(|(_, path, _)| path).collect();
    let known = Known(Arc::new(paths));
    router
        .fallback(async || ApiError::NoSuchRoute)
        .method_not_allowed_fallback(other_method)
        .with_state(gateway)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(cors, cors::answer))
        .layer(middleware::from_fn_with_state(known, observe))
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
    let events = session_events_url(&exec.project, exec.session);
    format!("{events}?stream_id={}", exec.stream)
}

/// Where the events of all execs of a session are.
pub(crate) fn session_events_url(project: &ProjectId, session: SessionId) -> String {
    format!("{}/events", session_url(project, session))
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

/// The paths that there are, so that those who count count no others.
#[derive(Clone)]
struct Known(Arc<HashSet<&'static str>>);

impl Known {
    /// The route that a request has found.
    fn route(&self, request: &Request) -> &'static str {
        let matched = request.extensions().get::<MatchedPath>();
        let known = matched.and_then(|path| self.0.get(path.as_str()));
        known.copied().unwrap_or(NO_ROUTE)
    }
}

/// What a request to anywhere else is counted as.
const NO_ROUTE: &str = "none";

/// Counts a request, and what became of it.
async fn observe(State(known): State<Known>, request: Request, next: Next) -> Response {
    let (method, route) = (method_name(request.method()), known.route(&request));
    let is_probe = [HEALTH, READY].contains(&route);
    let answer = async |request| {
        let open = OpenRequest::new(method, route);
        let response = next.run(request).await;
        let status = response.status().as_u16();
        open.answered(status);
        tracing::debug!(status, "request");
        response
    };
    traces::within(request, (method, route), is_probe, answer).await
}

/// Anybody may send methods that nobody has heard of.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
