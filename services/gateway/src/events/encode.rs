//! Messages of the log become pieces: frames that every reader of the same style can be sent.
//!
//! Written once for each message, by the tail that readers share ([`super::tail`]) or by one
//! reader's replay. Invariant: the frames of a run are those of consecutive numbers, and nothing
//! in them depends on who reads.

use std::collections::HashMap;

use bytes::Bytes;
use rdev_bus::Stored;
use rdev_contract::envelope::{Message, Recorded};
use rdev_contract::event::{RawEvent, event_name};
use rdev_contract::id::StreamId;
use rdev_contract::position::{EventNo, StreamSeq};
use rdev_domain::fragment::FragmentJoiner;

use super::frame::{Added, FRAME_OVERHEAD_BYTES, Format, FrameWriter, Id};

/// What a reader asked of the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Style {
    pub(super) format: Format,
    /// An agent's standard error is `output`: in a browser `error` is also a network error.
    pub(super) stderr_as_output: bool,
    /// Each event says which exec it is of.
    pub(super) with_stream: bool,
    /// Each event says when it was written.
    pub(super) with_times: bool,
}

/// One message of the log, as readers are shown it.
#[derive(Debug)]
pub(super) struct Piece {
    /// Its sequence.
    pub(super) sequence: StreamSeq,
    /// Absent if the message cannot be read.
    pub(super) content: Option<Content>,
}

/// What a message holds.
#[derive(Debug)]
pub(super) struct Content {
    /// Of which exec.
    pub(super) stream: StreamId,
    /// The exec's tag.
    pub(super) tag: String,
    /// Sequence of the exec's message before.
    pub(super) prev: StreamSeq,
    /// Its events; none in a message without, one run in nearly all others.
    pub(super) runs: Vec<Run>,
    /// It has the end of a line whose beginning is gone.
    pub(super) lacks_line: bool,
    /// The exec's last event is in it.
    pub(super) is_complete: bool,
}

/// Frames of events with consecutive numbers.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) first: EventNo,
    pub(super) count: u64,
    pub(super) frames: Bytes,
}

impl Piece {
    /// What it takes of memory, nearly.
    pub(super) fn bytes(&self) -> usize {
        let runs = self.content.iter().flat_map(|content| &content.runs);
        size_of::<Self>() + runs.map(|run| run.frames.len()).sum::<usize>()
    }
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Whole,
    /// It is one part of a line; others follow.
    Part,
    /// It is a part of a line whose beginning is gone.
    Lost,
}

/// Encodes messages in their order.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    style: Style,
    /// Lines of agents of which only the first parts have come, by exec.
    joiners: HashMap<StreamId, FragmentJoiner>,
}

impl Encoder {
    pub(super) fn new(style: Style) -> Self {
        Self {
            style,
            joiners: HashMap::new(),
        }
    }

    /// The execs in the middle of whose lines this is.
    pub(super) fn open_lines(&self) -> Vec<StreamId> {
        self.joiners.keys().cloned().collect()
    }

    /// Whether the message before ended in the middle of a line.
    pub(super) fn is_within_line(&self) -> bool {
        !self.joiners.is_empty()
    }

    /// The next message.
    pub(super) fn encode(&mut self, message: &Recorded<Stored>) -> Piece {
        let Recorded { sequence, value } = message;
        let content = match Message::decode(&value.payload) {
            Ok(message) => Some(self.content(*sequence, &message, value.payload.len())),
            Err(error) => {
                tracing::error!(sequence = sequence.0, %error, "message cannot be read");
                None
            }
        };
        Piece {
            sequence: *sequence,
            content,
        }
    }

    fn content(&mut self, sequence: StreamSeq, message: &Message<'_>, bytes: usize) -> Content {
        let head = &message.head;
        let mut content = Content {
            stream: head.stream.clone(),
            tag: head.exec().tag(),
            prev: head.prev,
            runs: Vec::new(),
            lacks_line: false,
            is_complete: false,
        };
        // Of a kind that only later builds know, too: what has numbers is shown.
        let Some(first) = head.first else {
            return content;
        };
        let mut frames = FrameWriter::new(self.style.format);
        frames.reserve(bytes + message.events.len() * FRAME_OVERHEAD_BYTES);
        let at = self.style.with_times.then(|| head.at.to_string());
        let added = Added {
            stream: self.style.with_stream.then_some(&head.stream),
            at: at.as_deref(),
        };
        let (mut run, mut number) = (first, first);
        for event in &message.events {
            let id = Id {
                sequence,
                number,
                tag: &content.tag,
            };
            let written = self.event(&mut frames, id, added, &content.stream, event);
            content.is_complete |= event.name == event_name::COMPLETE;
            content.lacks_line |= written == Written::Lost;
            if written != Written::Whole {
                push_run(&mut content.runs, run, number, &mut frames);
                run = number.plus(1);
            }
            number = number.plus(1);
        }
        push_run(&mut content.runs, run, number, &mut frames);
        content
    }

    /// Writes an event, if it is whole.
    fn event(
        &mut self,
        frames: &mut FrameWriter,
        id: Id<'_>,
        added: Added<'_>,
        stream: &StreamId,
        event: &RawEvent<'_>,
    ) -> Written {
        let Some(fragment) = &event.fragment else {
            // Whatever part of a line came before, its end never will. Nearly always there is none.
            if self.is_within_line() {
                self.joiners.remove(stream);
            }
            let data = event.data.map_or("null", |data| data.get());
            self.write(frames, id, added, &event.name, data);
            return Written::Whole;
        };
        let mut joiner = self.joiners.remove(stream).unwrap_or_default();
        match joiner.push(fragment) {
            Ok(Some(data)) => {
                self.write(frames, id, added, &event.name, &data);
                Written::Whole
            }
            Ok(None) => {
                self.joiners.insert(stream.clone(), joiner);
                Written::Part
            }
            Err(error) => {
                tracing::debug!(sequence = id.sequence.0, %error, "part of a line dropped");
                Written::Lost
            }
        }
    }

    fn write(
        &self,
        frames: &mut FrameWriter,
        id: Id<'_>,
        added: Added<'_>,
        name: &str,
        data: &str,
    ) {
        let name = match name {
            event_name::ERROR if self.style.stderr_as_output => event_name::OUTPUT,
            name => name,
        };
        frames.event(id, name, added, data);
    }
}

fn push_run(runs: &mut Vec<Run>, first: EventNo, end: EventNo, frames: &mut FrameWriter) {
    if first < end {
        runs.push(Run {
            first,
            count: end.0 - first.0,
            frames: frames.take(),
        });
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
