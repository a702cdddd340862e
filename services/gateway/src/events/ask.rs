//! What a reader asks for: which events, from where, and in which form.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use rdev_bus::live::Scope;
use rdev_contract::cursor::{Cursor, InvalidCursor};
use rdev_contract::id::{ProjectId, SessionId, StreamId, session_tag};
use rdev_contract::position::{EventNo, StreamSeq};
use serde::Deserialize;
use tokio::time::Instant;

use super::encode::Style;
use super::feed::Mode;
use super::frame::Format;
use super::{EVENT_STREAM, JSON_LINES, place};
use crate::execs::WAIT_MAX_SECONDS;
use crate::problem::ApiError;

const LAST_EVENT_ID: &str = "last-event-id";
/// Events that `?tail=` may ask for: a few screens. They are found going back message by message.
const TAIL_MAX_EVENTS: u64 = 1_000;

/// The query of `GET …/events`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct EventsOptions {
    stream_id: Option<String>,
    last_event_id: Option<String>,
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    stderr: StderrName,
    #[serde(default)]
    times: bool,
    tail: Option<u64>,
    wait: Option<u64>,
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

impl EventsOptions {
    /// The exec asked for; none for all of the session.
    pub(super) fn stream_id(&self) -> Result<Option<StreamId>, ApiError> {
        let Some(text) = &self.stream_id else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|error| ApiError::invalid("invalid_stream_id", format!("stream_id: {error}")))
    }
}

/// In which form the events are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Server-sent events, on and on.
    Stream,
    /// Lines of JSON, up to the present.
    Lines,
    /// One JSON object, at once or as soon as there is something.
    Poll {
        /// How long at most.
        wait: Duration,
    },
}

impl Answer {
    /// By `Accept`. Whoever takes server-sent events, or anything, gets those.
    fn wanted(headers: &HeaderMap, wait: Duration) -> Self {
        let accept = headers
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("");
        if accept.contains(EVENT_STREAM) {
            Self::Stream
        } else if accept.contains(JSON_LINES) {
            Self::Lines
        } else if accept.contains("application/json") {
            Self::Poll { wait }
        } else {
            Self::Stream
        }
    }

    /// How far a reader goes; `end` is the last message there is.
    pub(super) fn mode(self, end: StreamSeq) -> Mode {
        match self {
            Self::Stream => Mode::Follow,
            Self::Lines => Mode::Replay { until: end },
            Self::Poll { wait } => Mode::Poll {
                until: Instant::now() + wait,
            },
        }
    }
}

/// What a reader asked for.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) scope: Scope,
    pub(super) style: Style,
    pub(super) answer: Answer,
    /// Absent for a reader that begins.
    pub(super) cursor: Option<Cursor>,
    /// So many of the last events, for a reader that begins.
    pub(super) tail: Option<u64>,
    /// Would rather have an error than a `gap` or a `reconnect`.
    pub(super) strict: bool,
}

impl Reader {
    pub(super) fn new(
        scope: Scope,
        options: &EventsOptions,
        headers: &HeaderMap,
    ) -> Result<Self, ApiError> {
        let answer = Answer::wanted(headers, wait(options.wait)?);
        let cursor = cursor(headers, options.last_event_id.as_deref())?;
        if let (Some(cursor), Scope::Exec(exec)) = (&cursor, &scope) {
            place::check_tag(cursor, exec)?;
        }
        let style = Style {
            format: match answer {
                Answer::Stream => Format::Sse,
                Answer::Lines | Answer::Poll { .. } => Format::JsonLines,
            },
            stderr_as_output: options.stderr == StderrName::Output,
            with_stream: matches!(scope, Scope::Session(..)),
            with_times: options.times,
        };
        Ok(Self {
            tail: tail(options.tail, &scope)?,
            strict: options.strict || matches!(answer, Answer::Poll { .. }),
            scope,
            style,
            answer,
            cursor,
        })
    }

    pub(super) const fn session(&self) -> (&ProjectId, SessionId) {
        match &self.scope {
            Scope::Exec(exec) => (&exec.project, exec.session),
            Scope::Session(project, session) => (project, *session),
        }
    }

    /// The id before the first event.
    pub(super) fn beginning(&self) -> Cursor {
        match &self.scope {
            Scope::Exec(exec) => Cursor::beginning(exec),
            Scope::Session(project, session) => Cursor {
                sequence: StreamSeq(0),
                number: EventNo(0),
                tag: session_tag(project, *session),
            },
        }
    }
}

fn wait(seconds: Option<u64>) -> Result<Duration, ApiError> {
    let seconds = seconds.unwrap_or(0);
    if seconds > WAIT_MAX_SECONDS {
        return Err(ApiError::invalid(
            "invalid_query",
            format!("wait is at most {WAIT_MAX_SECONDS} seconds"),
        ));
    }
    Ok(Duration::from_secs(seconds))
}

fn tail(count: Option<u64>, scope: &Scope) -> Result<Option<u64>, ApiError> {
    let refused = |detail: String| Err(ApiError::invalid("invalid_query", detail));
    match (count, scope) {
        (Some(count), _) if count > TAIL_MAX_EVENTS => refused(format!(
            "tail is at most {TAIL_MAX_EVENTS}: for more read from the beginning, \
             or from an event id"
        )),
        (Some(1..), Scope::Session(..)) => refused(
            "tail is 0 for the events of a whole session: give stream_id, or an event id"
                .to_owned(),
        ),
        (count, _) => Ok(count),
    }
}

/// The header wins, because it is newer than the address that a client began with. Empty is none.
fn cursor(headers: &HeaderMap, option: Option<&str>) -> Result<Option<Cursor>, ApiError> {
    let malformed = |error: InvalidCursor| {
        ApiError::invalid("invalid_event_id", format!("Last-Event-ID: {error}"))
    };
    let text = match headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) {
        Some(value) => Some(value.to_str().map_err(|_| malformed(InvalidCursor))?),
        None => option.filter(|text| !text.is_empty()),
    };
    text.map(str::parse).transpose().map_err(malformed)
}

#[cfg(test)]
#[path = "ask_tests.rs"]
mod tests;
