//! Brings a stream of the log into tables up to a place and not beyond: for audits, which fold
//! into tables of their own with the code that the projector folds with. What the log has forgotten is
//! taken from the archive, in its place among the rest.

mod archived;

use std::time::Duration;

use rdev_archive::{Archive, ArchiveError};
use rdev_bus::follow::Follower;
use rdev_bus::{Bus, LogStream, ReadError, Stored};
use rdev_contract::envelope::Recorded;
use rdev_contract::id::ExecId;
use rdev_contract::position::{LogIdentity, StreamSeq};
use rdev_readmodel::{Database, WriteError};

use self::archived::ArchivedFacts;
use crate::follow::{BATCH_BYTES, BATCH_MESSAGES, filters};
use crate::store::{LogState, OpenError, Store};

/// A follower whose consumer had to be made anew, and has nothing left to bring, says so only when
/// it is asked.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why the tables do not hold the log up to that place.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log does not answer.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The archive does not answer.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The tables cannot be written.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The tables cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What was brought in.
#[derive(Debug, Default)]
pub struct Replayed {
    /// How many messages.
    pub messages: u64,
    /// Execs of which the log has forgotten something and the archive has everything.
    pub archived: Vec<ExecId>,
    /// Objects of the archive that cannot be read, and why.
    pub damaged: Vec<String>,
}

/// Continues from where the tables are.
///
/// # Errors
/// See [`ReplayError`].
pub async fn replay(
    bus: &Bus,
    archive: Option<&Archive>,
    database: &Database,
    stream: LogStream,
    up_to: StreamSeq,
) -> Result<Replayed, ReplayError> {
    let identity = bus.identity(stream).await?;
    let state = LogState {
        created_at: identity.created_at,
        first: identity.first,
        last: identity.last,
    };
    let up_to = up_to.min(state.last);
    let mut store = Store::open(database, stream, state).await?;
    let mut replayed = Replayed::default();
    if store.position() >= up_to {
        return Ok(replayed);
    }
    let mut facts = Facts::open(bus, archive, stream, store.position(), up_to).await?;
    loop {
        let batch = facts.gather(&mut replayed).await?;
        if batch.is_empty() {
            break;
        }
        store.take(&batch).await?;
        replayed.messages += batch.len() as u64;
    }
    store.pass_over(up_to).await?;
    Ok(replayed)
}

/// What makes rows, of the log and of the archive, in the order of the log.
struct Facts {
    follower: Follower,
    archived: ArchivedFacts,
    up_to: StreamSeq,
    /// The log's next one.
    next: Option<Recorded<Stored>>,
}

impl Facts {
    async fn open(
        bus: &Bus,
        archive: Option<&Archive>,
        stream: LogStream,
        after: StreamSeq,
        up_to: StreamSeq,
    ) -> Result<Self, ReplayError> {
        // The follower first: what expires while the archive is listed, it has or the archive has.
        let mut follower = bus.follow(stream, filters(stream), after).await?;
        let next = next(&mut follower, up_to).await;
        let archived = match archive.filter(|_| stream == LogStream::Exec) {
            None => ArchivedFacts::default(),
            Some(archive) => {
                let log = bus.identity(stream).await?.created_at;
                let log = LogIdentity::created_at(log);
                let begin = next.as_ref().map_or(up_to, |next| next.sequence);
                ArchivedFacts::list(archive, log, after, begin).await?
            }
        };
        Ok(Self {
            follower,
            archived,
            up_to,
            next,
        })
    }

    /// As much as fits one transaction; nothing at the end.
    async fn gather(
        &mut self,
        replayed: &mut Replayed,
    ) -> Result<Vec<Recorded<Stored>>, ReplayError> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_MESSAGES && bytes < BATCH_BYTES {
            let Some(message) = self.take(replayed).await? else {
                break;
            };
            bytes += message.value.payload.len();
            batch.push(message);
        }
        Ok(batch)
    }

    async fn take(
        &mut self,
        replayed: &mut Replayed,
    ) -> Result<Option<Recorded<Stored>>, ReplayError> {
        let held = self.next.as_ref().map(|next| next.sequence);
        let before = held.unwrap_or(StreamSeq(self.up_to.0 + 1));
        if let Some(message) = self.archived.take_before(before, replayed).await? {
            return Ok(Some(message));
        }
        let taken = self.next.take();
        if let Some(taken) = &taken {
            self.archived.pass(taken.sequence);
            self.next = next(&mut self.follower, self.up_to).await;
        }
        Ok(taken)
    }
}

/// The log's next message up to that place. None when there is no more, or it is beyond.
async fn next(follower: &mut Follower, up_to: StreamSeq) -> Option<Recorded<Stored>> {
    while follower.position() < up_to && !follower.is_caught_up() {
        tokio::select! {
            message = follower.next() => {
                return (message.sequence <= up_to).then_some(message);
            }
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
    None
}
