//! Output bytes and the offsets that name them.
//!
//! Invariant: an offset counts the bytes of *one* stream from the start of the exec; it never
//! changes its meaning, whatever has been acknowledged, punched out or sent twice.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::wire::FrameError;

/// The most output bytes in one frame that the shim writes. Small enough that one exec's bulk
/// delays another exec's line on the same channel by a few milliseconds at most.
pub const MAX_CHUNK_BYTES: usize = 128 * 1024;

/// Stream, offset and time, before the bytes.
pub(crate) const CHUNK_HEADER_BYTES: usize = 17;

/// One of the two streams that a command writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output; with [`crate::Spec::merge`], both.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// A place in what an exec has printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offsets {
    /// Bytes of standard output.
    #[serde(default)]
    pub stdout: u64,
    /// Bytes of standard error.
    #[serde(default)]
    pub stderr: u64,
    /// Sizes that its terminal has had; 0 where it has none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub resizes: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Offsets {
    /// A place in both streams, where there is no terminal.
    #[must_use]
    pub const fn new(stdout: u64, stderr: u64) -> Self {
        Self {
            stdout,
            stderr,
            resizes: 0,
        }
    }

    /// The offset in `stream`.
    #[must_use]
    pub fn of(&self, stream: Stream) -> u64 {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        }
    }

    /// Sets the offset in `stream`.
    pub fn set(&mut self, stream: Stream, offset: u64) {
        match stream {
            Stream::Stdout => self.stdout = offset,
            Stream::Stderr => self.stderr = offset,
        }
    }

    /// The bytes of both streams before this place.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.stdout.saturating_add(self.stderr)
    }

    /// The larger offset of each stream, and number of sizes.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            stdout: self.stdout.max(other.stdout),
            stderr: self.stderr.max(other.stderr),
            resizes: self.resizes.max(other.resizes),
        }
    }

    /// The smaller offset of each stream, and number of sizes.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self {
            stdout: self.stdout.min(other.stdout),
            stderr: self.stderr.min(other.stderr),
            resizes: self.resizes.min(other.resizes),
        }
    }

    /// Whether everything before `other` is before this place too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.stdout >= other.stdout && self.stderr >= other.stderr && self.resizes >= other.resizes
    }
}

/// What an executor has told the shim to be in the log. A take-over reads it back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Everything before these offsets is in the log.
    #[serde(flatten)]
    pub offsets: Offsets,
    /// The number of the first event that is not in the log; 0 when nothing was acknowledged yet.
    #[serde(default)]
    pub next_event_number: u64,
}

impl Acknowledged {
    /// The later of both, field by field.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            offsets: self.offsets.max(other.offsets),
            next_event_number: self.next_event_number.max(other.next_event_number),
        }
    }
}

/// Bytes of one stream, as one read from the command's pipe gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Which stream.
    pub stream: Stream,
    /// Where in that stream the first byte is.
    pub offset: u64,
    /// When the supervisor read them, in microseconds since the Unix epoch.
    pub time_micros: u64,
    /// The bytes.
    pub bytes: Bytes,
}

impl Chunk {
    /// The offset after the last byte.
    #[must_use]
    pub fn end_offset(&self) -> u64 {
        self.offset.saturating_add(self.bytes.len() as u64)
    }

    /// What of this chunk is at or after `from`; `None` when nothing is.
    #[must_use]
    pub fn after(mut self, from: &Offsets) -> Option<Self> {
        let from = from.of(self.stream);
        if from <= self.offset {
            return Some(self);
        }
        if from >= self.end_offset() {
            return None;
        }
        // The difference is less than the chunk's length.
        self.bytes.advance((from - self.offset) as usize);
        self.offset = from;
        Some(self)
    }

    pub(crate) fn put(&self, into: &mut BytesMut) {
        into.put_u8(self.stream.number());
        into.put_u64(self.offset);
        into.put_u64(self.time_micros);
        into.put_slice(&self.bytes);
    }

    pub(crate) fn read(kind: u8, mut payload: Bytes) -> Result<Self, FrameError> {
        if payload.len() < CHUNK_HEADER_BYTES {
            return Err(FrameError::malformed(kind, "its header is cut short"));
        }
        let number = payload.get_u8();
        let Some(stream) = Stream::from_number(number) else {
            return Err(FrameError::malformed(
                kind,
                format!("there is no stream {number}"),
            ));
        };
        Ok(Self {
            stream,
            offset: payload.get_u64(),
            time_micros: payload.get_u64(),
            bytes: payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk() -> Chunk {
        Chunk {
            stream: Stream::Stderr,
            offset: 10,
            time_micros: 7,
            bytes: Bytes::from_static(b"abcd"),
        }
    }

    fn stderr(offset: u64) -> Offsets {
        Offsets::new(1_000, offset)
    }

    #[test]
    fn after_cuts_exactly_at_the_offset_of_its_own_stream() {
        assert_eq!(chunk().after(&stderr(9)), Some(chunk()));
        assert_eq!(chunk().after(&stderr(10)), Some(chunk()));
        let cut = chunk().after(&stderr(13)).unwrap();
        assert_eq!((cut.offset, &cut.bytes[..]), (13, &b"d"[..]));
        assert_eq!(chunk().after(&stderr(14)), None);
        assert_eq!(chunk().after(&stderr(u64::MAX)), None);
    }
}
