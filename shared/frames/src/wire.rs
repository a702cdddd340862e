//! Frames on a byte stream: one byte of kind, four bytes of length (big-endian), the payload.
//!
//! Written and read by both sides of the channel and, for the journal, by the supervisor and
//! `serve`. Invariant: a decoder takes whole frames only; what is incomplete stays in the buffer.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Kind and length, before the payload.
pub const FRAME_HEADER_BYTES: usize = 5;

/// The longest payload. The largest honest one is a launch whose command and initial stdin fill a
/// request body of 1 MiB, with every byte escaped in JSON; twice that leaves room.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Why bytes are not a frame. The stream they came from cannot be used any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The payload is longer than [`MAX_FRAME_BYTES`].
    #[error("a frame of kind {kind} has {length} bytes; at most {MAX_FRAME_BYTES} are allowed")]
    TooLong {
        /// The frame's kind.
        kind: u8,
        /// The length that was asked for.
        length: usize,
    },
    /// The payload is not what its kind says.
    #[error("a frame of kind {kind} is malformed: {what}")]
    Malformed {
        /// The frame's kind.
        kind: u8,
        /// What is wrong with it.
        what: String,
    },
}

impl FrameError {
    pub(crate) fn malformed(kind: u8, what: impl ToString) -> Self {
        Self::Malformed {
            kind,
            what: what.to_string(),
        }
    }
}

/// One frame, not yet understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    /// What the payload is.
    pub kind: u8,
    /// The payload.
    pub payload: Bytes,
}

/// Takes the next whole frame out of `buffer`; `None` means that more bytes are needed.
///
/// # Errors
/// [`FrameError::TooLong`] as soon as the length is known, [`FrameError::Malformed`] for kind 0.
pub fn take_frame(buffer: &mut BytesMut) -> Result<Option<RawFrame>, FrameError> {
    let Some((kind, length)) = peek_header(buffer)? else {
        return Ok(None);
    };
    if buffer.len() < FRAME_HEADER_BYTES + length {
        // The caller reads into this buffer next: one reservation instead of many small ones.
        buffer.reserve(FRAME_HEADER_BYTES + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(FRAME_HEADER_BYTES);
    let payload = buffer.split_to(length).freeze();
    Ok(Some(RawFrame { kind, payload }))
}

/// The kind and payload length of the frame that begins at the start of `bytes`, once its header is
/// complete.
///
/// # Errors
/// As [`take_frame`].
pub fn peek_header(bytes: &[u8]) -> Result<Option<(u8, usize)>, FrameError> {
    let Some(header) = bytes.first_chunk::<FRAME_HEADER_BYTES>() else {
        return Ok(None);
    };
    let [kind, length @ ..] = *header;
    let length = u32::from_be_bytes(length) as usize;
    if kind == 0 {
        return Err(FrameError::malformed(kind, "no frame has kind 0"));
    }
    if length > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong { kind, length });
    }
    Ok(Some((kind, length)))
}

/// Appends kind and length; the caller appends the payload.
pub(crate) fn put_header(into: &mut BytesMut, kind: u8, length: usize) -> Result<(), FrameError> {
    let fits = u32::try_from(length)
        .ok()
        .filter(|_| length <= MAX_FRAME_BYTES);
    let Some(length) = fits else {
        return Err(FrameError::TooLong { kind, length });
    };
    into.reserve(FRAME_HEADER_BYTES + length as usize);
    into.put_u8(kind);
    into.put_u32(length);
    Ok(())
}

/// Appends a frame whose payload is JSON.
pub(crate) fn put_json<T: Serialize>(
    into: &mut BytesMut,
    kind: u8,
    value: &T,
) -> Result<(), FrameError> {
    let json = serde_json::to_vec(value).map_err(|error| FrameError::malformed(kind, error))?;
    put_header(into, kind, json.len())?;
    into.put_slice(&json);
    Ok(())
}

/// Appends a frame whose payload is the length of some JSON, the JSON, and raw bytes.
pub(crate) fn put_json_and_bytes<T: Serialize>(
    into: &mut BytesMut,
    kind: u8,
    value: &T,
    bytes: &[u8],
) -> Result<(), FrameError> {
    let json = serde_json::to_vec(value).map_err(|error| FrameError::malformed(kind, error))?;
    let length = 4 + json.len() + bytes.len();
    put_header(into, kind, length)?;
    // `put_header` has checked that the whole fits into a u32.
    into.put_u32(json.len() as u32);
    into.put_slice(&json);
    into.put_slice(bytes);
    Ok(())
}

/// Reads a payload that is JSON.
pub(crate) fn read_json<T: DeserializeOwned>(frame: &RawFrame) -> Result<T, FrameError> {
    serde_json::from_slice(&frame.payload).map_err(|error| FrameError::malformed(frame.kind, error))
}

/// Reads a payload written by [`put_json_and_bytes`].
pub(crate) fn read_json_and_bytes<T: DeserializeOwned>(
    frame: &RawFrame,
) -> Result<(T, Bytes), FrameError> {
    let mut payload = frame.payload.clone();
    let length = payload
        .try_get_u32()
        .map_err(|error| FrameError::malformed(frame.kind, error))? as usize;
    if payload.len() < length {
        return Err(FrameError::malformed(frame.kind, "its JSON is cut short"));
    }
    let json = payload.split_to(length);
    let value =
        serde_json::from_slice(&json).map_err(|error| FrameError::malformed(frame.kind, error))?;
    Ok((value, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_at_the_limit_passes_and_one_byte_more_does_not() {
        let mut buffer = BytesMut::new();
        put_header(&mut buffer, 9, MAX_FRAME_BYTES).unwrap();
        assert_eq!(peek_header(&buffer).unwrap(), Some((9, MAX_FRAME_BYTES)));
        let error = put_header(&mut buffer, 9, MAX_FRAME_BYTES + 1).unwrap_err();
        assert_eq!(
            error,
            FrameError::TooLong {
                kind: 9,
                length: MAX_FRAME_BYTES + 1
            }
        );
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_payload_arrives() {
        let mut buffer = BytesMut::from(&[9, 0xff, 0xff, 0xff, 0xff][..]);
        assert!(matches!(
            take_frame(&mut buffer),
            Err(FrameError::TooLong { kind: 9, .. })
        ));
    }

    #[test]
    fn kind_zero_is_malformed() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 0, 0][..]);
        assert!(matches!(
            take_frame(&mut buffer),
            Err(FrameError::Malformed { kind: 0, .. })
        ));
    }
}
