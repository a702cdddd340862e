//! The end of an object: what is in it, and where. Pure.
//!
//! An object is blocks of message lines, each compressed on its own, then the footer line, compressed
//! too, then a trailer that says where the footer is. For `zstd -dc` all of it is one stream, and the
//! trailer is passed over. A reader takes the trailer, the footer, and the blocks that it needs; every
//! byte is under the hash of one of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use rdev_contract::event::OutputStream;
use rdev_contract::id::ExecId;
use rdev_contract::position::{EventNo, LogIdentity, Offsets, StreamSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::block;

/// Fields are only ever added to a version.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// A frame that every zstd decoder passes over begins with one of these.
const SKIPPED_MAGIC: u32 = 0x184D_2A5D;
const TRAILER_MAGIC: &[u8; 8] = b"rdevarc1";
/// The magic; of the footer where it begins, its bytes here and as a line, its hash. Behind the
/// frame's own head.
const TRAILER_CONTENT_BYTES: u32 = 8 + 8 + 4 + 4 + 32;
/// How long a trailer is.
pub(crate) const TRAILER_BYTES: usize = 8 + TRAILER_CONTENT_BYTES as usize;
/// What a footer may take of memory: that of an object of half a terabyte.
const FOOTER_MAX_BYTES: u32 = 512 * 1024 * 1024;

/// A SHA-256, as hex in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sum(pub(crate) [u8; 32]);

impl Sum {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("not a SHA-256 in hex"))
    }
}

/// The last line of an object: what is in it, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Footer {
    /// Version of the format.
    pub archive: u32,
    /// Which exec.
    pub exec: ExecId,
    /// The life of the log that the sequences are of.
    pub log: LogIdentity,
    /// When its first message here was stored.
    pub began_at: Timestamp,
    /// When its last message was stored.
    pub ended_at: Timestamp,
    /// How many messages there are.
    pub messages: u64,
    /// Whether they are all that there ever were, unchanged.
    pub whole: bool,
    /// What is not there or not as it was written; for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
    /// Over all messages: sequences, times, subjects and payloads.
    pub(crate) sha256: Sum,
    /// The last message of each kind.
    pub(crate) kinds: BTreeMap<String, StreamSeq>,
    /// Where the messages are, in their order.
    pub(crate) blocks: Vec<BlockInfo>,
}

/// A block of messages, and what is before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BlockInfo {
    /// Where it begins in the object.
    pub(crate) at: u64,
    /// How many bytes it is.
    pub(crate) length: u32,
    /// How many bytes its lines are.
    pub(crate) lines: u32,
    /// Of its bytes in the object.
    pub(crate) sha256: Sum,
    /// Its first message.
    pub(crate) first: StreamSeq,
    /// How many messages.
    pub(crate) messages: u32,
    /// Something else than output is in it.
    pub(crate) facts: bool,
    /// Number of the first event that is not before it.
    pub(crate) event: EventNo,
    /// The bytes that are before it.
    pub(crate) before: Offsets,
    /// It begins in the middle of a line.
    pub(crate) continues: bool,
}

impl Footer {
    /// Its first message.
    #[must_use]
    pub fn first(&self) -> StreamSeq {
        self.blocks
            .first()
            .map_or(StreamSeq(0), |block| block.first)
    }

    /// The block in which the first message behind `after` is, if there is one.
    pub(crate) fn block_behind(&self, after: StreamSeq, last: StreamSeq) -> Option<usize> {
        if after >= last {
            return None;
        }
        let begun = self
            .blocks
            .partition_point(|block| block.first.0 <= after.0 + 1);
        // Whether the message is in the one that has begun, or is the next one's first.
        Some(begun.saturating_sub(1)).filter(|index| *index < self.blocks.len())
    }

    /// A message behind which the byte `first` of a stream is to be found.
    pub(crate) fn before_output(&self, stream: OutputStream, first: u64) -> StreamSeq {
        let before = |block: &&BlockInfo| {
            let offset = match stream {
                OutputStream::Stdout => block.before.stdout,
                OutputStream::Stderr => block.before.stderr,
            };
            offset <= first && !block.continues
        };
        let block = self.blocks.iter().rev().find(before);
        block.map_or(StreamSeq(0), |block| {
            StreamSeq(block.first.0.saturating_sub(1))
        })
    }

    /// A message behind which the event with this number is to be found.
    pub(crate) fn before_event(&self, number: EventNo) -> StreamSeq {
        let found = self
            .blocks
            .iter()
            .rev()
            .find(|block| block.event <= number && !block.continues);
        found.map_or(StreamSeq(0), |block| {
            StreamSeq(block.first.0.saturating_sub(1))
        })
    }

    /// Footer and trailer of an object whose blocks end at `at`.
    pub(crate) fn encode(&self, at: u64) -> Result<Vec<u8>, String> {
        let failed = |error: &dyn std::fmt::Display| format!("the footer: {error}");
        let mut line = serde_json::to_vec(self).map_err(|error| failed(&error))?;
        line.push(b'\n');
        let mut bytes = block::compress(&line)?;
        let trailer = Trailer {
            at,
            length: u32::try_from(bytes.len()).map_err(|error| failed(&error))?,
            line: u32::try_from(line.len()).map_err(|error| failed(&error))?,
            sum: Sum::of(&bytes),
        };
        if trailer.line > FOOTER_MAX_BYTES {
            return Err(failed(&"too many blocks"));
        }
        trailer.write(&mut bytes);
        Ok(bytes)
    }

    /// The footer in its bytes, which a trailer has told.
    pub(crate) fn decode(trailer: &Trailer, bytes: &[u8]) -> Result<Self, String> {
        if Sum::of(bytes) != trailer.sum {
            return Err("the footer's hash is another".to_owned());
        }
        let line = block::decompress(bytes, trailer.line)?;
        let footer: Self = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
        if footer.archive != FORMAT_VERSION {
            let found = footer.archive;
            return Err(format!("format {found}; this build reads {FORMAT_VERSION}"));
        }
        let mut at = 0;
        for block in &footer.blocks {
            if block.at != at {
                return Err("the blocks do not follow each other".to_owned());
            }
            at += u64::from(block.length);
        }
        if at != trailer.at {
            return Err("the blocks do not end where the footer begins".to_owned());
        }
        Ok(footer)
    }
}

/// The last bytes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// Where the footer begins.
    pub(crate) at: u64,
    /// How many bytes it is.
    pub(crate) length: u32,
    /// How many bytes its line is.
    line: u32,
    /// Its hash.
    sum: Sum,
}

impl Trailer {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(SKIPPED_MAGIC.to_le_bytes());
        bytes.extend(TRAILER_CONTENT_BYTES.to_le_bytes());
        bytes.extend(TRAILER_MAGIC);
        bytes.extend(self.at.to_le_bytes());
        bytes.extend(self.length.to_le_bytes());
        bytes.extend(self.line.to_le_bytes());
        bytes.extend(self.sum.0);
    }

    /// Reads the end of an object of this size.
    pub(crate) fn decode(end: &[u8], size: u64) -> Result<Self, String> {
        Self::parse(end)
            .filter(|trailer| {
                let footer_end = trailer.at.checked_add(u64::from(trailer.length));
                let end = footer_end.and_then(|end| end.checked_add(TRAILER_BYTES as u64));
                end == Some(size) && trailer.line <= FOOTER_MAX_BYTES
            })
            .ok_or_else(|| "it has no end: it was cut, or is none of ours".to_owned())
    }

    fn parse(end: &[u8]) -> Option<Self> {
        let (_, trailer) = end.split_last_chunk::<TRAILER_BYTES>()?;
        let (magic, rest) = trailer.split_first_chunk::<4>()?;
        let (content_length, rest) = rest.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_first_chunk::<8>()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (line, sum) = rest.split_first_chunk::<4>()?;
        let is_ours = u32::from_le_bytes(*magic) == SKIPPED_MAGIC
            && u32::from_le_bytes(*content_length) == TRAILER_CONTENT_BYTES
            && name == TRAILER_MAGIC;
        is_ours.then_some(Self {
            at: u64::from_le_bytes(*at),
            length: u32::from_le_bytes(*length),
            line: u32::from_le_bytes(*line),
            sum: Sum(sum.try_into().ok()?),
        })
    }
}
