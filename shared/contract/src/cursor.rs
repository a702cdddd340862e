//! The cursor: the `id` of an SSE event, and what `Last-Event-ID` brings back.
//!
//! `{stream sequence}-{event number}-{tag}`. The sequence finds the message at once; the number
//! gives exactness inside a batch and survives a log restored under other sequences; the tag
//! says which exec it belongs to, so that another exec's cursor is refused.

use std::fmt;
use std::str::FromStr;

use crate::id::ExecId;
use crate::position::{EventNo, StreamSeq};

/// Two `u64`, an eight-digit tag and two hyphens; longer input is refused before it is parsed.
pub const CURSOR_MAX_BYTES: usize = 50;
const TAG_BYTES: usize = 8;

/// A place between two events of one exec: just after the event it names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Sequence of the message that holds the event; 0 before the first.
    pub sequence: StreamSeq,
    /// Number of the event; 0 before the first.
    pub number: EventNo,
    /// Which exec, see [`ExecId::tag`].
    pub tag: String,
}

/// The text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an event id: expected {{sequence}}-{{number}}-{{8 hex digits}}, as in the id of an event"
)]
pub struct InvalidCursor;

impl Cursor {
    /// Before the first event of an exec.
    #[must_use]
    pub fn beginning(exec: &ExecId) -> Self {
        Self {
            sequence: StreamSeq(0),
            number: EventNo(0),
            tag: exec.tag(),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}-{}", self.sequence, self.number, self.tag)
    }
}

/// Decimal digits as `u64::to_string` writes them: no sign, no blanks, no leading zero.
pub(crate) fn decimal(text: &str) -> Result<u64, InvalidCursor> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    if !canonical {
        return Err(InvalidCursor);
    }
    text.parse().map_err(|_| InvalidCursor)
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        if text.len() > CURSOR_MAX_BYTES {
            return Err(InvalidCursor);
        }
        let mut parts = text.split('-');
        let (Some(sequence), Some(number), Some(tag), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidCursor);
        };
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if tag.len() != TAG_BYTES || !tag.bytes().all(hex) {
            return Err(InvalidCursor);
        }
        Ok(Self {
            sequence: StreamSeq(decimal(sequence)?),
            number: EventNo(decimal(number)?),
            tag: tag.to_owned(),
        })
    }
}
