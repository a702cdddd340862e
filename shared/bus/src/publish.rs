//! One publish into a log stream: fenced, acknowledged, and with its answer reduced to the few
//! that matter.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::header;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::{Filter, Subject};
use rdev_contract::trace::{TRACE_PARENT, TraceParent};

use crate::Bus;
use crate::metrics::{METRICS, Written};

/// async-nats has no name for it (server 2.12 on).
const EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";

/// A message and the condition under which it may be stored.
pub(crate) struct Fenced<'a> {
    /// Where it goes.
    pub(crate) subject: &'a Subject,
    /// Among which subjects the expectation holds.
    pub(crate) fence: &'a Filter,
    /// The sequence of the last message there; 0 for none.
    pub(crate) expected: StreamSeq,
    /// The payload.
    pub(crate) payload: Bytes,
    /// To which span of a trace it belongs.
    pub(crate) trace: Option<TraceParent>,
    /// What it is, for those who count.
    pub(crate) written: Written,
    /// After this it is removed; for ever if absent.
    pub(crate) ttl: Option<Duration>,
}

/// Why a publish was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStored {
    /// The expectation does not hold (or this is a repeat of a publish whose ack was lost).
    #[error("refused: the log has gone on")]
    Stale,
    /// The log is full. It was not stored.
    #[error("the log is full: {0}")]
    Full(String),
    /// It is larger than the server takes. It was not sent.
    #[error("{0}")]
    TooLarge(String),
    /// It may have been stored, or not.
    #[error("no answer: {0}")]
    Unknown(String),
}

impl Bus {
    pub(crate) async fn publish_fenced(&self, message: Fenced<'_>) -> Result<StreamSeq, NotStored> {
        let (written, bytes) = (message.written, message.payload.len());
        let began = Instant::now();
        let answer = self.publish(message).await;
        let seconds = began.elapsed().as_secs_f64();
        let told = answer.as_ref().map(|_| ());
        METRICS.published(written, bytes, seconds, told);
        answer
    }

    async fn publish(&self, message: Fenced<'_>) -> Result<StreamSeq, NotStored> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
            message.expected.to_string(),
        );
        headers.insert(
            EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT,
            message.fence.as_str(),
        );
        if let Some(trace) = message.trace {
            headers.insert(TRACE_PARENT, trace.to_string());
        }
        if let Some(ttl) = message.ttl {
            // Whole seconds only; below one, the server reads it as "for ever".
            let seconds = ttl.as_secs().max(1);
            headers.insert(header::NATS_MESSAGE_TTL, format!("{seconds}s"));
        }
        let publish = PublishMessage::build()
            .payload(message.payload)
            .headers(headers);
        let mut connections = self.connections_from_now();
        let ack = self
            .jetstream
            .send_publish(message.subject.as_str().to_owned(), publish)
            .await
            .map_err(|error| not_stored(&error))?;
        tokio::select! {
            biased;
            ack = ack => ack
                .map(|ack| StreamSeq(ack.sequence))
                .map_err(|error| not_stored(&error)),
            // The ack went down with the connection: do not wait until it is overdue.
            _ = connections.changed() => Err(NotStored::Unknown("reconnected".to_owned())),
        }
    }
}

fn not_stored(error: &async_nats::jetstream::context::PublishError) -> NotStored {
    match error.kind() {
        PublishErrorKind::WrongLastSequence => NotStored::Stale,
        PublishErrorKind::MaxPayloadExceeded => NotStored::TooLarge(text(error)),
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe
        | PublishErrorKind::MaxAckPending
        | PublishErrorKind::Other => {
            let text = text(error);
            if text.contains("maximum bytes exceeded") || text.contains("insufficient") {
                NotStored::Full(text)
            } else {
                NotStored::Unknown(text)
            }
        }
    }
}

fn text(error: &async_nats::jetstream::context::PublishError) -> String {
    std::error::Error::source(error)
        .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
