//! Following what waits and runs: commands, admissions and ends, from a snapshot of the execs that
//! had not ended, or from the log's beginning where there is none.
//!
//! Invariant: whoever takes in everything that a [`QueueLog`] gives has the state of the log,
//! however old the snapshot was.

use std::collections::VecDeque;

use async_recursion::async_recursion as boxed;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use rdev_contract::envelope::Recorded;
use rdev_contract::event::Kind;
use rdev_contract::position::StreamSeq;
use rdev_contract::queue::QueueSnapshot;
use rdev_contract::subject::{self, Filter};

use crate::follow::Follower;
use crate::{Bus, LogStream, ReadError, Stored};

/// Commands that are read at the same time when a snapshot is restored.
const RESTORE_AT_ONCE: usize = 128;

/// What there is to take in next.
#[derive(Debug)]
pub enum Waiting {
    /// A message of the log.
    Message(Recorded<Stored>),
    /// The exec with this command was admitted; which message says so does not matter any more.
    Admitted(StreamSeq),
}

/// The messages of the log that a queue is made of.
#[derive(Debug)]
pub struct QueueLog {
    restored: VecDeque<Waiting>,
    follower: Follower,
    created_at: Timestamp,
    /// The log's last message when this began.
    end: StreamSeq,
    is_replayed: bool,
}

impl Bus {
    /// Begins with the last snapshot, if it is of this log.
    ///
    /// # Errors
    /// [`ReadError`] when the log does not answer.
    #[boxed]
    pub async fn follow_queue(&self) -> Result<QueueLog, ReadError> {
        let identity = self.identity(LogStream::Exec).await?;
        let snapshot = self.snapshot().await?.filter(|snapshot| {
            snapshot.log_created_at == identity.created_at && snapshot.position <= identity.last
        });
        let (mut restored, mut position) = (VecDeque::new(), StreamSeq(0));
        if let Some(snapshot) = snapshot {
            restored = self.restore(&snapshot).await?;
            position = snapshot.position;
        }
        let filters = [Kind::Command, Kind::Admitted, Kind::Complete].map(Filter::kind);
        let follower = self.follow(LogStream::Exec, filters.into(), position);
        Ok(QueueLog {
            restored,
            follower: follower.await?,
            created_at: identity.created_at,
            end: identity.last,
            is_replayed: false,
        })
    }

    /// Leaves a snapshot to whoever follows the queue next.
    ///
    /// # Errors
    /// [`ReadError`] when it was not stored; the one before is as good, and takes longer.
    #[boxed]
    pub async fn store_snapshot(&self, snapshot: &QueueSnapshot) -> Result<(), ReadError> {
        let value = snapshot.encode().map_err(ReadError::of)?;
        let store = self.scheduler_bucket().await?;
        let stored = store.put(subject::QUEUE_SNAPSHOT_KEY, value.into()).await;
        stored.map(|_| ()).map_err(ReadError::of)
    }

    async fn snapshot(&self) -> Result<Option<QueueSnapshot>, ReadError> {
        let store = self.scheduler_bucket().await?;
        let value = store.get(subject::QUEUE_SNAPSHOT_KEY).await;
        let Some(value) = value.map_err(ReadError::of)? else {
            return Ok(None);
        };
        let snapshot = serde_json::from_slice(&value);
        if let Err(error) = &snapshot {
            tracing::warn!(%error, "the queue's snapshot cannot be read: the log is read instead");
        }
        Ok(snapshot.ok())
    }

    /// The commands of a snapshot, as the log has them: those that it no longer has are left out.
    async fn restore(&self, snapshot: &QueueSnapshot) -> Result<VecDeque<Waiting>, ReadError> {
        let admitted = snapshot.admitted();
        let mut sequences = snapshot.waiting();
        sequences.extend_from_slice(&admitted);
        sequences.sort_unstable();
        let command = async |sequence: StreamSeq| {
            let command = self.message_at(LogStream::Exec, sequence).await?;
            Ok::<_, ReadError>(command.map(Waiting::Message))
        };
        let commands: Vec<_> = stream::iter(sequences)
            .map(command)
            .buffered(RESTORE_AT_ONCE)
            .try_collect()
            .await?;
        let commands = commands.into_iter().flatten();
        let admitted = admitted.into_iter().map(Waiting::Admitted);
        Ok(commands.chain(admitted).collect())
    }
}

impl QueueLog {
    /// The next message, through reconnects. May be dropped and called again.
    pub async fn next(&mut self) -> Waiting {
        match self.restored.pop_front() {
            Some(restored) => restored,
            None => Waiting::Message(self.follower.next().await),
        }
    }

    /// The next message if it is here already.
    pub fn try_next(&mut self) -> Option<Waiting> {
        let restored = self.restored.pop_front();
        restored.or_else(|| self.follower.try_next().map(Waiting::Message))
    }

    /// Whether everything has been given that the log held when this began.
    pub fn is_replayed(&mut self) -> bool {
        let is_at_end = self.position() >= self.end || self.follower.is_caught_up();
        self.is_replayed |= self.restored.is_empty() && is_at_end;
        self.is_replayed
    }

    /// Up to where the log was given.
    #[must_use]
    pub const fn position(&self) -> StreamSeq {
        self.follower.position()
    }

    /// Which life of the stream this is.
    #[must_use]
    pub const fn created_at(&self) -> Timestamp {
        self.created_at
    }
}
