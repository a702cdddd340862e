//! Cuts an agent's standard output into JSON lines. What is no JSON object, or longer than
//! `line_max_bytes`, becomes pieces of text.
//!
//! Invariant: a JSON line is given out whole or not at all; joined, everything given out is the
//! bytes that were fed (with the one exception of [`AgentLine`]: a raw CR is a space).

use std::time::Duration;

use rdev_contract::event::AgentLine;

use crate::lines::{Cutter, Piece};

/// A buffer that had to grow beyond this for one long line is given back after it.
const KEPT_BUFFER_MAX_BYTES: usize = 1024 * 1024;

/// What a piece of the output turned out to be.
#[derive(Debug)]
pub(super) enum Said<'a> {
    /// A JSON object.
    Line(AgentLine<'a>),
    /// Anything else.
    Piece(Piece<'a>),
}

#[derive(Debug)]
pub(super) struct AgentLines {
    /// The beginning of a line whose end has not come.
    held: Vec<u8>,
    /// Takes what is not JSON.
    text: Cutter,
    /// The line that has begun is too long: all of it goes to `text`.
    is_overlong: bool,
    line_max_bytes: usize,
}

impl AgentLines {
    pub(super) const fn new(offset: u64, line_max_bytes: usize) -> Self {
        Self {
            line_max_bytes,
            held: Vec::new(),
            text: Cutter::new(offset),
            is_overlong: false,
        }
    }

    pub(super) const fn held_bytes(&self) -> usize {
        self.held.len() + self.text.held_bytes()
    }

    pub(super) fn feed(&mut self, bytes: &[u8], now: Duration, emit: &mut impl FnMut(Said<'_>)) {
        let mut begin = 0;
        for newline in memchr::memchr_iter(b'\n', bytes) {
            self.end_line(&bytes[begin..=newline], now, emit);
            begin = newline + 1;
        }
        let rest = &bytes[begin..];
        if self.is_overlong {
            self.feed_text(rest, now, emit);
        } else {
            self.hold(rest, now, emit);
        }
    }

    pub(super) fn finish(&mut self, emit: &mut impl FnMut(Said<'_>)) {
        let held = std::mem::take(&mut self.held);
        // Its newline is missing, but it is whole: a reader wants the event, and `partial` in it
        // keeps the account of bytes exact.
        match AgentLine::parse(&held, true) {
            Some(line) => emit(Said::Line(line)),
            None => self.feed_text(&held, Duration::ZERO, emit),
        }
        self.text.finish(&mut |piece| emit(Said::Piece(piece)));
    }

    /// `rest` is the rest of the line that has begun, with its newline.
    fn end_line(&mut self, rest: &[u8], now: Duration, emit: &mut impl FnMut(Said<'_>)) {
        if self.is_overlong {
            self.feed_text(rest, now, emit);
            self.is_overlong = false;
        } else if self.held.is_empty() {
            self.say(rest, now, emit);
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(rest);
            self.say(&held, now, emit);
            if held.capacity() <= KEPT_BUFFER_MAX_BYTES {
                held.clear();
                self.held = held;
            }
        }
    }

    fn say(&mut self, line: &[u8], now: Duration, emit: &mut impl FnMut(Said<'_>)) {
        let without_newline = &line[..line.len() - 1];
        if without_newline.len() <= self.line_max_bytes
            && let Some(line) = AgentLine::parse(without_newline, false)
        {
            emit(Said::Line(line));
        } else {
            self.feed_text(line, now, emit);
        }
    }

    fn hold(&mut self, bytes: &[u8], now: Duration, emit: &mut impl FnMut(Said<'_>)) {
        self.held.extend_from_slice(bytes);
        if self.held.len() > self.line_max_bytes {
            self.is_overlong = true;
            let held = std::mem::take(&mut self.held);
            self.feed_text(&held, now, emit);
        }
    }

    fn feed_text(&mut self, bytes: &[u8], now: Duration, emit: &mut impl FnMut(Said<'_>)) {
        self.text
            .feed(bytes, now, &mut |piece| emit(Said::Piece(piece)));
    }
}
