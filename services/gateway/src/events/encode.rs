//! Messages of the log become frames: numbered events in order, each once, from a place on.
//!
//! Invariant: numbers shown go up by one, or a `gap` says what is missing in between. A message
//! is encoded into one piece of memory, without allocating for each event.

use rdev_contract::cursor::Cursor;
use rdev_contract::envelope::Message;
use rdev_contract::event::{RawEvent, event_name};
use rdev_contract::position::{EventNo, StreamSeq};
use rdev_contract::sse::{Gap, frame_name};
use rdev_domain::fragment::FragmentJoiner;

use super::frame::{FRAME_OVERHEAD_BYTES, FrameWriter};

/// Why events are missing: retention removed them.
pub(super) const EXPIRED: &str = "expired";
/// Why events are missing: the message that held them cannot be read.
const UNREADABLE: &str = "unreadable";

/// Where a reader is, and what it wants.
#[derive(Debug)]
pub(super) struct Encoder {
    frames: FrameWriter,
    /// Message of the last event shown.
    sequence: StreamSeq,
    /// Number of the next event to show.
    next: EventNo,
    joiner: FragmentJoiner,
    gap_reason: &'static str,
    stderr_as_output: bool,
    is_complete: bool,
}

impl Encoder {
    /// Shows what comes behind `cursor`.
    pub(super) fn new(cursor: &Cursor, stderr_as_output: bool) -> Self {
        Self {
            frames: FrameWriter::new(cursor.tag.clone()),
            sequence: cursor.sequence,
            next: cursor.number.plus(1),
            joiner: FragmentJoiner::default(),
            gap_reason: EXPIRED,
            stderr_as_output,
            is_complete: false,
        }
    }

    /// Encodes the events of one message that were not shown yet.
    pub(super) fn message(&mut self, sequence: StreamSeq, payload: &[u8]) {
        let message = match Message::decode(payload) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(sequence = sequence.0, %error, "message cannot be read");
                self.gap_reason = UNREADABLE;
                return;
            }
        };
        let numbered = message
            .head
            .known_kind()
            .is_some_and(|kind| kind.is_numbered());
        let Some(first) = message.head.first.filter(|_| numbered) else {
            return;
        };
        self.frames
            .reserve(payload.len() + message.events.len() * FRAME_OVERHEAD_BYTES);
        let mut number = first;
        for event in &message.events {
            if number >= self.next {
                self.event(sequence, number, event);
            }
            number = number.plus(1);
        }
    }

    fn event(&mut self, sequence: StreamSeq, number: EventNo, event: &RawEvent<'_>) {
        let Some(fragment) = &event.fragment else {
            let data = event.data.map_or("null", |data| data.get());
            self.show(sequence, number, &event.name, data);
            return;
        };
        match self.joiner.push(fragment) {
            Ok(Some(data)) => self.show(sequence, number, &event.name, &data),
            Ok(None) => {}
            // Its beginning is gone: the next number tells that this one is missing.
            Err(error) => tracing::debug!(sequence = sequence.0, %error, "part of a line dropped"),
        }
    }

    fn show(&mut self, sequence: StreamSeq, number: EventNo, name: &str, data: &str) {
        if number > self.next {
            self.gap(sequence, Some(number));
        }
        let name = match name {
            event_name::ERROR if self.stderr_as_output => event_name::OUTPUT,
            name => name,
        };
        self.frames.event(sequence, number, name, data);
        self.is_complete |= name == event_name::COMPLETE;
        self.sequence = sequence;
        self.next = number.plus(1);
    }

    /// Tells that everything from the next number on is missing, up to `first_available`.
    pub(super) fn gap(&mut self, sequence: StreamSeq, first_available: Option<EventNo>) {
        let gap = Gap {
            requested: self.next.0,
            first_available: first_available.map(|number| number.0),
            reason: self.gap_reason.to_owned(),
        };
        self.gap_reason = EXPIRED;
        // A reader that is cut right behind the gap goes on with the first event that is left.
        let shown = first_available.map_or(self.next.0, |number| number.0) - 1;
        self.frames
            .own(sequence, EventNo(shown), frame_name::GAP, None, &gap);
        self.next = first_available.unwrap_or(EventNo::FIRST);
    }

    /// A frame of the gateway's own at the current place.
    pub(super) fn own<T: serde::Serialize>(&mut self, name: &str, retry_ms: Option<u64>, data: &T) {
        let number = EventNo(self.next.0 - 1);
        self.frames.own(self.sequence, number, name, retry_ms, data);
    }

    /// Whether the last event was shown.
    pub(super) const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Bytes that wait to be sent.
    pub(super) const fn waiting_bytes(&self) -> usize {
        self.frames.len()
    }

    /// What was encoded since the last time.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.frames.take()
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
