//! The station `replay`: `GET …/events` shows the events of an exec, or of all execs of a session,
//! from any place on, live or later.
//!
//! [`ask`] reads what is wanted; the handler here decides how to answer; [`locate`] asks the log,
//! [`place`] decides where to continue. A [`feed`] is one reader's answer: it reads pages of the
//! log ([`replay`]) until it is up to date and then takes what the shared [`tail`] has in its
//! [`ring`]. [`encode`] and [`frame`] write the bytes, [`line`] completes long lines, [`progress`] and [`view`] know what one
//! reader was shown of them, [`outbox`] holds what it is to be sent, [`limits`] says when it has to end, [`queued`] tells of its exec's turn, [`poll`] answers in one piece.
//!
//! Invariant: browsers give up for ever on an answer other than 200 to a reconnect, so whatever
//! can be resumed is answered 200 and told by events; only what can never be right is an error.

mod ask;
mod encode;
mod feed;
mod frame;
mod limits;
mod line;
mod locate;
mod outbox;
mod place;
mod poll;
mod progress;
mod queued;
mod replay;
mod ring;
mod tail;
mod view;

#[cfg(test)]
mod interleaving;
#[cfg(test)]
mod sample;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use rdev_bus::live::Scope;
use rdev_contract::cursor::Cursor;
use rdev_contract::id::{ExecId, StreamId};
use rdev_contract::position::{EventNo, StreamSeq};
use rdev_contract::sse::{Connected, frame_name};

use self::ask::{Answer, EventsOptions, Reader};
use self::feed::{Feed, Plan};
use self::frame::Format;
use self::place::Place;
use self::progress::Progress;
use self::view::View;
use crate::history::History;
use crate::lives::Life;
use crate::metrics::{METRICS, ReaderEnd};
use crate::problem::{ApiError, FirstAvailable};
use crate::request::{InExec, InSession, Options};
use crate::state::Gateway;

pub(crate) use self::feed::Farewell;
pub(crate) use self::place::{Misplaced, check_tag};
pub(crate) use self::replay::Replays;
pub(crate) use self::tail::Tails;

/// A client whose connection broke comes back after this; what is missing waits in the log.
const RETRY_MS: u64 = 1_000;
const EVENT_STREAM: &str = "text/event-stream";
const JSON_LINES: &str = "application/x-ndjson";
/// Tells nginx not to collect the stream before it sends it on.
const ACCEL_BUFFERING: &str = "x-accel-buffering";

/// `GET /projects/{project}/sessions/{session}/events`: of one exec with `?stream_id=`, else of
/// all.
pub(crate) async fn session(
    State(gateway): State<Gateway>,
    InSession(project, session): InSession,
    Options(options): Options<EventsOptions>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let scope = match options.stream_id()? {
        Some(stream) => Scope::Exec(ExecId {
            project,
            session,
            stream,
        }),
        None => Scope::Session(project, session),
    };
    answer(&gateway, Reader::new(scope, &options, &headers)?, &method).await
}

/// `GET /projects/{project}/sessions/{session}/execs/{stream}/events`.
pub(crate) async fn exec(
    State(gateway): State<Gateway>,
    InExec(exec): InExec,
    Options(options): Options<EventsOptions>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let reader = Reader::new(Scope::Exec(exec), &options, &headers)?;
    answer(&gateway, reader, &method).await
}

async fn answer(gateway: &Gateway, reader: Reader, method: &Method) -> Result<Response, ApiError> {
    let feed = match open(gateway, &reader).await {
        Ok(Some(feed)) => feed,
        Ok(None) => return Ok(StatusCode::NO_CONTENT.into_response()),
        Err(ApiError::LogUnavailable) if !reader.strict => {
            return Ok(streamed(
                &reader,
                goodbye(&reader, Farewell::LogUnavailable),
            ));
        }
        Err(ApiError::TooManyStreams) if !reader.strict => {
            return Ok(streamed(&reader, goodbye(&reader, Farewell::Overloaded)));
        }
        Err(error) => return Err(error),
    };
    if matches!(reader.answer, Answer::Poll { .. }) {
        return poll::answer(feed).await;
    }
    let body = if method == Method::HEAD {
        // As long as a stream, which nobody knows.
        Body::from_stream(stream::empty::<Result<Bytes, Infallible>>())
    } else {
        feed.into_body()
    };
    Ok(streamed(&reader, body))
}

fn streamed(reader: &Reader, body: Body) -> Response {
    let content_type = match reader.style.format {
        Format::Sse => EVENT_STREAM,
        Format::JsonLines => JSON_LINES,
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, no-transform"),
        ),
        (
            header::HeaderName::from_static(ACCEL_BUFFERING),
            HeaderValue::from_static("no"),
        ),
    ];
    (headers, body).into_response()
}

impl From<Misplaced> for ApiError {
    fn from(error: Misplaced) -> Self {
        let code = match error {
            Misplaced::OtherExec => "event_id_of_another_exec",
            Misplaced::BeyondEnd => "event_id_beyond_end",
        };
        Self::invalid(code, error.to_string())
    }
}

/// Where a reader begins, and what is known of it.
struct Begin {
    /// The id that it begins with.
    cursor: Cursor,
    /// The messages behind this are read.
    position: StreamSeq,
    /// Of a session: the exec that the cursor is of.
    stream: Option<StreamId>,
    /// The log holds something of it.
    exists: bool,
    /// Nothing is left of what the reader had begun to read.
    is_gone: bool,
}

impl Begin {
    fn at(cursor: Cursor, position: StreamSeq) -> Self {
        Self {
            cursor,
            position,
            stream: None,
            exists: true,
            is_gone: false,
        }
    }
}

/// Everything that can be known before the answer begins; `None` when there is nothing more.
async fn open(gateway: &Gateway, reader: &Reader) -> Result<Option<Feed>, ApiError> {
    let (project, session) = reader.session();
    let known_sessions = &gateway.known_sessions;
    known_sessions
        .require(&gateway.log, project, session)
        .await?;
    let streams = Arc::clone(&gateway.streams);
    let permit = streams.try_acquire_owned();
    let permit = permit.map_err(|_| ApiError::TooManyStreams)?;
    let history = gateway.history()?;
    let begin = match &reader.scope {
        Scope::Exec(exec) => begin_exec(&history, reader, exec).await?,
        Scope::Session(..) => Some(begin_session(&history, reader).await?),
    };
    let Some(begin) = begin else {
        return Ok(None);
    };
    // Of what has expired, the tail that others wait for knows nothing.
    let is_old = history.is_old(session);
    let end = if is_old || reader.answer == Answer::Lines {
        history.end(&reader.scope).await?
    } else {
        StreamSeq(0)
    };
    if let Scope::Exec(exec) = &reader.scope
        && is_old
        && end == StreamSeq(0)
    {
        refuse_forgotten(gateway, &history, exec, &begin.cursor).await?;
    }
    let mut view = view(reader, &begin);
    if begin.is_gone {
        view.progress.gone(&mut view.out);
    }
    let plan = Plan {
        scope: reader.scope.clone(),
        style: reader.style,
        mode: reader.answer.mode(end),
        view,
        life: life(gateway, reader).await?,
        exists: begin.exists,
        end,
        _permit: permit,
    };
    Ok(Some(Feed::new(gateway, history.bus(), plan)))
}

/// What becomes of the session, for readers of its feed.
async fn life(gateway: &Gateway, reader: &Reader) -> Result<Option<Box<Life>>, ApiError> {
    match (&reader.scope, reader.answer) {
        (Scope::Session(project, session), Answer::Stream) => {
            let watch = gateway.lives.watch(&gateway.log, project, *session);
            watch.await.map(|life| Some(Box::new(life)))
        }
        (Scope::Session(..) | Scope::Exec(_), _) => Ok(None),
    }
}

async fn begin_exec(
    history: &History,
    reader: &Reader,
    exec: &ExecId,
) -> Result<Option<Begin>, ApiError> {
    let beginning = Cursor::beginning(exec);
    let cursor = reader.cursor.as_ref().unwrap_or(&beginning);
    if let (None, Some(count)) = (&reader.cursor, reader.tail) {
        let (cursor, position) = locate::last_events(history, exec, count).await?;
        let is_over =
            count == 0 && locate::place(history, exec, &cursor).await? == Ok(Place::Finished);
        return Ok((!is_over).then(|| Begin::at(cursor, position)));
    }
    let place = if *cursor == beginning {
        Place::Beginning { exists: false }
    } else {
        locate::place(history, exec, cursor).await??
    };
    let (position, exists) = match place {
        Place::Finished => return Ok(None),
        Place::Behind(sequence) => (sequence, true),
        Place::Beginning { exists } => (StreamSeq(0), exists),
        Place::Gone => (StreamSeq(0), false),
    };
    if reader.strict {
        refuse_gap(history, exec, position, cursor.number, place).await?;
    }
    Ok(Some(Begin {
        cursor: cursor.clone(),
        position,
        stream: None,
        exists,
        is_gone: place == Place::Gone,
    }))
}

async fn begin_session(history: &History, reader: &Reader) -> Result<Begin, ApiError> {
    let beginning = reader.beginning();
    let Some(cursor) = &reader.cursor else {
        let position = match reader.tail {
            Some(_) => history.end(&reader.scope).await?,
            None => StreamSeq(0),
        };
        // A place between events: of no exec, hence with the session's own tag.
        let cursor = Cursor {
            sequence: position,
            ..beginning
        };
        return Ok(Begin::at(cursor, position));
    };
    if cursor.tag == beginning.tag {
        let position = cursor.sequence;
        if cursor.number != beginning.number || position > locate::last(history).await? {
            return Err(Misplaced::BeyondEnd.into());
        }
        return Ok(Begin::at(cursor.clone(), position));
    }
    let (project, session) = reader.session();
    let (position, stream) = locate::in_session(history, project, session, cursor).await?;
    Ok(Begin {
        stream: Some(stream),
        ..Begin::at(cursor.clone(), position)
    })
}

/// Refuses a reader of an exec of which neither log nor archive knows anything, if it has ended: there
/// is nothing to wait for. Where the tables do not tell, it may be one that has not begun.
async fn refuse_forgotten(
    gateway: &Gateway,
    history: &History,
    exec: &ExecId,
    shown: &Cursor,
) -> Result<(), ApiError> {
    let found = gateway.read_model.exec(exec).await.unwrap_or_else(|error| {
        tracing::warn!(%exec, %error, "not known whether it has ended");
        None
    });
    // One that has ended since the log was asked is in the log.
    let completed_at = found.and_then(|found| found.completed_at);
    if completed_at.is_some_and(|at| history.may_have_expired(at)) {
        return Err(ApiError::Expired {
            requested: shown.number.plus(1).0,
            first_available: None,
        });
    }
    Ok(())
}

async fn refuse_gap(
    history: &History,
    exec: &ExecId,
    after: StreamSeq,
    shown: EventNo,
    place: Place,
) -> Result<(), ApiError> {
    let next = shown.plus(1);
    let left = locate::first_available(history, exec, after, shown).await?;
    if place != Place::Gone && left.is_none_or(|(_, first)| first <= next) {
        return Ok(());
    }
    let first_available = left.map(|(sequence, first)| FirstAvailable {
        number: first.0,
        before: Cursor {
            sequence,
            number: EventNo(first.0 - 1),
            tag: exec.tag(),
        },
    });
    Err(ApiError::Expired {
        requested: next.0,
        first_available,
    })
}

/// The view of a reader that has been greeted, if its answer has room for that.
fn view(reader: &Reader, begin: &Begin) -> View {
    let (format, cursor) = (reader.style.format, begin.cursor.clone());
    let progress = match &reader.scope {
        Scope::Exec(_) => Progress::of_exec(format, cursor, begin.position),
        Scope::Session(..) => {
            Progress::of_session(format, cursor, begin.position, begin.stream.clone())
        }
    };
    let ends_with_exec = matches!(reader.scope, Scope::Exec(_));
    let mut view = View::new(reader.style, progress, ends_with_exec);
    if reader.answer == Answer::Stream {
        let stream_id = match &reader.scope {
            Scope::Exec(exec) => exec.stream.to_string(),
            Scope::Session(..) => String::new(),
        };
        let hello = Connected {
            session_id: reader.session().1.to_string(),
            stream_id,
            reconnecting: reader.cursor.is_some(),
        };
        view.own(frame_name::CONNECTED, Some(RETRY_MS), &hello);
    }
    view
}

/// A whole answer that only sends the reader away, to come again with the cursor it has.
fn goodbye(reader: &Reader, farewell: Farewell) -> Body {
    let cursor = reader.cursor.clone().unwrap_or_else(|| reader.beginning());
    let mut view = view(reader, &Begin::at(cursor, StreamSeq(0)));
    farewell.write(&mut view);
    METRICS.ended(ReaderEnd::SentAway(farewell));
    let frames = std::iter::from_fn(|| view.out.pop()).collect::<Vec<_>>();
    Body::from(frames.concat())
}
