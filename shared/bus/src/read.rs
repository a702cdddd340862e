//! Single messages of the log, by place.
//!
//! Any replica answers a direct get. A follower may lag, so whoever must not miss anything asks the
//! leader for the tail first, and reads until it has that ([`crate::page`]).

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{
    DirectGetError, DirectGetErrorKind, LastRawMessageErrorKind, RawMessageError,
    RawMessageErrorKind, Stream,
};
use async_recursion::async_recursion as boxed;
use jiff::Timestamp;
use rdev_contract::envelope::{Recorded, Stored};
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::{self, Filter};
use rdev_contract::trace::{TRACE_PARENT, TraceParent};

use crate::Bus;

/// Between two looks at a replica that has not yet stored what the leader has.
pub(crate) const LAG_DELAY: Duration = Duration::from_millis(50);
/// A replica that is so long behind is not waited for any more: 5 s.
pub(crate) const LAG_LOOKS_MAX: u32 = 100;

/// One of the streams of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// Commands, output and ends.
    Exec,
    /// Session facts.
    Session,
}

impl LogStream {
    /// Its name in NATS.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exec => subject::EXEC_STREAM,
            Self::Session => subject::SESSION_STREAM,
        }
    }
}

/// Which stream this is, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamIdentity {
    /// When it was created: a re-created stream begins at 1 again and is another.
    pub created_at: Timestamp,
    /// Sequence of its first message; one more than the last if there is none.
    pub first: StreamSeq,
    /// Sequence of its last message; 0 if there never was one.
    pub last: StreamSeq,
    /// How many messages it holds.
    pub messages: u64,
    /// How many bytes they take on disk.
    pub bytes: u64,
}

/// The log could not be read. Trying again can help.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the log cannot be read: {0}")]
pub struct ReadError(pub String);

impl ReadError {
    pub(crate) fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// What is said of a replica that does not catch up with its leader.
pub(crate) const LAGGING: &str = "a replica lags behind its leader";

impl Bus {
    /// The next message behind `after`, as a replica has it. Unlike a page it costs no more where the
    /// stream holds more: before a batch the server counts all that match in the rest of it.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    #[boxed]
    pub async fn next_message(
        &self,
        stream: LogStream,
        filter: &Filter,
        after: StreamSeq,
    ) -> Result<Option<Recorded<Stored>>, ReadError> {
        self.next_at_replica(stream.name(), filter, after).await
    }

    pub(crate) async fn next_at_replica(
        &self,
        stream: &str,
        filter: &Filter,
        after: StreamSeq,
    ) -> Result<Option<Recorded<Stored>>, ReadError> {
        let handle = self.handle(stream).await?;
        let message = handle.direct_get_next_for_subject(filter.as_str(), Some(after.0 + 1));
        found_directly(message.await)
    }

    /// The exec's last message, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`] when the leader does not answer.
    #[boxed]
    pub async fn tail(&self, exec: &ExecId) -> Result<Option<Recorded<Stored>>, ReadError> {
        self.last_at_leader(LogStream::Exec, &Filter::exec(exec))
            .await
    }

    /// The last message that matches, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`] when the leader does not answer.
    #[boxed]
    pub async fn last_at_leader(
        &self,
        stream: LogStream,
        filter: &Filter,
    ) -> Result<Option<Recorded<Stored>>, ReadError> {
        self.last_of(stream.name(), filter).await
    }

    /// The same of any stream.
    pub(crate) async fn last_of(
        &self,
        stream: &str,
        filter: &Filter,
    ) -> Result<Option<Recorded<Stored>>, ReadError> {
        let handle = self.handle(stream).await?;
        match handle
            .get_last_raw_message_by_subject(filter.as_str())
            .await
        {
            Ok(message) => recorded(message).map(Some),
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::InvalidSubject
                | LastRawMessageErrorKind::JetStream(_)
                | LastRawMessageErrorKind::Other => Err(ReadError::of(error)),
            },
        }
    }

    /// The next message behind `after` that matches, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`] when the leader does not answer.
    #[boxed]
    pub async fn next_at_leader(
        &self,
        stream: LogStream,
        filter: &Filter,
        after: StreamSeq,
    ) -> Result<Option<Recorded<Stored>>, ReadError> {
        self.next_of(stream.name(), filter, after).await
    }

    /// The same of any stream.
    pub(crate) async fn next_of(
        &self,
        stream: &str,
        filter: &Filter,
        after: StreamSeq,
    ) -> Result<Option<Recorded<Stored>>, ReadError> {
        let handle = self.handle(stream).await?;
        let message = handle.get_first_raw_message_by_subject(filter.as_str(), after.0 + 1);
        found(message.await)
    }

    /// The message with this sequence; none if the leader has none.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    #[boxed]
    pub async fn message_at(
        &self,
        stream: LogStream,
        sequence: StreamSeq,
    ) -> Result<Option<Recorded<Stored>>, ReadError> {
        let handle = self.handle(stream.name()).await?;
        match found_directly(handle.direct_get(sequence.0).await)? {
            Some(message) => Ok(Some(message)),
            // A replica that lags has not stored it yet.
            None => self.at_leader(stream, sequence).await,
        }
    }

    /// The message with this sequence, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`] when the leader does not answer.
    #[boxed]
    pub async fn at_leader(
        &self,
        stream: LogStream,
        sequence: StreamSeq,
    ) -> Result<Option<Recorded<Stored>>, ReadError> {
        let handle = self.handle(stream.name()).await?;
        found(handle.get_raw_message(sequence.0).await)
    }

    /// Which stream this is, and what it holds.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    #[boxed]
    pub async fn identity(&self, stream: LogStream) -> Result<StreamIdentity, ReadError> {
        self.identity_of(stream.name()).await
    }

    /// The same of any stream.
    pub(crate) async fn identity_of(&self, stream: &str) -> Result<StreamIdentity, ReadError> {
        let handle = self.handle(stream).await?;
        let info = handle.get_info().await.map_err(ReadError::of)?;
        Ok(StreamIdentity {
            created_at: timestamp(info.created.into())?,
            first: StreamSeq(info.state.first_sequence),
            last: StreamSeq(info.state.last_sequence),
            messages: info.state.messages,
            bytes: info.state.bytes,
        })
    }

    /// The stream, without asking the server for anything.
    pub(crate) async fn handle(&self, stream: &str) -> Result<Stream<()>, ReadError> {
        self.reachable()?;
        self.jetstream
            .get_stream_no_info(stream)
            .await
            .map_err(ReadError::of)
    }

    /// A request without a connection would wait in the client, and its caller with it.
    pub(crate) fn reachable(&self) -> Result<(), ReadError> {
        if self.is_connected() {
            return Ok(());
        }
        Err(ReadError("not connected".to_owned()))
    }
}

fn found_directly(
    message: Result<StreamMessage, DirectGetError>,
) -> Result<Option<Recorded<Stored>>, ReadError> {
    match message {
        Ok(message) => recorded(message).map(Some),
        Err(error) => match error.kind() {
            DirectGetErrorKind::NotFound => Ok(None),
            DirectGetErrorKind::InvalidSubject
            | DirectGetErrorKind::TimedOut
            | DirectGetErrorKind::Request
            | DirectGetErrorKind::ErrorResponse(..)
            | DirectGetErrorKind::Other => Err(ReadError::of(error)),
        },
    }
}

fn found(
    message: Result<StreamMessage, RawMessageError>,
) -> Result<Option<Recorded<Stored>>, ReadError> {
    match message {
        Ok(message) => recorded(message).map(Some),
        Err(error) => match error.kind() {
            RawMessageErrorKind::NoMessageFound => Ok(None),
            RawMessageErrorKind::InvalidSubject
            | RawMessageErrorKind::JetStream(_)
            | RawMessageErrorKind::Other => Err(ReadError::of(error)),
        },
    }
}

fn recorded(message: StreamMessage) -> Result<Recorded<Stored>, ReadError> {
    let at = timestamp(message.time.into())?;
    let value = Stored {
        subject: message.subject.to_string(),
        trace: trace_of(Some(&message.headers)),
        payload: message.payload,
        at,
    };
    Ok(Recorded {
        sequence: StreamSeq(message.sequence),
        value,
    })
}

/// What a message's headers say of its trace; nothing if that cannot be read, since it decides nothing.
pub(crate) fn trace_of(headers: Option<&HeaderMap>) -> Option<TraceParent> {
    headers?.get(TRACE_PARENT)?.as_str().parse().ok()
}

fn timestamp(time: std::time::SystemTime) -> Result<Timestamp, ReadError> {
    Timestamp::try_from(time).map_err(ReadError::of)
}
