//! What outside consumers are told about the messages: a JSON Schema of each, and an AsyncAPI
//! document of the subjects that they are on.
//!
//! Written by `cargo run -p rdev-contract --example schemas` from the types of this crate, and
//! kept as files so that every change of them is seen; served by the gateway. Invariant: the
//! files say what the types say (tested), and they change by addition only.

/// A JSON Schema (draft 2020-12) of one kind of message, or of one server-sent event's data.
#[derive(Debug, Clone, Copy)]
pub struct PublishedSchema {
    /// `control-order`, `exec-{kind}`, `session-{kind}`, `sse-{event}` or `trail-order`.
    pub name: &'static str,
    /// The document.
    pub json: &'static str,
}

macro_rules! published {
    ($($name:literal),+ $(,)?) => {
        &[$(PublishedSchema {
            name: $name,
            json: include_str!(concat!("../schemas/", $name, ".json")),
        }),+]
    };
}

/// All of them, in the order of their names.
pub const SCHEMAS: &[PublishedSchema] = published![
    "control-order",
    "exec-admitted",
    "exec-approval",
    "exec-claude",
    "exec-codex",
    "exec-command",
    "exec-complete",
    "exec-output",
    "exec-resumed",
    "exec-started",
    "session-codex_linked",
    "session-created",
    "session-ended",
    "session-idle_warning",
    "session-linked",
    "session-pod",
    "sse-approval",
    "sse-approval_answered",
    "sse-caught_up",
    "sse-claude_event",
    "sse-codex_event",
    "sse-complete",
    "sse-connected",
    "sse-error",
    "sse-gap",
    "sse-heartbeat",
    "sse-output",
    "sse-queued",
    "sse-reconnect",
    "sse-resized",
    "sse-session",
    "trail-order",
];

/// The AsyncAPI 3.0 document. It refers to the schemas as `./schemas/{name}.json`.
pub const ASYNCAPI: &str = include_str!("../asyncapi.json");

/// The schema of this name.
#[must_use]
pub fn schema(name: &str) -> Option<&'static PublishedSchema> {
    SCHEMAS.iter().find(|schema| schema.name == name)
}
