//! Following one exec: the log from a position on, then what is stored live.
//!
//! Live messages come over core NATS from the republished subjects (stored messages only). Each
//! names its predecessor, so a missed one is seen at once and read from the log; after a reconnect
//! and in a quiet while the leader is asked as well. The reader therefore sees every stored
//! message once, in order, whatever the subscription loses.
//!
//! Invariant: a reader that does not read holds [`WAITING_MAX_BYTES`] of live messages and one
//! page of the log, no more: a task of its own empties its subscription and drops what does not
//! fit, and the log is where the reader finds that again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Subscriber, header};
use futures::StreamExt;
use jiff::Timestamp;
use rdev_contract::envelope::Recorded;
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Filter;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::Bus;
use crate::read::{LAG_DELAY, LAG_LOOKS_MAX, LAGGING, LogStream, ReadError, Stored};

/// How long without a message until the leader is asked whether one was missed; doubles up to the
/// maximum. Short at first: in a cluster, word of a new subscription takes a moment to get around.
const RESYNC_MIN: Duration = Duration::from_secs(1);
const RESYNC_MAX: Duration = Duration::from_secs(30);
/// Live messages that wait for their reader: eight full batches.
pub const WAITING_MAX_BYTES: usize = 2 * 1024 * 1024;
/// The same for small ones, each of which costs more than its bytes.
const WAITING_MAX_MESSAGES: usize = 512;

/// What a reader gets next.
#[derive(Debug)]
pub enum Next {
    /// The next message.
    Message(Recorded<Stored>),
    /// Everything that was stored so far has been given. Said once.
    CaughtUp,
}

/// A reader of one exec.
#[derive(Debug)]
pub struct ExecReader {
    bus: Bus,
    exec: ExecId,
    filter: Filter,
    live: mpsc::Receiver<Waiting>,
    connections: watch::Receiver<u64>,
    position: StreamSeq,
    phase: Phase,
    backlog: VecDeque<Recorded<Stored>>,
    told_caught_up: bool,
    lag_looks: u32,
    resync: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The leader is to be asked how far the exec goes.
    Asking,
    /// The log is read up to there.
    Replaying(StreamSeq),
    /// Messages are taken as they come.
    Live,
}

/// A live message, and the room that it takes.
type Waiting = (async_nats::Message, OwnedSemaphorePermit);

/// The only field of a live message that the order depends on.
#[derive(Deserialize)]
struct Link {
    prev: StreamSeq,
}

impl ExecReader {
    /// Subscribes first and replays then, so that nothing can fall between.
    ///
    /// # Errors
    /// [`ReadError`] when there is no connection to subscribe on.
    pub async fn open(bus: &Bus, exec: &ExecId, after: StreamSeq) -> Result<Self, ReadError> {
        let connections = bus.connections_from_now();
        let subject = Filter::live_exec(exec).as_str().to_owned();
        let subscriber = bus.client.subscribe(subject).await.map_err(ReadError::of)?;
        let (sender, live) = mpsc::channel(WAITING_MAX_MESSAGES);
        tokio::spawn(empty(subscriber, sender));
        Ok(Self {
            bus: bus.clone(),
            exec: exec.clone(),
            filter: Filter::exec(exec),
            live,
            connections,
            position: after,
            phase: Phase::Asking,
            backlog: VecDeque::new(),
            told_caught_up: false,
            lag_looks: 0,
            resync: RESYNC_MIN,
        })
    }

    /// The next message, as soon as there is one. May be dropped and called again.
    ///
    /// # Errors
    /// [`ReadError`] when the log does not answer; calling again tries again.
    pub async fn next(&mut self) -> Result<Next, ReadError> {
        loop {
            if let Some(message) = self.backlog.pop_front() {
                self.position = message.sequence;
                return Ok(Next::Message(message));
            }
            match self.phase {
                Phase::Asking => {
                    let tail = self.bus.tail(&self.exec).await?;
                    let end = tail.map_or(StreamSeq(0), |tail| tail.sequence);
                    self.phase = Phase::Replaying(end);
                }
                Phase::Replaying(end) if self.position < end => self.read_more().await?,
                Phase::Replaying(_) => self.phase = Phase::Live,
                Phase::Live if !self.told_caught_up => {
                    self.told_caught_up = true;
                    return Ok(Next::CaughtUp);
                }
                Phase::Live => {
                    if let Some(message) = self.next_live().await? {
                        self.position = message.sequence;
                        return Ok(Next::Message(message));
                    }
                }
            }
        }
    }

    async fn read_more(&mut self) -> Result<(), ReadError> {
        let page = self
            .bus
            .read_page(LogStream::Exec, &self.filter, self.position)
            .await?;
        if !page.messages.is_empty() {
            self.lag_looks = 0;
            self.backlog.extend(page.messages);
            return Ok(());
        }
        // The replica that answered lags, or what the leader had has expired since: ask again.
        self.phase = Phase::Asking;
        if self.lag_looks >= LAG_LOOKS_MAX {
            self.lag_looks = 0;
            return Err(ReadError(LAGGING.to_owned()));
        }
        self.lag_looks += 1;
        tokio::time::sleep(LAG_DELAY).await;
        Ok(())
    }

    /// A live message that directly follows; none when the log has to be asked first.
    async fn next_live(&mut self) -> Result<Option<Recorded<Stored>>, ReadError> {
        tokio::select! {
            waiting = self.live.recv() => {
                let (message, _room) =
                    waiting.ok_or_else(|| ReadError("the connection was closed".to_owned()))?;
                Ok(self.accept(message))
            }
            _ = self.connections.changed() => {
                self.resync = RESYNC_MIN;
                self.phase = Phase::Asking;
                Ok(None)
            }
            () = tokio::time::sleep(self.resync) => {
                self.resync = (self.resync * 2).min(RESYNC_MAX);
                self.phase = Phase::Asking;
                Ok(None)
            }
        }
    }

    fn accept(&mut self, message: async_nats::Message) -> Option<Recorded<Stored>> {
        let message = live_message(message)?;
        if message.sequence <= self.position {
            return None;
        }
        let follows = serde_json::from_slice::<Link>(&message.value.payload)
            .is_ok_and(|link| link.prev <= self.position);
        if follows {
            return Some(message);
        }
        self.phase = Phase::Asking;
        None
    }
}

/// Empties a subscription until its reader is gone. What does not fit is dropped: the next message
/// that does fit names a predecessor that the reader does not have.
async fn empty(mut subscriber: Subscriber, sender: mpsc::Sender<Waiting>) {
    let room = Arc::new(Semaphore::new(WAITING_MAX_BYTES));
    loop {
        let message = tokio::select! {
            message = subscriber.next() => message,
            () = sender.closed() => None,
        };
        let Some(message) = message else {
            return;
        };
        let bytes = u32::try_from(message.length).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(&room).try_acquire_many_owned(bytes) {
            // No room is what "full" means here; "closed" ends the loop.
            let _ = sender.try_send((message, permit));
        }
    }
}

/// None for what the stream did not republish: it says no sequence and is not in the log.
fn live_message(message: async_nats::Message) -> Option<Recorded<Stored>> {
    let headers = message.headers.as_ref()?;
    let sequence = headers.get(header::NATS_SEQUENCE)?.as_str().parse().ok()?;
    let subject = headers.get(header::NATS_SUBJECT)?.as_str().to_owned();
    let at: Timestamp = headers
        .get(header::NATS_TIME_STAMP)?
        .as_str()
        .parse()
        .ok()?;
    let value = Stored {
        subject,
        payload: message.payload,
        at,
    };
    Some(Recorded {
        sequence: StreamSeq(sequence),
        value,
    })
}
