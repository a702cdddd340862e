//! The latest pieces of one exec or session, for all of its readers on this gateway.
//!
//! Written by the tail's task, read by every reader. Invariant: the pieces are all there is
//! between `floor` and `head`, in order. A reader that has everything up to the floor goes on
//! here without gap or repeat; one that has less is sent to the log, at its own pace.

use std::collections::VecDeque;
use std::sync::Arc;

use rdev_contract::position::StreamSeq;

use super::encode::Piece;

/// Bytes of pieces that are kept for readers who lag: four full batches. More would only be the
/// log once more, in memory.
const KEPT_MAX_BYTES: usize = 1024 * 1024;
/// The same for small pieces.
const KEPT_MAX_PIECES: usize = 1024;
/// Bytes that a reader takes at once: what a reader that stops reading holds.
const TURN_MAX_BYTES: usize = 256 * 1024;

/// The latest pieces.
#[derive(Debug)]
pub(super) struct Ring {
    floor: StreamSeq,
    pieces: VecDeque<Arc<Piece>>,
    bytes: usize,
}

/// What a reader does next.
#[derive(Debug)]
pub(super) enum Turn {
    /// It reads the log, at least up to there.
    Log(StreamSeq),
    /// It is shown these.
    Pieces(Vec<Arc<Piece>>),
    /// It has everything.
    Wait,
}

impl Ring {
    /// Nothing behind `floor` yet.
    pub(super) const fn new(floor: StreamSeq) -> Self {
        Self {
            floor,
            pieces: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The next piece of the log. One from before, which only began a line, is passed over.
    pub(super) fn push(&mut self, piece: Arc<Piece>) {
        if piece.sequence <= self.head() {
            return;
        }
        self.bytes += piece.bytes();
        self.pieces.push_back(piece);
        // The newest one always stays: nearly all readers wait for just that.
        while self.pieces.len() > 1
            && (self.bytes > KEPT_MAX_BYTES || self.pieces.len() > KEPT_MAX_PIECES)
        {
            self.drop_oldest();
        }
    }

    /// Keeps nothing any more: whoever is behind will find it in the log.
    pub(super) fn clear(&mut self) {
        while !self.pieces.is_empty() {
            self.drop_oldest();
        }
        self.pieces = VecDeque::new();
    }

    fn drop_oldest(&mut self) {
        if let Some(piece) = self.pieces.pop_front() {
            self.bytes -= piece.bytes();
            self.floor = piece.sequence;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The last message that the tail has seen.
    pub(super) fn head(&self) -> StreamSeq {
        self.pieces
            .back()
            .map_or(self.floor, |piece| piece.sequence)
    }

    /// What comes next for a reader that has everything up to `position`.
    pub(super) fn turn(&self, position: StreamSeq) -> Turn {
        if position < self.floor {
            return Turn::Log(self.floor);
        }
        let begin = self
            .pieces
            .partition_point(|piece| piece.sequence <= position);
        let mut taken = Vec::new();
        let mut bytes = 0;
        for piece in self.pieces.range(begin..) {
            bytes += piece.bytes();
            if bytes > TURN_MAX_BYTES && !taken.is_empty() {
                break;
            }
            taken.push(Arc::clone(piece));
        }
        if taken.is_empty() {
            return Turn::Wait;
        }
        Turn::Pieces(taken)
    }
}
