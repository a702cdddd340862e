//! What browsers on other sites may do: everything, without credentials, unless the
//! configuration names the sites.
//!
//! Stands around every route. Invariant: `*` and credentials never meet; a response that depends
//! on the `Origin` says so to caches.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, DELETE, OPTIONS");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Last-Event-ID, Idempotency-Key, Content-Type, Authorization, Range, If-Range, \
         If-None-Match, Traceparent",
);
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "Location, Retry-After, Rdev-As-Of, Rdev-Next, Rdev-Trace-Id, Accept-Ranges, Content-Disposition, Content-Range, ETag, \
     Content-Digest, Repr-Digest, WWW-Authenticate, RateLimit, \
     RateLimit-Policy",
);
/// How long a browser remembers the answer to a preflight; Chromium's own limit is two hours.
const PREFLIGHT_MAX_AGE_SECONDS: u64 = 2 * 60 * 60;
const ANY: HeaderValue = HeaderValue::from_static("*");

/// Sites whose pages may read answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// Every site.
    Any,
    /// These, compared byte by byte; none if empty.
    Only(Arc<[HeaderValue]>),
}

impl FromStr for CorsOrigins {
    type Err = String;

    /// `*`, or origins joined by commas.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "*" {
            return Ok(Self::Any);
        }
        text.split(',')
            .map(str::trim)
            .filter(|origin| !origin.is_empty())
            .map(origin)
            .collect::<Result<_, _>>()
            .map(Self::Only)
    }
}

fn origin(text: &str) -> Result<HeaderValue, String> {
    let site = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let is_origin = site.is_some_and(|site| !site.is_empty() && !site.contains(['/', '*', ' ']));
    HeaderValue::from_str(text)
        .ok()
        .filter(|_| is_origin)
        .ok_or_else(|| {
            format!(
                "{text:?} is not an origin: give *, or a list such as \
                 https://a.example,https://b.example"
            )
        })
}

impl CorsOrigins {
    fn allows(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::Only(origins) => origins.contains(origin),
        }
    }

    fn mark(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        let value = match self {
            Self::Any => Some(ANY),
            Self::Only(_) => {
                headers.append(header::VARY, HeaderValue::from_static("Origin"));
                origin.filter(|origin| self.allows(origin)).cloned()
            }
        };
        if let Some(value) = value {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        }
    }
}

/// Answers preflights, and marks all other answers.
pub(crate) async fn answer(
    State(origins): State<CorsOrigins>,
    request: Request,
    next: Next,
) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let is_preflight = request.method() == Method::OPTIONS
        && origin.is_some()
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight {
        preflight()
    } else {
        next.run(request).await
    };
    origins.mark(response.headers_mut(), origin.as_ref());
    response
}

fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from(PREFLIGHT_MAX_AGE_SECONDS),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_a_star_or_a_list() {
        assert_eq!("*".parse(), Ok(CorsOrigins::Any));
        assert_eq!("".parse(), Ok(CorsOrigins::Only(Arc::new([]))));
        let one = HeaderValue::from_static("https://a.example");
        let two = HeaderValue::from_static("http://localhost:3000");
        let both = CorsOrigins::Only(Arc::new([one, two]));
        assert_eq!("https://a.example, http://localhost:3000".parse(), Ok(both));
        for text in [
            "a.example",
            "https://",
            "https://a.example/",
            "https://*.example",
            "*,https://a",
        ] {
            assert!(text.parse::<CorsOrigins>().is_err(), "{text}");
        }
    }

    #[test]
    fn another_site_gets_no_permission() {
        let origins: CorsOrigins = "https://a.example".parse().unwrap();
        let mut headers = HeaderMap::new();
        origins.mark(
            &mut headers,
            Some(&HeaderValue::from_static("https://b.example")),
        );
        assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        assert_eq!(headers[header::VARY], "Origin");
    }
}
