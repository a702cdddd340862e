//! Tickets are made here: for one stream of events, by whoever may read it.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rdev_contract::http::{CreateTicket, TicketMade};
use rdev_contract::id::ExecId;

use crate::problem::ApiError;
use crate::request::{InSession, MaybeJson};
use crate::routes::{session_events_url, stream_url};
use crate::state::{Gateway, now};
use crate::trust::{Caller, FeedOf, Ticket};

/// `POST /projects/{project}/sessions/{session}/tickets`.
pub(crate) async fn create(
    State(gateway): State<Gateway>,
    InSession(project, session): InSession,
    caller: Caller,
    MaybeJson(request): MaybeJson<CreateTicket>,
) -> Result<Response, ApiError> {
    let stream = request.stream_id.map(|text| text.parse()).transpose();
    let stream = stream
        .map_err(|error| ApiError::invalid("invalid_stream_id", format!("stream_id: {error}")))?;
    let known_sessions = &gateway.known_sessions;
    known_sessions
        .require(&gateway.log, &project, session)
        .await?;
    let feed = FeedOf {
        project,
        session,
        stream,
    };
    let resume_within = gateway.trust.resume_within();
    let ticket = Ticket::new(feed, &caller, now(), resume_within);
    let text = gateway.trust.sign(&ticket)?;
    let FeedOf {
        project,
        session,
        stream,
    } = ticket.feed;
    let url = match stream {
        Some(stream) => {
            let exec = ExecId {
                project,
                session,
                stream,
            };
            format!("{}&ticket={text}", stream_url(&exec))
        }
        None => format!("{}?ticket={text}", session_events_url(&project, session)),
    };
    let made = TicketMade {
        ticket: text,
        url,
        start_by: ticket.start_by,
        resume_until: ticket.resume_until,
    };
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, no_store, Json(made)).into_response())
}
