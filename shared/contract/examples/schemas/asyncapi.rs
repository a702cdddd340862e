//! The AsyncAPI document: which subjects there are for a consumer, and which messages on them.
//!
//! It is written from the consumer's side (`receive`), because that is who reads it. Payloads are
//! referred to by paths that hold in this directory and on a gateway alike.

use rdev_contract::event::Kind;
use rdev_contract::session::SessionKind;
use rdev_contract::subject::{CONTROL_STREAM, EXEC_STREAM, SESSION_STREAM, TRAIL_STREAM};
use rdev_contract::trace::TRACE_PARENT;
use serde_json::{Map, Value, json};

use super::documents::{ORDER_NAME, TRAIL_NAME, exec_name, session_name};

const ABOUT: &str = "What rdev writes to its log, for consumers. Fields, kinds of messages and \
    types of events are only ever added: pass over what you do not know. How to follow, replay \
    and verify is told in docs/consumers.md of the project.";
const LIVE: &str = "Every message of an exec, once it is stored, with its sequence in the header \
    Nats-Sequence. Core NATS: what a consumer misses it reads from the log, where `prev` names \
    the message before.";
const PAYLOAD_FORMAT: &str = "application/schema+json;version=draft-2020-12";

/// The whole document.
pub(crate) fn document() -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": { "title": "rdev", "version": "1", "description": ABOUT },
        "defaultContentType": "application/json",
        "channels": {
            "live": live(),
            "exec": exec(),
            "session": session(),
            "control": control(),
            "trail": trail(),
        },
        "operations": {
            "followLive": receive("live", "Follow execs as they happen: core NATS, no consumer."),
            "replayExecs": receive("exec", "Read execs from any sequence on, by a consumer."),
            "replaySessions": receive("session", "Read the facts of sessions, by a consumer."),
        },
        "components": { "messages": messages(), "parameters": parameters() },
    })
}

fn live() -> Value {
    let messages = exec_messages("live-");
    channel(
        "rdev.live.{project}.{session}.{stream}.{kind}",
        LIVE,
        messages,
    )
}

fn exec() -> Value {
    let about = format!(
        "Stored in the stream {EXEC_STREAM}. Read it with JetStream (a consumer, or single \
         messages by sequence), never by a core subscription: that shows publishes which \
         JetStream then refuses."
    );
    let messages = exec_messages("");
    channel(
        "rdev.exec.{project}.{session}.{stream}.{kind}",
        &about,
        messages,
    )
}

fn session() -> Value {
    let about = format!("Stored in the stream {SESSION_STREAM} for ever.");
    let names = SessionKind::ALL.map(session_name);
    let messages = names
        .into_iter()
        .map(|name| (name.clone(), reference("messages", &name)));
    channel(
        "rdev.session.{project}.{session}.{kind}",
        &about,
        messages.collect(),
    )
}

fn control() -> Value {
    let about = format!(
        "Stored in the stream {CONTROL_STREAM}: what gateways tell the executor that has the exec. \
         Removed once it is carried out and the exec has ended; to give orders is for the HTTP API."
    );
    let messages = [(ORDER_NAME.to_owned(), reference("messages", ORDER_NAME))];
    channel(
        "rdev.control.{project}.{session}.{stream}",
        &about,
        messages.into_iter().collect(),
    )
}

fn trail() -> Value {
    let about = format!(
        "Stored in the stream {TRAIL_STREAM}: who gave which order, for auditors. It stays when the \
         order is gone."
    );
    let messages = [(TRAIL_NAME.to_owned(), reference("messages", TRAIL_NAME))];
    channel(
        "rdev.trail.{project}.{session}.{stream}",
        &about,
        messages.into_iter().collect(),
    )
}

fn exec_messages(prefix: &str) -> Map<String, Value> {
    let names = Kind::ALL.map(exec_name);
    let messages = names.into_iter().map(|name| {
        let message = reference("messages", &format!("{prefix}{name}"));
        (name, message)
    });
    messages.collect()
}

fn channel(address: &str, about: &str, messages: Map<String, Value>) -> Value {
    let names = ["project", "session", "stream", "kind"].into_iter();
    let parameters: Map<_, _> = names
        .filter(|name| address.contains(&format!("{{{name}}}")))
        .map(|name| {
            let home = match name {
                "kind" if address.starts_with("rdev.session") => "sessionKind",
                "kind" => "execKind",
                other => other,
            };
            (name.to_owned(), reference("parameters", home))
        })
        .collect();
    json!({
        "address": address,
        "description": about,
        "parameters": parameters,
        "messages": messages,
    })
}

fn parameters() -> Value {
    json!({
        "project": { "description": "The tenant." },
        "session": { "description": "The session, a UUID." },
        "stream": { "description": "The exec." },
        "execKind": {
            "description": "What the message is.",
            "enum": Kind::ALL.map(Kind::token),
        },
        "sessionKind": {
            "description": "What the message is.",
            "enum": SessionKind::ALL.map(SessionKind::token),
        },
    })
}

fn messages() -> Value {
    let mut messages = Map::new();
    for kind in Kind::ALL {
        let name = exec_name(kind);
        let stored = exec_headers(kind, stored_headers());
        messages.insert(name.clone(), message(&name, kind.token(), &stored));
        let live = exec_headers(kind, live_headers());
        let live = message(&name, kind.token(), &live);
        messages.insert(format!("live-{name}"), live);
    }
    for kind in SessionKind::ALL {
        let name = session_name(kind);
        messages.insert(
            name.clone(),
            message(&name, kind.token(), &stored_headers()),
        );
    }
    messages.insert(
        ORDER_NAME.to_owned(),
        message(ORDER_NAME, "order", &stored_headers()),
    );
    messages.insert(
        TRAIL_NAME.to_owned(),
        message(TRAIL_NAME, "trail", &stored_headers()),
    );
    Value::Object(messages)
}

fn message(name: &str, kind: &str, headers: &Value) -> Value {
    json!({
        "name": kind,
        "title": name,
        "contentType": "application/json",
        "headers": headers,
        "payload": {
            "schemaFormat": PAYLOAD_FORMAT,
            "schema": { "$ref": format!("./schemas/{name}.json") },
        },
    })
}

/// Messages that begin something say in which span of a trace.
fn exec_headers(kind: Kind, mut headers: Value) -> Value {
    if kind.begins_span() {
        headers["properties"][TRACE_PARENT] =
            header("The span that it belongs to, as W3C Trace Context; telemetry, and no fact.");
    }
    headers
}

/// What its writer gave the message. Nothing in them is a fact that is not in the payload.
fn stored_headers() -> Value {
    json!({
        "type": "object",
        "properties": {
            "Nats-Expected-Last-Subject-Sequence": header("The condition under which it was stored."),
            "Nats-Expected-Last-Subject-Sequence-Subject": header("Among which subjects."),
            "Nats-TTL": header("When it leaves the log, as a duration in seconds: `604800s`."),
        },
    })
}

/// What the server adds when it publishes again what it has stored.
fn live_headers() -> Value {
    let mut headers = stored_headers();
    headers["properties"]["Nats-Stream"] = header("The stream that stored it.");
    headers["properties"]["Nats-Subject"] = header("The subject under which it is stored.");
    headers["properties"]["Nats-Sequence"] = header("Its sequence in the stream.");
    headers["properties"]["Nats-Time-Stamp"] = header("When it was stored.");
    headers["properties"]["Nats-Last-Sequence"] =
        header("Sequence of the message before it on the same subject; 0 for none.");
    headers["required"] = json!(["Nats-Stream", "Nats-Subject", "Nats-Sequence"]);
    headers
}

fn header(about: &str) -> Value {
    json!({ "type": "string", "description": about })
}

fn receive(channel: &str, about: &str) -> Value {
    let channel = format!("#/channels/{channel}");
    json!({ "action": "receive", "channel": { "$ref": channel }, "summary": about })
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}
