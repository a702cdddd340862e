//! Following a whole stream: for the projector and for auditors.
//!
//! A consumer of our own without acks, whose every delivery is checked: the server numbers the
//! deliveries of a consumer, so a lost one shows as a hole, and the consumer is made anew behind
//! the last message that was handed out. Ordered consumers of the client library are not used:
//! one that is re-created before its first message starts from the beginning.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use async_recursion::async_recursion as boxed;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use rdev_contract::envelope::{Recorded, Stored};
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Filter;
use tokio::sync::watch;

use crate::Bus;
use crate::read::{LogStream, ReadError, trace_of};

/// Messages that may be under way to a follower, times one and a half: of the largest, 24 MiB
/// while it is held up.
const FETCH_MESSAGES: usize = 64;
/// A pull that brings nothing is renewed after this.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// Two missed ones show that the consumer or its server is gone.
const PULL_HEARTBEAT: Duration = Duration::from_secs(2);
/// The server removes the consumer of a follower that is gone.
const CONSUMER_LINGERS: Duration = Duration::from_secs(60);
/// Between two tries to make the consumer.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// A position in a stream, and a consumer that delivers from it.
pub struct Follower {
    bus: Bus,
    stream: &'static str,
    filters: Vec<Filter>,
    position: StreamSeq,
    source: Option<Source>,
}

struct Source {
    messages: pull::Stream,
    /// What was under way is lost with its connection, and the client would wait for it until the
    /// pull expires.
    connections: watch::Receiver<u64>,
    /// Number of the last delivery; the next has one more.
    delivered: u64,
    /// Matching messages behind the last delivery.
    pending: u64,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Follower")
            .field("stream", &self.stream)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Bus {
    /// Follows a stream behind `after`; only messages that match one of `filters`.
    ///
    /// # Errors
    /// [`ReadError`] when the consumer cannot be made.
    #[boxed]
    pub async fn follow(
        &self,
        stream: LogStream,
        filters: Vec<Filter>,
        after: StreamSeq,
    ) -> Result<Follower, ReadError> {
        self.follow_stream(stream.name(), filters, after).await
    }

    /// The same of any stream.
    #[boxed]
    pub(crate) async fn follow_stream(
        &self,
        stream: &'static str,
        filters: Vec<Filter>,
        after: StreamSeq,
    ) -> Result<Follower, ReadError> {
        let mut follower = Follower {
            bus: self.clone(),
            stream,
            filters,
            position: after,
            source: None,
        };
        follower.source = Some(follower.open().await?);
        Ok(follower)
    }
}

impl Follower {
    /// The next message, in strictly ascending order, through reconnects. May be dropped and
    /// called again.
    pub async fn next(&mut self) -> Recorded<Stored> {
        loop {
            let Some(source) = self.source.as_mut() else {
                match self.open().await {
                    Ok(source) => self.source = Some(source),
                    Err(error) => {
                        tracing::warn!(stream = self.stream, %error, "cannot follow");
                        tokio::time::sleep(RETRY_DELAY).await;
                    }
                }
                continue;
            };
            let delivery = tokio::select! {
                biased;
                delivery = source.messages.next() => delivery,
                _ = source.connections.changed() => None,
            };
            if let Some(message) = self.take(delivery) {
                return message;
            }
        }
    }

    /// The next message if it is here already.
    pub fn try_next(&mut self) -> Option<Recorded<Stored>> {
        let delivery = self.source.as_mut()?.messages.next().now_or_never()?;
        self.take(delivery)
    }

    /// Whether every message that matched was handed out when the last one was delivered.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.source
            .as_ref()
            .is_some_and(|source| source.pending == 0)
    }

    /// The last message handed out.
    #[must_use]
    pub const fn position(&self) -> StreamSeq {
        self.position
    }

    #[boxed]
    async fn open(&self) -> Result<Source, ReadError> {
        let connections = self.bus.connections_from_now();
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.position.0 + 1,
            },
            ack_policy: AckPolicy::None,
            filter_subjects: self
                .filters
                .iter()
                .map(|filter| filter.as_str().to_owned())
                .collect(),
            inactive_threshold: CONSUMER_LINGERS,
            memory_storage: true,
            num_replicas: 1,
            ..Default::default()
        };
        let consumer = self
            .bus
            .jetstream
            .create_consumer_on_stream(config, self.stream)
            .await
            .map_err(ReadError::of)?;
        let pending = consumer.cached_info().num_pending;
        let messages = consumer
            .stream()
            .max_messages_per_batch(FETCH_MESSAGES)
            .expires(PULL_EXPIRES)
            .heartbeat(PULL_HEARTBEAT)
            .messages()
            .await
            .map_err(ReadError::of)?;
        Ok(Source {
            messages,
            connections,
            delivered: 0,
            pending,
        })
    }

    /// Checks a delivery. Anything unexpected ends this consumer; the next one begins behind
    /// what was handed out.
    fn take<E: std::fmt::Display>(
        &mut self,
        delivery: Option<Result<async_nats::jetstream::Message, E>>,
    ) -> Option<Recorded<Stored>> {
        let accepted = match delivery {
            Some(Ok(message)) => self.check(message),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("the consumer or its connection ended".to_owned()),
        };
        match accepted {
            Ok(message) => {
                self.position = message.sequence;
                Some(message)
            }
            Err(reason) => {
                tracing::info!(stream = self.stream, reason, "following anew");
                self.source = None;
                None
            }
        }
    }

    fn check(
        &mut self,
        message: async_nats::jetstream::Message,
    ) -> Result<Recorded<Stored>, String> {
        let source = self.source.as_mut().ok_or("no consumer")?;
        let info = message.info().map_err(|error| error.to_string())?;
        if info.consumer_sequence != source.delivered + 1 {
            return Err(format!(
                "delivery {} came after {}",
                info.consumer_sequence, source.delivered
            ));
        }
        source.delivered = info.consumer_sequence;
        source.pending = info.pending;
        let sequence = StreamSeq(info.stream_sequence);
        if sequence <= self.position {
            return Err(format!("message {sequence} came after {}", self.position));
        }
        let at = Timestamp::try_from(std::time::SystemTime::from(info.published))
            .map_err(|error| error.to_string())?;
        let subject = message.subject.to_string();
        let value = Stored {
            subject,
            payload: message.payload.clone(),
            at,
            trace: trace_of(message.headers.as_ref()),
        };
        Ok(Recorded { sequence, value })
    }
}
