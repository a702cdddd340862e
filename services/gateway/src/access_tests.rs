//! What each route needs, and what whoever does not have it is told.

use rdev_bus::keys::KeyNews;
use rdev_contract::envelope::Recorded;
use rdev_contract::event::Requester;
use rdev_contract::key::{ApiKey, CreateKey, KeyRecord};
use rdev_contract::position::StreamSeq;
use rdev_domain::keys::{Randomness, create, revoke};

use super::*;

/// What is answered to anybody. Whatever is added here is public.
const PUBLIC: [&str; 12] = [
    ROOT,
    CONSOLE_BARE,
    CONSOLE,
    CONSOLE_FILE,
    CONSOLE_PART,
    HEALTH,
    READY,
    OPENAPI,
    DOCS,
    ASYNCAPI,
    SCHEMAS,
    SCHEMA,
];

fn key(number: u8, scopes: &[Scope], projects: &[&str]) -> (ApiKey, KeyRecord) {
    let request = CreateKey {
        name: "test".to_owned(),
        scopes: scopes.iter().copied().collect(),
        projects: projects.iter().map(|name| (*name).to_owned()).collect(),
        expires_in_seconds: None,
    };
    let random = Randomness {
        id: [number; 8],
        secret: [number; 32],
    };
    let at = jiff::Timestamp::now();
    create(request, &random, at, Requester::default()).unwrap()
}

fn learn(trust: &Trust, sequence: u64, record: KeyRecord) {
    trust.learn(Recorded {
        sequence: StreamSeq(sequence),
        value: KeyNews::Key(Box::new(record)),
    });
}

/// The path with something in the place of each parameter.
fn filled(path: &str, project: &str) -> String {
    path.replace("{project}", project)
        .replace("{session}", "0192f0c1-0000-7000-8000-000000000001")
        .replace("{conversation}", "0192f0c1-0000-7000-8000-000000000001")
        .replace("{stream}", "one")
        .replace("{key}", "0123456789abcdef")
        .replace("{schema}", "exec-output.json")
        .replace("{directory}", "views")
        .replace("{file}", "main.js")
}

async fn asked(trust: &Trust, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    app_of(trust.clone()).oneshot(request).await.unwrap()
}

async fn with_key(trust: &Trust, key: &str, method: &str, path: &str) -> Response {
    let bearer = format!("Bearer {key}");
    asked(trust, method, path, &[("authorization", &bearer)]).await
}

async fn code(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    (status, problem.code)
}

#[tokio::test]
async fn every_route_is_closed_unless_it_is_public() {
    let trust = trust(true);
    let declared = routes(&trust).declared;
    assert!(declared.len() > PUBLIC.len());
    for (method, path, access) in declared {
        let response = asked(&trust, method.as_str(), &filled(path, "demo"), &[]).await;
        if PUBLIC.contains(&path) {
            assert_eq!(access, Access::Open, "{path}");
            assert_ne!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
            continue;
        }
        assert_ne!(access, Access::Open, "{method} {path}");
        let challenge = response.headers()[header::WWW_AUTHENTICATE].clone();
        assert_eq!(challenge, "Bearer realm=\"rdev\"", "{method} {path}");
        let unauthenticated = (401, "unauthenticated".to_owned());
        assert_eq!(code(response).await, unauthenticated, "{method} {path}");
    }
}

/// Whoever changes something needs another scope than whoever looks.
#[test]
fn what_changes_something_is_not_for_readers() {
    for (method, path, access) in routes(&trust(true)).declared {
        let needs_read = access == Access::Project(Scope::Read);
        let looks = method == Method::GET || path == TICKETS;
        assert!(!needs_read || looks, "{method} {path}");
        let needs_exec = access == Access::Project(Scope::Exec);
        assert!(!needs_exec || method != Method::GET, "{method} {path}");
        let is_in_project = path.contains("{project}");
        let is_checked = matches!(access, Access::Project(_) | Access::Feed);
        assert_eq!(is_in_project, is_checked, "{method} {path}");
    }
}

#[tokio::test]
async fn each_scope_opens_its_routes_and_no_others() {
    let trust = trust(true);
    for (number, scope) in [1, 2, 3].into_iter().zip(Scope::ALL) {
        let (key, record) = key(number, &[scope], &["demo"]);
        learn(&trust, u64::from(number), record);
        for (method, path, access) in routes(&trust).declared {
            let needed = match access {
                Access::Open => continue,
                Access::Feed => Scope::Read,
                Access::Project(needed) | Access::Some(needed) => needed,
            };
            let key = key.to_string();
            let path = filled(path, "demo");
            let response = with_key(&trust, &key, method.as_str(), &path).await;
            if needed == scope {
                let status = response.status().as_u16();
                assert!(![401, 403].contains(&status), "{method} {path}: {status}");
                continue;
            }
            let challenge = response.headers()[header::WWW_AUTHENTICATE].clone();
            let challenge = challenge.to_str().unwrap().to_owned();
            let named = format!("scope=\"{}\"", needed.name());
            assert!(challenge.contains(&named), "{method} {path}: {challenge}");
            let insufficient = (403, "insufficient_scope".to_owned());
            assert_eq!(code(response).await, insufficient, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn what_is_in_other_projects_is_not_there() {
    let trust = trust(true);
    let (key, record) = key(1, &Scope::ALL, &["mine", "ours"]);
    learn(&trust, 1, record);
    let key = key.to_string();
    for (method, path, access) in routes(&trust).declared {
        if !path.contains("{project}") || access == Access::Open {
            continue;
        }
        let theirs = filled(path, "theirs");
        let response = with_key(&trust, &key, method.as_str(), &theirs).await;
        let not_found = (404, "not_found".to_owned());
        assert_eq!(code(response).await, not_found, "{method} {path}");
        let ours = filled(path, "ours");
        let response = with_key(&trust, &key, method.as_str(), &ours).await;
        assert_ne!(response.status(), StatusCode::NOT_FOUND, "{method} {path}");
    }
}

#[tokio::test]
async fn a_wrong_credential_is_refused_where_none_is_needed_too() {
    let trust = trust(false);
    let (good, record) = key(1, &Scope::ALL, &["*"]);
    let (ended, revoked) = key(2, &Scope::ALL, &["*"]);
    let revoked = revoke(&revoked, jiff::Timestamp::now(), Requester::default());
    learn(&trust, 1, record);
    learn(&trust, 2, revoked.unwrap());
    let (unknown, _) = key(3, &Scope::ALL, &["*"]);
    let mut swapped = good.clone();
    swapped.secret = unknown.secret.clone();
    let path = format!("{SESSION_PATH}/events?stream_id=a");
    for wrong in [
        format!("Bearer {ended}"),
        format!("Bearer {unknown}"),
        format!("Bearer {swapped}"),
        "Bearer rdev_".to_owned(),
        "Bearer ".to_owned(),
        "Bearer".to_owned(),
        "Basic cmRldjpyZGV2".to_owned(),
        format!("{good}"),
        String::new(),
    ] {
        let response = asked(&trust, "GET", &path, &[("authorization", &wrong)]).await;
        let challenge = response.headers()[header::WWW_AUTHENTICATE].clone();
        assert!(challenge.to_str().unwrap().contains("invalid_token"));
        let invalid = (401, "invalid_credential".to_owned());
        assert_eq!(code(response).await, invalid, "{wrong}");
    }
    for right in [format!("Bearer {good}"), format!("bearer  {good}")] {
        let response = asked(&trust, "GET", &path, &[("authorization", &right)]).await;
        assert_eq!(response.status(), StatusCode::OK, "{right}");
    }
    assert_eq!(asked(&trust, "GET", &path, &[]).await.status(), 200);
}

#[tokio::test]
async fn without_a_key_other_sites_give_no_orders() {
    let trust = trust(false);
    let (key, record) = key(1, &Scope::ALL, &["*"]);
    learn(&trust, 1, record);
    let path = format!("{SESSION_PATH}/execs/a/cancel");
    let site = ("origin", "https://site.example");
    let refused = asked(&trust, "POST", &path, &[site]).await;
    assert_eq!(code(refused).await, (403, "foreign_origin".to_owned()));
    let host = ("host", "site.example");
    let refused = asked(&trust, "GET", SESSION_PATH, &[host]).await;
    assert_eq!(code(refused).await, (403, "foreign_host".to_owned()));
    // Nobody has a key by accident.
    let bearer = format!("Bearer {key}");
    let keyed = [site, host, ("authorization", bearer.as_str())];
    let answered = asked(&trust, "POST", &path, &keyed).await;
    assert_eq!(code(answered).await, (503, "log_unavailable".to_owned()));
}

#[tokio::test]
async fn nobody_makes_a_key_for_projects_of_others() {
    let trust = trust(true);
    let (key, record) = key(1, &[Scope::Admin], &["mine"]);
    learn(&trust, 1, record);
    let make = async |projects: &str| {
        let body = format!("{{\"name\":\"new\",\"scopes\":[\"exec\"],\"projects\":{projects}}}");
        let request = Request::builder().method("POST").uri(KEYS);
        let request = request.header("authorization", format!("Bearer {key}"));
        let request = request.body(Body::from(body)).unwrap();
        code(app_of(trust.clone()).oneshot(request).await.unwrap()).await
    };
    let beyond = (403, "beyond_own_projects".to_owned());
    for projects in ["[\"theirs\"]", "[\"mine\",\"theirs\"]", "[\"*\"]"] {
        assert_eq!(make(projects).await, beyond, "{projects}");
    }
    assert_eq!(
        make("[\"mine\"]").await,
        (503, "log_unavailable".to_owned())
    );
    assert_eq!(make("[]").await, (400, "invalid_field".to_owned()));
}

#[test]
fn a_gateway_that_others_can_reach_needs_a_key() {
    let loopback = "127.0.0.1:8080".parse().unwrap();
    let everywhere = "0.0.0.0:8080".parse().unwrap();
    let cors = crate::CorsOrigins::Any;
    let settings = TrustArgs::default();
    assert_eq!(
        Trust::new(&settings, loopback, &cors).check(loopback),
        Ok(())
    );
    assert!(trust(true).check(loopback).is_err());
    let trust = Trust::new(&settings, everywhere, &cors);
    let refused = trust.check(everywhere).unwrap_err();
    assert!(refused.contains("rdev keys create"), "{refused}");
    let (_, record) = key(1, &[Scope::Read], &["demo"]);
    learn(&trust, 1, record.clone());
    assert_eq!(trust.check(everywhere), Ok(()));
    let revoked = revoke(&record, jiff::Timestamp::now(), Requester::default());
    learn(&trust, 2, revoked.unwrap());
    assert!(trust.check(everywhere).is_err());
}
