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

use super::frame::{FRAME_OVERHEAD_BYTES, Format, FrameWriter, Id};

/// What a reader asked of the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Style {
    pub(super) format: Format,
    /// claude's standard error is `output`: in a browser `error` is also a network error.
    pub(super) stderr_as_output: bool,
    /// Each event says which exec it is of.
    pub(super) with_stream: bool,
}

/// One message of the log, as readers are shown it.
#[derive(Debug)]
pub(super) struct Piece {
    /// Its sequence.
    pub(super) sequence: StreamSeq,
    /// The last message up to which no line is left open: where whoever leaves the pieces for the
    /// log has to begin.
    pub(super) whole: StreamSeq,
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

/// Encodes messages in their order.
#[derive(Debug)]
pub(super) struct Encoder {
    style: Style,
    /// Lines of claude's of which only the first parts have come, by exec.
    joiners: HashMap<StreamId, FragmentJoiner>,
    whole: StreamSeq,
}

impl Encoder {
    /// For the messages behind `position`.
    pub(super) fn new(style: Style, position: StreamSeq) -> Self {
        Self {
            style,
            joiners: HashMap::new(),
            whole: position,
        }
    }

    /// In the middle of a line: its event will come with a later message, but only here.
    pub(super) fn is_joining(&self) -> bool {
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
        if !self.is_joining() {
            self.whole = *sequence;
        }
        Piece {
            sequence: *sequence,
            whole: self.whole,
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
            is_complete: false,
        };
        let numbered = head.known_kind().is_some_and(|kind| kind.is_numbered());
        let Some(first) = head.first.filter(|_| numbered) else {
            return content;
        };
        let mut frames = FrameWriter::new(self.style.format);
        frames.reserve(bytes + message.events.len() * FRAME_OVERHEAD_BYTES);
        let (mut run, mut number) = (first, first);
        for event in &message.events {
            let id = Id {
                sequence,
                number,
                tag: &content.tag,
            };
            let is_written = self.event(&mut frames, id, &content.stream, event);
            content.is_complete |= event.name == event_name::COMPLETE;
            if !is_written {
                push_run(&mut content.runs, run, number, &mut frames);
                run = number.plus(1);
            }
            number = number.plus(1);
        }
        push_run(&mut content.runs, run, number, &mut frames);
        content
    }

    /// Writes an event; false if it is only a part of one.
    fn event(
        &mut self,
        frames: &mut FrameWriter,
        id: Id<'_>,
        stream: &StreamId,
        event: &RawEvent<'_>,
    ) -> bool {
        let Some(fragment) = &event.fragment else {
            // Whatever part of a line came before, its end never will.
            self.joiners.remove(stream);
            let data = event.data.map_or("null", |data| data.get());
            self.write(frames, id, stream, &event.name, data);
            return true;
        };
        let mut joiner = self.joiners.remove(stream).unwrap_or_default();
        match joiner.push(fragment) {
            Ok(Some(data)) => {
                self.write(frames, id, stream, &event.name, &data);
                return true;
            }
            Ok(None) => {
                self.joiners.insert(stream.clone(), joiner);
            }
            // Its beginning is gone: the next number tells that this one is missing.
            Err(error) => {
                tracing::debug!(sequence = id.sequence.0, %error, "part of a line dropped");
            }
        }
        false
    }

    fn write(
        &self,
        frames: &mut FrameWriter,
        id: Id<'_>,
        stream: &StreamId,
        name: &str,
        data: &str,
    ) {
        let name = match name {
            event_name::ERROR if self.style.stderr_as_output => event_name::OUTPUT,
            name => name,
        };
        let stream = self.style.with_stream.then_some(stream);
        frames.event(id, name, stream, data);
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
