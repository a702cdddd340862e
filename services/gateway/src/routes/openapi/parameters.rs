//! The parameters of paths, queries and heads, each described once.

use serde_json::{Map, Value, json};

use crate::routes::parameter;

/// Where a parameter is, and what it is called there.
#[derive(Clone, Copy)]
enum Place {
    Path,
    Query(&'static str),
    /// It must be there.
    Needed(&'static str),
    Header(&'static str),
}

/// What a parameter takes.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Pattern(&'static str),
    Time,
    Truth,
    Number(u64, u64),
    Offset,
    OneOf(&'static [&'static str]),
}

use Kind::{Number, Offset, OneOf, Pattern, Text, Time, Truth};
use Place::{Header, Needed, Path, Query};

const PROJECT: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
const UUID: &str = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";
const STREAM: &str = "^[A-Za-z0-9_-]{1,64}$";

/// By the key that `operations` names them by; those of paths have the name they have there.
const ALL: &[(&str, Place, Kind, &str)] = &[
    (parameter::PROJECT, Path, Pattern(PROJECT), "The tenant."),
    (parameter::SESSION, Path, Pattern(UUID), "The session."),
    (parameter::STREAM, Path, Pattern(STREAM), "The exec."),
    (
        parameter::CONVERSATION,
        Path,
        Pattern(UUID),
        "The conversation.",
    ),
    (
        parameter::KEY,
        Path,
        Pattern("^[0-9a-f]{16}$"),
        "The id of the key.",
    ),
    (
        parameter::APPROVAL,
        Path,
        Pattern("^.{1,256}$"),
        "The id of the question.",
    ),
    (
        parameter::SCHEMA,
        Path,
        Pattern("^[a-z_-]+\\.json$"),
        "The name of the schema, and `.json`.",
    ),
    (
        parameter::FILE,
        Path,
        Pattern("^[a-z.-]+$"),
        "The name of the file.",
    ),
    (
        parameter::DIRECTORY,
        Path,
        Pattern("^[a-z]+$"),
        "The directory that it is in.",
    ),
    (
        "times",
        Query("times"),
        Truth,
        "The data of each event says first when it was written, as `at`.",
    ),
    ("limit", Query("limit"), Number(1, 200), "Items on a page."),
    (
        "cursor",
        Query("cursor"),
        Text,
        "`next_cursor` of the page before.",
    ),
    ("since", Query("since"), Time, "Created at or after."),
    ("until", Query("until"), Time, "Created before."),
    (
        "status_of_session",
        Query("status"),
        OneOf(&["active", "ended"]),
        "Only these.",
    ),
    (
        "status_of_exec",
        Query("status"),
        OneOf(&["queued", "running", "complete"]),
        "Only these.",
    ),
    (
        "status_of_approval",
        Query("status"),
        OneOf(&["pending", "allowed", "denied", "withdrawn", "unanswered"]),
        "Only these.",
    ),
    (
        "outcome",
        Query("outcome"),
        OneOf(&[
            "exited",
            "signaled",
            "timed_out",
            "canceled",
            "lost",
            "rejected",
        ]),
        "Only those that ended so.",
    ),
    (
        "session_id",
        Query("session"),
        Pattern(UUID),
        "Only of this session.",
    ),
    (
        "as_of",
        Query("as_of"),
        Text,
        "A place in the log that the answer must include.",
    ),
    (
        "wait",
        Query("wait"),
        Number(0, 60),
        "Seconds to wait for news.",
    ),
    ("cancel", Query("cancel"), Truth, "Cancel what runs, too."),
    (
        "stream_id",
        Query("stream_id"),
        Pattern(STREAM),
        "Only of this exec.",
    ),
    (
        "last_event_id",
        Query("last_event_id"),
        Text,
        "Go on behind this event.",
    ),
    (
        "tail",
        Query("tail"),
        Number(0, 1000),
        "Begin with the last so many events.",
    ),
    ("strict", Query("strict"), Truth, "410 in place of a gap."),
    (
        "stderr",
        Query("stderr"),
        OneOf(&["error", "output"]),
        "The name of events of an agent's standard error.",
    ),
    (
        "output_of",
        Query("stream"),
        OneOf(&["stdout", "stderr"]),
        "Which stream.",
    ),
    ("at", Query("at"), Text, "As it was after this event."),
    (
        "offset",
        Needed("offset"),
        Offset,
        "Where in the input the body begins.",
    ),
    ("end", Query("end"), Truth, "Nothing comes after it."),
    (
        "last_event_id_header",
        Header("Last-Event-ID"),
        Text,
        "As `last_event_id`, and wins over it.",
    ),
    (
        "idempotency_key",
        Header("Idempotency-Key"),
        Text,
        "The same key is the same command.",
    ),
    ("range", Header("Range"), Text, "One range of bytes."),
];

/// The parameters that a path has.
pub(super) fn of_path(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// Whether it is described.
#[cfg(test)]
pub(super) fn is_known(key: &str) -> bool {
    ALL.iter().any(|(known, ..)| *known == key)
}

pub(super) fn components() -> Value {
    let described = ALL.iter().map(|(key, place, kind, about)| {
        let (place, name, is_required) = match *place {
            Path => ("path", *key, true),
            Query(name) => ("query", name, false),
            Needed(name) => ("query", name, true),
            Header(name) => ("header", name, false),
        };
        let value = json!({
            "name": name, "in": place, "required": is_required, "description": about,
            "schema": schema(*kind),
        });
        ((*key).to_owned(), value)
    });
    Value::Object(described.collect::<Map<_, _>>())
}

fn schema(kind: Kind) -> Value {
    match kind {
        Text => json!({ "type": "string" }),
        Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
        Time => json!({ "type": "string", "format": "date-time" }),
        Truth => json!({ "type": "boolean" }),
        Number(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Offset => json!({ "type": "integer", "minimum": 0 }),
        OneOf(values) => json!({ "type": "string", "enum": values }),
    }
}
