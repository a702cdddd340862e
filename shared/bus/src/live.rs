//! Following one exec, one session or one exec's orders: what is stored from a position on, then what
//! is stored live.
//!
//! Live messages come over core NATS from the republished subjects (stored messages only). A
//! message of an exec names its predecessor, so a missed one is seen at once and read from the
//! log; a session's messages only name those of their own exec, and of orders only word comes, so
//! there they tell that there is something to read. After a reconnect and in a quiet while the leader is asked as
//! well. The reader therefore sees every stored message once, in order, whatever the subscription
//! loses.
//!
//! Whoever has a reader calls it without long pauses: what waits for it meanwhile is bounded by
//! the subscription's capacity alone, and what does not fit is read from the log.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::{Subscriber, header};
use async_recursion::async_recursion as boxed;
use futures::StreamExt;
use jiff::Timestamp;
use rdev_contract::envelope::{Recorded, Stored};
use rdev_contract::id::{ExecId, ProjectId, SessionId};
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::{CONTROL_STREAM, Filter, Subject};
use serde::Deserialize;
use tokio::sync::watch;

use crate::read::{LAG_DELAY, LAG_LOOKS_MAX, LAGGING, LogStream, ReadError, trace_of};
use crate::{Bus, Pace};

/// How long without a message until the leader is asked whether one was missed; doubles up to the
/// maximum. Short at first: in a cluster, word of a new subscription takes a moment to get around.
const RESYNC_MIN: Duration = Duration::from_secs(1);
const RESYNC_MAX: Duration = Duration::from_secs(30);

/// What a reader reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One exec.
    Exec(ExecId),
    /// All execs of a session.
    Session(ProjectId, SessionId),
}

impl Scope {
    /// Its messages in the log.
    #[must_use]
    pub fn stored(&self) -> Filter {
        match self {
            Self::Exec(exec) => Filter::exec(exec),
            Self::Session(project, session) => Filter::session_execs(project, *session),
        }
    }

    fn live(&self) -> Filter {
        match self {
            Self::Exec(exec) => Filter::live_exec(exec),
            Self::Session(project, session) => Filter::live_session(project, *session),
        }
    }
}

/// What a reader gets next.
#[derive(Debug)]
pub enum Next {
    /// The next message.
    Message(Recorded<Stored>),
    /// Everything that was stored so far has been given. Said once, and once after each error.
    CaughtUp,
    /// The log is another one now: it was made anew, or restored under other sequences. Nothing
    /// follows; readers begin again with a cursor.
    Restored,
}

/// A reader of one exec or session.
#[derive(Debug)]
pub struct LogReader {
    bus: Bus,
    stream: &'static str,
    stored: Filter,
    /// A live message is whole and names the one before it.
    is_linked: bool,
    live: Subscriber,
    connections: watch::Receiver<u64>,
    position: StreamSeq,
    phase: Phase,
    backlog: VecDeque<Recorded<Stored>>,
    told_caught_up: bool,
    pace: Pace,
    lag_looks: u32,
    resync: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The leader is to be asked how far the log goes.
    Asking,
    /// The log is read up to there.
    Replaying(StreamSeq),
    /// Messages are taken as they come.
    Live,
}

/// The only field of a live message that the order depends on.
#[derive(Deserialize)]
struct Link {
    prev: StreamSeq,
}

impl LogReader {
    /// Reads what is behind `after`. Subscribes first and replays then, so that nothing can fall
    /// between.
    ///
    /// # Errors
    /// [`ReadError`] when there is no connection to subscribe on.
    #[boxed]
    pub async fn open(bus: &Bus, scope: Scope, after: StreamSeq) -> Result<Self, ReadError> {
        let stream = LogStream::Exec.name();
        let is_linked = matches!(scope, Scope::Exec(_));
        Self::subscribe(bus, stream, scope.stored(), &scope.live(), is_linked, after).await
    }

    /// Reads the orders that are kept for an exec, from the oldest on.
    ///
    /// # Errors
    /// [`ReadError`] when there is no connection to subscribe on.
    #[boxed]
    pub async fn of_orders(bus: &Bus, exec: &ExecId) -> Result<Self, ReadError> {
        let stored = Subject::control(exec).into();
        let live = Filter::ordered(exec);
        Self::subscribe(bus, CONTROL_STREAM, stored, &live, false, StreamSeq(0)).await
    }

    #[boxed]
    async fn subscribe(
        bus: &Bus,
        stream: &'static str,
        stored: Filter,
        live: &Filter,
        is_linked: bool,
        after: StreamSeq,
    ) -> Result<Self, ReadError> {
        let connections = bus.connections_from_now();
        let subject = live.as_str().to_owned();
        let live = bus.client.subscribe(subject).await.map_err(ReadError::of)?;
        Ok(Self {
            bus: bus.clone(),
            stream,
            stored,
            is_linked,
            live,
            connections,
            position: after,
            phase: Phase::Asking,
            backlog: VecDeque::new(),
            told_caught_up: false,
            pace: Pace::default(),
            lag_looks: 0,
            resync: RESYNC_MIN,
        })
    }

    /// Reads what is stored from now on; [`Self::position`] says where that begins.
    ///
    /// # Errors
    /// [`ReadError`] when there is no connection, or the leader does not answer.
    #[boxed]
    pub async fn open_at_end(bus: &Bus, scope: Scope) -> Result<Self, ReadError> {
        let mut reader = Self::open(bus, scope, StreamSeq(0)).await?;
        reader.position = reader.end().await?;
        reader.phase = Phase::Live;
        Ok(reader)
    }

    /// The last message given; what is behind it comes next.
    #[must_use]
    pub const fn position(&self) -> StreamSeq {
        self.position
    }

    /// The next message, as soon as there is one. May be dropped and called again.
    ///
    /// # Errors
    /// [`ReadError`] when the log does not answer; calling again tries again.
    pub async fn next(&mut self) -> Result<Next, ReadError> {
        let next = self.advance().await;
        self.told_caught_up &= next.is_ok();
        next
    }

    async fn advance(&mut self) -> Result<Next, ReadError> {
        loop {
            if let Some(message) = self.backlog.pop_front() {
                self.position = message.sequence;
                return Ok(Next::Message(message));
            }
            match self.phase {
                Phase::Asking => {
                    let end = self.end().await?;
                    if end < self.position && self.is_restored().await? {
                        return Ok(Next::Restored);
                    }
                    self.phase = Phase::Replaying(end);
                }
                Phase::Replaying(end) if self.position < end => self.read_more(end).await?,
                Phase::Replaying(_) => {
                    self.pace = Pace::default();
                    self.phase = Phase::Live;
                }
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

    /// How far the log goes, as the leader has it.
    #[boxed]
    async fn end(&self) -> Result<StreamSeq, ReadError> {
        let last = self.bus.last_of(self.stream, &self.stored).await?;
        Ok(last.map_or(StreamSeq(0), |last| last.sequence))
    }

    /// Whether sequences that were given out are still to come: else the last messages of what is
    /// read have only expired.
    #[boxed]
    async fn is_restored(&self) -> Result<bool, ReadError> {
        let identity = self.bus.identity_of(self.stream).await?;
        Ok(identity.last < self.position)
    }

    #[boxed]
    async fn read_more(&mut self, end: StreamSeq) -> Result<(), ReadError> {
        let (stored, after) = (&self.stored, self.position);
        let found = self
            .bus
            .paced_of(self.stream, stored, after, end, &mut self.pace)
            .await?;
        if !found.is_empty() {
            self.lag_looks = 0;
            self.backlog.extend(found);
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
            message = self.live.next() => {
                let message =
                    message.ok_or_else(|| ReadError("the connection was closed".to_owned()))?;
                self.resync = RESYNC_MIN;
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
        if self.is_linked && follows(&message.value, self.position) {
            return Some(message);
        }
        self.phase = if self.is_linked {
            Phase::Asking
        } else {
            Phase::Replaying(message.sequence)
        };
        None
    }
}

fn follows(message: &Stored, position: StreamSeq) -> bool {
    serde_json::from_slice::<Link>(&message.payload).is_ok_and(|link| link.prev <= position)
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
        trace: trace_of(message.headers.as_ref()),
        payload: message.payload,
        at,
    };
    Some(Recorded {
        sequence: StreamSeq(sequence),
        value,
    })
}
