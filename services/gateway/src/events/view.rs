//! What one reader sees: pages of the log and pieces of the shared tail, made into one stream of
//! frames.
//!
//! Invariant: pieces of a ring are only taken by a reader that has everything before them, and both
//! have the beginning of every line ([`super::line`]); so it does not matter where each event came
//! from.

use std::sync::Arc;

use rdev_contract::position::StreamSeq;

use super::encode::{Encoder, Piece, Style};
use super::outbox::Outbox;
use super::progress::Progress;
use super::replay::Page;
use super::ring::{Ring, Turn};

/// A reader's place and its frames.
#[derive(Debug)]
pub(super) struct View {
    pub(super) progress: Progress,
    pub(super) out: Outbox,
    style: Style,
    /// What encoded the page before, if the next one may go on with a line of it.
    encoder: Option<Encoder>,
    /// One exec's end is the end; a session goes on.
    ends_with_exec: bool,
    is_over: bool,
    has_messages: bool,
}

impl View {
    pub(super) fn new(style: Style, progress: Progress, ends_with_exec: bool) -> Self {
        Self {
            progress,
            out: Outbox::default(),
            style,
            encoder: None,
            ends_with_exec,
            is_over: false,
            has_messages: false,
        }
    }

    /// What encodes the next page.
    pub(super) fn encoder(&mut self) -> Encoder {
        let encoder = self.encoder.take();
        encoder.unwrap_or_else(|| Encoder::new(self.style))
    }

    /// What follows in the log behind what was taken so far.
    pub(super) fn take_page(&mut self, page: Arc<Page>) {
        for piece in &page.pieces {
            self.take(piece);
        }
        if let Some(position) = page.nothing_until {
            self.progress.pass(position);
        }
        if page.encoder.is_within_line() {
            let encoder = Arc::try_unwrap(page).map(|page| page.encoder);
            self.encoder = Some(encoder.unwrap_or_else(|page| page.encoder.clone()));
        }
    }

    fn take(&mut self, piece: &Piece) {
        self.has_messages = true;
        self.progress.take(piece, &mut self.out);
        let is_end = piece.content.as_ref().is_some_and(|one| one.is_complete);
        self.is_over |= is_end && self.ends_with_exec;
    }

    /// Takes what a ring has for this reader. What it cannot take is said: where to read the log
    /// up to, or that there is nothing more.
    pub(super) fn take_turn(&mut self, ring: &Ring) -> Turn {
        let turn = ring.turn(self.progress.position());
        if let Turn::Pieces(pieces) = &turn {
            self.encoder = None;
            for piece in pieces {
                self.take(piece);
            }
        }
        turn
    }

    /// Every message up to here was looked at.
    pub(super) const fn position(&self) -> StreamSeq {
        self.progress.position()
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
