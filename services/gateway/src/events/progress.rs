//! What one reader has been shown: which events of a piece are new to it, and which are missing.
//!
//! Invariant: of each exec, numbers shown go up by one, or a `gap` says what is missing in
//! between; nothing is shown twice.

use std::collections::HashMap;

use rdev_contract::cursor::Cursor;
use rdev_contract::id::StreamId;
use rdev_contract::position::{EventNo, StreamSeq};
use rdev_contract::sse::{Gap, frame_name};

use super::encode::{Content, Piece, Run};
use super::frame::{Format, FrameWriter, Id};
use super::outbox::Outbox;

/// Why events are missing: retention removed them.
const EXPIRED: &str = "expired";
/// Why events are missing: the message that held them cannot be read.
const UNREADABLE: &str = "unreadable";

/// Where a reader is.
#[derive(Debug)]
pub(super) struct Progress {
    format: Format,
    /// The id of what was shown last.
    shown: Cursor,
    /// Every message up to here was looked at.
    position: StreamSeq,
    known: Known,
    gap_reason: &'static str,
    has_shown: bool,
    /// Events that were shown and not counted yet.
    count: u64,
}

/// Which numbers are expected.
#[derive(Debug)]
enum Known {
    /// Of one exec: the next one.
    Exec(EventNo),
    /// Of a session's execs: what is known of those that are under way.
    Session {
        /// What is before this was not asked for.
        start: StreamSeq,
        execs: HashMap<StreamId, Seen>,
    },
}

/// What a reader of a session knows of an exec.
#[derive(Debug, Clone, Copy)]
struct Seen {
    sequence: StreamSeq,
    expected: Expected,
}

/// What an exec's next event must be.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// The one with this number.
    Number(EventNo),
    /// Whichever it is: those before were not asked for.
    Any,
    /// Whichever is left: some before it are missing.
    Later,
}

impl Progress {
    /// A reader of one exec that has seen everything up to `cursor`, and is to look at the
    /// messages behind `position`.
    pub(super) fn of_exec(format: Format, cursor: Cursor, position: StreamSeq) -> Self {
        let known = Known::Exec(cursor.number.plus(1));
        Self::new(format, cursor, position, known)
    }

    /// The same of a session; the cursor is one of the exec `stream`, if it has begun to read.
    pub(super) fn of_session(
        format: Format,
        cursor: Cursor,
        position: StreamSeq,
        stream: Option<StreamId>,
    ) -> Self {
        let seen = Seen {
            sequence: position,
            expected: Expected::Number(cursor.number.plus(1)),
        };
        let known = Known::Session {
            start: position,
            execs: stream.map(|stream| (stream, seen)).into_iter().collect(),
        };
        Self::new(format, cursor, position, known)
    }

    fn new(format: Format, shown: Cursor, position: StreamSeq, known: Known) -> Self {
        Self {
            format,
            shown,
            position,
            known,
            gap_reason: EXPIRED,
            has_shown: false,
            count: 0,
        }
    }

    /// How many events were shown since this was last asked.
    pub(super) const fn take_count(&mut self) -> u64 {
        std::mem::replace(&mut self.count, 0)
    }

    /// Whether anything of the log was shown, or missed.
    pub(super) const fn has_shown(&self) -> bool {
        self.has_shown
    }

    /// Every message up to here was looked at.
    pub(super) const fn position(&self) -> StreamSeq {
        self.position
    }

    /// Nothing is left of what is before `position`.
    pub(super) fn pass(&mut self, position: StreamSeq) {
        self.position = self.position.max(position);
    }

    /// The id of what was shown last.
    pub(super) const fn shown(&self) -> &Cursor {
        &self.shown
    }

    /// Shows what is new of the next piece.
    pub(super) fn take(&mut self, piece: &Piece, out: &mut Outbox) {
        if piece.sequence <= self.position {
            return;
        }
        self.position = piece.sequence;
        let Some(content) = &piece.content else {
            self.gap_reason = UNREADABLE;
            return;
        };
        let mut expected = self.expected(content);
        if content.lacks_line && matches!(expected, Expected::Any) {
            expected = Expected::Later;
        }
        for run in &content.runs {
            expected = self.show(piece.sequence, content, run, expected, out);
        }
        self.remember(piece.sequence, content, expected);
    }

    fn expected(&self, content: &Content) -> Expected {
        let (start, execs) = match &self.known {
            Known::Exec(next) => return Expected::Number(*next),
            Known::Session { start, execs } => (*start, execs),
        };
        match execs.get(&content.stream) {
            Some(seen) => match seen.expected {
                Expected::Any if content.prev > seen.sequence => Expected::Later,
                expected @ (Expected::Any | Expected::Later | Expected::Number(_)) => expected,
            },
            None if content.prev == StreamSeq(0) => Expected::Number(EventNo::FIRST),
            None if content.prev > start => Expected::Later,
            None => Expected::Any,
        }
    }

    fn remember(&mut self, sequence: StreamSeq, content: &Content, expected: Expected) {
        match (&mut self.known, expected) {
            (Known::Exec(next), Expected::Number(number)) => *next = number,
            (Known::Exec(_), Expected::Any | Expected::Later) => {}
            (Known::Session { execs, .. }, _) if content.is_complete => {
                execs.remove(&content.stream);
            }
            (Known::Session { execs, .. }, _) => {
                let seen = Seen { sequence, expected };
                match execs.get_mut(&content.stream) {
                    Some(known) => *known = seen,
                    None => {
                        execs.insert(content.stream.clone(), seen);
                    }
                }
            }
        }
    }

    /// Shows what is new of a run; gives back what is expected behind it.
    fn show(
        &mut self,
        sequence: StreamSeq,
        content: &Content,
        run: &Run,
        expected: Expected,
        out: &mut Outbox,
    ) -> Expected {
        let end = run.first.plus(run.count);
        let next = match expected {
            Expected::Number(next) if next >= end => return expected,
            Expected::Number(next) if next < run.first => {
                self.gap(sequence, content, Some(next), run.first, out);
                run.first
            }
            Expected::Number(next) => next,
            Expected::Any => run.first,
            Expected::Later => {
                self.gap(sequence, content, None, run.first, out);
                run.first
            }
        };
        let count = usize::try_from(next.0 - run.first.0).unwrap_or(usize::MAX);
        out.push(self.format.skip(&run.frames, count));
        self.count += end.0 - next.0;
        self.shown_is(sequence, EventNo(end.0 - 1), &content.tag);
        Expected::Number(end)
    }

    /// Tells that everything from `requested` on is missing, up to `first`.
    fn gap(
        &mut self,
        sequence: StreamSeq,
        content: &Content,
        requested: Option<EventNo>,
        first: EventNo,
        out: &mut Outbox,
    ) {
        let in_session = matches!(self.known, Known::Session { .. });
        let gap = Gap {
            stream_id: in_session.then(|| content.stream.to_string()),
            requested: requested.map(|number| number.0),
            first_available: Some(first.0),
            reason: self.gap_reason.to_owned(),
        };
        self.gap_reason = EXPIRED;
        // A reader that is cut right behind the gap goes on with the first event that is left.
        self.shown_is(sequence, EventNo(first.0 - 1), &content.tag);
        self.own(frame_name::GAP, None, &gap, out);
    }

    /// Tells a reader of an exec that nothing is left of what it had begun to read.
    pub(super) fn gone(&mut self, out: &mut Outbox) {
        let Known::Exec(next) = &mut self.known else {
            return;
        };
        let gap = Gap {
            stream_id: None,
            requested: Some(next.0),
            first_available: None,
            reason: EXPIRED.to_owned(),
        };
        *next = EventNo::FIRST;
        self.has_shown = true;
        self.own(frame_name::GAP, None, &gap, out);
    }

    fn shown_is(&mut self, sequence: StreamSeq, number: EventNo, tag: &str) {
        self.shown.sequence = sequence;
        self.shown.number = number;
        self.has_shown = true;
        if self.shown.tag != tag {
            tag.clone_into(&mut self.shown.tag);
        }
    }

    /// A frame of the gateway's own at the current place.
    pub(super) fn own<T: serde::Serialize>(
        &self,
        name: &str,
        retry_ms: Option<u64>,
        data: &T,
        out: &mut Outbox,
    ) {
        let mut frames = FrameWriter::new(self.format);
        frames.own(Id::from(&self.shown), name, retry_ms, data);
        out.push(frames.take());
    }
}
