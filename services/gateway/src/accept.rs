//! The station `accept`: `POST …/exec` becomes one `command` in the log, or an error.
//!
//! Invariant: one stream id is one command. A repeat of the same request gets the same answer
//! and runs nothing; another request under the same id is refused.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rdev_bus::submit::{SubmitError, Submitted};
use rdev_contract::as_of::WrittenTo;
use rdev_contract::event::{Command, CommandSpec};
use rdev_contract::http::{ExecAccepted, ExecRequest};
use rdev_contract::id::{ExecId, ProjectId, SessionId, StreamId};
use rdev_contract::position::StreamSeq;
use rdev_domain::request::{parse_exec_request, requested_stream};
use rdev_domain::session::SessionState;
use uuid::Uuid;

use crate::as_of::Token;
use crate::problem::ApiError;
use crate::request::{AnyJson, By, InSession};
use crate::routes::stream_url;
use crate::state::{Gateway, now};
use crate::traces;

/// A command that no executor has claimed by then is rejected: longer than a take-over after a
/// dead executor, short enough that a request answered 503 does not surface much later.
const ACCEPT_WITHIN: Duration = Duration::from_secs(15);
/// The server takes payloads of 1 MiB; the message's head and the headers must fit beside it.
pub(crate) const COMMAND_MAX_BYTES: usize = 1024 * 1024 - 16 * 1024;
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// As other APIs have it; the key is hashed, not stored.
const IDEMPOTENCY_KEY_MAX_BYTES: usize = 255;

/// `POST /projects/{project}/sessions/{session}/exec`.
pub(crate) async fn exec(
    State(gateway): State<Gateway>,
    InSession(project, session): InSession,
    By(by): By,
    headers: HeaderMap,
    AnyJson(request): AnyJson<ExecRequest>,
) -> Result<Response, ApiError> {
    let stream = stream_of(&request, &headers, &project, session)?;
    let spec = parse_exec_request(request, &gateway.limits)?;
    if serde_json::to_vec(&spec).map_err(ApiError::internal)?.len() > COMMAND_MAX_BYTES {
        return Err(ApiError::CommandTooLarge);
    }
    let not_stored = |_| ApiError::CommandNotStored {
        code: "log_unavailable",
        detail: "the command was not accepted, because the event log is not available",
        stream: stream.clone(),
    };
    let bus = gateway.log.connected().map_err(not_stored)?;
    let state = match gateway.log.session(&project, session).await {
        Err(ApiError::LogUnavailable) => return Err(not_stored(ApiError::LogUnavailable)),
        other => other?,
    };
    let exec = ExecId {
        project,
        session,
        stream,
    };
    let at = now();
    let command = Command {
        spec,
        accept_until: at + ACCEPT_WITHIN,
        awaits_pod: state.awaits_pod(),
        by,
    };
    let submitted = match refusal(&gateway, &exec, &state) {
        None => {
            let append = traces::append(&exec);
            let submitting = bus.submit_in(&exec, &command, at, Some(append.place()));
            append.of(submitting).await
        }
        // A repeat is answered as at first, whatever has become of session and queue since.
        Some(refusal) => bus.submitted(&exec).await.transpose().ok_or(refusal)?,
    };
    match submitted {
        Ok(Submitted::Created(sequence)) => {
            gateway.line.submitted(&exec, sequence, &command);
            let token = token(&gateway, sequence).await;
            Ok(accepted(&exec, &command.spec, StatusCode::CREATED, token))
        }
        Ok(Submitted::Exists(known)) if known.value.spec == command.spec => {
            let token = token(&gateway, known.sequence).await;
            Ok(accepted(&exec, &command.spec, StatusCode::OK, token))
        }
        Ok(Submitted::Exists(_)) => Err(ApiError::Conflict {
            code: "stream_id_in_use",
            detail: "this stream_id or Idempotency-Key was used for another command: choose \
                     another",
        }),
        Err(error) => Err(refused(error, exec)),
    }
}

/// Why no new command is taken.
fn refusal(gateway: &Gateway, exec: &ExecId, state: &SessionState) -> Option<ApiError> {
    if let Some(why) = state.end_in_words() {
        let detail = format!("{why}: create another one");
        return Some(ApiError::invalid("session_not_active", detail));
    }
    let queue_max = gateway.project_queue_max;
    (gateway.line.waiting(&exec.project) >= queue_max).then(|| ApiError::QueueFull {
        queue_max,
        stream: exec.stream.clone(),
    })
}

fn stream_of(
    request: &ExecRequest,
    headers: &HeaderMap,
    project: &ProjectId,
    session: SessionId,
) -> Result<StreamId, ApiError> {
    if let Some(stream) = requested_stream(request)? {
        return Ok(stream);
    }
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(StreamId::generated(Uuid::new_v4()));
    };
    let key = key
        .to_str()
        .ok()
        .filter(|key| (1..=IDEMPOTENCY_KEY_MAX_BYTES).contains(&key.len()));
    let key = key.ok_or_else(|| {
        ApiError::invalid(
            "invalid_idempotency_key",
            format!(
                "Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_MAX_BYTES} printable ASCII \
                 characters"
            ),
        )
    })?;
    Ok(StreamId::of_idempotency_key(project, session, key))
}

async fn token(gateway: &Gateway, sequence: StreamSeq) -> Token {
    let Gateway {
        projection, log, ..
    } = gateway;
    projection.token(log, WrittenTo::Execs, sequence).await
}

fn accepted(exec: &ExecId, spec: &CommandSpec, status: StatusCode, token: Token) -> Response {
    let stream_url = stream_url(exec);
    let body = ExecAccepted {
        id: exec.stream.to_string(),
        session_id: exec.session.to_string(),
        kind: spec.work.type_name().to_owned(),
        status: "running".to_owned(),
        stream_url: stream_url.clone(),
    };
    let location = [(header::LOCATION, stream_url)];
    (status, location, token, Json(body)).into_response()
}

fn refused(error: SubmitError, exec: ExecId) -> ApiError {
    tracing::warn!(
        project.id = %exec.project, session.id = %exec.session, stream.id = %exec.stream, %error,
        "command not accepted"
    );
    let stream = exec.stream;
    match error {
        SubmitError::Unreachable => ApiError::CommandNotStored {
            code: "log_unavailable",
            detail: "the command was not accepted, because the event log is not available",
            stream,
        },
        SubmitError::Full(_) => ApiError::CommandNotStored {
            code: "log_full",
            detail: "the command was not accepted, because the event log is full",
            stream,
        },
        SubmitError::Unknown(_) => ApiError::CommandUnknown { stream },
        SubmitError::Spent => ApiError::Conflict {
            code: "stream_id_spent",
            detail: "this stream_id or Idempotency-Key was used for a command that is no longer \
                     kept: choose another",
        },
        SubmitError::Encoding(reason) => ApiError::internal(reason),
    }
}
