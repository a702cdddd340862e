//! Every error of the HTTP API, and how it is told: RFC 9457 problem details with a stable code.
//!
//! Written by every handler, read by clients. Invariant: for each error there is one status and
//! one code; 503 always says when to try again, and is only used where trying again can help.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rdev_bus::ReadError;
use rdev_contract::cursor::Cursor;
use rdev_contract::http::Problem;
use rdev_contract::id::StreamId;
use rdev_contract::trace::TraceParent;
use rdev_domain::control::{STDIN_ORDER_MAX_BYTES, StdinRefused};
use rdev_domain::request::RequestError;

use crate::accept::COMMAND_MAX_BYTES;
use crate::request::BODY_MAX_BYTES;
use crate::traces;
use crate::trust::Refusal;

/// NATS is back within a second of a restart, and a new leader within ten.
const RETRY_AFTER_SECONDS: u64 = 2;
const PROBLEM_CONTENT_TYPE: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// No route has this path.
    #[error("there is nothing at this path")]
    NoSuchRoute,
    /// The path has no such method; `Allow` names those that it has.
    #[error("this path does not take this method: see the Allow header")]
    MethodNotAllowed,
    /// The thing named by the path does not exist in this project.
    #[error("there is no such {0} in this project")]
    NotFound(&'static str),
    /// The path's project cannot be the name of one.
    #[error("there is no such project: a name is 1 to 63 of a-z, 0-9 and -, not first or last")]
    NoSuchProject,
    /// The request is not one that can be carried out.
    #[error("{detail}")]
    Invalid {
        /// For programs.
        code: &'static str,
        /// For people.
        detail: String,
    },
    /// It contradicts what exists.
    #[error("{detail}")]
    Conflict {
        /// For programs.
        code: &'static str,
        /// For people.
        detail: &'static str,
    },
    /// A piece of standard input that does not continue what was given.
    #[error("{0}")]
    StdinRefused(StdinRefused),
    /// The command does not read its standard input.
    #[error("more input is waiting to be read by the command than is kept for it: try again")]
    StdinFull {
        /// Where the next piece has to begin.
        next_offset: u64,
    },
    /// More orders wait than are kept for one exec.
    #[error("as many orders wait for this exec as are kept: try again")]
    OrdersFull,
    /// A piece of standard input is longer than one may be.
    #[error("a piece of standard input has {STDIN_ORDER_MAX_BYTES} bytes at most: send several")]
    StdinTooLarge,
    /// The body is longer than a request may be.
    #[error("the body is longer than {BODY_MAX_BYTES} bytes")]
    BodyTooLarge,
    /// The command does not fit a message of the log.
    #[error("the command is longer than {COMMAND_MAX_BYTES} bytes: put its data into a file")]
    CommandTooLarge,
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// The body is said not to be JSON.
    #[error("the body must be JSON: send it with Content-Type: application/json")]
    UnsupportedMediaType,
    /// The body is compressed.
    #[error("a compressed body is not taken: send it without Content-Encoding")]
    UnsupportedEncoding,
    /// Retention removed what a strict reader asked for.
    #[error("event {requested} is no longer kept; {}", left(first_available.as_ref().map(|first| first.number)))]
    Expired {
        /// The number of the event that should have come next.
        requested: u64,
        /// The first one that is left.
        first_available: Option<FirstAvailable>,
    },
    /// Retention removed bytes that were asked for.
    #[error("byte {requested} is no longer kept; {}", left(*.first_available))]
    OutputExpired {
        /// The byte that should have come next.
        requested: u64,
        /// The first one that is left.
        first_available: Option<u64>,
    },
    /// A range that begins behind the end.
    #[error("there are {total} bytes: ask for a range that begins before that")]
    BehindEnd {
        /// How many there are.
        total: u64,
    },
    /// The log cannot be read or written right now; nothing happened.
    #[error("the event log is not available: try again")]
    LogUnavailable,
    /// As many streams are open as may be.
    #[error("this gateway has as many open streams as it may have: try again")]
    TooManyStreams,
    /// As many commands of the project wait as may.
    #[error("{queue_max} commands of this project wait already: try again with this stream_id")]
    QueueFull {
        /// How many may wait.
        queue_max: usize,
        /// To try again with.
        stream: StreamId,
    },
    /// The command was not stored, and will not be.
    #[error("{detail}: try again with this stream_id")]
    CommandNotStored {
        /// For programs.
        code: &'static str,
        /// For people.
        detail: &'static str,
        /// To try again with.
        stream: StreamId,
    },
    /// The command may have been stored.
    #[error(
        "it is not known whether the command was accepted: try again with this stream_id to \
         learn it"
    )]
    CommandUnknown {
        /// To try again with.
        stream: StreamId,
    },
    /// The write may have happened; it is safe to repeat.
    #[error("it is not known whether the change was stored: try again")]
    OutcomeUnknown,
    /// PostgreSQL cannot be read right now.
    #[error("lists and conversations are not available: try again")]
    ReadModelUnavailable,
    /// There is more to draw than fits one answer.
    #[error("the screen is still being drawn: try again")]
    ScreenNotReady,
    /// The read model does not include yet what was asked for.
    #[error("lists do not include this as_of yet: try again")]
    NotProjected,
    /// Whoever asks may not.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A bug.
    #[error("the gateway failed: this is a bug, and it is in the gateway's log")]
    Internal,
}

/// The first event that is left of an exec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FirstAvailable {
    /// Its number.
    pub(crate) number: u64,
    /// The id with which a reader goes on with it.
    pub(crate) before: Cursor,
}

fn left(first_available: Option<u64>) -> String {
    first_available.map_or_else(
        || "nothing is left".to_owned(),
        |number| format!("the first one left is {number}"),
    )
}

impl ApiError {
    /// An invalid request.
    pub(crate) fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid {
            code,
            detail: detail.into(),
        }
    }

    /// A bug, told to the log alone.
    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "request failed");
        Self::Internal
    }

    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchRoute | Self::NotFound(_) | Self::NoSuchProject => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Invalid { .. } => StatusCode::BAD_REQUEST,
            Self::Conflict { .. } | Self::StdinRefused(_) => StatusCode::CONFLICT,
            Self::StdinFull { .. } | Self::OrdersFull => StatusCode::TOO_MANY_REQUESTS,
            Self::BodyTooLarge | Self::CommandTooLarge | Self::StdinTooLarge => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::UnsupportedMediaType | Self::UnsupportedEncoding => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Expired { .. } | Self::OutputExpired { .. } => StatusCode::GONE,
            Self::BehindEnd { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::QueueFull { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::LogUnavailable
            | Self::TooManyStreams
            | Self::CommandNotStored { .. }
            | Self::CommandUnknown { .. }
            | Self::OutcomeUnknown
            | Self::ReadModelUnavailable
            | Self::ScreenNotReady
            | Self::NotProjected => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused(refusal) => refusal.status(),
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::NoSuchRoute => "no_such_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NotFound(_) | Self::NoSuchProject => "not_found",
            Self::Invalid { code, .. }
            | Self::Conflict { code, .. }
            | Self::CommandNotStored { code, .. } => code,
            Self::StdinRefused(StdinRefused::Gap { .. }) => "stdin_gap",
            Self::StdinRefused(StdinRefused::Closed { .. }) => "stdin_closed",
            Self::StdinFull { .. } => "stdin_full",
            Self::OrdersFull => "orders_full",
            Self::StdinTooLarge => "stdin_too_large",
            Self::BodyTooLarge => "body_too_large",
            Self::CommandTooLarge => "command_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::Expired { .. } => "events_expired",
            Self::OutputExpired { .. } => "output_expired",
            Self::BehindEnd { .. } => "range_not_satisfiable",
            Self::QueueFull { .. } => "queue_full",
            Self::LogUnavailable => "log_unavailable",
            Self::TooManyStreams => "too_many_streams",
            Self::CommandUnknown { .. } | Self::OutcomeUnknown => "outcome_unknown",
            Self::ReadModelUnavailable => "read_model_unavailable",
            Self::ScreenNotReady => "screen_not_ready",
            Self::NotProjected => "not_projected_yet",
            Self::Refused(refusal) => refusal.code(),
            Self::Internal => "internal",
        }
    }

    /// Whether the same request may succeed later without anybody changing it.
    pub(crate) const fn is_retryable(&self) -> bool {
        if let Self::Refused(refusal) = self {
            return refusal.is_retryable();
        }
        matches!(
            self,
            Self::LogUnavailable
                | Self::TooManyStreams
                | Self::StdinFull { .. }
                | Self::OrdersFull
                | Self::QueueFull { .. }
                | Self::CommandNotStored { .. }
                | Self::CommandUnknown { .. }
                | Self::OutcomeUnknown
                | Self::ReadModelUnavailable
                | Self::ScreenNotReady
                | Self::NotProjected
                | Self::BodyTimeout
        )
    }

    /// Whether nothing was changed, for certain.
    pub(crate) const fn has_no_side_effects(&self) -> bool {
        !matches!(
            self,
            Self::CommandUnknown { .. } | Self::OutcomeUnknown | Self::Internal
        )
    }

    fn stream_id(&self) -> Option<String> {
        match self {
            Self::QueueFull { stream, .. }
            | Self::CommandNotStored { stream, .. }
            | Self::CommandUnknown { stream } => Some(stream.to_string()),
            Self::NoSuchRoute
            | Self::MethodNotAllowed
            | Self::NotFound(_)
            | Self::NoSuchProject
            | Self::Invalid { .. }
            | Self::Conflict { .. }
            | Self::StdinRefused(_)
            | Self::StdinFull { .. }
            | Self::OrdersFull
            | Self::StdinTooLarge
            | Self::BodyTooLarge
            | Self::CommandTooLarge
            | Self::BodyTimeout
            | Self::UnsupportedMediaType
            | Self::UnsupportedEncoding
            | Self::Expired { .. }
            | Self::OutputExpired { .. }
            | Self::BehindEnd { .. }
            | Self::LogUnavailable
            | Self::TooManyStreams
            | Self::OutcomeUnknown
            | Self::ReadModelUnavailable
            | Self::ScreenNotReady
            | Self::NotProjected
            | Self::Refused(_)
            | Self::Internal => None,
        }
    }

    fn first_available(&self) -> Option<u64> {
        if let Self::OutputExpired {
            first_available, ..
        } = self
        {
            *first_available
        } else {
            self.first_event().map(|first| first.number)
        }
    }

    const fn first_event(&self) -> Option<&FirstAvailable> {
        if let Self::Expired {
            first_available, ..
        } = self
        {
            first_available.as_ref()
        } else {
            None
        }
    }

    const fn next_offset(&self) -> Option<u64> {
        if let Self::StdinRefused(refused) = self {
            return Some(refused.next_offset());
        }
        if let Self::StdinFull { next_offset } = self {
            return Some(*next_offset);
        }
        None
    }

    fn body(&self) -> Problem {
        let status = self.status();
        let unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
        Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: self.to_string(),
            code: self.code().to_owned(),
            stream_id: self.stream_id(),
            first_available: self.first_available(),
            next_offset: self.next_offset(),
            resume_from: self.first_event().map(|first| first.before.to_string()),
            outcome_unknown: unavailable.then_some(!self.has_no_side_effects()),
            trace_id: traces::place().map(TraceParent::trace_id),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.body())).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(PROBLEM_CONTENT_TYPE),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.is_retryable() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        if let Self::Refused(refusal) = &self {
            refusal.tell(headers);
        }
        if let Self::BehindEnd { total } = self
            && let Ok(range) = HeaderValue::try_from(format!("bytes */{total}"))
        {
            headers.insert(header::CONTENT_RANGE, range);
        }
        response
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        Self::Invalid {
            code: error.code,
            detail: error.detail,
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        tracing::warn!(%error, "request not answered");
        Self::LogUnavailable
    }
}

impl From<rdev_readmodel::ReadError> for ApiError {
    fn from(error: rdev_readmodel::ReadError) -> Self {
        match error {
            rdev_readmodel::ReadError::Unavailable(reason) => {
                tracing::warn!(reason, "read model not available");
                Self::ReadModelUnavailable
            }
            rdev_readmodel::ReadError::InvalidCursor(error) => {
                Self::invalid("invalid_cursor", error.to_string())
            }
            rdev_readmodel::ReadError::Internal(reason) => Self::internal(reason),
        }
    }
}

#[cfg(test)]
#[path = "problem_tests.rs"]
mod tests;
