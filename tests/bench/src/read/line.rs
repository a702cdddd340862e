//! The lines that are written and read, as each of those measured takes them.
//!
//! Invariant: the data of an event is the same bytes for all; what is around it is their own.

use std::fmt::Write as _;

use rdev_contract::event::{Event, EventBatch, OutputStream, Text};
use rdev_tests::Outcome;

use super::client::{MARK, STAMP_DIGITS, now_us};

/// With its newline: as long as a line of a build log.
pub(crate) const LINE_BYTES: usize = 100;
/// As an executor gathers them while a publish is under way: 64 KiB of encoded JSON.
pub(crate) const BATCH_LINES: u64 = 380;

/// Lines of one batch, encoded for one of those that are measured.
#[derive(Debug)]
pub(crate) enum Batch {
    /// For the log.
    Events(EventBatch),
    /// For HTTP.
    Bytes(Vec<u8>),
}

/// A line that says when it was made.
fn line() -> String {
    let mut line = String::with_capacity(LINE_BYTES);
    line.push(char::from(MARK));
    // Writing to a String cannot fail.
    let _ = write!(line, "{:0STAMP_DIGITS$}", now_us());
    line.extend(std::iter::repeat_n('x', LINE_BYTES - 1 - line.len()));
    line
}

fn data(out: &mut String) {
    let _ = write!(out, r#"{{"line":"{}","stream":"stdout"}}"#, line());
}

/// As the executor gives them to the log.
pub(crate) fn events(lines: u64) -> Outcome<Batch> {
    let mut batch = EventBatch::default();
    for _ in 0..lines {
        let line = line();
        let text = Text::of(line.as_bytes(), Some(OutputStream::Stdout), false);
        batch.push(&Event::Output(text))?;
    }
    Ok(Batch::Events(batch))
}

/// As the gateway sends them: the floor has nothing to encode.
pub(crate) fn frames(first: u64, lines: u64) -> Batch {
    let mut out = String::new();
    for number in first..first + lines {
        let _ = write!(out, "id: 1000000-{number}-0123abcd\nevent: output\ndata: ");
        data(&mut out);
        out.push_str("\n\n");
    }
    Batch::Bytes(out.into_bytes())
}

/// As an array of JSON: what the peer takes as so many messages.
pub(crate) fn array(lines: u64) -> Batch {
    let mut out = String::from("[");
    for number in 0..lines {
        if number > 0 {
            out.push(',');
        }
        data(&mut out);
    }
    out.push(']');
    Batch::Bytes(out.into_bytes())
}
