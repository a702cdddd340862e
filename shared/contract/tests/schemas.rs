//! What is published about the messages is what the types say, and holds for every golden
//! payload; and it can be violated.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../examples/schemas/asyncapi.rs"]
mod asyncapi;
#[path = "../examples/schemas/documents.rs"]
mod documents;

use std::collections::BTreeSet;
use std::fs;

use boon::{Compiler, Draft, Schemas};
use rdev_contract::id::{PodName, ProjectId, SessionId, StreamId};
use rdev_contract::published::{ASYNCAPI, SCHEMAS, schema};
use schemars::JsonSchema;
use serde_json::{Value, json};

const WRITE_ANEW: &str = "what is published is not what the types say: run \
    `cargo run -p rdev-contract --example schemas`, and look whether it only adds";

/// Whether the value is as the schema says; why not, if not.
fn check(schema: &Value, value: &Value) -> Result<(), String> {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.set_default_draft(Draft::V2020_12);
    compiler.enable_format_assertions();
    compiler
        .add_resource("schema.json", schema.clone())
        .map_err(|error| error.to_string())?;
    let index = compiler
        .compile("schema.json", &mut schemas)
        .map_err(|error| error.to_string())?;
    schemas
        .validate(value, index)
        .map_err(|error| format!("{error:#}"))
}

fn published(name: &str) -> Value {
    serde_json::from_str(schema(name).unwrap().json).unwrap()
}

fn golden() -> Vec<(String, Value)> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let entries = fs::read_dir(directory).unwrap();
    let payloads = entries.map(|entry| {
        let path = entry.unwrap().path();
        // Half of a surrogate pair: the log keeps what the CLI prints, a tree of values cannot.
        let text = fs::read_to_string(&path).unwrap().replace(r"\ud83d", "");
        let payload: Value = serde_json::from_str(&text).unwrap();
        let name = match payload["kind"].as_str() {
            None if payload.get("number").is_none() => "trail-order".to_owned(),
            None => "control-order".to_owned(),
            Some(kind) if payload.get("stream").is_some() => format!("exec-{kind}"),
            Some(kind) => format!("session-{kind}"),
        };
        (name, payload)
    });
    payloads.collect()
}

#[test]
fn the_files_are_what_the_types_say() {
    let documents = documents::documents();
    let names: Vec<_> = SCHEMAS.iter().map(|schema| schema.name).collect();
    assert_eq!(names, documents.keys().collect::<Vec<_>>(), "{WRITE_ANEW}");
    for (name, document) in &documents {
        assert_eq!(&published(name), document, "{name}: {WRITE_ANEW}");
    }
    let asyncapi: Value = serde_json::from_str(ASYNCAPI).unwrap();
    assert_eq!(asyncapi, asyncapi::document(), "{WRITE_ANEW}");
}

#[test]
fn no_file_is_left_over() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");
    for entry in fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        assert!(schema(file.trim_end_matches(".json")).is_some(), "{file}");
    }
}

#[test]
fn golden_payloads_are_valid() {
    let mut seen = BTreeSet::new();
    for (name, payload) in golden() {
        check(&published(&name), &payload).unwrap_or_else(|error| panic!("{name}: {error}"));
        seen.insert(name);
    }
    let messages = SCHEMAS.iter().map(|schema| schema.name);
    let messages: Vec<_> = messages.filter(|name| !name.starts_with("sse-")).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), messages);
}

/// Whatever a schema requires, a payload without it is refused; whatever it does not know passes.
#[test]
fn schemas_refuse_what_lacks_and_pass_what_is_more() {
    for (name, payload) in golden() {
        let schema = published(&name);
        for field in schema["required"].as_array().unwrap() {
            let mut less = payload.clone();
            less.as_object_mut()
                .unwrap()
                .remove(field.as_str().unwrap());
            assert!(check(&schema, &less).is_err(), "{name} without {field}");
        }
        let mut more = payload.clone();
        more["region"] = json!({ "x": [1] });
        check(&schema, &more).unwrap();
        if payload.get("kind").is_some() {
            let mut other = payload.clone();
            other["kind"] = json!("video");
            assert!(check(&schema, &other).is_err(), "{name} of another kind");
        }
    }
}

#[test]
fn schemas_refuse_wrong_values() {
    let wrong = [
        ("exec-complete", "/events/0/data/outcome", json!("fine")),
        ("exec-complete", "/events/0/data/exit_code", json!("0")),
        ("exec-output", "/events/0/data/stream", json!("stdin")),
        ("exec-output", "/events/0/type", json!("outputs")),
        ("exec-claude", "/events/0/data/event", json!([])),
        ("exec-command", "/data/type", json!("perl")),
        ("exec-started", "/at", json!("yesterday")),
        ("exec-started", "/prev", json!(-1)),
        ("control-order", "/order/signal", json!("TRAP")),
        ("control-order", "/order/offset", json!(-1)),
        ("control-order", "/stdin/to", json!(null)),
        ("session-created", "/session", json!("1")),
        ("session-linked", "/data/command_seq", json!(null)),
    ];
    for (name, place, value) in wrong {
        let has_it =
            |(of, payload): &(String, Value)| of == name && payload.pointer(place).is_some();
        let (_, mut payload) = golden().into_iter().find(has_it).unwrap();
        *payload.pointer_mut(place).unwrap() = value;
        assert!(check(&published(name), &payload).is_err(), "{name}{place}");
    }
}

/// What the schema of an id takes is what parsing takes.
#[test]
fn ids_are_described_as_they_are_parsed() {
    fn agree<T: JsonSchema + std::str::FromStr>(texts: &[&str]) {
        let schema = schemars::schema_for!(T).to_value();
        for text in texts {
            let described = check(&schema, &json!(text)).is_ok();
            assert_eq!(described, text.parse::<T>().is_ok(), "{text:?}");
        }
    }
    let long = "a".repeat(63);
    let longer = "a".repeat(64);
    let longest = "a".repeat(65);
    let labels = [long.as_str(); 4].join(".");
    let texts = [
        "",
        "a",
        "0-9",
        "a-",
        "-a",
        "A",
        "a_b",
        "a.b",
        "a..b",
        ".",
        "é",
        "a b",
        "a\n",
        "*",
        ">",
        &long,
        &longer,
        &longest,
        &labels,
        "01935bd0-7a3c-7000-8000-5f1e2d3c4b5a",
        "01935BD0-7A3C-7000-8000-5F1E2D3C4B5A",
        "01935bd07a3c700080005f1e2d3c4b5a",
    ];
    agree::<ProjectId>(&texts);
    agree::<StreamId>(&texts);
    agree::<PodName>(&texts);
    agree::<SessionId>(&texts);
}

/// References lead somewhere: inside the document, or to a schema beside it.
#[test]
fn references_of_the_asyncapi_document_resolve() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members
                    .values()
                    .for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document: Value = serde_json::from_str(ASYNCAPI).unwrap();
    let mut found = Vec::new();
    references(&document, &mut found);
    let mut schemas = BTreeSet::new();
    for reference in found {
        if let Some(pointer) = reference.strip_prefix('#') {
            assert!(document.pointer(pointer).is_some(), "{reference}");
        } else {
            let name = reference.strip_prefix("./schemas/").unwrap();
            let name = name.strip_suffix(".json").unwrap();
            schemas.insert(schema(name).unwrap().name);
        }
    }
    let messages = SCHEMAS.iter().map(|schema| schema.name);
    let messages: BTreeSet<_> = messages.filter(|name| !name.starts_with("sse-")).collect();
    assert_eq!(schemas, messages);
}
