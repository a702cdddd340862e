//! What one reader sees: pages of the log and pieces of the shared tail, made into one stream of
//! frames.
//!
//! Invariant: pieces of a ring are only taken by a reader that has everything before them and is
//! not in the middle of a line; so it does not matter where each event came from.

use rdev_bus::Stored;
use rdev_contract::envelope::Recorded;
use rdev_contract::position::StreamSeq;

use super::encode::{Encoder, Piece, Style};
use super::outbox::Outbox;
use super::progress::Progress;
use super::ring::{Ring, Turn};

/// A reader's place and its frames.
#[derive(Debug)]
pub(super) struct View {
    pub(super) progress: Progress,
    pub(super) out: Outbox,
    encoder: Encoder,
    /// Up to here no line is left open.
    whole: StreamSeq,
    /// One exec's end is the end; a session goes on.
    ends_with_exec: bool,
    is_over: bool,
    has_messages: bool,
}

impl View {
    pub(super) fn new(style: Style, progress: Progress, ends_with_exec: bool) -> Self {
        let position = progress.position();
        Self {
            progress,
            out: Outbox::default(),
            encoder: Encoder::new(style, position),
            whole: position,
            ends_with_exec,
            is_over: false,
            has_messages: false,
        }
    }

    /// Messages of the log that follow what was taken so far.
    pub(super) fn take_page(&mut self, messages: &[Recorded<Stored>]) {
        for message in messages {
            let piece = self.encoder.encode(message);
            self.take(&piece);
        }
    }

    fn take(&mut self, piece: &Piece) {
        self.has_messages = true;
        self.whole = piece.whole;
        self.progress.take(piece, &mut self.out);
        let is_end = piece.content.as_ref().is_some_and(|one| one.is_complete);
        self.is_over |= is_end && self.ends_with_exec;
    }

    /// Takes what a ring has for this reader. What it cannot take is said: where to read the log
    /// up to, or that there is nothing more.
    pub(super) fn take_turn(&mut self, ring: &Ring) -> Turn {
        // The rest of a line that began in the log is joined here, not in the ring.
        if self.encoder.is_joining() && self.progress.position() < ring.head() {
            return Turn::Log(ring.head());
        }
        let turn = ring.turn(self.progress.position());
        if let Turn::Pieces(pieces) = &turn {
            for piece in pieces {
                self.take(piece);
            }
        }
        turn
    }

    /// Behind which message the log is to be read. A line that the pieces have left open is read
    /// once more from its beginning; what was shown before it is not shown again.
    pub(super) fn turn_to_log(&mut self) -> StreamSeq {
        if !self.encoder.is_joining() {
            self.progress.rewind(self.whole);
        }
        self.progress.position()
    }

    /// Nothing is left of what is before `position`.
    pub(super) fn pass(&mut self, position: StreamSeq) {
        self.progress.pass(position);
        self.whole = self.whole.max(position);
    }

    /// The exec's last event was shown.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// The log holds something of what is read.
    pub(super) const fn has_messages(&self) -> bool {
        self.has_messages
    }

    /// A frame of the gateway's own at the current place.
    pub(super) fn own<T: serde::Serialize>(&mut self, name: &str, retry_ms: Option<u64>, data: &T) {
        self.progress.own(name, retry_ms, data, &mut self.out);
    }
}
