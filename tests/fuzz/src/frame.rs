//! Frames between executor and shim, and the journal's.

use bytes::{Bytes, BytesMut};
use rdev_frames::journal::{self, Frame, Header, Step};
use rdev_frames::{FrameError, Reply, Request};

pub(crate) const SEEDS: &[&[u8]] = &[
    // How a stream begins, is followed, and what a damaged one looks like.
    b"\x01\x00\x00\x00\x02{}",
    b"\x02\x00\x00\x00\x0c{\"tag\":1,\"a\"}",
    b"\x10\x00\x00\x00\x15\x01\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x09abcd",
    b"\x00\x00\x00\x00\x00",
    b"\x03\xff\xff\xff\xff",
    b"rdevjrn1\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x2a\x00\x00\x00\x00\x00\x00\x00\x05\
      \x00\x00\x00\x00\x00\x00\x00\x06",
];

/// Whatever arrives is a frame, is not one yet, or is refused; it does not matter in which pieces it
/// came, and what was understood is written so that it is understood the same.
pub fn frame(bytes: &[u8]) {
    agree(bytes, Request::decode, Request::encode);
    agree(bytes, Reply::decode, Reply::encode);
    if let Some(header) = Header::decode(bytes) {
        assert_eq!(Header::decode(&header.encode()), Some(header));
    }
    walk(&Bytes::copy_from_slice(bytes));
}

type Decode<T> = fn(&mut BytesMut) -> Result<Option<T>, FrameError>;
type Encode<T> = fn(&T, &mut BytesMut) -> Result<(), FrameError>;

fn agree<T: PartialEq + std::fmt::Debug>(bytes: &[u8], decode: Decode<T>, encode: Encode<T>) {
    let whole = all(bytes, bytes.len().max(1), decode);
    assert_eq!(whole, all(bytes, 1, decode));
    for value in &whole.0 {
        let mut written = BytesMut::new();
        if encode(value, &mut written).is_ok() {
            let again = decode(&mut written);
            assert_eq!(again.ok().flatten().as_ref(), Some(value));
        }
    }
}

/// What is read of the bytes when they come in pieces of this size, and why reading ended.
fn all<T>(bytes: &[u8], piece: usize, decode: Decode<T>) -> (Vec<T>, Option<FrameError>) {
    let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match decode(&mut buffer) {
                Ok(Some(value)) => read.push(value),
                Ok(None) => break,
                Err(error) => return (read, Some(error)),
            }
        }
    }
    (read, None)
}

/// Goes through a journal; every step leads on.
fn walk(journal: &Bytes) {
    let mut rest = journal.clone();
    while !rest.is_empty() {
        let taken = match journal::step(&rest) {
            Ok(Step::Frame(frame, taken)) => {
                if let Frame::Chunk(chunk) = frame {
                    assert!(chunk.bytes.len() <= taken);
                }
                taken
            }
            Ok(Step::Skip(taken)) => taken,
            Ok(Step::More { .. } | Step::Hole) | Err(_) => return,
        };
        assert!((1..=rest.len()).contains(&taken));
        rest = rest.slice(taken..);
    }
}
