//! The routes, as far as no log is needed: there is none here, and everything else must be right
//! all the same.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header;
use rdev_contract::http::Problem;
use rdev_readmodel::ReadModel;
use rdev_runtime::Shutdown;
use tower::ServiceExt;

use super::*;
use crate::request::BODY_MAX_BYTES;
use crate::state::Log;
use crate::{RequireKeys, TrustArgs};

#[path = "access_tests.rs"]
mod access;

const SESSION_PATH: &str = "/projects/demo/sessions/0192f0c1-0000-7000-8000-000000000001";

fn app() -> Router {
    app_of(trust(false))
}

/// Of a gateway that only this machine can reach.
pub(super) fn trust(everywhere: bool) -> Trust {
    let settings = TrustArgs {
        require_keys: RequireKeys { everywhere },
        ..TrustArgs::default()
    };
    let listen = "127.0.0.1:8080".parse().unwrap();
    Trust::new(&settings, listen, &crate::CorsOrigins::Any)
}

fn app_of(trust: Trust) -> Router {
    // Nobody listens on port 1.
    let nowhere = "postgres://rdev@127.0.0.1:1/rdev".parse().unwrap();
    router(Gateway {
        log: Log(None),
        past: crate::history::Past::default(),
        read_model: ReadModel::new(&nowhere),
        projection: crate::as_of::Projection::default(),
        trust,
        cors: crate::CorsOrigins::Any,
        limits: rdev_domain::request::RequestLimits::default(),
        heartbeat: Duration::from_secs(15),
        tails: crate::events::Tails::default(),
        line: crate::queue::Line::default(),
        project_queue_max: 1,
        replays: crate::events::Replays::new(Log(None), crate::history::Past::default()),
        provisions: std::sync::Arc::default(),
        lives: crate::lives::Lives::default(),
        known_sessions: std::sync::Arc::default(),
        screens: crate::screen::Screens::default(),
        streams_max: 1,
        streams: std::sync::Arc::new(tokio::sync::Semaphore::new(1)),
        shutdown: Shutdown::new(),
    })
}

async fn ask(method: &str, path: &str, body: impl Into<Body>) -> Response {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(body.into())
        .unwrap();
    app().oneshot(request).await.unwrap()
}

async fn problem(response: Response) -> (u16, String) {
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "application/problem+json"
    );
    assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    let status = response.status().as_u16();
    let is_retryable = response.headers().contains_key(header::RETRY_AFTER);
    assert_eq!(is_retryable, status == 503);
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.status, status);
    (status, problem.code)
}

async fn refused(method: &str, path: &str, body: impl Into<Body>) -> (u16, String) {
    problem(ask(method, path, body).await).await
}

#[tokio::test]
async fn unknown_paths_are_problems() {
    for path in [
        "/nothing",
        "/projects/",
        "/projects/demo",
        "/projects/demo/sessions/",
    ] {
        assert_eq!(
            refused("GET", path, "").await,
            (404, "no_such_route".to_owned()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_messages_are_described() {
    let get = async |path: &str| {
        let response = ask("GET", path, "").await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let kind = response.headers()[header::CONTENT_TYPE].clone();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
        (kind.to_str().unwrap().to_owned(), document)
    };
    let (kind, list) = get("/schemas").await;
    assert_eq!(kind, "application/json");
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), rdev_contract::published::SCHEMAS.len());
    for item in items {
        let (kind, schema) = get(item["url"].as_str().unwrap()).await;
        assert_eq!(kind, "application/schema+json");
        assert_eq!(schema["title"], item["name"]);
    }
    // What the AsyncAPI document refers to is found from where it stands.
    let (_, asyncapi) = get("/asyncapi.json").await;
    let message = &asyncapi["components"]["messages"]["live-exec-output"];
    let reference = message["payload"]["schema"]["$ref"].as_str().unwrap();
    let (_, schema) = get(reference.strip_prefix('.').unwrap()).await;
    assert_eq!(schema["title"], "exec-output");
    let not_found = (404, "not_found".to_owned());
    for path in [
        "/schemas/exec-output",
        "/schemas/exec-outpu.json",
        "/schemas/..%2Fasyncapi.json",
        "/schemas/%FF",
    ] {
        assert_eq!(refused("GET", path, "").await, not_found, "{path}");
    }
}

#[tokio::test]
async fn wrong_methods_name_the_right_ones() {
    for (method, path, allow) in [
        (
            "DELETE",
            "/projects/demo/sessions".to_owned(),
            "POST,GET,HEAD",
        ),
        ("GET", format!("{SESSION_PATH}/exec"), "POST"),
        ("POST", format!("{SESSION_PATH}/events"), "GET,HEAD"),
        ("PATCH", SESSION_PATH.to_owned(), "GET,HEAD,DELETE"),
    ] {
        let response = ask(method, &path, "").await;
        let allowed: &[u8] = response.headers()[header::ALLOW].as_bytes();
        assert_eq!(allowed, allow.as_bytes(), "{path}");
        assert_eq!(
            problem(response).await,
            (405, "method_not_allowed".to_owned())
        );
    }
}

#[tokio::test]
async fn options_tells_methods_and_preflights_are_answered() {
    let response = ask("OPTIONS", &format!("{SESSION_PATH}/events"), "").await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
    let request = Request::builder()
        .method("OPTIONS")
        .uri(format!("{SESSION_PATH}/exec"))
        .header(header::ORIGIN, "https://site.example")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .body(Body::empty())
        .unwrap();
    let response = app().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    let headers = response.headers();
    assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    let allowed = headers[header::ACCESS_CONTROL_ALLOW_HEADERS]
        .to_str()
        .unwrap();
    assert!(allowed.contains("Last-Event-ID") && allowed.contains("Idempotency-Key"));
    assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
}

#[tokio::test]
async fn ids_that_are_none_name_nothing() {
    for path in [
        "/projects/Demo/sessions",
        "/projects/a.b/sessions",
        "/projects/%FF/sessions",
        "/projects/a%2Fb/sessions",
        "/projects/*/conversations",
        "/projects/demo/sessions/one",
        "/projects/demo/sessions/0192F0C1-0000-7000-8000-000000000001",
        "/projects/demo/sessions/..%2f..%2fetc/events?stream_id=x",
        "/projects/demo/conversations/one/messages",
    ] {
        assert_eq!(
            refused("GET", path, "").await,
            (404, "not_found".to_owned()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn bad_bodies_are_refused() {
    let exec = format!("{SESSION_PATH}/exec");
    for (body, code) in [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("[]", "invalid_field"),
        ("[\"shell\",null,\"true\"]", "invalid_field"),
        ("{\"type\":7}", "invalid_field"),
        ("{\"type\":\"perl\",\"command\":\"x\"}", "invalid_type"),
        ("{\"type\":\"shell\"}", "missing_command"),
        ("{\"type\":\"claude\"}", "missing_prompt"),
        (
            "{\"type\":\"shell\",\"command\":\"x\",\"stream_id\":\"a.b\"}",
            "invalid_stream_id",
        ),
    ] {
        let found = refused("POST", &exec, body).await;
        assert_eq!(found, (400, code.to_owned()), "{body}");
    }
    let sessions = "/projects/demo/sessions";
    assert_eq!(refused("POST", sessions, "{").await.0, 400);
}

#[tokio::test]
async fn bodies_are_taken_up_to_the_limit() {
    let exec = format!("{SESSION_PATH}/exec");
    let fill = |bytes: usize| {
        let begin = "{\"type\":\"shell\",\"command\":\"true\"";
        format!("{begin}{}}}", " ".repeat(bytes - begin.len() - 1))
    };
    let too_large = refused("POST", &exec, fill(BODY_MAX_BYTES + 1)).await;
    assert_eq!(too_large, (413, "body_too_large".to_owned()));
    // It is the log that is missing then.
    for bytes in [BODY_MAX_BYTES - 1, BODY_MAX_BYTES] {
        let found = refused("POST", &exec, fill(bytes)).await;
        assert_eq!(found, (503, "log_unavailable".to_owned()));
    }
}

#[tokio::test]
async fn commands_are_taken_up_to_what_the_log_takes() {
    let exec = format!("{SESSION_PATH}/exec");
    let body = |prompt_bytes: usize| {
        format!(
            "{{\"type\":\"claude\",\"prompt\":\"{}\"}}",
            "x".repeat(prompt_bytes)
        )
    };
    let frame = "{\"type\":\"claude\",\"prompt\":\"\",\
                 \"continue_conversation\":false,\"timeout_seconds\":1800}";
    let most = crate::accept::COMMAND_MAX_BYTES - frame.len();
    assert_eq!(refused("POST", &exec, body(most)).await.0, 503);
    let found = refused("POST", &exec, body(most + 1)).await;
    assert_eq!(found, (413, "command_too_large".to_owned()));
}

#[tokio::test]
async fn the_content_type_matters_to_new_routes_alone() {
    for (path, status) in [
        ("/projects/demo/sessions".to_owned(), 415),
        (format!("{SESSION_PATH}/exec"), 503),
    ] {
        let request = Request::builder()
            .method("POST")
            .uri(path)
            .header(header::CONTENT_TYPE, "text/plain")
            .body(Body::from(
                "{\"pod\":\"box\",\"type\":\"shell\",\"command\":\"true\"}",
            ))
            .unwrap();
        let response = app().oneshot(request).await.unwrap();
        assert_eq!(problem(response).await.0, status);
    }
}

#[tokio::test]
async fn a_command_without_a_log_names_the_stream_to_try_again_with() {
    let body = "{\"type\":\"shell\",\"command\":\"true\",\"stream_id\":\"mine\",\"unknown\":1}";
    let response = ask("POST", &format!("{SESSION_PATH}/exec"), body).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.stream_id.as_deref(), Some("mine"));
    assert_eq!(problem.outcome_unknown, Some(false));
}

async fn refuse(queries: &[(&str, &str)], below: &str) {
    for (query, code) in queries {
        let path = format!("{below}/{query}");
        let refusal = refused("GET", &path, "").await;
        assert_eq!(refusal, (400, (*code).to_owned()), "{path}");
    }
}

#[tokio::test]
async fn bad_queries_of_a_session_are_refused() {
    let queries = [
        ("events?stream_id=", "invalid_stream_id"),
        ("events?stream_id=a.b", "invalid_stream_id"),
        ("events?stream_id=a&stderr=both", "invalid_query"),
        ("events?stream_id=a&strict=maybe", "invalid_query"),
        ("events?stream_id=a&stream_id=b", "invalid_query"),
        ("events?stream_id=a&last_event_id=-1", "invalid_event_id"),
        ("execs/a?wait=61", "invalid_query"),
        ("execs?as_of=", "invalid_as_of"),
        ("execs/a/output?stream=stdin", "invalid_query"),
        ("execs?status=queued&outcome=lost", "invalid_filter"),
    ];
    refuse(&queries, SESSION_PATH).await;
}

#[tokio::test]
async fn bad_queries_of_lists_are_refused() {
    let queries = [
        ("sessions?limit=0", "invalid_limit"),
        ("sessions?limit=many", "invalid_query"),
        ("sessions?as_of=yesterday", "invalid_as_of"),
        ("conversations?as_of=exec-01", "invalid_as_of"),
        ("sessions?cursor=nonsense", "invalid_cursor"),
        ("sessions?status=running", "invalid_filter"),
        ("execs?outcome=failed", "invalid_filter"),
        ("execs?session=none", "invalid_filter"),
        ("execs?since=2026-11-22", "invalid_filter"),
        (
            "conversations?since=2026-11-22T00:00:00Z&until=2026-11-22T00:00:00Z",
            "invalid_filter",
        ),
    ];
    refuse(&queries, "/projects/demo").await;
    refuse(&[("projects?cursor=a%00b", "invalid_cursor")], "").await;
}

#[tokio::test]
async fn what_is_away_is_told_with_a_time_to_try_again() {
    assert_eq!(
        refused("GET", SESSION_PATH, "").await,
        (503, "log_unavailable".to_owned())
    );
    let lists = refused("GET", "/projects/demo/conversations", "").await;
    assert_eq!(lists, (503, "read_model_unavailable".to_owned()));
    let lists = refused("GET", "/projects/demo/sessions?as_of=session-1", "").await;
    assert_eq!(lists, (503, "read_model_unavailable".to_owned()));
    let output = refused("GET", &format!("{SESSION_PATH}/execs/a/output"), "").await;
    assert_eq!(output, (503, "log_unavailable".to_owned()));
    for list in [
        "sessions?status=active",
        "execs?status=running",
        "conversations",
    ] {
        assert_eq!(
            refused("GET", &format!("/projects/demo/{list}"), "").await,
            (503, "read_model_unavailable".to_owned()),
            "{list}"
        );
    }
    let strict = format!("{SESSION_PATH}/events?stream_id=a&strict=true");
    assert_eq!(
        refused("GET", &strict, "").await,
        (503, "log_unavailable".to_owned())
    );
}

#[tokio::test]
async fn a_browser_is_sent_away_politely_when_the_log_is_away() {
    let response = ask("GET", &format!("{SESSION_PATH}/events?stream_id=a"), "").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "text/event-stream"
    );
    assert_eq!(
        response.headers()[header::CACHE_CONTROL],
        "no-cache, no-transform"
    );
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("event: "))
        .collect();
    assert_eq!(names, ["connected", "reconnect"]);
    assert!(text.contains("{\"reason\":\"log_unavailable\"}"));
}

#[tokio::test]
async fn probes_tell_what_is_away() {
    assert_eq!(ask("GET", "/healthz", "").await.status(), StatusCode::OK);
    let response = ask("GET", "/readyz", "").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["nats"], "down");
    assert_eq!(body["postgres"], "down");
}

#[tokio::test]
async fn a_panic_is_a_problem() {
    let response = panicked(Box::new("broken"));
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(!text.contains("broken"), "{text}");
}

#[tokio::test]
async fn people_are_led_to_the_console() {
    for path in ["/", "/console"] {
        let response = ask("GET", path, Body::empty()).await;
        assert_eq!(response.status(), 307, "{path}");
        assert_eq!(response.headers()[header::LOCATION], "/console/");
    }
    for path in ["/console/", "/console/main.js", "/console/views/exec.js"] {
        assert_eq!(
            ask("GET", path, Body::empty()).await.status(),
            200,
            "{path}"
        );
    }
    for path in [
        "/console/none.js",
        "/console/vendor/README.md",
        "/console/..%2Fmain.js",
    ] {
        assert_eq!(
            ask("GET", path, Body::empty()).await.status(),
            404,
            "{path}"
        );
    }
}
