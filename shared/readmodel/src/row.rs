//! Rows as the HTTP API shows them.

use std::collections::BTreeMap;

use rdev_contract::event::{Complete, Outcome};
use rdev_contract::http::{
    ConversationView, ExecView, MessageView, RunUsage, SessionView, UsageTotals, summary,
};
use rdev_contract::id::{ProjectId, SessionId};
use rdev_contract::session::PodState;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::failure::ReadError;
use crate::filter::{ExecStatus, SessionStatus};
use crate::page::{ConversationKey, MessageKey, ProjectExecKey, SessionKey};

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
    let codex: Option<Uuid> = row.try_get("codex_session_id")?;
    let session = SessionId::new(id);
    let status = if ended_at.is_some() {
        SessionStatus::Ended
    } else {
        SessionStatus::Active
    };
    let pod: String = row.try_get("pod")?;
    let template: Option<String> = row.try_get("template")?;
    let selector: Option<Json<BTreeMap<String, String>>> = row.try_get("selector")?;
    let selector = selector.map(|Json(labels)| labels).unwrap_or_default();
    let pod_state: Option<String> = row.try_get("pod_state")?;
    let is_provided = template.is_some() || !selector.is_empty();
    let pending = PodState::Pending.name();
    let idle: Option<i64> = row.try_get("idle_timeout_seconds")?;
    let idle_ends_at: Option<jiff::Timestamp> = row.try_get("idle_ends_at")?;
    let view = SessionView {
        id: session.to_string(),
        project_id: project.to_string(),
        status: status.name().to_owned(),
        pod: Some(pod).filter(|name| !name.is_empty()),
        namespace: row.try_get("namespace")?,
        container: row.try_get("container")?,
        template,
        selector,
        pod_state: pod_state.or(is_provided.then(|| pending.to_owned())),
        pod_message: row.try_get("pod_message")?,
        conversation_id: session.conversation().to_string(),
        claude_session_id: claude.map(|id| id.as_hyphenated().to_string()),
        codex_session_id: codex.map(|id| id.as_hyphenated().to_string()),
        created_at,
        idle_timeout_seconds: idle.and_then(|seconds| u64::try_from(seconds).ok()),
        idle_ends_at: idle_ends_at.filter(|_| ended_at.is_none()),
        expires_at: row.try_get("expires_at")?,
        ended_at,
        ended_reason: row.try_get("ended_reason")?,
    };
    Ok((SessionKey { created_at, id }, view))
}

pub(crate) fn exec(row: &Row) -> Result<(ProjectExecKey, ExecView), ReadError> {
    let id: String = row.try_get("stream")?;
    let session: Uuid = row.try_get("session")?;
    let kind: Option<String> = row.try_get("kind")?;
    let kind = kind.unwrap_or_else(|| UNKNOWN_KIND.to_owned());
    let asked: Option<String> = row.try_get("asked")?;
    let git_args: Option<Vec<String>> = row.try_get("git_args")?;
    let attempts: i32 = row.try_get("attempts")?;
    let created_at = row.try_get("created_at")?;
    let started_at: Option<jiff::Timestamp> = row.try_get("started_at")?;
    let complete = complete(row)?;
    let status = match (&complete, started_at) {
        (Some(_), _) => ExecStatus::Complete,
        (None, Some(_)) => ExecStatus::Running,
        (None, None) if attempts > 0 => ExecStatus::Running,
        (None, None) => ExecStatus::Queued,
    };
    let view = ExecView {
        id: id.clone(),
        session_id: SessionId::new(session).to_string(),
        summary: asked.map_or_else(String::new, |asked| {
            summary(&kind, &asked, &git_args.unwrap_or_default())
        }),
        kind,
        status: status.name().to_owned(),
        complete,
        attempts: u32::try_from(attempts).unwrap_or(0),
        created_at,
        started_at,
        completed_at: row.try_get("completed_at")?,
        queue: None,
        usage: run_usage(row)?,
    };
    Ok((
        ProjectExecKey {
            created_at,
            session,
            stream: id,
        },
        view,
    ))
}

fn unsigned(row: &Row, name: &str) -> Result<Option<u64>, ReadError> {
    let value: Option<i64> = row.try_get(name)?;
    Ok(value.and_then(|value| u64::try_from(value).ok()))
}

/// What the run cost, once the CLI said anything of itself.
fn run_usage(row: &Row) -> Result<Option<RunUsage>, ReadError> {
    let cli_version: Option<String> = row.try_get("cli_version")?;
    let total_cost_usd: Option<f64> = row.try_get("total_cost_usd")?;
    let has_usage: bool = row.try_get("has_usage")?;
    if cli_version.is_none() && total_cost_usd.is_none() && !has_usage {
        return Ok(None);
    }
    Ok(Some(RunUsage {
        cost_usd: row.try_get("cost_usd")?,
        input_tokens: unsigned(row, "input_tokens")?,
        output_tokens: unsigned(row, "output_tokens")?,
        cache_read_tokens: unsigned(row, "cache_read_tokens")?,
        cache_write_tokens: unsigned(row, "cache_write_tokens")?,
        total_cost_usd,
        cli_version,
        usage: None,
        model_usage: None,
    }))
}

/// One exec, with what its CLI printed of its usage.
pub(crate) fn whole_exec(row: &Row) -> Result<ExecView, ReadError> {
    let (_, mut view) = exec(row)?;
    if let Some(usage) = &mut view.usage {
        usage.usage = row.try_get("usage")?;
        usage.model_usage = row.try_get("model_usage")?;
    }
    Ok(view)
}

pub(crate) fn usage_totals(row: &Row) -> Result<UsageTotals, ReadError> {
    let sum = |name: &str| unsigned(row, name).map(Option::unwrap_or_default);
    Ok(UsageTotals {
        runs: sum("runs")?,
        runs_not_known: sum("runs_not_known")?,
        cost_usd: row.try_get("cost_usd")?,
        input_tokens: sum("input_tokens")?,
        output_tokens: sum("output_tokens")?,
        cache_read_tokens: sum("cache_read_tokens")?,
        cache_write_tokens: sum("cache_write_tokens")?,
    })
}

/// The `complete` event's data again, from its columns.
fn complete(row: &Row) -> Result<Option<Value>, ReadError> {
    let Some(outcome) = row.try_get::<_, Option<String>>("outcome")? else {
        return Ok(None);
    };
    let unsigned = |name: &str| unsigned(row, name);
    let text = |name: &str| -> Result<String, ReadError> {
        Ok(row.try_get::<_, Option<String>>(name)?.unwrap_or_default())
    };
    let complete = Complete {
        exit_code: row.try_get("exit_code")?,
        duration_ms: unsigned("duration_ms")?.unwrap_or(0),
        claude_session_id: text("claude_session_id")?,
        codex_session_id: text("codex_session_id")?,
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
    let codex: Option<Uuid> = row.try_get("codex_session_id")?;
    let created_at = row.try_get("created_at")?;
    let view = ConversationView {
        id: id.as_hyphenated().to_string(),
        project_id: project.to_string(),
        session_id: SessionId::new(session).to_string(),
        title: row.try_get("title")?,
        claude_session_id: match claude.is_nil() {
            true => String::new(),
            false => claude.as_hyphenated().to_string(),
        },
        codex_session_id: codex.map(|id| id.as_hyphenated().to_string()),
        created_at,
        updated_at: row.try_get("updated_at")?,
        usage: None,
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
        step: row.try_get("step")?,
    };
    let view = MessageView {
        id: id.as_hyphenated().to_string(),
        role: row.try_get("role")?,
        content: row.try_get("content")?,
        tool_use_id: row.try_get("tool_use_id")?,
        tool_name: row.try_get("tool_name")?,
        parent_tool_use_id: row.try_get("parent_tool_use_id")?,
        is_error: row.try_get("is_error")?,
        truncated: row.try_get("truncated")?,
        stream_id: stream,
        created_at: row.try_get("created_at")?,
    };
    Ok((key, view))
}
