//! `output`, `error`, `claude_event`, `codex_event`: what a command printed, `resized`, how large its
//! terminal is, `approval` and `approval_answered`, what its agent wants to do, and `complete`, its end.
//!
//! Written by executors in batches; read by everybody. Joined in order, the texts of the events
//! of one stream give its exact bytes. Readers that only pass events on use [`RawEvent`], which
//! keeps the bytes of the data untouched.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{AgentLine, Approval, ApprovalAnswered, Complete, TerminalSize};
use crate::agent::Agent;

/// The `type` of each numbered event; SSE uses the same names.
pub mod event_name {
    use crate::agent::Agent;

    /// A piece of a stream.
    pub const OUTPUT: &str = "output";
    /// A piece of an agent's standard error.
    pub const ERROR: &str = "error";
    /// A JSON line of claude's standard output.
    pub const CLAUDE_EVENT: &str = Agent::Claude.event_name();
    /// A JSON line of codex's standard output.
    pub const CODEX_EVENT: &str = Agent::Codex.event_name();
    /// A size of the command's terminal.
    pub const RESIZED: &str = "resized";
    /// An agent asks whether it may use a tool.
    pub const APPROVAL: &str = "approval";
    /// What it was answered.
    pub const APPROVAL_ANSWERED: &str = "approval_answered";
    /// The end.
    pub const COMPLETE: &str = "complete";
}

/// Which pipe of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// Standard output; of a merged command, both.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of a stream: a line without its `\n`, or part of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Text<'a> {
    /// The piece, if it is UTF-8.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub line: Option<Cow<'a, str>>,
    /// The piece in base64, if it is not.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub line_base64: Option<Cow<'a, str>>,
    /// Which pipe; absent in `error`, which is always stderr.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<OutputStream>,
    /// No `\n` follows: the line goes on in the next event of this stream, or the stream ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

impl<'a> Text<'a> {
    /// The event text for these bytes (without the `\n` that ends a whole line).
    #[must_use]
    pub fn of(bytes: &'a [u8], stream: Option<OutputStream>, partial: bool) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(line) => Self {
                line: Some(Cow::Borrowed(line)),
                line_base64: None,
                stream,
                partial,
            },
            Err(_) => {
                let encoded = Cow::Owned(STANDARD.encode(bytes));
                Self {
                    line: None,
                    line_base64: Some(encoded),
                    stream,
                    partial,
                }
            }
        }
    }

    /// The exact bytes that this event stands for, `\n` included.
    ///
    /// # Errors
    /// [`base64::DecodeError`] if `line_base64` is not base64.
    pub fn bytes(&self) -> Result<Vec<u8>, base64::DecodeError> {
        let mut bytes = match (&self.line, &self.line_base64) {
            (Some(line), _) => line.as_bytes().to_vec(),
            (None, Some(encoded)) => STANDARD.decode(encoded.as_bytes())?,
            (None, None) => Vec::new(),
        };
        if !self.partial {
            bytes.push(b'\n');
        }
        Ok(bytes)
    }
}

/// One part of an agent's line that is too long for one message. The parts follow each other in
/// messages of their own and share one event number; a part with index 0 begins it anew (a
/// take-over in the middle repeats the line).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fragment<'a> {
    /// 0, 1, 2 …
    pub index: u32,
    /// The last part of the line.
    pub last: bool,
    /// This part of the text of `data`.
    #[serde(borrow)]
    pub text: Cow<'a, str>,
}

/// A numbered event as its writer makes it.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// A piece of a stream.
    Output(Text<'a>),
    /// A piece of an agent's standard error.
    Error(Text<'a>),
    /// A line of an agent's standard output that is a JSON object, as it was printed.
    Agent(Agent, AgentLine<'a>),
    /// One part of an agent's line that is too long for one message.
    AgentFragment(Agent, Fragment<'a>),
    /// The size that the command's terminal has from here on.
    Resized(TerminalSize),
    /// The agent asks whether it may use a tool.
    Approval(&'a Approval),
    /// What it was answered.
    ApprovalAnswered(&'a ApprovalAnswered),
    /// The end.
    Complete(&'a Complete),
}

#[derive(Serialize)]
struct Shape<'a, T: Serialize> {
    #[serde(rename = "type")]
    name: &'a str,
    data: T,
}

#[derive(Serialize)]
struct FragmentShape<'a> {
    #[serde(rename = "type")]
    name: &'a str,
    fragment: &'a Fragment<'a>,
}

/// Events encoded as the inside of a JSON array: what a message's `events` will hold.
#[derive(Debug, Clone, Default)]
pub struct EventBatch {
    json: Vec<u8>,
    count: u64,
}

impl EventBatch {
    /// Adds one event.
    ///
    /// # Errors
    /// None in practice: only if a value cannot be written as JSON.
    pub fn push(&mut self, event: &Event<'_>) -> Result<(), serde_json::Error> {
        if self.count > 0 {
            self.json.push(b',');
        }
        let out = &mut self.json;
        match event {
            Event::Output(text) => write(out, event_name::OUTPUT, text)?,
            Event::Error(text) => write(out, event_name::ERROR, text)?,
            Event::Agent(agent, line) => {
                // By hand: a JSON serializer would drop the blanks around the object.
                out.extend_from_slice(b"{\"type\":\"");
                out.extend_from_slice(agent.event_name().as_bytes());
                out.extend_from_slice(b"\",\"data\":");
                line.write_data(out);
                out.push(b'}');
            }
            Event::AgentFragment(agent, fragment) => serde_json::to_writer(
                out,
                &FragmentShape {
                    name: agent.event_name(),
                    fragment,
                },
            )?,
            Event::Resized(size) => write(out, event_name::RESIZED, size)?,
            Event::Approval(approval) => write(out, event_name::APPROVAL, approval)?,
            Event::ApprovalAnswered(answered) => {
                write(out, event_name::APPROVAL_ANSWERED, answered)?;
            }
            Event::Complete(complete) => write(out, event_name::COMPLETE, complete)?,
        }
        self.count += 1;
        Ok(())
    }

    /// Bytes of encoded JSON so far.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        self.json.len()
    }

    /// How many events.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn json(&self) -> &[u8] {
        &self.json
    }
}

fn write<T: Serialize>(out: &mut Vec<u8>, name: &str, data: T) -> Result<(), serde_json::Error> {
    serde_json::to_writer(out, &Shape { name, data })
}

/// A numbered event as it stands in a message: name and data, untouched.
#[derive(Debug, Clone, Deserialize)]
pub struct RawEvent<'a> {
    /// See [`event_name`]; others may come in the future.
    #[serde(borrow, rename = "type")]
    pub name: Cow<'a, str>,
    /// The data as JSON text; absent for a fragment.
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
    /// Part of a long line, in place of data.
    #[serde(borrow, default)]
    pub fragment: Option<Fragment<'a>>,
}
