//! Makes the document: from the routes themselves, what `operations` says of each, and the schemas of
//! the types of their bodies. What a route needs of whoever asks is not said here a second time.

use rdev_contract::http::schema;
use serde_json::{Map, Value, json};

use super::operations::{Answer, Body, OPERATIONS, Operation};
use super::parameters;
use crate::routes::Declared;
use crate::trust::Access;

const ABOUT: &str = "Runs commands in the pods of sessions, streams what they print and keeps the \
    conversation. Every error is a problem (RFC 9457) with a stable `code`; unknown members of bodies \
    and parameters of queries may be added. What the events of a stream are is told by \
    `/asyncapi.json` and `/schemas`.";

pub(super) fn document(routes: &[Declared]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (method, path, access) in routes {
        let Some(operation) = OPERATIONS
            .iter()
            .find(|operation| operation.path == *path && operation.method == *method)
        else {
            continue;
        };
        let item = paths.entry(*path).or_insert_with(|| json!({}));
        item[method.as_str().to_ascii_lowercase()] = described(operation, *access);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "rdev",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schema::components(),
            "parameters": parameters::components(),
            "responses": { "Problem": problem() },
            "securitySchemes": {
                "key": { "type": "http", "scheme": "bearer",
                    "description": "An API key, or a token of the identity provider." },
                "ticket": { "type": "apiKey", "in": "query", "name": "ticket",
                    "description": "For browsers: opens one stream of events." },
            },
        },
    })
}

fn described(operation: &Operation, access: Access) -> Value {
    let mut parameters: Vec<Value> = parameters::of_path(operation.path)
        .chain(operation.query.iter().copied())
        .map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }))
        .collect();
    parameters.dedup();
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": answers(operation, access),
    });
    if let Some(body) = operation.body {
        described["requestBody"] = body_of(body);
    }
    match access {
        Access::Open => described["security"] = json!([]),
        Access::Feed => described["security"] = json!([{}, { "key": [] }, { "ticket": [] }]),
        // Without a key only from the machine itself, and only while none is required.
        Access::Project(_) | Access::Some(_) => described["security"] = json!([{}, { "key": [] }]),
    }
    described
}

fn body_of(body: Body) -> Value {
    let content = match body {
        Body::Json(name) | Body::OptionalJson(name) => {
            json!({ "application/json": { "schema": reference(name) } })
        }
        Body::Bytes => {
            json!({ "application/octet-stream": { "schema": { "type": "string", "contentMediaType": "application/octet-stream" } } })
        }
    };
    json!({ "required": matches!(body, Body::Json(_)), "content": content })
}

fn answers(operation: &Operation, access: Access) -> Value {
    let mut answers = Map::new();
    for (status, about, answer) in operation.answers {
        let mut described = json!({ "description": about });
        if let Some(content) = content(*answer) {
            described["content"] = content;
        }
        answers.insert(status.to_string(), described);
    }
    // What stands in front of every handler.
    let guarded: &[u16] = match access {
        Access::Open => &[],
        Access::Project(_) | Access::Feed | Access::Some(_) => &[401, 403, 404, 429, 503],
    };
    let of_body: &[u16] = match operation.body {
        Some(Body::Json(_) | Body::OptionalJson(_) | Body::Bytes) => &[400, 408, 413, 415],
        None => &[],
    };
    let of_query: &[u16] = if operation.query.is_empty() {
        &[]
    } else {
        &[400]
    };
    for status in [guarded, of_body, of_query, operation.problems].concat() {
        let problem = || json!({ "$ref": "#/components/responses/Problem" });
        answers.entry(status.to_string()).or_insert_with(problem);
    }
    Value::Object(answers)
}

fn content(answer: Answer) -> Option<Value> {
    let text = json!({ "schema": { "type": "string" } });
    Some(match answer {
        Answer::Empty => return None,
        Answer::Json(name) => json!({ "application/json": { "schema": reference(name) } }),
        Answer::AnyJson => json!({ "application/json": { "schema": { "type": "object" } } }),
        Answer::Schema => json!({ "application/schema+json": { "schema": { "type": "object" } } }),
        Answer::Page => json!({
            "text/html": text, "text/css": text, "text/javascript": text, "text/plain": text,
            "image/svg+xml": text,
        }),
        Answer::Html => json!({ "text/html": text }),
        Answer::Bytes => json!({ "application/octet-stream": text }),
        Answer::Screen => {
            json!({ "application/json": { "schema": reference("ScreenView") }, "text/plain": text })
        }
        Answer::Events => json!({
            "text/event-stream": text,
            "application/x-ndjson": text,
            "application/json": { "schema": reference("EventsPage") },
        }),
    })
}

fn problem() -> Value {
    json!({
        "description": "Why it was not done, and what to do: see `code` and `detail`.",
        "headers": { "Retry-After": { "schema": { "type": "integer" },
            "description": "Seconds; where trying again can help." } },
        "content": { "application/problem+json": { "schema": reference("Problem") } },
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
