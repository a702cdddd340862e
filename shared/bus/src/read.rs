//! Reading the log by sequence.
//!
//! Replays use direct gets ([`Pace`]), which any replica answers. A follower may lag, so
//! whoever must not miss anything asks the leader for the tail first, and reads until it has that.

use std::time::Duration;

use async_nats::header;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{
    DirectGetError, DirectGetErrorKind, LastRawMessageErrorKind, RawMessageError,
    RawMessageErrorKind, Stream,
};
use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use rdev_contract::envelope::Recorded;
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::{self, Filter};
use serde::Serialize;

use crate::{Bus, Pace};

/// Messages asked for in one batched direct get. The server stops at its own byte limit too.
pub const PAGE_MAX_MESSAGES: usize = 256;
/// Bytes after which a batched direct get ends: with the message that reaches it, this is what each
/// of many replays at a time holds in memory.
pub(crate) const PAGE_BYTES: usize = 256 * 1024;
/// The longest pause between two messages of one page before the page is given up.
const PAGE_PAUSE: Duration = Duration::from_secs(5);
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
}

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where it was published to.
    pub subject: String,
    /// What.
    pub payload: Bytes,
    /// When the server stored it.
    pub at: Timestamp,
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

#[derive(Serialize)]
struct NextBatch<'a> {
    seq: u64,
    batch: usize,
    max_bytes: usize,
    next_by_subj: &'a str,
}

#[derive(Serialize)]
struct LastOfEach<'a> {
    multi_last: Vec<&'a str>,
}

/// One page of a replay.
#[derive(Debug, Default)]
pub struct ReadPage {
    /// The messages, in the order of the log.
    pub messages: Vec<Recorded<Stored>>,
    /// Whether more matched when the page was made.
    pub more: bool,
}

impl Bus {
    /// The messages behind `after`, as many as fit one page.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    pub async fn read_page(
        &self,
        stream: LogStream,
        filter: &Filter,
        after: StreamSeq,
    ) -> Result<ReadPage, ReadError> {
        let messages = PAGE_MAX_MESSAGES;
        self.batch(stream.name(), filter, after, messages).await
    }

    /// The messages behind `after` that come next at this pace; none if a replica has none there.
    /// For a replay that is known to end with the message `end`, as the leader said.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    pub async fn read_paced(
        &self,
        stream: LogStream,
        filter: &Filter,
        after: StreamSeq,
        end: StreamSeq,
        pace: &mut Pace,
    ) -> Result<Vec<Recorded<Stored>>, ReadError> {
        self.paced_of(stream.name(), filter, after, end, pace).await
    }

    /// The same of any stream.
    pub(crate) async fn paced_of(
        &self,
        stream: &str,
        filter: &Filter,
        after: StreamSeq,
        end: StreamSeq,
        pace: &mut Pace,
    ) -> Result<Vec<Recorded<Stored>>, ReadError> {
        let found = match pace.messages(after, end) {
            1 => {
                let next = self.next_at_replica(stream, filter, after).await?;
                next.into_iter().collect()
            }
            messages => self.batch(stream, filter, after, messages).await?.messages,
        };
        *pace = pace.behind(after, &found);
        Ok(found)
    }

    async fn batch(
        &self,
        stream: &str,
        filter: &Filter,
        after: StreamSeq,
        messages: usize,
    ) -> Result<ReadPage, ReadError> {
        let request = NextBatch {
            seq: after.0 + 1,
            batch: messages,
            max_bytes: PAGE_BYTES,
            next_by_subj: filter.as_str(),
        };
        self.direct_get(stream, &request).await
    }

    /// Hands over every message that matches and was stored before the call, in the order of the log.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    pub async fn read_through(
        &self,
        stream: LogStream,
        filter: &Filter,
        mut take: impl FnMut(Recorded<Stored>),
    ) -> Result<(), ReadError> {
        let (mut after, mut lag_looks) = (StreamSeq(0), 0);
        loop {
            let last = self.last_at_leader(stream, filter).await?;
            if last.is_none_or(|last| last.sequence <= after) {
                return Ok(());
            }
            let page = self.read_page(stream, filter, after).await?;
            if page.messages.is_empty() {
                if lag_looks >= LAG_LOOKS_MAX {
                    return Err(ReadError(LAGGING.to_owned()));
                }
                lag_looks += 1;
                tokio::time::sleep(LAG_DELAY).await;
            }
            for message in page.messages {
                after = message.sequence;
                take(message);
            }
        }
    }

    /// The next message behind `after`, as a replica has it. Unlike a page it costs no more where the
    /// stream holds more: before a batch the server counts all that match in the rest of it.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    pub async fn next_message(
        &self,
        stream: LogStream,
        filter: &Filter,
        after: StreamSeq,
    ) -> Result<Option<Recorded<Stored>>, ReadError> {
        self.next_at_replica(stream.name(), filter, after).await
    }

    async fn next_at_replica(
        &self,
        stream: &str,
        filter: &Filter,
        after: StreamSeq,
    ) -> Result<Option<Recorded<Stored>>, ReadError> {
        let handle = self.handle(stream).await?;
        let message = handle.direct_get_next_for_subject(filter.as_str(), Some(after.0 + 1));
        found_directly(message.await)
    }

    /// The last message of each kind that this exec has, in the order of the log: what was there
    /// at one moment, and nothing that was stored before the call is missing.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    pub async fn last_of_each_kind(
        &self,
        exec: &ExecId,
    ) -> Result<Vec<Recorded<Stored>>, ReadError> {
        self.last_of_each_subject(LogStream::Exec, &Filter::exec(exec))
            .await
    }

    /// The last message of each subject that matches. The leader says first up to where an answer
    /// must reach: the replica that gives it may lag.
    pub(crate) async fn last_of_each_subject(
        &self,
        stream: LogStream,
        filter: &Filter,
    ) -> Result<Vec<Recorded<Stored>>, ReadError> {
        let request = LastOfEach {
            multi_last: vec![filter.as_str()],
        };
        for _ in 0..LAG_LOOKS_MAX {
            let Some(tail) = self.last_at_leader(stream, filter).await? else {
                return Ok(Vec::new());
            };
            let mut messages = self.direct_get(stream.name(), &request).await?.messages;
            messages.sort_by_key(|message| message.sequence);
            let reached = messages.last().map(|message| message.sequence);
            if reached >= Some(tail.sequence) {
                return Ok(messages);
            }
            tokio::time::sleep(LAG_DELAY).await;
        }
        Err(ReadError(LAGGING.to_owned()))
    }

    /// The exec's last message, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`] when the leader does not answer.
    pub async fn tail(&self, exec: &ExecId) -> Result<Option<Recorded<Stored>>, ReadError> {
        self.last_at_leader(LogStream::Exec, &Filter::exec(exec))
            .await
    }

    /// The last message that matches, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`] when the leader does not answer.
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
    fn reachable(&self) -> Result<(), ReadError> {
        if self.is_connected() {
            return Ok(());
        }
        Err(ReadError("not connected".to_owned()))
    }

    async fn direct_get<T: Serialize>(
        &self,
        stream: &str,
        request: &T,
    ) -> Result<ReadPage, ReadError> {
        self.reachable()?;
        let mut connections = self.connections_from_now();
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let payload = serde_json::to_vec(request).map_err(ReadError::of)?;
        let inbox = self.client.new_inbox();
        let mut answers = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(ReadError::of)?;
        self.client
            .publish_with_reply(subject, inbox, payload.into())
            .await
            .map_err(ReadError::of)?;
        let mut page = ReadPage::default();
        loop {
            let answer = tokio::select! {
                biased;
                answer = tokio::time::timeout(PAGE_PAUSE, answers.next()) => answer
                    .map_err(|_| ReadError("the server did not answer in time".to_owned()))?
                    .ok_or_else(|| ReadError("the connection was closed".to_owned()))?,
                // The rest of the page went down with the connection.
                _ = connections.changed() => return Err(ReadError("reconnected".to_owned())),
            };
            match answer.status.map(|status| status.as_u16()) {
                None => page.messages.push(direct_message(answer)?),
                Some(204) => {
                    page.more = header_number(&answer, "Nats-Num-Pending").unwrap_or(0) > 0;
                    return Ok(page);
                }
                Some(404) => return Ok(page),
                Some(code) => {
                    let text = answer.description.unwrap_or_default();
                    return Err(ReadError(format!("direct get was answered {code} {text}")));
                }
            }
        }
    }
}

fn header_number(message: &async_nats::Message, name: &str) -> Option<u64> {
    message.headers.as_ref()?.get(name)?.as_str().parse().ok()
}

fn direct_message(message: async_nats::Message) -> Result<Recorded<Stored>, ReadError> {
    let missing = || ReadError("a direct get's answer lacks its headers".to_owned());
    let sequence = header_number(&message, header::NATS_SEQUENCE.as_ref()).ok_or_else(missing)?;
    let headers = message.headers.as_ref().ok_or_else(missing)?;
    let subject = headers
        .get(header::NATS_SUBJECT)
        .ok_or_else(missing)?
        .as_str()
        .to_owned();
    let at = headers
        .get(header::NATS_TIME_STAMP)
        .ok_or_else(missing)?
        .as_str();
    let at = at.parse().map_err(ReadError::of)?;
    let value = Stored {
        subject,
        payload: message.payload,
        at,
    };
    Ok(Recorded {
        sequence: StreamSeq(sequence),
        value,
    })
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
        payload: message.payload,
        at,
    };
    Ok(Recorded {
        sequence: StreamSeq(message.sequence),
        value,
    })
}

fn timestamp(time: std::time::SystemTime) -> Result<Timestamp, ReadError> {
    Timestamp::try_from(time).map_err(ReadError::of)
}
