//! Bodies of the HTTP API, as clients send and get them. Paths live in the gateway.

mod exec;
mod session;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event::{Answer, AnsweredBy, Approval};
use crate::queue::QueuePlace;

pub use exec::{FactView, ProjectView, summary};
pub use session::{CreateSession, SessionView};

pub mod schema;

/// `POST …/exec`: loose, as it comes; the gateway makes a [`crate::event::CommandSpec`] of it.
/// Unknown fields are ignored here, as the original API did.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct ExecRequest {
    /// `shell`, `git`, `claude` or `codex`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// For `claude` and `codex`.
    #[serde(default)]
    pub prompt: Option<String>,
    /// For `shell` and `git`.
    #[serde(default)]
    pub command: Option<String>,
    /// Further arguments.
    #[serde(default)]
    pub args: Option<Vec<String>>,
    /// The exec's id, if the client wants to name it.
    #[serde(default)]
    pub stream_id: Option<String>,
    /// Resume the session's session of the agent.
    #[serde(default)]
    pub continue_conversation: Option<bool>,
    /// Resume this session of the agent.
    #[serde(default)]
    pub conversation_id: Option<String>,
    /// Added to the environment; logged.
    #[serde(default)]
    pub env: Option<BTreeMap<String, String>>,
    /// Added to the environment from Secrets; only the references are logged.
    #[serde(default)]
    pub secret_env: Option<BTreeMap<String, SecretRequest>>,
    /// Working directory.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Limit of its run.
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
    /// Limit of its silence.
    #[serde(default)]
    pub idle_timeout_seconds: Option<u64>,
    /// Limit of its wait for a start.
    #[serde(default)]
    pub queue_timeout_seconds: Option<u64>,
    /// Initial standard input.
    #[serde(default)]
    pub stdin: Option<String>,
    /// More standard input will come.
    #[serde(default)]
    pub stdin_open: Option<bool>,
    /// One pipe for both outputs.
    #[serde(default)]
    pub merge: Option<bool>,
    /// A terminal.
    #[serde(default)]
    pub tty: Option<TerminalRequest>,
    /// `ask`: the agent asks before it uses tools. For `claude`.
    #[serde(default)]
    pub permissions: Option<String>,
    /// Limit of its wait for an answer.
    #[serde(default)]
    pub approval_timeout_seconds: Option<u64>,
    /// `deny` (the default) or `cancel`: what happens when that is over.
    #[serde(default)]
    pub approval_on_timeout: Option<String>,
}

/// A value of a Secret, as it is asked for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRequest {
    /// The Secret.
    pub name: String,
    /// Which of its values.
    pub key: String,
}

/// The size of a terminal, as it is asked for: of a new one, and `POST …/execs/{stream}/resize`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TerminalRequest {
    /// Characters in a row.
    pub cols: i64,
    /// Rows.
    pub rows: i64,
}

/// 201 (or 200 for a repeat) of `POST …/exec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecAccepted {
    /// The exec's stream id.
    pub id: String,
    /// The session.
    pub session_id: String,
    /// The type asked for.
    #[serde(rename = "type")]
    pub kind: String,
    /// Always `running`.
    pub status: String,
    /// Where its events are.
    pub stream_url: String,
}

/// `POST …/execs/{stream}/signal`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalRequest {
    /// One of [`crate::control::SignalName`].
    pub signal: String,
}

/// `POST …/execs/{stream}/approvals/{approval}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerRequest {
    /// `allow` or `deny`.
    pub decision: String,
    /// Why not, for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// It may not, and is to stop working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupt: Option<bool>,
    /// It may, but with this input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_input: Option<Map<String, Value>>,
    /// It may, and these rules hold from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_permissions: Option<Vec<Value>>,
}

/// A question of an agent: whether it may use a tool.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ApprovalView {
    /// `pending`, `allowed`, `denied`, `withdrawn`, or `unanswered` if the exec has ended without.
    pub status: String,
    /// The session.
    pub session_id: String,
    /// The exec.
    pub stream_id: String,
    /// What is asked.
    #[serde(flatten)]
    pub approval: Approval,
    /// Whose answer it is: `client`, `timeout` or `agent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<AnsweredBy>,
    /// Id of the client's API key; empty where none is configured.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub answered_key: String,
    /// When it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// 202 of `POST …/execs/{stream}/stdin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StdinAccepted {
    /// Everything before this byte is stored: what comes next begins here.
    pub next_offset: u64,
    /// Nothing comes after it.
    pub ended: bool,
}

/// `POST …/sessions/{sid}/tickets`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTicket {
    /// The exec whose events are to be read; those of all execs of the session if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
}

/// 201 of `POST …/sessions/{sid}/tickets`: for a browser's `EventSource`, which can send no key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketMade {
    /// Given as `?ticket=`.
    pub ticket: String,
    /// The path of the stream, with the ticket in it.
    pub url: String,
    /// The stream is to be begun before this.
    pub start_by: Timestamp,
    /// A reader that was there already can come back before this.
    pub resume_until: Timestamp,
}

/// An exec in the read model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecView {
    /// Its stream id.
    pub id: String,
    /// The session.
    pub session_id: String,
    /// `shell`, `git`, `claude` or `codex`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The first 200 characters of its command, of `git` with its arguments, or of its prompt.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// `queued`, `running` or `complete`.
    pub status: String,
    /// The `complete` event's data, once there is one.
    #[schemars(with = "Option<crate::event::Complete>")]
    pub complete: Option<Value>,
    /// Claims so far.
    pub attempts: u32,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it was first claimed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// Where it stands, while it waits for its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueuePlace>,
    /// What it cost, for agents, once the CLI and the read model have told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<RunUsage>,
}

/// `GET …/execs/{stream}/screen`: what the terminal of an exec shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScreenView {
    /// The id of the last event that it includes: give this as `Last-Event-ID` to go on behind it.
    pub next: String,
    /// Characters in a row.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// The cursor.
    pub cursor: CursorView,
    /// The rows as text, without the blanks at their ends.
    pub lines: Vec<String>,
    /// What makes a terminal of this size look and behave like this one, beginning with a reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ansi: Option<String>,
    /// The same in base64, if it ends within a character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ansi_base64: Option<String>,
}

/// Where the cursor of a terminal is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CursorView {
    /// Columns to the left of it.
    pub col: usize,
    /// Rows above it.
    pub row: usize,
    /// It is shown.
    pub visible: bool,
}

/// What one run of an agent cost. Null where it is not known for certain: codex prints no cost, and
/// some versions of both CLIs print sums over all runs of their session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunUsage {
    /// US dollars, of this run alone.
    pub cost_usd: Option<f64>,
    /// Tokens read and in no cache, of this run alone, as the three below.
    pub input_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// Tokens read from the cache.
    pub cache_read_tokens: Option<u64>,
    /// Tokens put into the cache.
    pub cache_write_tokens: Option<u64>,
    /// As the CLI printed it.
    pub total_cost_usd: Option<f64>,
    /// The version of the CLI.
    pub cli_version: Option<String>,
    /// `usage` as the CLI printed it; of one exec, not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Value>,
    /// `modelUsage` as the CLI printed it; of one exec, not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_usage: Option<Value>,
}

/// What several runs of agents cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UsageTotals {
    /// Runs that have ended.
    pub runs: u64,
    /// Of these, runs whose own cost is not known, as of all runs of codex: it is in no sum.
    pub runs_not_known: u64,
    /// US dollars.
    pub cost_usd: f64,
    /// Tokens read and in no cache.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Tokens read from the cache.
    pub cache_read_tokens: u64,
    /// Tokens put into the cache.
    pub cache_write_tokens: u64,
}

/// `GET /projects/{id}/usage`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectUsage {
    /// The tenant.
    pub project_id: String,
    /// Of execs that were asked for from this time on.
    pub since: Option<Timestamp>,
    /// Of execs that were asked for before this time.
    pub until: Option<Timestamp>,
    /// The sums.
    #[serde(flatten)]
    pub totals: UsageTotals,
}

/// A conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConversationView {
    /// Its id.
    pub id: String,
    /// The tenant.
    pub project_id: String,
    /// The session it is held in.
    pub session_id: String,
    /// `Session {first 8 of the session id}`.
    pub title: String,
    /// The claude session it continues with; empty if none.
    pub claude_session_id: String,
    /// The codex session it continues with, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codex_session_id: Option<String>,
    /// When its first message was written.
    pub created_at: Timestamp,
    /// When its last message was written.
    pub updated_at: Timestamp,
    /// What it cost so far; of one conversation, not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageTotals>,
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageView {
    /// Its id.
    pub id: String,
    /// `user`, `tool_use`, `tool_result` or `assistant`.
    pub role: String,
    /// The text; of `tool_use`, the input as JSON.
    pub content: String,
    /// What a `tool_use` and its `tool_result` have in common.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_use_id: Option<String>,
    /// The tool that is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_name: Option<String>,
    /// The `tool_use` that runs the agent which this is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_tool_use_id: Option<String>,
    /// Whether the tool failed, where a `tool_result` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_error: Option<bool>,
    /// Whether the content is only the beginning: the events have all of it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
    /// The exec it belongs to.
    pub stream_id: String,
    /// When it was written.
    pub created_at: Timestamp,
}

/// `GET …/events` with `Accept: application/json`. The gateway writes it as it reads the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventsPage {
    /// What there is behind the cursor.
    pub events: Vec<EventView>,
    /// Give this as `Last-Event-ID` to go on.
    pub next: String,
    /// There is nothing behind it yet.
    pub caught_up: bool,
    /// Nothing will come any more.
    pub complete: bool,
}

/// An event of a page, and of a line of `application/x-ndjson`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub event: String,
    /// Its data; `/schemas` has one for each name.
    pub data: Value,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Give this as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// RFC 9457 problem details, with a stable `code`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `about:blank`: the code says what it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and what to do, for people.
    pub detail: String,
    /// What is wrong, for programs. Stable.
    pub code: String,
    /// On a 503 of a POST exec: the stream id to try again with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
    /// On a 410: the number of the first event, or the first byte, that is left; absent if none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_available: Option<u64>,
    /// On a refused piece of standard input: where the next one has to begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
    /// On a 410 of events: the event id with which a reader goes on at `first_available`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_from: Option<String>,
    /// On a 503 of a write: whether it may have happened all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome_unknown: Option<bool>,
    /// The trace that the request was a part of: what to name when asking about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde gives a reference to what it asks about"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}
