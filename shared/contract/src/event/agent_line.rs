//! A line of an agent's standard output: one JSON object, carried as it was printed.
//!
//! The data of a `claude_event` or `codex_event` is `{"event":LINE}`. LINE holds the line's own bytes, blanks
//! around the object included; only a raw CR, which JSON allows between tokens alone, is a space
//! instead, because a CR ends a line of an SSE frame. `"partial":true` beside it means the same
//! as in `output`: no `\n` follows, the output ended without it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::value::RawValue;

const DATA_BEGIN: &str = "{\"event\":";
const DATA_END: &str = "}";
const PARTIAL_DATA_END: &str = ",\"partial\":true}";

/// A line that is a JSON object, without its `\n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentLine<'a> {
    text: Cow<'a, str>,
    partial: bool,
}

impl<'a> AgentLine<'a> {
    /// The line, if it is a JSON object. `partial`: no `\n` follows it.
    #[must_use]
    pub fn parse(line: &'a [u8], partial: bool) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        let begins_object = text
            .trim_start_matches([' ', '\t', '\r', '\n'])
            .starts_with('{');
        if !begins_object || text.contains('\n') {
            return None;
        }
        serde_json::from_str::<&RawValue>(text).ok()?;
        let text = if text.contains('\r') {
            Cow::Owned(text.replace('\r', " "))
        } else {
            Cow::Borrowed(text)
        };
        Some(Self { text, partial })
    }

    /// The line in the data of an agent's event; `None` if the data is of another shape.
    #[must_use]
    pub fn of_data(data: &'a str) -> Option<Self> {
        let rest = data.strip_prefix(DATA_BEGIN)?;
        // A line ends with `}` or a blank, so the longer end cannot be a part of it.
        if let Some(line) = rest.strip_suffix(PARTIAL_DATA_END) {
            return Some(Self {
                text: Cow::Borrowed(line),
                partial: true,
            });
        }
        rest.strip_suffix(DATA_END).map(|line| Self {
            text: Cow::Borrowed(line),
            partial: false,
        })
    }

    /// The JSON text, without the `\n`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the output ended without the line's `\n`.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.partial
    }

    /// How many bytes of the output it stands for, `\n` included.
    #[must_use]
    pub fn source_bytes(&self) -> u64 {
        self.text.len() as u64 + u64::from(!self.partial)
    }

    /// The bytes that this event stands for, `\n` included.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.text.as_bytes().to_vec();
        if !self.partial {
            bytes.push(b'\n');
        }
        bytes
    }

    /// The data of its event as JSON text.
    #[must_use]
    pub fn data(&self) -> String {
        [DATA_BEGIN, &self.text, self.data_end()].concat()
    }

    /// Bytes of [`AgentLine::data`].
    #[must_use]
    pub fn data_bytes(&self) -> usize {
        DATA_BEGIN.len() + self.text.len() + self.data_end().len()
    }

    pub(super) fn write_data(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(DATA_BEGIN.as_bytes());
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(self.data_end().as_bytes());
    }

    const fn data_end(&self) -> &'static str {
        if self.partial {
            PARTIAL_DATA_END
        } else {
            DATA_END
        }
    }
}

impl JsonSchema for AgentLine<'_> {
    fn schema_name() -> Cow<'static, str> {
        "AgentLine".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A line of an agent's standard output that is a JSON object.",
            "type": "object",
            "properties": {
                "event": {
                    "description": "The object, as the agent printed it.",
                    "type": "object"
                },
                "partial": {
                    "description": "No newline follows: the output ended without it.",
                    "type": "boolean"
                }
            },
            "required": ["event"]
        })
    }
}
