//! What a run of the Claude CLI said about itself: its session id and its last result.
//!
//! Used by the executor (success, the session to link) and by the projector (the assistant's
//! message, cost and usage). Tolerant: unknown events are passed over, and everything that is
//! not understood is kept as the JSON it came as.
//!
//! Invariant: exit code 0 alone is never a success, and an id that no `init` confirmed is never
//! told: `--resume` of an unknown id is answered with a result that echoes the bad id.

use std::collections::BTreeMap;
use std::fmt;

use rdev_contract::event::{ClaudeLine, RawEvent, event_name};
use rdev_contract::id::ClaudeSessionId;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::fragment::FragmentJoiner;

/// Keeps `complete` small: it is a fact, it must fit when the log is nearly full.
pub const FAILURE_MAX_BYTES: usize = 1000;

/// What the lines seen so far say.
#[derive(Debug, Clone, Default)]
pub struct ClaudeTally {
    initialised: bool,
    session_id: Option<ClaudeSessionId>,
    version: Option<String>,
    result: Option<ClaudeResult>,
    joiner: FragmentJoiner,
}

/// The last `result` event. Numbers are kept as the JSON text they came as: what they count
/// differs between versions of the CLI.
#[derive(Debug, Clone)]
pub struct ClaudeResult {
    /// `success`, `error_max_turns`, `error_during_execution` …
    pub subtype: String,
    /// An API error comes as subtype `success` with this set.
    pub is_error: bool,
    /// The assistant's text; absent when the run was interrupted. May hold NUL characters.
    pub text: Option<String>,
    /// What went wrong, in words.
    pub errors: Vec<String>,
    /// `total_cost_usd`.
    pub total_cost_usd: Option<Box<RawValue>>,
    /// `usage`.
    pub usage: Option<Box<RawValue>>,
    /// `modelUsage`.
    pub model_usage: Option<Box<RawValue>>,
    /// `model_usage_since_last_result`: undocumented, newer versions have it.
    pub usage_since_last: Option<Box<RawValue>>,
    /// `result_index`: 0 for the first result of the process.
    pub index: Option<Box<RawValue>>,
    /// `num_turns`.
    pub num_turns: Option<Box<RawValue>>,
    /// `duration_ms`.
    pub duration_ms: Option<Box<RawValue>>,
}

pub(crate) type Fields<'a> = BTreeMap<LossyText, &'a RawValue>;

impl ClaudeTally {
    /// Takes in one line of the CLI's standard output. What is no JSON object is passed over.
    pub fn observe(&mut self, line: &str) {
        let Ok(fields) = serde_json::from_str::<Fields<'_>>(line) else {
            return;
        };
        let kind = text_field(&fields, "type").unwrap_or_default();
        let subtype = text_field(&fields, "subtype").unwrap_or_default();
        if kind == "system" && subtype == "init" {
            self.initialised = true;
            self.version = text_field(&fields, "claude_code_version");
        }
        if self.initialised
            && let Some(id) = session_id(&fields)
        {
            // The latest one: a slash command can begin another session in the middle of a run.
            self.session_id = Some(id);
        }
        if kind == "result" {
            self.result = Some(ClaudeResult::of(subtype, &fields));
        }
    }

    /// Takes in events as they stand in the log, in order: what a take-over and the projector
    /// have. Fragments are joined, other events passed over.
    pub fn observe_events(&mut self, events: &[RawEvent<'_>]) {
        for event in events {
            if event.name != event_name::CLAUDE_EVENT {
                continue;
            }
            if let Some(fragment) = &event.fragment {
                if let Ok(Some(data)) = self.joiner.push(fragment) {
                    self.observe_data(&data);
                }
            } else if let Some(data) = event.data {
                self.observe_data(data.get());
            }
        }
    }

    fn observe_data(&mut self, data: &str) {
        if let Some(line) = ClaudeLine::of_data(data) {
            self.observe(line.text());
        }
    }

    /// The session that a later run can resume.
    #[must_use]
    pub const fn session_id(&self) -> Option<ClaudeSessionId> {
        self.session_id
    }

    /// The version of the CLI, as its `init` tells it.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The last result.
    #[must_use]
    pub const fn result(&self) -> Option<&ClaudeResult> {
        self.result.as_ref()
    }

    /// Whether a process that ended with this exit code did what it was asked.
    #[must_use]
    pub fn is_success(&self, exit_code: i32) -> bool {
        exit_code == 0
            && self
                .result
                .as_ref()
                .is_some_and(|result| result.subtype == "success" && !result.is_error)
    }

    /// Why it was no success, in words and in at most [`FAILURE_MAX_BYTES`]; empty if the last
    /// result was one.
    #[must_use]
    pub fn failure(&self) -> String {
        let Some(result) = &self.result else {
            return "claude ended without a result".to_owned();
        };
        if result.subtype == "success" && !result.is_error {
            return String::new();
        }
        let text = result.text.as_deref().filter(|text| !text.is_empty());
        let words = match text {
            Some(text) if result.is_error => text.to_owned(),
            Some(_) | None if !result.errors.is_empty() => result.errors.join("; "),
            Some(_) | None => result.subtype.clone(),
        };
        bounded(words)
    }
}

impl ClaudeResult {
    fn of(subtype: String, fields: &Fields<'_>) -> Self {
        let raw = |name: &str| field(fields, name).map(RawValue::to_owned);
        Self {
            subtype,
            is_error: field(fields, "is_error").is_some_and(|value| value.get() == "true"),
            text: text_field(fields, "result"),
            errors: field(fields, "errors")
                .and_then(|value| serde_json::from_str::<Vec<LossyText>>(value.get()).ok())
                .unwrap_or_default()
                .into_iter()
                .map(|text| text.0)
                .collect(),
            total_cost_usd: raw("total_cost_usd"),
            usage: raw("usage"),
            model_usage: raw("modelUsage"),
            usage_since_last: raw("model_usage_since_last_result"),
            index: raw("result_index"),
            num_turns: raw("num_turns"),
            duration_ms: raw("duration_ms"),
        }
    }
}

pub(crate) fn field<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a RawValue> {
    fields.get(name).copied()
}

pub(crate) fn text_field(fields: &Fields<'_>, name: &str) -> Option<String> {
    text_of(field(fields, name)?)
}

/// The text, if it is one.
pub(crate) fn text_of(value: &RawValue) -> Option<String> {
    serde_json::from_str::<LossyText>(value.get())
        .ok()
        .map(|text| text.0)
}

fn session_id(fields: &Fields<'_>) -> Option<ClaudeSessionId> {
    let text = text_field(fields, "session_id")?;
    Uuid::try_parse(&text).ok().map(ClaudeSessionId::new)
}

pub(crate) fn bounded(mut text: String) -> String {
    if text.len() > FAILURE_MAX_BYTES {
        text.truncate(text.floor_char_boundary(FAILURE_MAX_BYTES));
        text.push('…');
    }
    text
}

/// A JSON string in which half a surrogate pair becomes replacement characters: programs in
/// JavaScript print such halves, and one must not make the whole line unreadable.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LossyText(String);

impl std::borrow::Borrow<str> for LossyText {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for LossyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As bytes: the JSON reader refuses half a pair in a text, but not in bytes.
        deserializer.deserialize_bytes(LossyVisitor)
    }
}

struct LossyVisitor;

impl Visitor<'_> for LossyVisitor {
    type Value = LossyText;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<LossyText, E> {
        Ok(LossyText(String::from_utf8_lossy(bytes).into_owned()))
    }

    fn visit_str<E>(self, text: &str) -> Result<LossyText, E> {
        Ok(LossyText(text.to_owned()))
    }
}

#[cfg(test)]
#[path = "claude_tests.rs"]
mod tests;
