//! Rows as the HTTP API shows them.

use rdev_contract::event::{Complete, Outcome};
use rdev_contract::http::{ConversationView, ExecView, MessageView, SessionView};
use rdev_contract::id::{ProjectId, SessionId};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::failure::ReadError;
use crate::page::{ConversationKey, ExecKey, MessageKey, SessionKey};

/// Where retention had removed the command before it was read.
const UNKNOWN_KIND: &str = "unknown";

pub(crate) fn session(
    project: &ProjectId,
    row: &Row,
) -> Result<(SessionKey, SessionView), ReadError> {
    let id: Uuid = row.try_get("id")?;
    let created_at = row.try_get("created_at")?;
    let ended_at: Option<jiff::Timestamp> = row.try_get("ended_at")?;
    let claude: Option<Uuid> = row.try_get("claude_session_id")?;
    let session = SessionId::new(id);
    let view = SessionView {
        id: session.to_string(),
        project_id: project.to_string(),
        status: if ended_at.is_some() {
            "ended"
        } else {
            "active"
        }
        .to_owned(),
        pod: row.try_get("pod")?,
        namespace: row.try_get("namespace")?,
        container: row.try_get("container")?,
        conversation_id: session.conversation().to_string(),
        claude_session_id: claude.map(|id| id.as_hyphenated().to_string()),
        created_at,
        ended_at,
    };
    Ok((SessionKey { created_at, id }, view))
}

pub(crate) fn exec(row: &Row) -> Result<(ExecKey, ExecView), ReadError> {
    let id: String = row.try_get("stream")?;
    let session: Uuid = row.try_get("session")?;
    let kind: Option<String> = row.try_get("kind")?;
    let attempts: i32 = row.try_get("attempts")?;
    let created_at = row.try_get("created_at")?;
    let started_at: Option<jiff::Timestamp> = row.try_get("started_at")?;
    let complete = complete(row)?;
    let status = match (&complete, started_at) {
        (Some(_), _) => "complete",
        (None, Some(_)) => "running",
        (None, None) if attempts > 0 => "running",
        (None, None) => "queued",
    };
    let view = ExecView {
        id: id.clone(),
        session_id: SessionId::new(session).to_string(),
        kind: kind.unwrap_or_else(|| UNKNOWN_KIND.to_owned()),
        status: status.to_owned(),
        complete,
        attempts: u32::try_from(attempts).unwrap_or(0),
        created_at,
        started_at,
        completed_at: row.try_get("completed_at")?,
    };
    Ok((
        ExecKey {
            created_at,
            stream: id,
        },
        view,
    ))
}

/// The `complete` event's data again, from its columns.
fn complete(row: &Row) -> Result<Option<Value>, ReadError> {
    let Some(outcome) = row.try_get::<_, Option<String>>("outcome")? else {
        return Ok(None);
    };
    let unsigned = |name: &str| -> Result<Option<u64>, ReadError> {
        let value: Option<i64> = row.try_get(name)?;
        Ok(value.and_then(|value| u64::try_from(value).ok()))
    };
    let text = |name: &str| -> Result<String, ReadError> {
        Ok(row.try_get::<_, Option<String>>(name)?.unwrap_or_default())
    };
    let complete = Complete {
        exit_code: row.try_get("exit_code")?,
        duration_ms: unsigned("duration_ms")?.unwrap_or(0),
        claude_session_id: text("claude_session_id")?,
        conversation_id: text("conversation_id")?,
        ok: row.try_get("ok")?,
        outcome: named_outcome(&outcome)?,
        signal: row.try_get("signal")?,
        stdout_bytes: unsigned("stdout_bytes")?,
        stderr_bytes: unsigned("stderr_bytes")?,
        stdout_sha256: row.try_get("stdout_sha256")?,
        stderr_sha256: row.try_get("stderr_sha256")?,
        reason: text("reason")?,
    };
    let value = serde_json::to_value(&complete);
    value
        .map(Some)
        .map_err(|error| ReadError::Internal(error.to_string()))
}

fn named_outcome(name: &str) -> Result<Outcome, ReadError> {
    serde_json::from_value(Value::from(name))
        .map_err(|_| ReadError::Internal(format!("a row has the outcome {name}")))
}

pub(crate) fn conversation(
    project: &ProjectId,
    row: &Row,
) -> Result<(ConversationKey, ConversationView), ReadError> {
    let id: Uuid = row.try_get("id")?;
    let session: Uuid = row.try_get("session")?;
    let claude: Uuid = row.try_get("claude_session_id")?;
    let created_at = row.try_get("created_at")?;
    let view = ConversationView {
        id: id.as_hyphenated().to_string(),
        project_id: project.to_string(),
        session_id: SessionId::new(session).to_string(),
        title: row.try_get("title")?,
        claude_session_id: claude.as_hyphenated().to_string(),
        created_at,
        updated_at: row.try_get("updated_at")?,
    };
    Ok((ConversationKey { created_at, id }, view))
}

pub(crate) fn message(row: &Row) -> Result<(MessageKey, MessageView), ReadError> {
    let id: Uuid = row.try_get("id")?;
    let stream: String = row.try_get("stream")?;
    let key = MessageKey {
        turn_at: row.try_get("turn_at")?,
        stream: stream.clone(),
        ordinal: row.try_get("ordinal")?,
    };
    let view = MessageView {
        id: id.as_hyphenated().to_string(),
        role: row.try_get("role")?,
        content: row.try_get("content")?,
        stream_id: stream,
        created_at: row.try_get("created_at")?,
    };
    Ok((key, view))
}
