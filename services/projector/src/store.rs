//! Brings messages into the tables: rows and position in one transaction, so that each message
//! counts exactly once wherever this process is killed.
//!
//! Invariant: a message that PostgreSQL cannot store becomes a poison row and holds nobody up; a
//! PostgreSQL that is away holds everybody up, and loses nothing.

use jiff::Timestamp;
use rdev_bus::{LogStream, Stored};
use rdev_contract::envelope::Recorded;
use rdev_contract::event::Fragment;
use rdev_contract::position::StreamSeq;
use rdev_domain::fragment::FragmentJoiner;
use rdev_readmodel::{
    Change, Database, LogIdentity, Place, Poisoned, ReadError, WriteError, Writer,
};

use crate::project::{self, Entry, Line, Step};

/// One stream's way into the tables.
pub struct Store {
    database: Database,
    stream: LogStream,
    place: Place,
    poisoned: u64,
}

/// How the log continues what the tables hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogState {
    /// When the stream was created.
    pub created_at: Timestamp,
    /// Sequence of the first message it holds.
    pub first: StreamSeq,
    /// Sequence of its last message.
    pub last: StreamSeq,
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The position cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The position cannot be set.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Store {
    /// Finds the place to go on from. A stream that is not the one that the position was reached
    /// in is read from its beginning, over the rows that are there; they wait for a fold anew.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        database: &Database,
        stream: LogStream,
        state: LogState,
    ) -> Result<Self, OpenError> {
        let log = LogIdentity::created_at(state.created_at);
        let beginning = Place {
            log,
            sequence: StreamSeq(0),
        };
        let place = match database.position(stream.name()).await? {
            None => {
                database.begin_position(stream.name(), beginning).await?;
                beginning
            }
            Some(found) if found.log == log && found.sequence <= state.last => found,
            Some(found) => {
                warn_of_another_log(stream, found, state);
                database
                    .begin_another_log(stream.name(), found, beginning)
                    .await?;
                beginning
            }
        };
        if place.sequence.0 + 1 < state.first.0 && place.sequence > StreamSeq(0) {
            tracing::warn!(
                log.stream = stream.name(),
                position = place.sequence.0,
                first = state.first.0,
                "retention removed messages that were not projected; their rows may be incomplete"
            );
        }
        Ok(Self {
            database: database.clone(),
            stream,
            place,
            poisoned: database.poison_count(Some(stream.name())).await?,
        })
    }

    /// Up to where the stream is in the tables.
    #[must_use]
    pub const fn position(&self) -> StreamSeq {
        self.place.sequence
    }

    /// How many messages of the stream could not be projected, ever.
    #[must_use]
    pub const fn poisoned(&self) -> u64 {
        self.poisoned
    }

    /// Which life of the stream this is.
    #[must_use]
    pub const fn log(&self) -> LogIdentity {
        self.place.log
    }

    /// Brings messages in, in order. All of them are in when this returns.
    ///
    /// # Errors
    /// [`WriteError`], never for what a message holds. The position tells how far it came; open
    /// the store again.
    pub async fn take(&mut self, messages: &[Recorded<Stored>]) -> Result<(), WriteError> {
        match self.transact(messages, None).await {
            Err(WriteError::Refused(_)) => self.take_one_by_one(messages).await,
            other => other,
        }
    }

    /// Moves the position over messages that are known to make no rows.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn pass_over(&mut self, to: StreamSeq) -> Result<(), WriteError> {
        if to <= self.place.sequence {
            return Ok(());
        }
        let to = Place {
            log: self.place.log,
            sequence: to,
        };
        self.database
            .move_position(self.stream.name(), self.place, to)
            .await?;
        self.place = to;
        Ok(())
    }

    /// Finds the message that PostgreSQL refuses.
    async fn take_one_by_one(&mut self, messages: &[Recorded<Stored>]) -> Result<(), WriteError> {
        for message in messages {
            let message = std::slice::from_ref(message);
            match self.transact(message, None).await {
                Err(WriteError::Refused(reason)) => self.transact(message, Some(&reason)).await?,
                other => other?,
            }
        }
        Ok(())
    }

    /// One transaction. `refused`: why the messages cannot be stored as what they are.
    async fn transact(
        &mut self,
        messages: &[Recorded<Stored>],
        refused: Option<&str>,
    ) -> Result<(), WriteError> {
        let Some(last) = messages.last() else {
            return Ok(());
        };
        let to = Place {
            log: self.place.log,
            sequence: last.sequence,
        };
        let mut connection = self.database.writing().await?;
        let writer = connection.begin(self.stream.name(), self.place, to).await?;
        let mut changes = Vec::new();
        let mut applied = 0;
        for message in messages {
            let entry = self.entry(message);
            let steps = match refused {
                None => project::project(&entry),
                Some(reason) => vec![Step::Change(project::poison(&entry, reason))],
            };
            for step in steps {
                match step {
                    Step::Change(change) => changes.push(change),
                    Step::Join(line) => {
                        writer.apply(&changes[applied..]).await?;
                        applied = changes.len();
                        changes.extend(join(&writer, &entry, &line).await?);
                    }
                }
            }
        }
        writer.apply(&changes[applied..]).await?;
        writer.commit().await?;
        self.place = to;
        for change in &changes {
            if let Change::Poisoned(poisoned) = change {
                self.poisoned += 1;
                tell_of_poison(poisoned);
            }
        }
        Ok(())
    }

    fn entry<'a>(&self, message: &'a Recorded<Stored>) -> Entry<'a> {
        Entry {
            stream: self.stream,
            log: self.place.log,
            sequence: message.sequence,
            subject: &message.value.subject,
            payload: &message.value.payload,
            stored_at: message.value.at,
        }
    }
}

/// Told once the message is where it is told to be.
fn tell_of_poison(poisoned: &Poisoned) {
    tracing::error!(
        log.stream = poisoned.stream,
        seq = poisoned.sequence.0,
        subject = poisoned.subject,
        reason = poisoned.reason,
        "a message of the log cannot be projected; it is kept in the table poison"
    );
}

/// Joins the parts of a claude line. Parts that do not fit together are told of, like a message
/// that cannot be read.
async fn join(
    writer: &Writer<'_>,
    entry: &Entry<'_>,
    line: &Line,
) -> Result<Vec<Change>, WriteError> {
    let mut joiner = FragmentJoiner::default();
    // A line that was begun anew may have had more parts before.
    let parts = writer.take_fragments(&line.exec).await?;
    for part in parts.iter().filter(|part| part.part <= line.last) {
        let text = String::from_utf8_lossy(&part.content);
        let fragment = Fragment {
            index: part.part,
            last: part.part == line.last,
            text,
        };
        match joiner.push(&fragment) {
            Ok(None) => {}
            Ok(Some(data)) => return Ok(project::joined(entry.log, line, &data)),
            Err(reason) => return Ok(vec![project::poison(entry, &reason.to_string())]),
        }
    }
    Ok(Vec::new())
}

fn warn_of_another_log(stream: LogStream, found: Place, state: LogState) {
    tracing::error!(
        log.stream = stream.name(),
        known.created_at = %found.log.timestamp(),
        known.sequence = found.sequence.0,
        log.created_at = %state.created_at,
        log.last = state.last.0,
        "the log is not the one that was projected so far (created anew, or restored from an older \
         copy): it is projected from its beginning, and the tables are folded anew"
    );
}
