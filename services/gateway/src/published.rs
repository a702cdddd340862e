//! What outside consumers are told about the messages of the log: JSON Schemas and an AsyncAPI
//! document. They are part of the program, so that they describe what this very version writes.

use axum::Json;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use rdev_contract::http::Page;
use rdev_contract::published::{self, PublishedSchema};
use serde::Serialize;

use crate::problem::ApiError;
use crate::routes::{self, parameter};

/// One entry of the list of schemas.
#[derive(Serialize)]
pub(crate) struct SchemaView {
    name: &'static str,
    url: String,
}

/// `GET /schemas`: all of them, on one page.
pub(crate) async fn list() -> Json<Page<SchemaView>> {
    let view = |schema: &PublishedSchema| SchemaView {
        name: schema.name,
        url: routes::schema_url(schema.name),
    };
    Json(Page {
        items: published::SCHEMAS.iter().map(view).collect(),
        next_cursor: None,
    })
}

/// The schema that the path names.
pub(crate) struct InSchema(&'static PublishedSchema);

impl<S: Send + Sync> FromRequestParts<S> for InSchema {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let missing = ApiError::NotFound("schema");
        let Ok(parameters) = RawPathParams::from_request_parts(parts, state).await else {
            return Err(missing);
        };
        parameters
            .iter()
            .find(|(key, _)| *key == parameter::SCHEMA)
            .and_then(|(_, file)| file.strip_suffix(".json"))
            .and_then(published::schema)
            .map(Self)
            .ok_or(missing)
    }
}

/// `GET /schemas/{name}.json`.
pub(crate) async fn schema(InSchema(schema): InSchema) -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "application/schema+json")];
    (kind, schema.json)
}

/// `GET /asyncapi.json`.
pub(crate) async fn asyncapi() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, published::ASYNCAPI)
}
