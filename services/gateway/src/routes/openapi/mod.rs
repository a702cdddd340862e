//! The OpenAPI document: what each route takes and answers.
//!
//! Read by people (`/docs`), generators of clients and fuzzers. It is made by the tests and kept as a
//! file, so that every change of it is seen, and served as it is kept. Invariants, all tested: the file
//! says what routes and types say; a route without an entry in `operations` does not pass, nor does an
//! entry without a route.

#[cfg(test)]
mod document;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod parameters;

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse};

/// `GET /openapi.json`.
pub(crate) async fn json() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, include_str!("../../../openapi.json"))
}

/// `GET /docs`: the document, readable. The page loads nothing but the document.
pub(crate) async fn page() -> impl IntoResponse {
    let policy = "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; \
                  style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
    let headers = [
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(policy),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    (headers, Html(include_str!("page.html")))
}

#[cfg(test)]
mod tests;
