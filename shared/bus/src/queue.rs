//! The work queue: execs that were admitted, handed out by the durable consumer, kept by in-progress
//! acks.
//!
//! A delivery is an offer, not a right: the same exec may be offered twice, and to two
//! executors. What counts is the claim in the log.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Batch;
use async_nats::jetstream::{AckKind, message};
use async_recursion::async_recursion as boxed;
use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject;
use tokio::sync::watch;

use crate::Bus;
use crate::read::ReadError;

/// A pull is renewed after this, so that a restarted server learns of it. Below the ack wait by more
/// than the interval of in-progress acks: the pull of an executor that is stopped or cut off is over
/// before its commands are offered again, or they would be offered to it.
const PULL_EXPIRES: Duration = Duration::from_secs(3);

/// The work queue of all executors.
#[derive(Debug, Clone)]
pub struct CommandQueue {
    consumer: PullConsumer,
    connections: watch::Receiver<u64>,
}

/// An exec that is offered: its `admitted` message.
pub struct Delivery {
    /// Its place in the log.
    pub sequence: StreamSeq,
    /// Where it was published to.
    pub subject: String,
    /// The message.
    pub payload: Bytes,
    /// When the server stored it.
    pub at: Timestamp,
    /// How often it has been offered, this time included.
    pub deliveries: u64,
    /// Says what became of it.
    pub ticket: Ticket,
}

/// The handle of a delivery. It ends in exactly one of `done`, `retry_later` or by itself, when
/// it is not kept alive.
pub struct Ticket {
    acker: message::Acker,
}

/// Offers that were asked for.
pub struct Offers {
    batch: Batch,
    connections: watch::Receiver<u64>,
}

impl Bus {
    /// The work queue.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    #[boxed]
    pub async fn commands(&self) -> Result<CommandQueue, ReadError> {
        let consumer = self
            .jetstream
            .get_consumer_from_stream(subject::ADMITTED_CONSUMER, subject::EXEC_STREAM)
            .await
            .map_err(ReadError::of)?;
        Ok(CommandQueue {
            consumer,
            connections: self.connections.clone(),
        })
    }
}

impl CommandQueue {
    /// Asks for as many commands as there are free slots. Nothing is fetched ahead: a command
    /// that waits in a client is one that nobody runs.
    ///
    /// # Errors
    /// [`ReadError`] when there is no connection.
    #[boxed]
    pub async fn ask(&self, free_slots: usize) -> Result<Offers, ReadError> {
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        let batch = self
            .consumer
            .batch()
            .max_messages(free_slots)
            .expires(PULL_EXPIRES)
            .messages()
            .await
            .map_err(ReadError::of)?;
        Ok(Offers { batch, connections })
    }
}

impl Offers {
    /// The next offer; none when the pull is over, filled or not. A pull does not survive its
    /// connection.
    ///
    /// # Errors
    /// [`ReadError`] when the pull broke; ask again.
    pub async fn next(&mut self) -> Result<Option<Delivery>, ReadError> {
        let offered = tokio::select! {
            biased;
            offered = self.batch.next() => offered,
            _ = self.connections.changed() => None,
        };
        match offered {
            None => Ok(None),
            Some(Err(error)) => Err(ReadError::of(error)),
            Some(Ok(message)) => delivery(message).map(Some),
        }
    }
}

fn delivery(message: async_nats::jetstream::Message) -> Result<Delivery, ReadError> {
    let info = message.info().map_err(ReadError::of)?;
    let sequence = StreamSeq(info.stream_sequence);
    let deliveries = u64::try_from(info.delivered).unwrap_or(1);
    let at =
        Timestamp::try_from(std::time::SystemTime::from(info.published)).map_err(ReadError::of)?;
    let (message, acker) = message.split();
    Ok(Delivery {
        sequence,
        subject: message.subject.to_string(),
        payload: message.payload,
        at,
        deliveries,
        ticket: Ticket { acker },
    })
}

impl Ticket {
    /// Still at it: keeps the command from being offered to others for another ack wait.
    ///
    /// # Errors
    /// [`ReadError`] when it could not be sent.
    #[boxed]
    pub async fn in_progress(&self) -> Result<(), ReadError> {
        self.acker
            .ack_with(AckKind::Progress)
            .await
            .map_err(ReadError::of)
    }

    /// The command is dealt with for good.
    ///
    /// # Errors
    /// [`ReadError`] when it could not be sent; the command will be offered again, and whoever
    /// gets it will find it complete.
    #[boxed]
    pub async fn done(&self) -> Result<(), ReadError> {
        self.acker.ack().await.map_err(ReadError::of)
    }

    /// Offer it again after `delay`.
    ///
    /// # Errors
    /// [`ReadError`] when it could not be sent; it will be offered again after the ack wait.
    #[boxed]
    pub async fn retry_later(&self, delay: Duration) -> Result<(), ReadError> {
        self.acker
            .ack_with(AckKind::Nak(Some(delay)))
            .await
            .map_err(ReadError::of)
    }
}
