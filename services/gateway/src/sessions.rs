//! Sessions: created and ended by facts in the log, shown as folded from them, listed from the
//! read model.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use rdev_bus::session::SessionError;
use rdev_contract::as_of::WrittenTo;
use rdev_contract::envelope::PAYLOAD_VERSION;
use rdev_contract::event::Requester;
use rdev_contract::http::{CreateSession, Page, SessionView};
use rdev_contract::id::{ProjectId, SessionId};
use rdev_contract::position::StreamSeq;
use rdev_contract::session::{EndReason, SessionFact, SessionMessage};
use rdev_domain::session::{SessionState, fold};
use rdev_readmodel::ReadModel;
use serde::Deserialize;
use uuid::Uuid;

use crate::as_of::{Projection, UpToDate};
use crate::control;
use crate::filter::Wanted;
use crate::problem::ApiError;
use crate::provisions::Provisions;
use crate::request::{By, InProject, InSession, Options, Paging, StrictJson};
use crate::routes::session_url;
use crate::state::{Gateway, Log, now};

/// `POST /projects/{project}/sessions`.
pub(crate) async fn create(
    State(log): State<Log>,
    State(projection): State<Projection>,
    State(provisions): State<Arc<Provisions>>,
    InProject(project): InProject,
    By(by): By,
    StrictJson(request): StrictJson<CreateSession>,
) -> Result<impl IntoResponse, ApiError> {
    let bus = log.connected()?;
    let (session, at) = (SessionId::new(Uuid::now_v7()), now());
    let message = SessionMessage {
        v: PAYLOAD_VERSION,
        project: project.clone(),
        session,
        at,
        fact: SessionFact::Created(provisions.created(request, session, at, by)?),
    };
    let state = fold(std::slice::from_ref(&message)).map_err(ApiError::internal)?;
    let sequence = bus
        .append_session_once(&message)
        .await
        .map_err(|error| match error {
            SessionError::Unavailable(reason) => {
                tracing::warn!(reason, "session not created");
                ApiError::OutcomeUnknown
            }
            SessionError::Exists => ApiError::internal("a new session id is in use"),
        })?;
    let location = [(header::LOCATION, session_url(&project, session))];
    let token = projection.token(&log, WrittenTo::Sessions, sequence).await;
    Ok((StatusCode::CREATED, location, token, Json(state.view())))
}

/// `GET /projects/{project}/sessions`.
pub(crate) async fn list(
    State(read_model): State<ReadModel>,
    InProject(project): InProject,
    wanted: Wanted,
    Paging(page): Paging,
    _: UpToDate,
) -> Result<Json<Page<SessionView>>, ApiError> {
    let filter = wanted.sessions()?;
    Ok(Json(read_model.sessions(&project, &filter, &page).await?))
}

/// `GET /projects/{project}/sessions/{session}`.
pub(crate) async fn get(
    State(log): State<Log>,
    InSession(project, session): InSession,
) -> Result<Json<SessionView>, ApiError> {
    Ok(Json(log.session(&project, session).await?.view()))
}

/// How a session is ended.
#[derive(Deserialize)]
pub(crate) struct EndOptions {
    #[serde(default)]
    cancel: bool,
}

/// `DELETE /projects/{project}/sessions/{session}`: no new exec from here on. Ending it twice is
/// ending it once.
///
/// With `cancel`, none of its execs is left running: a command that was stored before the end is
/// found here and canceled, one that is stored behind it is rejected by whoever would start it.
pub(crate) async fn end(
    State(gateway): State<Gateway>,
    InSession(project, session): InSession,
    Options(options): Options<EndOptions>,
    By(by): By,
) -> Result<impl IntoResponse, ApiError> {
    let Gateway {
        log, projection, ..
    } = &gateway;
    let ending = ended(log, project.clone(), session, by.clone(), options.cancel);
    let (state, sequence) = ending.await?;
    if options.cancel {
        control::cancel_all(&gateway, &project, session, &by).await?;
    }
    let token = projection.token(log, WrittenTo::Sessions, sequence).await;
    Ok((token, Json(state.view())))
}

/// The session with its end, and the place of its last fact.
async fn ended(
    log: &Log,
    project: ProjectId,
    session: SessionId,
    by: Requester,
    cancel: bool,
) -> Result<(SessionState, StreamSeq), ApiError> {
    let (mut state, last) = log.session_at(&project, session).await?;
    let Some(fact) = state.end(by, cancel, EndReason::Deleted) else {
        return Ok((state, last));
    };
    let message = SessionMessage {
        v: PAYLOAD_VERSION,
        project,
        session,
        at: now(),
        fact,
    };
    match log.connected()?.append_session_once(&message).await {
        Ok(sequence) => {
            state.apply(&message);
            Ok((state, sequence))
        }
        // Somebody else ended it at the same moment.
        Err(SessionError::Exists) => log.session_at(&message.project, session).await,
        Err(SessionError::Unavailable(reason)) => {
            tracing::warn!(session.id = %session, reason, "session not ended");
            Err(ApiError::OutcomeUnknown)
        }
    }
}
