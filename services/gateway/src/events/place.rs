//! Where a reader continues: a pure decision from its cursor and what the log says of the exec.
//!
//! Invariant: a place that is handed out misses nothing that is still in the log, and shows
//! nothing twice. A cursor that this exec cannot have given is refused, never guessed at.

use rdev_contract::cursor::Cursor;
use rdev_contract::id::ExecId;
use rdev_contract::position::{EventNo, StreamSeq};

/// What the log says of an exec, as far as a cursor needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// The exec's last message; none if the log holds nothing of it.
    pub(super) tail: Option<Tail>,
    /// The message with the cursor's sequence, if it is one of this exec with events.
    pub(super) at: Option<Span>,
    /// The last sequence of the whole stream.
    pub(super) stream_last: StreamSeq,
}

/// The last message of an exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// Its sequence.
    pub(super) sequence: StreamSeq,
    /// Number of the exec's last event; none if the message does not tell.
    pub(super) last: Option<EventNo>,
    /// Whether it is the end.
    pub(super) is_complete: bool,
}

/// The events of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Number of its first event.
    pub(super) first: EventNo,
    /// Number of its last whole event; one less than the first if it holds only a part of one.
    pub(super) last: EventNo,
    /// It begins with a whole event, so that one can begin to read here.
    pub(super) begins_whole: bool,
}

impl Span {
    /// The message behind which a reader goes on that was shown the events up to that of `cursor`, if
    /// the cursor's message is this one and reading here misses nothing.
    pub(super) fn behind(self, cursor: &Cursor) -> Option<StreamSeq> {
        let number = cursor.number;
        let holds_it = self.first <= number && number <= self.last;
        let comes_next = self.begins_whole && number.plus(1) == self.first;
        if !(holds_it || comes_next) {
            return None;
        }
        // Nothing of a message that was shown whole is read again.
        let before = u64::from(number != self.last);
        Some(StreamSeq(cursor.sequence.0 - before))
    }
}

/// Where to read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// From the exec's first message on, as far as it is left.
    Beginning {
        /// The log holds something of this exec.
        exists: bool,
    },
    /// Behind this sequence.
    Behind(StreamSeq),
    /// The reader has everything, and there will not be more.
    Finished,
    /// Nothing is left of what the reader had begun to read.
    Gone,
}

/// The cursor is not a place of this exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misplaced {
    /// The tag says so.
    #[error("the event id is one of another exec")]
    OtherExec,
    /// Nothing was written there yet.
    #[error("the event id is beyond the end of this exec's events")]
    BeyondEnd,
}

/// Whether the cursor can be of this exec at all.
pub(crate) fn check_tag(cursor: &Cursor, exec: &ExecId) -> Result<(), Misplaced> {
    if cursor.tag == exec.tag() {
        Ok(())
    } else {
        Err(Misplaced::OtherExec)
    }
}

/// Where a reader continues whose cursor's message is there and holds the cursor's event. What else
/// there is of the exec does not matter then.
pub(super) fn within(cursor: &Cursor, at: Span, is_complete: bool) -> Option<Place> {
    let position = at.behind(cursor)?;
    if is_complete && at.last == cursor.number {
        return Some(Place::Finished);
    }
    Some(Place::Behind(position))
}

/// Where a reader with this cursor continues.
pub(super) fn decide(cursor: &Cursor, known: &Known) -> Result<Place, Misplaced> {
    let Some(tail) = known.tail else {
        return match cursor.number {
            EventNo(0) if cursor.sequence == StreamSeq(0) => Ok(Place::Beginning { exists: false }),
            _ if cursor.sequence > known.stream_last => Err(Misplaced::BeyondEnd),
            _ => Ok(Place::Gone),
        };
    };
    if cursor.sequence > known.stream_last.max(tail.sequence) {
        return Err(Misplaced::BeyondEnd);
    }
    if tail.last.is_some_and(|last| cursor.number > last) {
        return Err(Misplaced::BeyondEnd);
    }
    if tail.is_complete && tail.last == Some(cursor.number) {
        return Ok(Place::Finished);
    }
    // Unless the message is there, it has expired, or the log was restored under other sequences:
    // numbers still say where to go on, and those that were shown are passed over.
    let place = known.at.and_then(|at| within(cursor, at, false));
    Ok(place.unwrap_or(Place::Beginning { exists: true }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(sequence: u64, number: u64) -> Cursor {
        Cursor {
            sequence: StreamSeq(sequence),
            number: EventNo(number),
            tag: "0".repeat(8),
        }
    }

    const fn tail(sequence: u64, last: u64, is_complete: bool) -> Option<Tail> {
        Some(Tail {
            sequence: StreamSeq(sequence),
            last: Some(EventNo(last)),
            is_complete,
        })
    }

    const fn span(first: u64, last: u64) -> Option<Span> {
        Some(Span {
            first: EventNo(first),
            last: EventNo(last),
            begins_whole: true,
        })
    }

    const fn known(tail: Option<Tail>, at: Option<Span>) -> Known {
        Known {
            tail,
            at,
            stream_last: StreamSeq(100),
        }
    }

    #[test]
    fn a_running_exec_continues_at_the_cursors_message() {
        let known = known(tail(50, 30, false), span(11, 20));
        for number in 10..20 {
            assert_eq!(
                decide(&cursor(40, number), &known),
                Ok(Place::Behind(StreamSeq(39)))
            );
        }
        // Its message was shown whole.
        assert_eq!(
            decide(&cursor(40, 20), &known),
            Ok(Place::Behind(StreamSeq(40)))
        );
    }

    #[test]
    fn a_message_that_does_not_hold_the_event_is_no_help() {
        let from_start = Ok(Place::Beginning { exists: true });
        let known = known(tail(50, 30, false), span(11, 20));
        assert_eq!(decide(&cursor(40, 9), &known), from_start);
        assert_eq!(decide(&cursor(40, 21), &known), from_start);
    }

    #[test]
    fn reading_never_begins_in_the_middle_of_a_line() {
        let part = Span {
            first: EventNo(11),
            last: EventNo(10),
            begins_whole: false,
        };
        let middle = known(tail(50, 30, false), Some(part));
        assert_eq!(
            decide(&cursor(40, 10), &middle),
            Ok(Place::Beginning { exists: true })
        );
        let last_part = Span {
            last: EventNo(11),
            ..part
        };
        let end = known(tail(50, 30, false), Some(last_part));
        assert_eq!(
            decide(&cursor(40, 11), &end),
            Ok(Place::Behind(StreamSeq(40)))
        );
    }

    #[test]
    fn what_has_expired_continues_by_number() {
        let known = known(tail(50, 30, false), None);
        assert_eq!(
            decide(&cursor(40, 9), &known),
            Ok(Place::Beginning { exists: true })
        );
        assert_eq!(
            decide(&cursor(0, 0), &known),
            Ok(Place::Beginning { exists: true })
        );
    }

    #[test]
    fn beyond_the_end_is_refused() {
        let known = known(tail(50, 30, false), None);
        assert_eq!(decide(&cursor(50, 31), &known), Err(Misplaced::BeyondEnd));
        assert_eq!(decide(&cursor(101, 30), &known), Err(Misplaced::BeyondEnd));
        assert_eq!(
            decide(&cursor(u64::MAX, u64::MAX), &known),
            Err(Misplaced::BeyondEnd)
        );
        assert!(decide(&cursor(100, 30), &known).is_ok());
    }

    #[test]
    fn behind_complete_there_is_nothing_more() {
        let done = known(tail(50, 30, true), span(30, 30));
        assert_eq!(decide(&cursor(50, 30), &done), Ok(Place::Finished));
        assert_eq!(decide(&cursor(50, 31), &done), Err(Misplaced::BeyondEnd));
        assert_eq!(
            decide(&cursor(50, 29), &done),
            Ok(Place::Behind(StreamSeq(49)))
        );
        // The same exec in a log that was restored.
        assert_eq!(decide(&cursor(7, 30), &done), Ok(Place::Finished));
        let running = known(tail(50, 30, false), span(30, 30));
        assert_eq!(
            decide(&cursor(50, 30), &running),
            Ok(Place::Behind(StreamSeq(50)))
        );
    }

    #[test]
    fn an_exec_of_which_nothing_is_left() {
        let nothing = known(None, None);
        assert_eq!(
            decide(&cursor(0, 0), &nothing),
            Ok(Place::Beginning { exists: false })
        );
        assert_eq!(decide(&cursor(40, 9), &nothing), Ok(Place::Gone));
        assert_eq!(decide(&cursor(101, 9), &nothing), Err(Misplaced::BeyondEnd));
    }

    #[test]
    fn the_tag_names_the_exec() {
        let exec = ExecId {
            project: "demo".parse().unwrap(),
            session: "0192f0c1-0000-7000-8000-000000000001".parse().unwrap(),
            stream: "one".parse().unwrap(),
        };
        assert_eq!(check_tag(&Cursor::beginning(&exec), &exec), Ok(()));
        let other = ExecId {
            stream: "two".parse().unwrap(),
            ..exec.clone()
        };
        assert_eq!(
            check_tag(&Cursor::beginning(&other), &exec),
            Err(Misplaced::OtherExec)
        );
    }
}
