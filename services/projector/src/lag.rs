//! How far the tables are behind the log, for probes, alerts and metrics.
//!
//! Written by the followers, read by whoever asks. Invariant: it also grows while PostgreSQL is
//! away, which is when it matters.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rdev_bus::LogStream;
use rdev_contract::position::StreamSeq;

/// How far one stream of the log is ahead of the tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lag {
    /// Messages behind the position, those that make no rows among them.
    pub messages: u64,
    /// The age of the oldest message that is not in the tables.
    pub age: Duration,
}

/// How far one stream of the log is, and the tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Up to where the tables are.
    pub position: StreamSeq,
    /// The last message of the stream, as far as it is known.
    pub last: StreamSeq,
    /// When the oldest message that is not in the tables was stored, or was noticed.
    pub waiting_since: Option<Timestamp>,
    /// Messages that could not be projected.
    pub poisoned: u64,
    /// What the stream holds.
    pub held: Held,
}

/// How much a stream of the log holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Messages.
    pub messages: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

impl Progress {
    /// The lag at this time.
    #[must_use]
    pub fn lag(&self, now: Timestamp) -> Lag {
        let messages = self.last.0.saturating_sub(self.position.0);
        let waiting = self.waiting_since.filter(|_| messages > 0);
        let age = waiting.map(|since| now.duration_since(since));
        Lag {
            messages,
            age: age.and_then(|age| age.try_into().ok()).unwrap_or_default(),
        }
    }

    /// The stream is this far, as somebody saw at this time.
    pub(crate) fn saw(&mut self, last: StreamSeq, now: Timestamp) {
        self.last = last;
        if self.last <= self.position {
            self.waiting_since = None;
        } else {
            self.waiting_since.get_or_insert(now);
        }
    }

    /// A message is here, and will be in the tables soon.
    pub(crate) fn received(&mut self, sequence: StreamSeq, stored_at: Timestamp) {
        self.last = self.last.max(sequence);
        self.waiting_since = Some(stored_at);
    }

    /// Everything up to here is in the tables. If the log has more, that was not stored before
    /// this.
    pub(crate) fn reached(&mut self, position: StreamSeq, stored_at: Option<Timestamp>) {
        self.position = position;
        self.last = self.last.max(position);
        self.waiting_since = stored_at;
    }
}

/// The progress of all streams. Cheap to clone; clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    is_active: bool,
    exec: Progress,
    session: Progress,
}

impl Board {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is the active projector: only that one knows its progress.
    pub(crate) fn set_active(&self, is_active: bool) {
        let mut shown = self.shown();
        *shown = Shown {
            is_active,
            ..Shown::default()
        };
    }

    /// Whether this is the active projector.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.shown().is_active
    }

    pub(crate) fn update(&self, stream: LogStream, change: impl FnOnce(&mut Progress)) {
        let mut shown = self.shown();
        change(match stream {
            LogStream::Exec => &mut shown.exec,
            LogStream::Session => &mut shown.session,
        });
    }

    /// The progress of a stream; `None` on a stand-by.
    #[must_use]
    pub fn progress(&self, stream: LogStream) -> Option<Progress> {
        let shown = self.shown();
        shown.is_active.then_some(match stream {
            LogStream::Exec => shown.exec,
            LogStream::Session => shown.session,
        })
    }

    /// For people and scripts: a line for each stream.
    #[must_use]
    pub fn report(&self, now: Timestamp) -> String {
        let mut text = String::new();
        for stream in [LogStream::Session, LogStream::Exec] {
            let Some(progress) = self.progress(stream) else {
                return "standing by\n".to_owned();
            };
            let lag = progress.lag(now);
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{} position={} last={} lag_messages={} lag_seconds={:.3} poisoned={}",
                stream.name(),
                progress.position,
                progress.last,
                lag.messages,
                lag.age.as_secs_f64(),
                progress.poisoned
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn lag(progress: Progress, second: i64) -> (u64, u64) {
        let lag = progress.lag(at(second));
        (lag.messages, lag.age.as_secs())
    }

    #[test]
    fn it_grows_until_the_rows_are_there() {
        let mut progress = Progress::default();
        assert_eq!(lag(progress, 9), (0, 0));
        progress.reached(StreamSeq(5), None);
        assert_eq!(lag(progress, 9), (0, 0));
        progress.received(StreamSeq(7), at(10));
        assert_eq!(lag(progress, 12), (2, 2));
        // PostgreSQL is away: the log grows, what waits gets older.
        progress.saw(StreamSeq(9), at(20));
        assert_eq!(lag(progress, 40), (4, 30));
        progress.reached(StreamSeq(7), Some(at(11)));
        assert_eq!(lag(progress, 41), (2, 30));
        progress.reached(StreamSeq(9), None);
        assert_eq!(lag(progress, 42), (0, 0));
    }

    #[test]
    fn what_is_only_seen_waits_since_then() {
        let mut progress = Progress::default();
        progress.reached(StreamSeq(5), None);
        progress.saw(StreamSeq(6), at(10));
        progress.saw(StreamSeq(8), at(20));
        assert_eq!(lag(progress, 25), (3, 15));
        // A stream that was created anew.
        progress.saw(StreamSeq(2), at(30));
        assert_eq!(lag(progress, 31), (0, 0));
        // A clock that goes back makes nothing negative.
        progress.received(StreamSeq(9), at(50));
        assert_eq!(lag(progress, 40), (4, 0));
    }

    #[test]
    fn a_stand_by_knows_nothing() {
        let board = Board::default();
        assert_eq!(board.report(at(0)), "standing by\n");
        board.set_active(true);
        board.update(LogStream::Exec, |progress| {
            progress.received(StreamSeq(3), at(1));
        });
        let report = board.report(at(2));
        assert!(
            report.contains("RDEV_EXEC position=0 last=3 lag_messages=3 lag_seconds=1.000"),
            "{report}"
        );
        board.set_active(false);
        assert_eq!(board.progress(LogStream::Exec), None);
    }
}
