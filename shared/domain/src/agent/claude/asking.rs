//! How the CLI asks: `--permission-prompt-tool stdio`, as the public SDKs use it. It prints a
//! `control_request` with the subtype `can_use_tool`, and waits for a `control_response` on its standard
//! input; `control_cancel_request` takes the question back. Input is JSON lines then, the prompt is the
//! first, and the CLI does not end before its input does.

use rdev_contract::event::{Answer, Decision};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::asking::{APPROVAL_ID_MAX_BYTES, Asked, Asking};
use super::super::json::{Fields, field, object, text_field};

pub(super) const ARGUMENTS: [&str; 4] = [
    "--input-format",
    "stream-json",
    "--permission-prompt-tool",
    "stdio",
];
/// Longer names are none: what is told of a question has to fit into one message of the log.
const NAME_MAX_BYTES: usize = 1_024;
/// What the agent is told if nobody says why not.
const DENIED: &str = "The user does not want this.";

/// The first line of its input.
pub(super) fn prompt(prompt: &str) -> Vec<u8> {
    let line = json!({
        "type": "user",
        "session_id": "",
        "message": { "role": "user", "content": prompt },
        "parent_tool_use_id": null,
    });
    format!("{line}\n").into_bytes()
}

#[derive(Serialize)]
#[serde(tag = "behavior", rename_all = "lowercase")]
enum Behavior<'a> {
    Allow {
        /// Versions before 2.1 want it even where it is what they asked with.
        #[serde(rename = "updatedInput")]
        updated_input: Input<'a>,
        #[serde(rename = "updatedPermissions", skip_serializing_if = "Option::is_none")]
        updated_permissions: Option<&'a [Value]>,
    },
    Deny {
        message: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        interrupt: bool,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Input<'a> {
    Asked(&'a RawValue),
    Updated(&'a Map<String, Value>),
}

#[derive(Serialize)]
struct Success<'a> {
    subtype: &'static str,
    request_id: &'a str,
    response: Behavior<'a>,
}

#[derive(Serialize)]
struct Response<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    response: Success<'a>,
}

/// A line of its input. The same question and answer give the same bytes, in every build: what an
/// executor before has given is skipped by their number.
pub(super) fn answer(id: &str, input: &RawValue, answer: &Answer) -> Vec<u8> {
    let response = match answer.decision {
        Decision::Allow => Behavior::Allow {
            updated_input: match &answer.updated_input {
                Some(input) => Input::Updated(input),
                None => Input::Asked(input),
            },
            updated_permissions: answer.updated_permissions.as_deref(),
        },
        Decision::Deny | Decision::Withdrawn => Behavior::Deny {
            message: match answer.message.as_str() {
                "" => DENIED,
                message => message,
            },
            interrupt: answer.interrupt,
        },
    };
    let line = Response {
        kind: "control_response",
        response: Success {
            subtype: "success",
            request_id: id,
            response,
        },
    };
    // Texts and JSON always can be written.
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// What a line says of a question; other requests of the CLI are answered by SDKs alone, which have
/// asked it for them.
pub(super) fn read(kind: &str, fields: &Fields<'_>) -> Option<Asking> {
    let id = || text_field(fields, "request_id").filter(|id| id.len() <= APPROVAL_ID_MAX_BYTES);
    match kind {
        "control_cancel_request" => Some(Asking::Withdrawn(id()?)),
        "control_request" => {
            let request = object(fields, "request")?;
            if text_field(&request, "subtype")? != "can_use_tool" {
                return None;
            }
            let name = |key| text_field(&request, key).filter(|name| name.len() <= NAME_MAX_BYTES);
            let list = field(&request, "permission_suggestions");
            Some(Asking::Asked(Box::new(Asked {
                id: id()?,
                tool_name: name("tool_name")?,
                tool_use_id: name("tool_use_id").unwrap_or_default(),
                input: field(&request, "input")?.to_owned(),
                suggestions: list
                    .filter(|list| list.get().starts_with('['))
                    .map(RawValue::to_owned),
            })))
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "asking_tests.rs"]
mod tests;
