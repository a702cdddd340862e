//! What is kept of an exec as conversation: values for the read model's rows. Used by the
//! projector and by the audit, which must come to equal rows.
//!
//! Invariant: a pure function of the log. Ids are derived, times are those of the messages, and
//! no value holds a NUL character, which PostgreSQL refuses in texts and in JSON.

use std::borrow::Cow;

use jiff::Timestamp;
use rdev_contract::event::{Complete, Work};
use rdev_contract::id::{ClaudeSessionId, ConversationId, ProjectId, SessionId, StreamId};
use uuid::Uuid;

use crate::claude::ClaudeTally;
use crate::exec::ExecState;

/// A row of `conversations` as of one exec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationRow {
    /// One per session.
    pub id: ConversationId,
    /// The tenant.
    pub project: ProjectId,
    /// The session.
    pub session: SessionId,
    /// `Session {first 8 of the session id}`.
    pub title: String,
    /// What it continues with as of this exec.
    pub claude_session_id: ClaudeSessionId,
    /// When its first message was written, if this exec is its first.
    pub created_at: Timestamp,
    /// When its last message was written, if this exec is its last.
    pub updated_at: Timestamp,
}

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The client: the prompt.
    User,
    /// Claude: the text of the result.
    Assistant,
}

impl Role {
    /// As in the API and in the read model.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// A row of `messages`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// The same for the same exec and role, whenever it is computed.
    pub id: Uuid,
    /// The conversation.
    pub conversation: ConversationId,
    /// The exec.
    pub stream: StreamId,
    /// Who wrote it.
    pub role: Role,
    /// The text.
    pub content: String,
    /// When.
    pub created_at: Timestamp,
}

/// What one exec adds to its session's conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The conversation.
    pub conversation: ConversationRow,
    /// The prompt.
    pub user: MessageRow,
    /// The answer, if there was one.
    pub assistant: Option<MessageRow>,
}

/// What a completed exec adds to the conversation: nothing unless it is a claude exec that
/// yielded a session id. `tally` has seen all its claude events.
#[must_use]
pub fn turn(exec: &ExecState, tally: &ClaudeTally) -> Option<Turn> {
    let Work::Claude { prompt, .. } = &exec.command.spec.work else {
        return None;
    };
    let ended_at = exec.completed_at?;
    let claude_session_id = exec.complete.as_ref().and_then(yielded_session)?;
    let answer = tally.result().and_then(|result| result.text.as_deref());
    Some(Turn {
        conversation: ConversationRow {
            id: exec.exec.session.conversation(),
            project: exec.exec.project.clone(),
            session: exec.exec.session,
            title: title(exec.exec.session),
            claude_session_id,
            created_at: exec.asked_at,
            updated_at: ended_at,
        },
        user: message(exec, Role::User, prompt, exec.asked_at),
        assistant: answer.map(|text| message(exec, Role::Assistant, text, ended_at)),
    })
}

fn yielded_session(complete: &Complete) -> Option<ClaudeSessionId> {
    complete.claude_session_id.parse().ok()
}

/// The title of a session's conversation.
#[must_use]
pub fn title(session: SessionId) -> String {
    let text = session.to_string();
    let short = text.get(..8).unwrap_or(&text);
    format!("Session {short}")
}

fn message(exec: &ExecState, role: Role, text: &str, created_at: Timestamp) -> MessageRow {
    let name = format!(
        "message/{}/{}/{}",
        exec.exec.stream,
        exec.command_seq,
        role.name()
    );
    MessageRow {
        id: Uuid::new_v5(&exec.exec.session.uuid(), name.as_bytes()),
        conversation: exec.exec.session.conversation(),
        stream: exec.exec.stream.clone(),
        role,
        content: without_nul(text).into_owned(),
        created_at,
    }
}

/// The text as PostgreSQL can store it: NUL characters become U+FFFD.
#[must_use]
pub fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
