//! Brings a stream of the log into tables up to a place and not beyond: for audits, which fold
//! into tables of their own with the code that the projector folds with.

use std::time::Duration;

use rdev_bus::follow::Follower;
use rdev_bus::{Bus, LogStream, ReadError, Stored};
use rdev_contract::envelope::Recorded;
use rdev_contract::position::StreamSeq;
use rdev_readmodel::{Database, WriteError};

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
    /// The tables cannot be written.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The tables cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Continues from where the tables are, and says how many messages that took.
///
/// # Errors
/// See [`ReplayError`].
pub async fn replay(
    bus: &Bus,
    database: &Database,
    stream: LogStream,
    up_to: StreamSeq,
) -> Result<u64, ReplayError> {
    let identity = bus.identity(stream).await?;
    let state = LogState {
        created_at: identity.created_at,
        first: identity.first,
        last: identity.last,
    };
    let up_to = up_to.min(state.last);
    let mut store = Store::open(database, stream, state).await?;
    let mut taken = 0;
    if store.position() >= up_to {
        return Ok(taken);
    }
    let mut follower = bus
        .follow(stream, filters(stream), store.position())
        .await?;
    while let Some(first) = next(&mut follower, up_to).await {
        let batch = gather(first, &mut follower, up_to);
        store.take(&batch).await?;
        taken += batch.len() as u64;
    }
    store.pass_over(up_to).await?;
    Ok(taken)
}

/// The next message up to that place. None when there is no more, or it is beyond.
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

fn gather(
    first: Recorded<Stored>,
    follower: &mut Follower,
    up_to: StreamSeq,
) -> Vec<Recorded<Stored>> {
    let mut bytes = first.value.payload.len();
    let mut batch = vec![first];
    while batch.len() < BATCH_MESSAGES
        && bytes < BATCH_BYTES
        && follower.position() < up_to
        && let Some(message) = follower.try_next()
        // What is beyond is dropped: the follower's position says so, and it is the last.
        && message.sequence <= up_to
    {
        bytes += message.value.payload.len();
        batch.push(message);
    }
    batch
}
