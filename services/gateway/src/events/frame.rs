//! Events as bytes: server-sent events, or lines of JSON. The only place that knows how either is
//! written.
//!
//! Invariant: nothing that is put into a frame can end it early or begin another: names are of a
//! fixed alphabet, data is one line, ids are cursors.

use bytes::Bytes;
use memchr::memmem;
use rdev_contract::cursor::Cursor;
use rdev_contract::event::event_name;
use rdev_contract::id::StreamId;
use rdev_contract::position::{EventNo, StreamSeq};
use serde::Serialize;

/// Bytes of a frame beside its data: names, digits, a time and line ends; for reserving space.
pub(super) const FRAME_OVERHEAD_BYTES: usize = 128;
/// `u64::MAX` has 20 digits.
const DECIMAL_MAX_BYTES: usize = 20;

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Format {
    /// Server-sent events.
    Sse,
    /// One JSON object a line: `{"id":…,"event":…,"data":…}`.
    JsonLines,
}

impl Format {
    /// What ends a frame, and stands nowhere else in it.
    const fn end(self) -> &'static [u8] {
        match self {
            Self::Sse => b"\n\n",
            Self::JsonLines => b"\n",
        }
    }

    /// What is left of `frames` without the first `count`.
    pub(super) fn skip(self, frames: &Bytes, count: usize) -> Bytes {
        let Some(last) = count.checked_sub(1) else {
            return frames.clone();
        };
        let end = self.end();
        match memmem::find_iter(frames, end).nth(last) {
            Some(at) => frames.slice(at + end.len()..),
            None => Bytes::new(),
        }
    }
}

/// The id of a frame: where a reader that saw it continues.
#[derive(Debug, Clone, Copy)]
pub(super) struct Id<'a> {
    pub(super) sequence: StreamSeq,
    pub(super) number: EventNo,
    pub(super) tag: &'a str,
}

impl<'a> From<&'a Cursor> for Id<'a> {
    fn from(cursor: &'a Cursor) -> Self {
        Self {
            sequence: cursor.sequence,
            number: cursor.number,
            tag: &cursor.tag,
        }
    }
}

/// What an event's data is shown with, besides its own members and before them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Added<'a> {
    /// Which exec it is of, where a reader sees several.
    pub(super) stream: Option<&'a StreamId>,
    /// When it was written into the log: a time as JSON has it.
    pub(super) at: Option<&'a str>,
}

/// Writes frames into a buffer.
#[derive(Debug)]
pub(super) struct FrameWriter {
    format: Format,
    out: Vec<u8>,
}

impl FrameWriter {
    pub(super) const fn new(format: Format) -> Self {
        Self {
            format,
            out: Vec::new(),
        }
    }

    /// What was written since the last time.
    pub(super) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.out).into()
    }

    pub(super) fn reserve(&mut self, bytes: usize) {
        self.out.reserve(bytes);
    }

    /// An event of the log, its data untouched but for what is added.
    pub(super) fn event(&mut self, id: Id<'_>, name: &str, added: Added<'_>, data: &str) {
        self.begin(id, name, None);
        let at = self.out.len();
        let members = data.strip_prefix('{');
        match members {
            Some(members) if added.stream.is_some() || added.at.is_some() => {
                self.added(added);
                if !members.trim_start().starts_with('}') {
                    self.out.push(b',');
                }
                self.out.extend_from_slice(members.as_bytes());
            }
            Some(_) | None => self.out.extend_from_slice(data.as_bytes()),
        }
        self.end(at);
    }

    /// The beginning of an object. Neither ids nor times hold anything that JSON would escape.
    fn added(&mut self, Added { stream, at }: Added<'_>) {
        self.out.push(b'{');
        if let Some(stream) = stream {
            self.out.extend_from_slice(b"\"stream_id\":\"");
            self.out.extend_from_slice(stream.as_str().as_bytes());
            self.out.push(b'"');
        }
        if let Some(at) = at {
            let comma: &[u8] = if stream.is_some() { b"," } else { b"" };
            for part in [comma, b"\"at\":\"", at.as_bytes(), b"\""] {
                self.out.extend_from_slice(part);
            }
        }
    }

    /// A frame that the gateway makes.
    pub(super) fn own<T: Serialize>(
        &mut self,
        id: Id<'_>,
        name: &str,
        retry_ms: Option<u64>,
        data: &T,
    ) {
        self.begin(id, name, retry_ms);
        let at = self.out.len();
        // Structs of texts and numbers always can be written.
        let data = serde_json::to_vec(data).unwrap_or_else(|_| b"{}".to_vec());
        self.out.extend_from_slice(&data);
        self.end(at);
    }

    fn begin(&mut self, id: Id<'_>, name: &str, retry_ms: Option<u64>) {
        let name = safe_name(name).as_bytes();
        let out = &mut self.out;
        match self.format {
            Format::Sse => {
                out.extend_from_slice(b"id: ");
                write_id(out, id);
                out.extend_from_slice(b"\nevent: ");
                out.extend_from_slice(name);
                if let Some(retry_ms) = retry_ms {
                    out.extend_from_slice(b"\nretry: ");
                    decimal(out, retry_ms);
                }
                out.extend_from_slice(b"\ndata: ");
            }
            Format::JsonLines => {
                out.extend_from_slice(b"{\"id\":\"");
                write_id(out, id);
                out.extend_from_slice(b"\",\"event\":\"");
                out.extend_from_slice(name);
                out.extend_from_slice(b"\",\"data\":");
            }
        }
    }

    /// Ends a frame whose data begins at `data_at`.
    fn end(&mut self, data_at: usize) {
        // Writers never leave a line end in data; in JSON it could only stand between tokens,
        // where a blank means the same.
        let data = &mut self.out[data_at..];
        if memchr::memchr2(b'\n', b'\r', data).is_some() {
            for byte in data {
                if matches!(byte, b'\n' | b'\r') {
                    *byte = b' ';
                }
            }
        }
        if self.format == Format::JsonLines {
            self.out.push(b'}');
        }
        self.out.extend_from_slice(self.format.end());
    }
}

/// The names of today pass; a name of tomorrow too, unless it could break the frame.
fn safe_name(name: &str) -> &str {
    let is_safe = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_safe { name } else { event_name::OUTPUT }
}

fn write_id(out: &mut Vec<u8>, id: Id<'_>) {
    decimal(out, id.sequence.0);
    out.push(b'-');
    decimal(out, id.number.0);
    out.push(b'-');
    out.extend_from_slice(id.tag.as_bytes());
}

fn decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; DECIMAL_MAX_BYTES];
    let mut at = DECIMAL_MAX_BYTES;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
