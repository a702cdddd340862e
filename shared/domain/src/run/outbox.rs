//! Gathers events into batches as they will be published.
//!
//! Invariant: a batch's encoded events never exceed [`BATCH_MAX_ENCODED_BYTES`]; `to` of a batch
//! covers exactly what that batch and those before it hold.

use std::collections::VecDeque;

use rdev_contract::agent::Agent;
use rdev_contract::event::{AgentLine, Event, EventBatch, Fragment, Kind};
use rdev_contract::position::{EventNo, Offsets};

use crate::lines::{encoded_bytes, encoded_bytes_bound, fitting_bytes};

/// The encoded events of one message: large enough that the cost of a message does not count,
/// a quarter of the smallest `max_payload` that is accepted at start-up.
pub const BATCH_MAX_ENCODED_BYTES: usize = 256 * 1024;
/// What an event takes beside its text: type, field names, stream, index and the comma.
pub const EVENT_FRAME_MAX_BYTES: usize = 128;

/// Events for one message.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The kind of message.
    pub kind: Kind,
    /// The number of its first event.
    pub first: EventNo,
    /// The events. A part of an agent's long line is alone in its batch.
    pub events: EventBatch,
    /// Up to where the output is in the log with this batch.
    pub to: Offsets,
    /// The number of the next event after it. Still `first` if the batch holds a part of a line
    /// and not the last: all parts of a line have one number.
    pub next: EventNo,
}

/// Batches that are full, and one that is being filled.
#[derive(Debug)]
pub(super) struct Outbox {
    kind: Kind,
    closed: VecDeque<Batch>,
    closed_bytes: usize,
    open: EventBatch,
    open_first: EventNo,
    open_to: Offsets,
    /// With the event that is about to be pushed.
    to: Offsets,
}

impl Outbox {
    pub(super) fn new(kind: Kind, from: Offsets, next: EventNo) -> Self {
        Self {
            kind,
            closed: VecDeque::new(),
            closed_bytes: 0,
            open: EventBatch::default(),
            open_first: next,
            open_to: from,
            to: from,
        }
    }

    pub(super) const fn next(&self) -> EventNo {
        self.open_first.plus(self.open.count())
    }

    pub(super) const fn released_stdout(&mut self, bytes: u64) {
        self.to.stdout += bytes;
    }

    pub(super) const fn released_stderr(&mut self, bytes: u64) {
        self.to.stderr += bytes;
    }

    pub(super) const fn released_size(&mut self) {
        self.to.resizes += 1;
    }

    /// Adds the event that carries `text` and covers everything released so far.
    pub(super) fn push(&mut self, event: &Event<'_>, text: &[u8]) {
        // The bound is enough to know for nearly every line; only the others are counted.
        if !self.fits(encoded_bytes_bound(text)) && !self.fits(encoded_bytes(text)) {
            self.close();
        }
        self.push_open(event);
    }

    /// Adds an event of no output, in a message of its own of this kind.
    pub(super) fn push_alone(&mut self, kind: Kind, event: &Event<'_>) {
        self.close();
        let first = self.open_first;
        let mut events = EventBatch::default();
        write(&mut events, event);
        let next = first.plus(1);
        self.closed_bytes += events.encoded_bytes();
        self.closed.push_back(Batch {
            kind,
            first,
            events,
            to: self.open_to,
            next,
        });
        self.open_first = next;
    }

    /// Adds a line of an agent: as one event, or as parts in batches of their own.
    pub(super) fn push_line(&mut self, agent: Agent, line: &AgentLine<'_>) {
        self.to.stdout += line.source_bytes();
        if !self.fits(line.data_bytes()) {
            self.close();
        }
        if self.fits(line.data_bytes()) {
            self.push_open(&Event::Agent(agent, line.clone()));
        } else {
            self.push_fragments(agent, &line.data());
        }
    }

    fn push_fragments(&mut self, agent: Agent, data: &str) {
        let mut rest = data;
        let mut index = 0;
        let first = self.open_first;
        let before = self.open_to;
        while !rest.is_empty() {
            let (text, after) = rest.split_at(fitting_bytes(rest.as_bytes()));
            let last = after.is_empty();
            let mut events = EventBatch::default();
            write(
                &mut events,
                &Event::AgentFragment(
                    agent,
                    Fragment {
                        index,
                        last,
                        text: text.into(),
                    },
                ),
            );
            let (to, next) = if last {
                (self.to, first.plus(1))
            } else {
                (before, first)
            };
            self.closed_bytes += events.encoded_bytes();
            self.closed.push_back(Batch {
                kind: self.kind,
                first,
                events,
                to,
                next,
            });
            rest = after;
            index += 1;
        }
        self.open_first = first.plus(1);
        self.open_to = self.to;
    }

    fn push_open(&mut self, event: &Event<'_>) {
        write(&mut self.open, event);
        self.open_to = self.to;
    }

    /// Whether one more event with a text of this encoded size fits into the open batch.
    fn fits(&self, text_bytes: usize) -> bool {
        self.open.encoded_bytes() + EVENT_FRAME_MAX_BYTES + text_bytes <= BATCH_MAX_ENCODED_BYTES
    }

    fn close(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let batch = self.take_open();
        self.closed_bytes += batch.events.encoded_bytes();
        self.closed.push_back(batch);
    }

    fn take_open(&mut self) -> Batch {
        let events = std::mem::take(&mut self.open);
        let first = self.open_first;
        let next = first.plus(events.count());
        self.open_first = next;
        Batch {
            kind: self.kind,
            first,
            events,
            to: self.open_to,
            next,
        }
    }

    pub(super) fn take(&mut self) -> Option<Batch> {
        if let Some(batch) = self.closed.pop_front() {
            self.closed_bytes -= batch.events.encoded_bytes();
            return Some(batch);
        }
        (!self.open.is_empty()).then(|| self.take_open())
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.closed_bytes + self.open.encoded_bytes()
    }
}

#[expect(
    clippy::expect_used,
    reason = "writing texts and numbers as JSON into memory cannot fail, and an event left out would be silent loss"
)]
fn write(batch: &mut EventBatch, event: &Event<'_>) {
    batch.push(event).expect("an event is always JSON");
}
