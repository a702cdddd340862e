//! The journal of one exec: a header, then frames of output, then one frame with the end.
//!
//! The supervisor alone writes it; any number of `serve` processes read it, also long after the
//! supervisor is gone. Invariants: bytes after the header are only ever appended; an end frame is
//! the last; everything before the header's `start` may have been punched out (it reads as zeros)
//! and is in the log. Bytes after the last whole frame are a write that was cut off: they are no
//! part of the journal.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::chunk::CHUNK_HEADER_BYTES;
use crate::wire::{FRAME_HEADER_BYTES, FrameError, RawFrame, peek_header, put_json, read_json};
use crate::{Chunk, End, Offsets, Resize, Stream, kind};

/// How much of the file the header takes: one block, so that the first hole begins after it.
pub const HEADER_BYTES: u64 = 4096;

/// What stands before the bytes of a chunk in the file.
pub const CHUNK_FRAME_HEADER_BYTES: usize = FRAME_HEADER_BYTES + CHUNK_HEADER_BYTES;

const MAGIC: &[u8; 8] = b"rdevjrn1";

/// The part of the header block that means something; the rest is for people.
pub const HEADER_USED_BYTES: usize = 36;

/// The journal's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Where in the file the first frame is that was not punched out.
    pub start: u64,
    /// Where in both streams that frame is: everything before is in the log, and gone here. Of a
    /// terminal's sizes it says nothing: their frames have numbers.
    pub offsets: Offsets,
    /// The process id of the command; 0 before it is started or when it could not be.
    pub pid: u32,
}

impl Header {
    /// The bytes at the start of the file.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_USED_BYTES] {
        let mut bytes = [0; HEADER_USED_BYTES];
        let mut rest = &mut bytes[..];
        rest.put_slice(MAGIC);
        rest.put_u64(self.start);
        rest.put_u32(self.pid);
        rest.put_u64(self.offsets.stdout);
        rest.put_u64(self.offsets.stderr);
        bytes
    }

    /// Reads the bytes at the start of the file; `None` when they are not a journal's.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let header = Self {
            start: rest.try_get_u64().ok()?,
            pid: rest.try_get_u32().ok()?,
            offsets: Offsets::new(rest.try_get_u64().ok()?, rest.try_get_u64().ok()?),
        };
        (header.start >= HEADER_BYTES).then_some(header)
    }
}

/// One frame of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// What the command printed.
    Chunk(Chunk),
    /// The size that its terminal has from here on.
    Resize(Resize),
    /// How it ended.
    End(End),
}

/// What stands at a place in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A whole frame, and how many bytes of the file it takes.
    Frame(Frame, usize),
    /// A frame of a kind that this program does not know, and how many bytes it takes.
    Skip(usize),
    /// The frame goes on after these bytes, or the file ends here for now.
    More {
        /// The bytes of the whole frame, once its header is there.
        frame_bytes: Option<usize>,
    },
    /// This place was punched out: it is before the header's `start`.
    Hole,
}

/// Appends a chunk's frame.
///
/// # Errors
/// [`FrameError::TooLong`] when it does not fit into a frame.
pub fn put_chunk(into: &mut BytesMut, chunk: &Chunk) -> Result<(), FrameError> {
    let header = chunk_header(
        chunk.stream,
        chunk.offset,
        chunk.time_micros,
        chunk.bytes.len(),
    )?;
    into.put_slice(&header);
    into.put_slice(&chunk.bytes);
    Ok(())
}

/// What stands before `length` bytes of a chunk, for a writer that has the bytes elsewhere.
///
/// # Errors
/// [`FrameError::TooLong`] when they do not fit into a frame.
pub fn chunk_header(
    stream: Stream,
    offset: u64,
    time_micros: u64,
    length: usize,
) -> Result<[u8; CHUNK_FRAME_HEADER_BYTES], FrameError> {
    let payload = length.saturating_add(CHUNK_HEADER_BYTES);
    let Some(payload) = u32::try_from(payload)
        .ok()
        .filter(|_| payload <= crate::MAX_FRAME_BYTES)
    else {
        return Err(FrameError::TooLong {
            kind: kind::JOURNAL_CHUNK,
            length,
        });
    };
    let mut header = [0; CHUNK_FRAME_HEADER_BYTES];
    let mut rest = &mut header[..];
    rest.put_u8(kind::JOURNAL_CHUNK);
    rest.put_u32(payload);
    rest.put_u8(stream.number());
    rest.put_u64(offset);
    rest.put_u64(time_micros);
    Ok(header)
}

/// Appends the frame of a terminal's size. Programs that know no terminals skip it.
///
/// # Errors
/// [`FrameError::TooLong`] when it does not fit into a frame.
pub fn put_resize(into: &mut BytesMut, resize: &Resize) -> Result<(), FrameError> {
    put_json(into, kind::JOURNAL_RESIZE, resize)
}

/// Appends the end's frame.
///
/// # Errors
/// [`FrameError::TooLong`] when it does not fit into a frame.
pub fn put_end(into: &mut BytesMut, end: &End) -> Result<(), FrameError> {
    put_json(into, kind::JOURNAL_END, end)
}

/// What stands at the beginning of `bytes`, a part of a journal that begins where a frame begins.
/// The bytes of a chunk are shared, not copied.
///
/// # Errors
/// [`FrameError`] when there is neither a frame nor a hole: the journal is damaged.
pub fn step(bytes: &Bytes) -> Result<Step, FrameError> {
    if bytes.first() == Some(&0) {
        return Ok(Step::Hole);
    }
    let Some((kind, length)) = peek_header(bytes)? else {
        return Ok(Step::More { frame_bytes: None });
    };
    let whole = FRAME_HEADER_BYTES + length;
    if bytes.len() < whole {
        return Ok(Step::More {
            frame_bytes: Some(whole),
        });
    }
    let payload = bytes.slice(FRAME_HEADER_BYTES..whole);
    match kind {
        kind::JOURNAL_CHUNK => Ok(Step::Frame(
            Frame::Chunk(Chunk::read(kind, payload)?),
            whole,
        )),
        kind::JOURNAL_RESIZE => Ok(Step::Frame(
            Frame::Resize(read_json(&RawFrame { kind, payload })?),
            whole,
        )),
        kind::JOURNAL_END => Ok(Step::Frame(
            Frame::End(read_json(&RawFrame { kind, payload })?),
            whole,
        )),
        _ => Ok(Step::Skip(whole)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_and_anything_else_is_refused() {
        let offsets = Offsets::new(7, 9);
        let header = Header {
            start: 8192,
            pid: 42,
            offsets,
        };
        assert_eq!(Header::decode(&header.encode()), Some(header));
        assert_eq!(Header::decode(&[0; HEADER_USED_BYTES]), None);
        assert_eq!(Header::decode(&header.encode()[..35]), None);
        assert_eq!(
            Header::decode(&Header { start: 1, ..header }.encode()),
            None
        );
    }

    #[test]
    fn zeros_are_a_hole_and_a_cut_off_frame_needs_more() {
        let chunk = Chunk {
            stream: Stream::Stdout,
            offset: 0,
            time_micros: 0,
            bytes: Bytes::from_static(b"hello"),
        };
        let mut buffer = BytesMut::new();
        put_chunk(&mut buffer, &chunk).unwrap();
        let whole = buffer.len();
        let bytes = buffer.freeze();
        assert_eq!(
            step(&bytes).unwrap(),
            Step::Frame(Frame::Chunk(chunk), whole)
        );
        for cut in 0..whole {
            assert!(
                matches!(step(&bytes.slice(..cut)).unwrap(), Step::More { .. }),
                "{cut}"
            );
        }
        assert_eq!(step(&Bytes::from_static(&[0; 64])).unwrap(), Step::Hole);
    }
}
