//! Execs as records: one is folded from the log, or from the archive behind it, so it is true at once
//! and without PostgreSQL; what neither holds any more, and the list, come from the read model.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use rdev_bus::live::{LogReader, Next, Scope};
use rdev_bus::{Bus, Stored};
use rdev_contract::envelope::{Message, Recorded};
use rdev_contract::event::Kind;
use rdev_contract::http::{ExecView, Page, RunUsage, summary};
use rdev_contract::id::{ExecId, ProjectId};
use rdev_contract::subject::parse_exec;
use rdev_domain::exec::{ExecState, FoldError, fold};
use rdev_readmodel::ReadModel;
use serde::Deserialize;

use crate::as_of::UpToDate;
use crate::filter::Wanted;
use crate::history::History;
use crate::problem::ApiError;
use crate::queue::Line;
use crate::request::{InExec, InProject, InSession, Options, Paging};
use crate::state::Gateway;

/// The longest that a request waits for an exec to end: shorter than what proxies cut.
pub(crate) const WAIT_MAX_SECONDS: u64 = 60;

/// The status of an exec that nobody has claimed yet.
const QUEUED: &str = "queued";
/// What else is known of an exec does not wait longer for what it cost.
const USAGE_TIMEOUT: Duration = Duration::from_millis(500);

/// `GET …/execs`.
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    InSession(project, session): InSession,
    wanted: Wanted,
    Paging(page): Paging,
    _: UpToDate,
) -> Result<Json<Page<ExecView>>, ApiError> {
    let filter = wanted.execs()?.of_session(session);
    let mut items = gateway.read_model.execs(&project, &filter, &page).await?;
    places(&gateway.line, &project, &mut items);
    if items.items.is_empty() {
        // Empty, or no such session?
        gateway.log.session(&project, session).await?;
    }
    Ok(Json(items))
}

/// `GET /projects/{project}/execs`: those of all its sessions.
pub(crate) async fn of_project(
    State(gateway): State<Gateway>,
    InProject(project): InProject,
    wanted: Wanted,
    Paging(page): Paging,
    _: UpToDate,
) -> Result<Json<Page<ExecView>>, ApiError> {
    let filter = wanted.execs()?;
    let mut items = gateway.read_model.execs(&project, &filter, &page).await?;
    places(&gateway.line, &project, &mut items);
    Ok(Json(items))
}

/// Adds where those stand that wait.
fn places(line: &Line, project: &ProjectId, execs: &mut Page<ExecView>) {
    let queued = execs.items.iter_mut();
    for exec in queued.filter(|exec| exec.status == QUEUED) {
        let id = || {
            Some(ExecId {
                project: project.clone(),
                session: exec.session_id.parse().ok()?,
                stream: exec.id.parse().ok()?,
            })
        };
        exec.queue = id().and_then(|id| line.place(&id));
    }
}

/// How an exec is shown.
#[derive(Deserialize)]
pub(crate) struct GetOptions {
    wait: Option<u64>,
}

/// `GET …/execs/{stream}`: as it is, or with `?wait=SECONDS` as soon as it has ended.
pub(crate) async fn get(
    State(gateway): State<Gateway>,
    InExec(exec): InExec,
    Options(options): Options<GetOptions>,
) -> Result<Json<ExecView>, ApiError> {
    let wait = options.wait.unwrap_or(0);
    if wait > WAIT_MAX_SECONDS {
        return Err(ApiError::invalid(
            "invalid_query",
            format!("wait is at most {WAIT_MAX_SECONDS} seconds"),
        ));
    }
    let history = gateway.history()?;
    let Some(mut state) = state_of(&history, &exec).await? else {
        return from_read_model(&gateway.read_model, &exec).await;
    };
    if state.complete.is_none() && wait > 0 {
        let end = wait_for_end(history.bus(), &exec, &state);
        tokio::select! {
            ended = end => ended?,
            () = tokio::time::sleep(Duration::from_secs(wait)) => {}
            () = gateway.shutdown.requested() => {}
        }
        state = state_of(&history, &exec).await?.unwrap_or(state);
    }
    let mut view = view(&state)?;
    if state.claim.is_none() && state.complete.is_none() {
        view.queue = gateway.line.place(&exec);
    }
    if state.complete.is_some() && state.command.spec.work.agent().is_some() {
        view.usage = usage(&gateway.read_model, &exec).await;
    }
    Ok(Json(view))
}

/// What the run cost, if the read model knows it and can tell it soon: the rest is shown without.
async fn usage(read_model: &ReadModel, exec: &ExecId) -> Option<RunUsage> {
    let found = tokio::time::timeout(USAGE_TIMEOUT, read_model.exec(exec)).await;
    found.ok()?.ok()??.usage
}

async fn from_read_model(
    read_model: &ReadModel,
    exec: &ExecId,
) -> Result<Json<ExecView>, ApiError> {
    read_model
        .exec(exec)
        .await?
        .map(Json)
        .ok_or(ApiError::NotFound("exec"))
}

pub(crate) async fn state_of(
    history: &History,
    exec: &ExecId,
) -> Result<Option<ExecState>, ApiError> {
    let held = history.bus().last_of_each_kind(exec).await?;
    match folded(&held)? {
        Some(state) => Ok(Some(state)),
        None => folded(&history.archived_kinds(exec).await?),
    }
}

fn folded(stored: &[Recorded<Stored>]) -> Result<Option<ExecState>, ApiError> {
    let mut messages = Vec::with_capacity(stored.len());
    for Recorded { sequence, value } in stored {
        let value = Message::decode(&value.payload).map_err(ApiError::internal)?;
        messages.push(Recorded {
            sequence: *sequence,
            value,
        });
    }
    match fold(&messages) {
        Ok(state) => Ok(Some(state)),
        Err(FoldError::NoCommand) => Ok(None),
        Err(error @ (FoldError::Mixed { .. } | FoldError::Unreadable { .. })) => {
            Err(ApiError::internal(error))
        }
    }
}

async fn wait_for_end(bus: &Bus, exec: &ExecId, state: &ExecState) -> Result<(), ApiError> {
    let mut reader = LogReader::open(bus, Scope::Exec(exec.clone()), state.tail).await?;
    loop {
        match reader.next().await? {
            Next::Message(message) => {
                let kind = parse_exec(&message.value.subject).map(|(_, kind)| kind);
                if kind == Ok(Kind::Complete.token()) {
                    return Ok(());
                }
            }
            Next::CaughtUp => {}
            Next::Restored => return Err(ApiError::LogUnavailable),
        }
    }
}

pub(crate) fn view(state: &ExecState) -> Result<ExecView, ApiError> {
    let complete = state
        .complete
        .as_ref()
        .map(serde_json::to_value)
        .transpose();
    let status = match (&state.complete, &state.claim) {
        (Some(_), _) => "complete",
        (None, Some(_)) => "running",
        (None, None) => QUEUED,
    };
    let spec = &state.command.spec;
    Ok(ExecView {
        id: state.exec.stream.to_string(),
        session_id: state.exec.session.to_string(),
        summary: summary(spec.work.type_name(), spec.work.asked(), &spec.args),
        kind: spec.work.type_name().to_owned(),
        status: status.to_owned(),
        complete: complete.map_err(ApiError::internal)?,
        attempts: state.claim.as_ref().map_or(0, |claim| claim.attempt),
        created_at: state.asked_at,
        started_at: state.started_at,
        completed_at: state.completed_at,
        queue: None,
        usage: None,
    })
}
