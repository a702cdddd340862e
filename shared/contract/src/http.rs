//! Bodies of the HTTP API, as clients send and get them. Paths live in the gateway.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `POST …/exec`: loose, as it comes; the gateway makes a [`crate::event::CommandSpec`] of it.
/// Unknown fields are ignored here, as the original API did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ExecRequest {
    /// `shell`, `git` or `claude`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// For `claude`.
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
    /// Resume the session's claude session.
    #[serde(default)]
    pub continue_conversation: Option<bool>,
    /// Resume this claude session.
    #[serde(default)]
    pub conversation_id: Option<String>,
    /// Added to the environment; logged.
    #[serde(default)]
    pub env: Option<BTreeMap<String, String>>,
    /// Working directory.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Limit of its run.
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
    /// Initial standard input.
    #[serde(default)]
    pub stdin: Option<String>,
    /// One pipe for both outputs.
    #[serde(default)]
    pub merge: Option<bool>,
}

/// 201 (or 200 for a repeat) of `POST …/exec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// `POST /projects/{id}/sessions`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    /// The pod to attach to.
    pub pod: String,
    /// Its namespace; the executor's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The container; the pod's default one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its id.
    pub id: String,
    /// The tenant.
    pub project_id: String,
    /// `active` or `ended`.
    pub status: String,
    /// The pod.
    pub pod: String,
    /// Its namespace, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The container, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The conversation held in it.
    pub conversation_id: String,
    /// The claude session it continues with, once there is one.
    pub claude_session_id: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
}

/// An exec in the read model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecView {
    /// Its stream id.
    pub id: String,
    /// The session.
    pub session_id: String,
    /// `shell`, `git` or `claude`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `queued`, `running` or `complete`.
    pub status: String,
    /// The `complete` event's data, once there is one.
    pub complete: Option<Value>,
    /// Claims so far.
    pub attempts: u32,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it was first claimed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

/// A conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversationView {
    /// Its id.
    pub id: String,
    /// The tenant.
    pub project_id: String,
    /// The session it is held in.
    pub session_id: String,
    /// `Session {first 8 of the session id}`.
    pub title: String,
    /// The claude session it continues with.
    pub claude_session_id: String,
    /// When its first message was written.
    pub created_at: Timestamp,
    /// When its last message was written.
    pub updated_at: Timestamp,
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageView {
    /// Its id.
    pub id: String,
    /// `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
    /// The exec it belongs to.
    pub stream_id: String,
    /// When it was written.
    pub created_at: Timestamp,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Give this as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// RFC 9457 problem details, with a stable `code`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// On a 503 of a write: whether it may have happened all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome_unknown: Option<bool>,
}
