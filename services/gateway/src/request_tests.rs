//! Checks of requests that need no log.

use axum::http::HeaderValue;

use super::*;

fn content_type(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))])
}

#[test]
fn agents_are_cut_at_a_character() {
    assert_eq!(cut("curl/8", 256), "curl/8");
    assert_eq!(
        cut(&"x".repeat(300), AGENT_MAX_BYTES).len(),
        AGENT_MAX_BYTES
    );
    assert_eq!(cut("aé", 2), "a");
}

#[test]
fn content_types_that_may_be_json() {
    assert!(may_be_json(&HeaderMap::new()));
    for value in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/merge-patch+json",
        "application/x-www-form-urlencoded",
    ] {
        assert!(may_be_json(&content_type(value)), "{value}");
    }
    for value in ["text/plain", "application/xml", "image/png+json", ""] {
        assert!(!may_be_json(&content_type(value)), "{value}");
    }
}

#[test]
fn what_is_wrong_with_a_body_is_told_apart() {
    let code = |body: &str| {
        parse_json::<rdev_contract::http::CreateSession>(body.as_bytes())
            .unwrap_err()
            .code()
    };
    for body in ["", "{", "nonsense", "{\"pod\":\"a\"} trailing"] {
        assert_eq!(code(body), "invalid_json", "{body}");
    }
    for body in [
        "[]",
        " [\"a\",null,null]",
        "{\"pod\":1}",
        "{\"pod\":\"a\",\"extra\":1}",
    ] {
        assert_eq!(code(body), "invalid_field", "{body}");
    }
}
