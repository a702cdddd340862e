//! Standard input on its way from orders to the shim: a piece at a time, by offset. Pure: what is to be
//! sent comes out, what the shim answers goes in.
//!
//! One order is under way at a time, cut into pieces that are sent together. The shim answers each;
//! one that it had no room for it answers once more when there is some. Only when all answers are
//! here it is clear how far input was taken, and the next order, or the rest of this one, is sent.

use std::collections::VecDeque;

use bytes::Bytes;
use rdev_contract::position::StreamSeq;
use rdev_frames::MAX_STDIN_BYTES;

/// The input in one order.
#[derive(Debug)]
struct Input {
    sequence: StreamSeq,
    offset: u64,
    bytes: Bytes,
    end: bool,
}

/// What the shim takes at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
    pub(crate) end: bool,
}

impl Input {
    fn end_offset(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// Input that the shim has not taken.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    waiting: VecDeque<Input>,
    /// How far the shim has taken input, once it has said so.
    taken: Option<u64>,
    /// Answers that are still to come.
    answers_due: usize,
    /// The shim takes nothing more.
    is_closed: bool,
}

impl Feed {
    /// Takes the input of one more order. Where it is, its offset says: what is to be given again after
    /// a take-over may come behind what follows it.
    pub(crate) fn add(&mut self, sequence: StreamSeq, offset: u64, bytes: Bytes, end: bool) {
        if !self.is_closed {
            let behind = |input: &Input| input.offset <= offset;
            let at = self.waiting.partition_point(behind);
            let input = Input {
                sequence,
                offset,
                bytes,
                end,
            };
            self.waiting.insert(at, input);
        }
    }

    /// The oldest order whose input is not taken yet.
    pub(crate) fn oldest(&self) -> Option<StreamSeq> {
        self.waiting.front().map(|input| input.sequence)
    }

    /// Something was sent that is not answered.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.answers_due > 0
    }

    /// What was sent will not be answered.
    pub(crate) const fn begin_anew(&mut self) {
        self.answers_due = 0;
    }

    /// The shim has taken input up to `offset`. `full` announces one more answer, when there is room.
    pub(crate) fn answered(&mut self, offset: u64, full: bool, closed: bool) {
        self.answers_due = self.answers_due.saturating_sub(1) + usize::from(full);
        self.taken = self.taken.max(Some(offset));
        self.is_closed |= closed;
        if self.is_closed {
            // As with any pipe: what its reader does not want is gone.
            self.waiting.clear();
        }
        // An end is taken when the shim says that it is closed.
        while let Some(input) = self.waiting.front()
            && Some(input.end_offset()) <= self.taken
            && !input.end
        {
            self.waiting.pop_front();
        }
    }

    /// The shim lacks what comes before the oldest input there is: it will not take that.
    pub(crate) fn has_gap(&self) -> bool {
        let next = self.waiting.front().map(|input| input.offset);
        !self.is_waiting() && self.taken.is_some_and(|taken| next > Some(taken))
    }

    /// What is to be sent next, together; nothing while something is not answered.
    pub(crate) fn next(&mut self) -> Vec<Piece> {
        let Some(input) = self.waiting.front().filter(|_| !self.is_waiting()) else {
            return Vec::new();
        };
        let known = self.taken.unwrap_or(0).saturating_sub(input.offset);
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let mut rest = input.bytes.slice(known.min(input.bytes.len())..);
        let mut pieces = Vec::new();
        loop {
            let offset = input.end_offset() - rest.len() as u64;
            let bytes = rest.split_to(rest.len().min(MAX_STDIN_BYTES));
            let end = rest.is_empty() && input.end;
            pieces.push(Piece { offset, bytes, end });
            if rest.is_empty() {
                break;
            }
        }
        self.answers_due = pieces.len();
        pieces
    }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
