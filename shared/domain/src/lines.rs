//! Cuts one output stream into lines and pieces of lines. Used by [`crate::run`].
//!
//! Only `\n` ends a line; `\r` is a byte like any other. A piece that is not the end of a line is
//! partial: a line too long for one event, text that waited [`PARTIAL_WAIT`] for its newline (a
//! prompt, a progress bar; in a terminal [`TERMINAL_WAIT`]), or the end of the stream.
//!
//! Invariant: joined, the pieces (with `\n` behind each that is not partial) are the bytes that
//! were fed, however they were chunked; the encoded event of a piece is never longer than
//! [`PIECE_MAX_ENCODED_BYTES`] and its frame.

use std::time::Duration;

use crate::run::{BATCH_MAX_ENCODED_BYTES, EVENT_FRAME_MAX_BYTES};

/// How long text may wait for its newline: short enough for a person who looks at a prompt, long
/// enough that a line written in two calls stays one event.
pub const PARTIAL_WAIT: Duration = Duration::from_millis(100);
/// The same for what comes out of a terminal, where each key that is typed waits for its echo: not
/// felt, and long enough that a screen is not drawn in a hundred events.
pub const TERMINAL_WAIT: Duration = Duration::from_millis(10);
/// What the text of a piece may take as JSON (a NUL takes six bytes), so that any event fits into
/// a batch of its own.
pub const PIECE_MAX_ENCODED_BYTES: usize = BATCH_MAX_ENCODED_BYTES - EVENT_FRAME_MAX_BYTES;

/// JSON writes a control character as `\u0000`.
const ESCAPE_MAX_BYTES: usize = 6;

/// A line, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its bytes, without the `\n`.
    pub bytes: &'a [u8],
    /// No `\n` follows.
    pub partial: bool,
}

impl Piece<'_> {
    /// How many bytes of the stream it stands for, `\n` included.
    #[must_use]
    pub const fn source_bytes(&self) -> u64 {
        self.bytes.len() as u64 + if self.partial { 0 } else { 1 }
    }
}

/// The cutter of one stream.
#[derive(Debug)]
pub struct Cutter {
    /// The beginning of a line whose end has not come.
    held: Vec<u8>,
    /// What `held` takes as JSON text.
    held_encoded_bytes: usize,
    /// Since when `held` waits.
    waiting_since: Option<Duration>,
    /// `held` is an incomplete UTF-8 character that was already held back once.
    was_held_back: bool,
    released: u64,
    /// How long `held` may wait.
    wait: Duration,
}

impl Cutter {
    /// A cutter for a stream that is read from `offset` on.
    #[must_use]
    pub const fn new(offset: u64) -> Self {
        Self {
            held: Vec::new(),
            held_encoded_bytes: 0,
            waiting_since: None,
            was_held_back: false,
            released: offset,
            wait: PARTIAL_WAIT,
        }
    }

    /// A cutter of what comes out of a terminal, from `offset` on.
    #[must_use]
    pub fn of_terminal(offset: u64) -> Self {
        Self {
            wait: TERMINAL_WAIT,
            ..Self::new(offset)
        }
    }

    /// The offset up to which everything was given out.
    #[must_use]
    pub const fn released(&self) -> u64 {
        self.released
    }

    /// Bytes that wait for the end of their line.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// Takes the next bytes and gives out what they complete.
    pub fn feed(&mut self, bytes: &[u8], now: Duration, emit: &mut impl FnMut(Piece<'_>)) {
        let mut begin = 0;
        for newline in memchr::memchr_iter(b'\n', bytes) {
            let line = &bytes[begin..newline];
            if self.held.is_empty() {
                self.release_line(line, emit);
            } else {
                self.hold(line, now, emit);
                let held = std::mem::take(&mut self.held);
                self.clear_wait();
                self.release_line(&held, emit);
            }
            begin = newline + 1;
        }
        if begin < bytes.len() {
            self.hold(&bytes[begin..], now, emit);
        }
    }

    /// When [`Cutter::flush_due`] has something to give out.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.waiting_since.map(|since| since + self.wait)
    }

    /// Gives out what has waited long enough. An incomplete UTF-8 character at its end
    /// stays behind, but only once: its other half may be on its way, or it may be no text at all.
    pub fn flush_due(&mut self, now: Duration, emit: &mut impl FnMut(Piece<'_>)) {
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        let incomplete_bytes = incomplete_character_bytes(&self.held);
        let is_old = self.was_held_back && incomplete_bytes == self.held.len();
        if incomplete_bytes == 0 || is_old {
            self.release_held(emit);
            return;
        }
        let shown_bytes = self.held.len() - incomplete_bytes;
        if shown_bytes > 0 {
            self.release_front(shown_bytes, emit);
        }
        self.was_held_back = true;
        self.waiting_since = Some(now);
    }

    /// The stream has ended: gives out what is left.
    pub fn finish(&mut self, emit: &mut impl FnMut(Piece<'_>)) {
        self.release_held(emit);
    }

    fn hold(&mut self, bytes: &[u8], now: Duration, emit: &mut impl FnMut(Piece<'_>)) {
        if self.held.is_empty() && !bytes.is_empty() {
            self.waiting_since = Some(now);
        }
        self.held.extend_from_slice(bytes);
        self.held_encoded_bytes += text_encoded_bytes(bytes);
        if self.held_encoded_bytes > PIECE_MAX_ENCODED_BYTES {
            self.release_front(self.overflowing_bytes(), emit);
            self.waiting_since = Some(now);
        }
    }

    /// How much of `held` must go so that the rest fits into one event.
    fn overflowing_bytes(&self) -> usize {
        let mut count = 0;
        let mut left = self.held_encoded_bytes;
        while left > PIECE_MAX_ENCODED_BYTES {
            let fitting = fitting_bytes(&self.held[count..]);
            left -= text_encoded_bytes(&self.held[count..count + fitting]);
            count += fitting;
        }
        count
    }

    /// Gives out a whole line, in parts if it is too long for one event.
    fn release_line(&mut self, line: &[u8], emit: &mut impl FnMut(Piece<'_>)) {
        let mut rest = line;
        loop {
            let (piece, after) = rest.split_at(fitting_bytes(rest));
            let partial = !after.is_empty();
            let piece = Piece {
                bytes: piece,
                partial,
            };
            self.released += piece.source_bytes();
            emit(piece);
            if !partial {
                return;
            }
            rest = after;
        }
    }

    fn release_held(&mut self, emit: &mut impl FnMut(Piece<'_>)) {
        while !self.held.is_empty() {
            self.release_front(fitting_bytes(&self.held), emit);
        }
        self.clear_wait();
    }

    fn release_front(&mut self, count: usize, emit: &mut impl FnMut(Piece<'_>)) {
        let mut begin = 0;
        while begin < count {
            let end = begin + fitting_bytes(&self.held[begin..count]);
            let piece = Piece {
                bytes: &self.held[begin..end],
                partial: true,
            };
            self.released += piece.source_bytes();
            emit(piece);
            begin = end;
        }
        self.held.drain(..count);
        self.held_encoded_bytes = text_encoded_bytes(&self.held);
        self.was_held_back = false;
        if self.held.is_empty() {
            self.clear_wait();
        }
    }

    fn clear_wait(&mut self) {
        self.held_encoded_bytes = 0;
        self.waiting_since = None;
        self.was_held_back = false;
    }
}

/// What the bytes take in an event: as JSON text if they are UTF-8, else as base64.
pub(crate) fn encoded_bytes(bytes: &[u8]) -> usize {
    if std::str::from_utf8(bytes).is_ok() {
        text_encoded_bytes(bytes)
    } else {
        bytes.len().div_ceil(3) * 4
    }
}

/// More than [`encoded_bytes`] can be, without looking at the bytes.
pub(crate) const fn encoded_bytes_bound(bytes: &[u8]) -> usize {
    bytes.len() * ESCAPE_MAX_BYTES
}

fn text_encoded_bytes(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .map(|byte| usize::from(JSON_BYTES[*byte as usize]))
        .sum()
}

/// How many of the bytes fit into one event; at least one if there is one. Cuts between UTF-8
/// characters where there are any.
pub(crate) fn fitting_bytes(bytes: &[u8]) -> usize {
    if encoded_bytes_bound(bytes) <= PIECE_MAX_ENCODED_BYTES {
        return bytes.len();
    }
    let mut encoded = 0;
    let mut count = bytes
        .iter()
        .position(|byte| {
            encoded += usize::from(JSON_BYTES[*byte as usize]);
            encoded > PIECE_MAX_ENCODED_BYTES
        })
        .unwrap_or(bytes.len());
    if count < bytes.len() {
        count -= incomplete_character_bytes(&bytes[..count]);
    }
    if std::str::from_utf8(&bytes[..count]).is_ok() {
        return count;
    }
    /// Base64 makes four bytes of three.
    const BINARY_MAX_BYTES: usize = PIECE_MAX_ENCODED_BYTES / 4 * 3;
    count.min(BINARY_MAX_BYTES)
}

/// The length of the UTF-8 character that has begun at the end of the bytes and is not complete;
/// 0 if there is none.
fn incomplete_character_bytes(bytes: &[u8]) -> usize {
    /// A character has at most four bytes, so at most three of an incomplete one.
    const INCOMPLETE_MAX_BYTES: usize = 3;
    let from = bytes.len().saturating_sub(INCOMPLETE_MAX_BYTES);
    let Some(begin) = (from..bytes.len())
        .rev()
        .find(|index| bytes[*index] & 0b1100_0000 != 0b1000_0000)
    else {
        return 0;
    };
    match std::str::from_utf8(&bytes[begin..]) {
        Err(error) if error.error_len().is_none() => bytes.len() - begin,
        Ok(_) | Err(_) => 0,
    }
}

/// What each byte takes within a JSON string.
const JSON_BYTES: [u8; 256] = json_bytes();

const fn json_bytes() -> [u8; 256] {
    let mut table = [1; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = ESCAPE_MAX_BYTES as u8;
        byte += 1;
    }
    // \b \t \n \f \r \" \\ have a short form.
    table[0x08] = 2;
    table[b'\t' as usize] = 2;
    table[b'\n' as usize] = 2;
    table[0x0c] = 2;
    table[b'\r' as usize] = 2;
    table[b'"' as usize] = 2;
    table[b'\\' as usize] = 2;
    table
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
