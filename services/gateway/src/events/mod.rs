//! The station `replay`: `GET …/events` shows an exec's events from any place on, live or later.
//!
//! The handler here decides how to answer; [`locate`] asks the log, [`place`] decides where to
//! continue, [`feed`] reads and sends, [`encode`] and [`frame`] write the bytes.
//!
//! Invariant: browsers give up for ever on an answer other than 200 to a reconnect, so whatever
//! can be resumed is answered 200 and told by events; only what can never be right is an error.

mod encode;
mod feed;
mod frame;
mod locate;
mod place;

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use rdev_bus::Bus;
use rdev_contract::cursor::{Cursor, InvalidCursor};
use rdev_contract::id::{ExecId, StreamId};
use rdev_contract::position::{EventNo, StreamSeq};
use rdev_contract::sse::{Connected, frame_name};
use serde::Deserialize;

use self::encode::Encoder;
use self::feed::{Farewell, Feed};
use self::place::{Misplaced, Place};
use crate::problem::ApiError;
use crate::request::{InSession, Options};
use crate::state::Gateway;

/// A client whose connection broke comes back after this; what is missing waits in the log.
const RETRY_MS: u64 = 1_000;
const LAST_EVENT_ID: &str = "last-event-id";
const EVENT_STREAM: &str = "text/event-stream";
/// Tells nginx not to collect the stream before it sends it on.
const ACCEL_BUFFERING: &str = "x-accel-buffering";

/// The query of `GET …/events`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct EventsOptions {
    stream_id: Option<String>,
    last_event_id: Option<String>,
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    stderr: StderrName,
}

/// What events of claude's standard error are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StderrName {
    /// As in the original API. In a browser it is also the name of network errors.
    #[default]
    Error,
    Output,
}

/// What a reader asked for.
struct Reader {
    exec: ExecId,
    /// Absent for a reader that begins.
    cursor: Option<Cursor>,
    /// Would rather have an error than a `gap` or a `reconnect`.
    strict: bool,
    stderr: StderrName,
}

/// `GET /projects/{project}/sessions/{session}/events?stream_id=…`.
pub(crate) async fn exec(
    State(gateway): State<Gateway>,
    InSession(project, session): InSession,
    Options(options): Options<EventsOptions>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let stream = stream_id(options.stream_id.as_deref())?;
    let exec = ExecId {
        project,
        session,
        stream,
    };
    let reader = Reader {
        cursor: cursor(&headers, options.last_event_id.as_deref(), &exec)?,
        strict: options.strict || prefers_json(&headers),
        stderr: options.stderr,
        exec,
    };
    let body = match open(&gateway, &reader).await {
        Ok(Some(feed)) if method == Method::GET => feed.start(gateway.log.connected()?.clone()),
        // HEAD: as long as a stream, which nobody knows.
        Ok(Some(_)) => Body::from_stream(stream::empty::<Result<Bytes, Infallible>>()),
        Ok(None) => return Ok(StatusCode::NO_CONTENT.into_response()),
        Err(ApiError::LogUnavailable) if !reader.strict => {
            goodbye(&reader, Farewell::LogUnavailable)
        }
        Err(error) => return Err(error),
    };
    Ok((stream_headers(), body).into_response())
}

fn stream_headers() -> [(header::HeaderName, HeaderValue); 3] {
    [
        (header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM)),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, no-transform"),
        ),
        (
            header::HeaderName::from_static(ACCEL_BUFFERING),
            HeaderValue::from_static("no"),
        ),
    ]
}

fn stream_id(text: Option<&str>) -> Result<StreamId, ApiError> {
    let text = text.filter(|text| !text.is_empty()).ok_or_else(|| {
        ApiError::invalid(
            "missing_stream_id",
            "stream_id is required: give the id of an exec",
        )
    })?;
    text.parse()
        .map_err(|error| ApiError::invalid("invalid_stream_id", format!("stream_id: {error}")))
}

/// The header wins, because it is newer than the address that a client began with. Empty is none.
fn cursor(
    headers: &HeaderMap,
    option: Option<&str>,
    exec: &ExecId,
) -> Result<Option<Cursor>, ApiError> {
    let malformed = |error: InvalidCursor| {
        ApiError::invalid("invalid_event_id", format!("Last-Event-ID: {error}"))
    };
    let text = match headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) {
        Some(value) => Some(value.to_str().map_err(|_| malformed(InvalidCursor))?),
        None => option.filter(|text| !text.is_empty()),
    };
    let Some(text) = text else {
        return Ok(None);
    };
    let cursor: Cursor = text.parse().map_err(malformed)?;
    place::check_tag(&cursor, exec)?;
    Ok(Some(cursor))
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

fn prefers_json(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    accept.contains("application/json") && !accept.contains(EVENT_STREAM)
}

/// Everything that can be known before the answer begins; `None` when there is nothing more.
async fn open(gateway: &Gateway, reader: &Reader) -> Result<Option<Feed>, ApiError> {
    let exec = &reader.exec;
    gateway.log.session(&exec.project, exec.session).await?;
    let bus = gateway.log.connected()?;
    let beginning = Cursor::beginning(exec);
    let cursor = reader.cursor.as_ref().unwrap_or(&beginning);
    let place = if *cursor == beginning {
        Place::Beginning { exists: false }
    } else {
        place::decide(cursor, &locate::look(bus, exec, cursor).await?)?
    };
    let (after, exists) = match place {
        Place::Finished => return Ok(None),
        Place::Behind(sequence) => (sequence, true),
        Place::Beginning { exists } => (StreamSeq(0), exists),
        Place::Gone => (StreamSeq(0), false),
    };
    if reader.strict {
        refuse_gap(bus, exec, after, cursor.number, place).await?;
    }
    let mut encoder = connected(reader, cursor);
    if place == Place::Gone {
        encoder.gap(cursor.sequence, None);
    }
    Ok(Some(Feed::new(
        gateway,
        encoder,
        exec.clone(),
        after,
        exists,
    )))
}

async fn refuse_gap(
    bus: &Bus,
    exec: &ExecId,
    after: StreamSeq,
    shown: EventNo,
    place: Place,
) -> Result<(), ApiError> {
    let next = shown.plus(1);
    let first_available = locate::first_available(bus, exec, after, shown).await?;
    if place == Place::Gone || first_available.is_some_and(|first| first > next) {
        let first_available = first_available.map(|number| number.0);
        return Err(ApiError::Expired {
            requested: next.0,
            first_available,
        });
    }
    Ok(())
}

/// An encoder that has said hello.
fn connected(reader: &Reader, cursor: &Cursor) -> Encoder {
    let mut encoder = Encoder::new(cursor, reader.stderr == StderrName::Output);
    let hello = Connected {
        session_id: reader.exec.session.to_string(),
        stream_id: reader.exec.stream.to_string(),
        reconnecting: reader.cursor.is_some(),
    };
    encoder.own(frame_name::CONNECTED, Some(RETRY_MS), &hello);
    encoder
}

/// A whole answer that only sends the reader away, to come again with the cursor it has.
fn goodbye(reader: &Reader, farewell: Farewell) -> Body {
    let beginning = Cursor::beginning(&reader.exec);
    let mut encoder = connected(reader, reader.cursor.as_ref().unwrap_or(&beginning));
    farewell.write(&mut encoder);
    Body::from(encoder.take())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec_id() -> ExecId {
        ExecId {
            project: "demo".parse().unwrap(),
            session: "0192f0c1-0000-7000-8000-000000000001".parse().unwrap(),
            stream: "one".parse().unwrap(),
        }
    }

    fn header(value: &[u8]) -> HeaderMap {
        HeaderMap::from_iter([(
            header::HeaderName::from_static(LAST_EVENT_ID),
            HeaderValue::from_bytes(value).unwrap(),
        )])
    }

    fn code(result: Result<Option<Cursor>, ApiError>) -> &'static str {
        result.unwrap_err().code()
    }

    #[test]
    fn the_header_wins_and_empty_is_none() {
        let exec = exec_id();
        let (seven, nine) = (format!("7-7-{}", exec.tag()), format!("9-9-{}", exec.tag()));
        let found = cursor(&header(seven.as_bytes()), Some(&nine), &exec)
            .unwrap()
            .unwrap();
        assert_eq!(found.to_string(), seven);
        let found = cursor(&header(b""), Some(&nine), &exec).unwrap().unwrap();
        assert_eq!(found.to_string(), nine);
        assert_eq!(cursor(&header(b""), Some(""), &exec).unwrap(), None);
        assert_eq!(cursor(&HeaderMap::new(), None, &exec).unwrap(), None);
    }

    #[test]
    fn what_is_no_cursor_of_this_exec_is_refused() {
        let exec = exec_id();
        let tag = exec.tag();
        let long = "1".repeat(8192);
        for text in [
            "-1",
            "1",
            "1-1",
            "x-1-00000000",
            "18446744073709551616-1-00000000",
            &long,
        ] {
            assert_eq!(
                code(cursor(&HeaderMap::new(), Some(text), &exec)),
                "invalid_event_id"
            );
        }
        for text in [
            &format!("01-1-{tag}"),
            &format!("1-1-{tag}-"),
            &format!("+1-1-{tag}"),
        ] {
            assert_eq!(
                code(cursor(&HeaderMap::new(), Some(text), &exec)),
                "invalid_event_id"
            );
        }
        assert_eq!(
            code(cursor(&header(b"\xFF"), None, &exec)),
            "invalid_event_id"
        );
        let other = cursor(&HeaderMap::new(), Some("1-1-00000000"), &exec);
        assert_eq!(code(other), "event_id_of_another_exec");
    }

    #[test]
    fn an_answer_that_only_sends_away_keeps_the_place() {
        let exec = exec_id();
        let cursor = Cursor {
            sequence: StreamSeq(7),
            number: EventNo(3),
            tag: exec.tag(),
        };
        let mut encoder = Encoder::new(&cursor, false);
        Farewell::Draining.write(&mut encoder);
        let text = String::from_utf8(encoder.take()).unwrap();
        let begin = format!("id: 7-3-{}\nevent: reconnect\nretry: ", exec.tag());
        assert!(text.starts_with(&begin), "{text}");
        assert!(
            text.ends_with("\ndata: {\"reason\":\"draining\"}\n\n"),
            "{text}"
        );
    }

    #[test]
    fn strictness_is_asked_for_by_json_alone() {
        let accept = |text: &'static str| {
            HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(text))])
        };
        assert!(prefers_json(&accept("application/json")));
        assert!(!prefers_json(&accept(
            "text/event-stream, application/json"
        )));
        assert!(!prefers_json(&accept("*/*")));
        assert!(!prefers_json(&HeaderMap::new()));
    }
}
