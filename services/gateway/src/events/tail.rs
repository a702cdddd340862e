//! The present, shared: one subscription for all readers of an exec or a session on this gateway.
//!
//! The first reader starts a task that follows the log's end, encodes each message once and puts
//! it into a [`Ring`]; every reader is woken and takes what it has not seen. Invariants: readers
//! cost the log nothing while they are up to date, and the server one subscription however many
//! they are; the task never waits for a reader.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdev_bus::live::{LogReader, Next, Scope};
use rdev_bus::{Bus, ReadError, Stored};
use rdev_contract::envelope::Recorded;
use rdev_runtime::Shutdown;
use tokio::sync::watch;
use tokio::time::Instant;

use super::encode::{Encoder, Style};
use super::line;
use super::ring::Ring;

/// Between two tries of a log that fails.
pub(super) const LOG_RETRY_DELAY: Duration = Duration::from_millis(250);
/// After this time without a message nothing is kept: readers that lag for longer read the log.
const RING_KEPT: Duration = Duration::from_secs(2);

/// The tails of a gateway. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tails {
    tails: Arc<Mutex<HashMap<Key, Arc<Tail>>>>,
}

/// Readers of the same scope and style share a tail.
type Key = (Scope, Style);

/// One tail.
#[derive(Debug)]
struct Tail {
    /// None until it is known where the log ends.
    ring: Mutex<Option<Ring>>,
    state: watch::Sender<State>,
}

/// What readers are woken for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    /// Since when the log has not answered.
    pub(super) failing_since: Option<Instant>,
    /// The log has been replaced: positions in it mean nothing any more.
    pub(super) is_restored: bool,
}

/// A reader's part in a tail.
#[derive(Debug)]
pub(super) struct Subscription {
    tail: Arc<Tail>,
    state: watch::Receiver<State>,
}

impl Tails {
    /// Tells every reader when the end of the process is asked for.
    pub(crate) fn until(shutdown: Shutdown) -> Self {
        let tails = Self::default();
        let all = tails.clone();
        tokio::spawn(async move {
            shutdown.requested().await;
            for tail in all.lock().values() {
                tail.wake();
            }
        });
        tails
    }

    /// Joins the tail of this scope, or starts it.
    pub(super) fn join(&self, bus: &Arc<Bus>, scope: &Scope, style: Style) -> Subscription {
        let key = (scope.clone(), style);
        let mut tails = self.lock();
        if let Some(tail) = tails.get(&key) {
            return tail.subscribe();
        }
        let tail = Arc::new(Tail {
            ring: Mutex::new(None),
            state: watch::Sender::default(),
        });
        let subscription = tail.subscribe();
        tails.insert(key.clone(), Arc::clone(&tail));
        tokio::spawn(self.clone().run(tail, key, Arc::clone(bus)));
        subscription
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Follows the log for as long as anybody reads.
    async fn run(self, tail: Arc<Tail>, key: Key, bus: Arc<Bus>) {
        loop {
            let is_restored = tokio::select! {
                () = tail.follow(&bus, &key) => true,
                () = tail.state.closed() => false,
            };
            let mut tails = self.lock();
            // Whoever has joined since waits until it is known where the log ends now.
            *tail.ring() = None;
            if is_restored || tail.state.receiver_count() == 0 {
                tail.state
                    .send_modify(|state| state.is_restored = is_restored);
                tails.remove(&key);
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Tail>>> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    fn subscribe(self: &Arc<Self>) -> Subscription {
        Subscription {
            tail: Arc::clone(self),
            state: self.state.subscribe(),
        }
    }

    /// Fills the ring until the log is another one.
    async fn follow(&self, bus: &Bus, (scope, style): &Key) {
        let mut reader = loop {
            match LogReader::open_at_end(bus, scope.clone()).await {
                Ok(reader) => break reader,
                Err(error) => self.failed(&error).await,
            }
        };
        *self.ring() = Some(Ring::new(reader.position()));
        self.answered();
        let mut encoder = Encoder::new(*style);
        loop {
            let is_kept = self.ring().as_ref().is_some_and(|ring| !ring.is_empty());
            let next = tokio::select! {
                next = reader.next() => next,
                () = tokio::time::sleep(RING_KEPT), if is_kept => {
                    if let Some(ring) = self.ring().as_mut() {
                        ring.clear();
                    }
                    continue;
                }
            };
            match next {
                Ok(Next::Message(message)) => {
                    for message in self.with_line(bus, message, &encoder).await {
                        let piece = Arc::new(encoder.encode(&message));
                        if let Some(ring) = self.ring().as_mut() {
                            ring.push(piece);
                        }
                    }
                    self.answered();
                }
                Ok(Next::CaughtUp) => self.answered(),
                Ok(Next::Restored) => return,
                Err(error) => self.failed(&error).await,
            }
        }
    }

    /// A message, and before it the beginning of the line that it goes on with, if this tail began
    /// in the middle of that.
    async fn with_line(
        &self,
        bus: &Bus,
        message: Recorded<Stored>,
        encoder: &Encoder,
    ) -> Vec<Recorded<Stored>> {
        let open_lines = encoder.open_lines();
        loop {
            let messages = vec![message.clone()];
            match line::complete(bus, messages, &open_lines).await {
                Ok(messages) => return messages,
                Err(error) => self.failed(&error).await,
            }
        }
    }

    fn answered(&self) {
        self.state.send_modify(|state| state.failing_since = None);
    }

    async fn failed(&self, error: &ReadError) {
        tracing::debug!(%error, "waiting for the log");
        self.state.send_modify(|state| {
            state.failing_since.get_or_insert_with(Instant::now);
        });
        tokio::time::sleep(LOG_RETRY_DELAY).await;
    }

    fn wake(&self) {
        self.state.send_modify(|_| {});
    }

    fn ring(&self) -> MutexGuard<'_, Option<Ring>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// Waits for something new.
    pub(super) async fn changed(&mut self) {
        // The sender lives as long as the tail, which this holds.
        let _ = self.state.changed().await;
    }

    /// Looks at the ring; what comes later wakes [`Self::changed`]. None while it is not known yet
    /// where the log ends.
    pub(super) fn look<T>(&mut self, look: impl FnOnce(&Ring) -> T) -> Option<T> {
        self.state.mark_unchanged();
        self.tail.ring().as_ref().map(look)
    }

    /// How the tail is.
    pub(super) fn state(&self) -> State {
        *self.state.borrow()
    }
}
