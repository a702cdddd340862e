//! The JSON Schema of everything an outside consumer reads, made from the types that write it.
//!
//! A schema accepts what any version of rdev has written: a field that was added later is not
//! required. It forbids no further fields, because fields are only ever added.

use std::collections::BTreeMap;

use rdev_contract::agent::Agent;
use rdev_contract::control::ControlMessage;
use rdev_contract::envelope::{Chain, Head};
use rdev_contract::event::{
    Admitted, AgentLine, Approval, ApprovalAnswered, Command, Complete, Fragment, Kind, Resumed,
    Started, TerminalSize, Text, event_name,
};
use rdev_contract::id::{ProjectId, SessionId};
use rdev_contract::queue::QueuePlace;
use rdev_contract::session::{
    CodexLinked, Created, Ended, IdleWarning, Linked, SessionKind, SessionPod,
};
use rdev_contract::sse::{Connected, Gap, Heartbeat, Reconnect, SessionNews, frame_name};
use rdev_contract::trail::TrailMessage;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// Schemas by name; each is published as `{name}.json`.
pub(crate) fn documents() -> BTreeMap<String, Value> {
    let execs = Kind::ALL.into_iter().map(exec_message);
    let sessions = SessionKind::ALL.into_iter().map(session_message);
    execs
        .chain(sessions)
        .chain(frames())
        .chain([order(), trail()])
        .collect()
}

/// The name of the schema of an exec's messages of this kind.
pub(crate) fn exec_name(kind: Kind) -> String {
    format!("exec-{kind}")
}

/// The name of the schema of a session's messages of this kind.
pub(crate) fn session_name(kind: SessionKind) -> String {
    format!("session-{kind}")
}

/// The name of the schema of an order.
pub(crate) const ORDER_NAME: &str = "control-order";

/// Orders are of one shape, whatever is wanted.
fn order() -> (String, Value) {
    let mut generator = generator();
    let schema = ControlMessage::json_schema(&mut generator);
    let about = "An order for an exec that is queued or runs.";
    finish(ORDER_NAME.to_owned(), about, schema, generator)
}

/// The name of the schema of an entry of the trail.
pub(crate) const TRAIL_NAME: &str = "trail-order";

fn trail() -> (String, Value) {
    let mut generator = generator();
    let schema = TrailMessage::json_schema(&mut generator);
    let about = "Who is about to give an order for an exec.";
    finish(TRAIL_NAME.to_owned(), about, schema, generator)
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().into_generator()
}

/// The head with its kind, the chain, and what stands in `data` or `events`.
fn exec_message(kind: Kind) -> (String, Value) {
    let mut generator = generator();
    let mut schema = Head::json_schema(&mut generator);
    property(&mut schema, "kind", json!({ "const": kind.token() }));
    property(&mut schema, "chain", part::<Chain>(&mut generator));
    let (key, body) = match kind {
        Kind::Command => ("data", part::<Command>(&mut generator)),
        Kind::Admitted => ("data", part::<Admitted>(&mut generator)),
        Kind::Started => ("data", part::<Started>(&mut generator)),
        Kind::Resumed => ("data", part::<Resumed>(&mut generator)),
        Kind::Output => ("events", events(&output_events(&mut generator))),
        Kind::Claude => (
            "events",
            events(&agent_events(&mut generator, Agent::Claude)),
        ),
        Kind::Codex => (
            "events",
            events(&agent_events(&mut generator, Agent::Codex)),
        ),
        Kind::Approval => ("events", events(&approval_events(&mut generator))),
        Kind::Complete => {
            let complete = event::<Complete>(&mut generator, event_name::COMPLETE);
            ("events", events(&[complete]))
        }
    };
    property(&mut schema, key, body);
    if kind.is_numbered() {
        require(&mut schema, "first");
        require(&mut schema, "to");
    }
    let about = format!("A message of the kind `{kind}` of an exec.");
    finish(exec_name(kind), &about, schema, generator)
}

/// The same head in every fact of a session.
fn session_message(kind: SessionKind) -> (String, Value) {
    let mut generator = generator();
    let mut schema = Schema::try_from(json!({ "type": "object" })).unwrap_or_default();
    let mut version = part::<u32>(&mut generator);
    version["description"] = "Version of the payload's shape.".into();
    property(&mut schema, "v", version);
    property(&mut schema, "project", part::<ProjectId>(&mut generator));
    property(&mut schema, "session", part::<SessionId>(&mut generator));
    property(&mut schema, "at", part::<jiff::Timestamp>(&mut generator));
    property(&mut schema, "kind", json!({ "const": kind.token() }));
    let data = match kind {
        SessionKind::Created => part::<Created>(&mut generator),
        SessionKind::Linked => part::<Linked>(&mut generator),
        SessionKind::CodexLinked => part::<CodexLinked>(&mut generator),
        SessionKind::Pod => part::<SessionPod>(&mut generator),
        SessionKind::IdleWarning => part::<IdleWarning>(&mut generator),
        SessionKind::Ended => part::<Ended>(&mut generator),
    };
    property(&mut schema, "data", data);
    let about = format!("A message of the kind `{kind}` of a session.");
    finish(session_name(kind), &about, schema, generator)
}

/// The data of server-sent events.
fn frames() -> [(String, Value); 15] {
    [
        frame::<Connected>(frame_name::CONNECTED),
        frame::<Map<String, Value>>(frame_name::CAUGHT_UP),
        frame::<Heartbeat>(frame_name::HEARTBEAT),
        frame::<Gap>(frame_name::GAP),
        frame::<QueuePlace>(frame_name::QUEUED),
        frame::<SessionNews>(frame_name::SESSION),
        frame::<Reconnect>(frame_name::RECONNECT),
        frame::<Text<'_>>(event_name::OUTPUT),
        frame::<Text<'_>>(event_name::ERROR),
        frame::<AgentLine<'_>>(event_name::CLAUDE_EVENT),
        frame::<AgentLine<'_>>(event_name::CODEX_EVENT),
        frame::<TerminalSize>(event_name::RESIZED),
        frame::<Approval>(event_name::APPROVAL),
        frame::<ApprovalAnswered>(event_name::APPROVAL_ANSWERED),
        frame::<Complete>(event_name::COMPLETE),
    ]
}

fn frame<T: JsonSchema>(name: &str) -> (String, Value) {
    let mut generator = generator();
    let schema = T::json_schema(&mut generator);
    let about = format!("The data of the server-sent event `{name}`.");
    finish(format!("sse-{name}"), &about, schema, generator)
}

fn output_events(generator: &mut SchemaGenerator) -> [Value; 2] {
    [
        event::<Text<'_>>(generator, event_name::OUTPUT),
        event::<TerminalSize>(generator, event_name::RESIZED),
    ]
}

fn approval_events(generator: &mut SchemaGenerator) -> [Value; 2] {
    [
        event::<Approval>(generator, event_name::APPROVAL),
        event::<ApprovalAnswered>(generator, event_name::APPROVAL_ANSWERED),
    ]
}

/// A long line's parts have `fragment` in the place of `data`.
fn agent_events(generator: &mut SchemaGenerator, agent: Agent) -> [Value; 4] {
    let fragment = part::<Fragment<'_>>(generator);
    [
        event::<AgentLine<'_>>(generator, agent.event_name()),
        event_with(agent.event_name(), "fragment", &fragment),
        event::<Text<'_>>(generator, event_name::OUTPUT),
        event::<Text<'_>>(generator, event_name::ERROR),
    ]
}

fn events(items: &[Value]) -> Value {
    let items = match items {
        [only] => only.clone(),
        several => json!({ "oneOf": several }),
    };
    json!({
        "description": "Numbered from `first` on.",
        "type": "array",
        "minItems": 1,
        "items": items,
    })
}

fn event<T: JsonSchema>(generator: &mut SchemaGenerator, name: &str) -> Value {
    let data = part::<T>(generator);
    event_with(name, "data", &data)
}

fn event_with(name: &str, key: &str, content: &Value) -> Value {
    json!({
        "type": "object",
        "properties": { "type": { "const": name }, key: content },
        "required": ["type", key],
    })
}

fn part<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// Adds a property that every message has.
fn property(schema: &mut Schema, name: &str, value: Value) {
    let properties = schema.ensure_object().entry("properties");
    let properties = properties.or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert(name.to_owned(), value);
    }
    require(schema, name);
}

fn require(schema: &mut Schema, name: &str) {
    let required = schema.ensure_object().entry("required");
    let required = required.or_insert_with(|| json!([]));
    if let Some(required) = required.as_array_mut()
        && !required.iter().any(|there| there == name)
    {
        required.push(name.into());
    }
}

fn finish(
    name: String,
    about: &str,
    mut schema: Schema,
    mut generator: SchemaGenerator,
) -> (String, Value) {
    let dialect = generator.settings().meta_schema.clone();
    let definitions = generator.take_definitions(true);
    let object = schema.ensure_object();
    object.insert("$schema".to_owned(), json!(dialect));
    object.insert("title".to_owned(), json!(name));
    object.insert("description".to_owned(), json!(about));
    if !definitions.is_empty() {
        object.insert("$defs".to_owned(), Value::Object(definitions));
    }
    let mut value = schema.to_value();
    plain(&mut value);
    (name, value)
}

/// Descriptions are the types' own comments; what links there is plain text here, on one line.
fn plain(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, member) in members.iter_mut() {
                match member.as_str().filter(|_| key == "description") {
                    Some(text) => {
                        let text = text.replace("[`", "`").replace("`]", "`");
                        *member = text.replace('\n', " ").into();
                    }
                    None => plain(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
