//! One reader's connection: the task between the log and the response body.
//!
//! Invariant: a reader that does not read holds a few chunks and its subscription, no more; the
//! log is asked for the next message only when the one before was taken.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::FutureExt;
use futures::stream;
use rand::Rng;
use rdev_bus::live::{ExecReader, Next};
use rdev_bus::{Bus, ReadError};
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_contract::sse::{Heartbeat, Reconnect, frame_name};
use rdev_runtime::Shutdown;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::encode::Encoder;
use crate::state::{Gateway, now};

/// Chunks between the task and the socket: one being written, one ready.
const CHUNKS_WAITING_MAX: usize = 2;
/// Small messages are gathered up to this before they are sent, while more are at hand.
const CHUNK_BYTES: usize = 64 * 1024;
/// How long a reader waits for an exec that nobody has posted yet.
const NOT_STARTED_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the log may fail in the middle of a stream until the reader is sent elsewhere. A new
/// leader takes 4–10 s.
const LOG_PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries of a log that fails.
const LOG_RETRY_DELAY: Duration = Duration::from_millis(250);
/// A connection is renewed after this at the latest, so that replicas share the load again after
/// one was added, and below the limits of idle and age that load balancers have.
const LIFETIME_MIN: Duration = Duration::from_secs(3 * 60 * 60);
const LIFETIME_MAX: Duration = Duration::from_secs(4 * 60 * 60);
/// Readers that are sent away come back spread over this time, not all at once.
const RECONNECT_RETRY_MS: std::ops::Range<u64> = 500..5_000;

/// What a reader is told when its connection ends before the exec does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    /// This gateway is being replaced.
    Draining,
    /// Nobody has posted the exec.
    NotStarted,
    /// The log does not answer.
    LogUnavailable,
    /// The connection has lived long enough.
    Lifetime,
}

impl Farewell {
    const fn reason(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::NotStarted => "not_started",
            Self::LogUnavailable => "log_unavailable",
            Self::Lifetime => "lifetime",
        }
    }

    pub(super) fn write(self, encoder: &mut Encoder) {
        let retry_ms = rand::rng().random_range(RECONNECT_RETRY_MS);
        let data = Reconnect {
            reason: self.reason().to_owned(),
        };
        encoder.own(frame_name::RECONNECT, Some(retry_ms), &data);
    }
}

/// The reader is gone.
struct Left;

/// What happens next on a connection.
enum Turn {
    Read(Result<Next, ReadError>),
    Farewell(Farewell),
}

/// A reader, what it was shown, and its limits.
pub(super) struct Feed {
    encoder: Encoder,
    exec: ExecId,
    after: StreamSeq,
    /// The log holds something of this exec already.
    exists: bool,
    heartbeat: Duration,
    shutdown: Shutdown,
}

impl Feed {
    /// A feed of the messages behind `after`; what `encoder` holds already goes first.
    pub(super) fn new(
        gateway: &Gateway,
        encoder: Encoder,
        exec: ExecId,
        after: StreamSeq,
        exists: bool,
    ) -> Self {
        let (heartbeat, shutdown) = (gateway.heartbeat, gateway.shutdown.clone());
        Self {
            encoder,
            exec,
            after,
            exists,
            heartbeat,
            shutdown,
        }
    }

    /// Starts the task; its chunks are the body.
    pub(super) fn start(self, bus: Bus) -> Body {
        let (sender, mut receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
        let outlet = Outlet {
            sender,
            sent_at: Instant::now(),
        };
        tokio::spawn(self.run(bus, outlet));
        let chunks = stream::poll_fn(move |context| {
            receiver
                .poll_recv(context)
                .map(|chunk| chunk.map(Ok::<Bytes, Infallible>))
        });
        Body::from_stream(chunks)
    }

    async fn run(mut self, bus: Bus, mut outlet: Outlet) {
        // What is known before the log is asked does not wait for its answer.
        if outlet.send(&mut self.encoder).await.is_err() {
            return;
        }
        let end = match ExecReader::open(&bus, &self.exec, self.after).await {
            Ok(mut reader) => self.follow(&mut reader, &mut outlet).await,
            Err(error) => {
                tracing::warn!(stream.id = %self.exec.stream, %error, "cannot read the log");
                Ok(Some(Farewell::LogUnavailable))
            }
        };
        let Ok(farewell) = end else {
            return;
        };
        if let Some(farewell) = farewell {
            let reason = farewell.reason();
            tracing::debug!(stream.id = %self.exec.stream, reason, "reader sent away");
            farewell.write(&mut self.encoder);
        }
        // If the reader has left by now, the end is the same.
        let _ = outlet.send(&mut self.encoder).await;
    }

    /// Sends what the log holds and will hold, until the exec is complete (`None`) or the
    /// connection has to end.
    async fn follow(
        &mut self,
        reader: &mut ExecReader,
        outlet: &mut Outlet,
    ) -> Result<Option<Farewell>, Left> {
        let mut limits = Limits::new();
        loop {
            let read = match self.turn(reader, outlet, &limits).await? {
                Turn::Read(read) => read,
                Turn::Farewell(farewell) => return Ok(Some(farewell)),
            };
            match read {
                Ok(Next::Message(message)) => {
                    limits.answered();
                    limits.not_started = None;
                    self.exists = true;
                    self.encoder
                        .message(message.sequence, &message.value.payload);
                    if self.encoder.is_complete() {
                        return Ok(None);
                    }
                }
                Ok(Next::CaughtUp) => {
                    limits.answered();
                    if !self.exists {
                        limits.not_started = Some(Instant::now() + NOT_STARTED_TIMEOUT);
                    }
                    self.encoder.own(frame_name::CAUGHT_UP, None, &CaughtUp {});
                }
                Err(error) => {
                    tracing::debug!(stream.id = %self.exec.stream, %error, "waiting for the log");
                    limits.failed();
                    tokio::time::sleep(LOG_RETRY_DELAY).await;
                }
            }
            if self.encoder.waiting_bytes() >= CHUNK_BYTES {
                outlet.send(&mut self.encoder).await?;
            }
        }
    }

    /// The next thing that happens. One `next` of the reader is waited for across heartbeats:
    /// dropping it at each would start the reader's own timers anew.
    async fn turn(
        &mut self,
        reader: &mut ExecReader,
        outlet: &mut Outlet,
        limits: &Limits,
    ) -> Result<Turn, Left> {
        // Also while messages come faster than they are sent, when nothing below waits.
        if self.shutdown.is_requested() {
            return Ok(Turn::Farewell(Farewell::Draining));
        }
        let mut next = pin!(reader.next());
        if self.encoder.waiting_bytes() > 0 {
            if let Some(read) = next.as_mut().now_or_never() {
                return Ok(Turn::Read(read));
            }
            outlet.send(&mut self.encoder).await?;
        }
        loop {
            let heartbeat_at = outlet.sent_at + self.heartbeat;
            tokio::select! {
                read = next.as_mut() => return Ok(Turn::Read(read)),
                () = self.shutdown.requested() => return Ok(Turn::Farewell(Farewell::Draining)),
                farewell = limits.reached() => return Ok(Turn::Farewell(farewell)),
                () = outlet.sender.closed() => return Err(Left),
                () = tokio::time::sleep_until(heartbeat_at) => {
                    self.encoder.own(frame_name::HEARTBEAT, None, &Heartbeat { timestamp: now() });
                    outlet.send(&mut self.encoder).await?;
                }
            }
        }
    }
}

/// Data of `caught_up`.
#[derive(Serialize)]
struct CaughtUp {}

struct Outlet {
    sender: mpsc::Sender<Bytes>,
    sent_at: Instant,
}

impl Outlet {
    /// Hands over what is encoded; waits while the reader has enough.
    async fn send(&mut self, encoder: &mut Encoder) -> Result<(), Left> {
        if encoder.waiting_bytes() == 0 {
            return Ok(());
        }
        self.sender
            .send(encoder.take().into())
            .await
            .map_err(|_| Left)?;
        self.sent_at = Instant::now();
        Ok(())
    }
}
/// When a connection has to end although the exec has not.
struct Limits {
    lifetime: Instant,
    not_started: Option<Instant>,
    log_failing: Option<Instant>,
}

impl Limits {
    fn new() -> Self {
        let lifetime = rand::rng().random_range(LIFETIME_MIN..LIFETIME_MAX);
        Self {
            lifetime: Instant::now() + lifetime,
            not_started: None,
            log_failing: None,
        }
    }

    const fn answered(&mut self) {
        self.log_failing = None;
    }

    fn failed(&mut self) {
        self.log_failing
            .get_or_insert_with(|| Instant::now() + LOG_PATIENCE);
    }

    async fn reached(&self) -> Farewell {
        let ends = [
            Some((self.lifetime, Farewell::Lifetime)),
            self.not_started.map(|at| (at, Farewell::NotStarted)),
            self.log_failing.map(|at| (at, Farewell::LogUnavailable)),
        ];
        let (mut at, mut farewell) = (self.lifetime, Farewell::Lifetime);
        for (other_at, other) in ends.into_iter().flatten() {
            if other_at < at {
                (at, farewell) = (other_at, other);
            }
        }
        tokio::time::sleep_until(at).await;
        farewell
    }
}
