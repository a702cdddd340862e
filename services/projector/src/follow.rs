//! Follows one stream of the log into the tables: what is here already goes in together, in one
//! transaction. Whatever goes wrong, it begins again at the position that the tables hold.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdev_bus::follow::Follower;
use rdev_bus::{Bus, LogStream, ReadError, Stored};
use rdev_contract::envelope::Recorded;
use rdev_contract::event::Kind;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Filter;
use rdev_readmodel::{Database, LogIdentity, WriteError};
use rdev_runtime::Shutdown;

use crate::backoff::Backoff;
use crate::lag::{Board, Held, Progress};
use crate::metrics::METRICS;
use crate::store::{LogState, OpenError, Store};
use crate::traces;

/// Messages of one transaction: enough to make its fixed cost small, few enough for a reader to
/// see rows soon while a long log is read.
pub(crate) const BATCH_MESSAGES: usize = 256;
/// Bytes of the payloads of one transaction: bounds the memory, whatever claude prints.
pub(crate) const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How often a stream is asked whether it is still the same, and how far it is.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Why following has to begin again.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the stream was created anew or is shorter than before")]
    AnotherLog,
}

/// Follows until the shutdown, through whatever goes away and comes back.
pub(crate) async fn follow(
    bus: &Bus,
    database: &Database,
    stream: LogStream,
    board: &Board,
    shutdown: &Shutdown,
) {
    let mut backoff = Backoff::new();
    let source = Source { bus, stream, board };
    while !shutdown.is_requested() {
        let Err(reason) = follow_once(&source, database, shutdown, &mut backoff).await else {
            return;
        };
        METRICS.interruptions.of([stream.name()]).inc();
        tracing::warn!(log.stream = stream.name(), %reason, "projecting is interrupted");
        tokio::select! {
            () = backoff.pause() => {}
            () = shutdown.requested() => {}
        }
    }
}

pub(crate) fn filters(stream: LogStream) -> Vec<Filter> {
    match stream {
        LogStream::Exec => Kind::ALL
            .into_iter()
            .filter(|kind| kind.is_projected())
            .map(Filter::kind)
            .collect(),
        LogStream::Session => vec![Filter::sessions()],
    }
}

/// What is followed, and where is shown how far.
struct Source<'a> {
    bus: &'a Bus,
    stream: LogStream,
    board: &'a Board,
}

impl Source<'_> {
    async fn state(&self) -> Result<LogState, ReadError> {
        let identity = self.bus.identity(self.stream).await?;
        self.show(|progress| {
            progress.saw(identity.last, Timestamp::now());
            progress.held = Held {
                messages: identity.messages,
                bytes: identity.bytes,
            };
        });
        Ok(LogState {
            created_at: identity.created_at,
            first: identity.first,
            last: identity.last,
        })
    }

    async fn follow(&self, after: StreamSeq) -> Result<Follower, ReadError> {
        let filters = filters(self.stream);
        self.bus.follow(self.stream, filters, after).await
    }

    fn show(&self, change: impl FnOnce(&mut Progress)) {
        self.board.update(self.stream, change);
    }
}

/// Returns with the shutdown.
async fn follow_once(
    source: &Source<'_>,
    database: &Database,
    shutdown: &Shutdown,
    backoff: &mut Backoff,
) -> Result<(), Interrupted> {
    let state = source.state().await?;
    let mut store = Store::open(database, source.stream, state).await?;
    let mut follower = source.follow(store.position()).await?;
    tracing::info!(
        log.stream = source.stream.name(),
        position = store.position().0,
        poisoned = store.poisoned(),
        "projecting"
    );
    source.show(|progress| {
        progress.position = store.position();
        progress.poisoned = store.poisoned();
        progress.saw(state.last, Timestamp::now());
    });
    let mut check = tokio::time::interval(CHECK_INTERVAL);
    check.reset();
    let mut idle = false;
    loop {
        let first = tokio::select! {
            message = follower.next() => message,
            // A transaction under way is finished first.
            () = shutdown.requested() => return Ok(()),
            _ = check.tick() => {
                follower = checked(source, &mut store, follower, idle).await?;
                idle = true;
                continue;
            }
        };
        idle = false;
        source.show(|progress| progress.received(first.sequence, first.value.at));
        let began = Instant::now();
        let batch = gather(first, &mut follower);
        let spans = traces::batch(&batch);
        store.take(&batch).await?;
        drop(spans);
        let (stream, count) = ([source.stream.name()], batch.len() as u64);
        METRICS.messages.of(stream).inc_by(count);
        let seconds = began.elapsed().as_secs_f64();
        METRICS.batch_seconds.of(stream).observe(seconds);
        let newest = batch.last().filter(|_| !follower.is_caught_up());
        source.show(|progress| {
            progress.reached(store.position(), newest.map(|message| message.value.at));
            progress.poisoned = store.poisoned();
        });
        backoff.reset();
    }
}

/// What is here already, within the limits of a transaction.
fn gather(first: Recorded<Stored>, follower: &mut Follower) -> Vec<Recorded<Stored>> {
    let mut bytes = first.value.payload.len();
    let mut batch = vec![first];
    while batch.len() < BATCH_MESSAGES
        && bytes < BATCH_BYTES
        && let Some(message) = follower.try_next()
    {
        bytes += message.value.payload.len();
        batch.push(message);
    }
    batch
}

/// Looks whether the stream is still the one that is followed: a consumer of a stream that was
/// created anew waits for ever. And where nothing came for a while although the log grew (by
/// output, which makes no rows), moves the position over it.
async fn checked(
    source: &Source<'_>,
    store: &mut Store,
    follower: Follower,
    idle: bool,
) -> Result<Follower, Interrupted> {
    let now = source.state().await?;
    if LogIdentity::created_at(now.created_at) != store.log() || now.last < store.position() {
        return Err(Interrupted::AnotherLog);
    }
    if !idle || now.last == store.position() {
        return Ok(follower);
    }
    // A new consumer knows, at its beginning, whether anything matches behind the position; what
    // the log held a moment before that is then passed over.
    let fresh = source.follow(store.position()).await?;
    if fresh.is_caught_up() {
        store.pass_over(now.last).await?;
        source.show(|progress| progress.reached(store.position(), None));
    }
    Ok(fresh)
}
