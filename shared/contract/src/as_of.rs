//! What `?as_of=` takes: a place in the log that a list must include.
//!
//! Every answer to a write names one, in the header [`AS_OF_HEADER`]; the id of any event is one
//! too. Clients pass them on as they are.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::cursor::{CURSOR_MAX_BYTES, Cursor, decimal};
use crate::position::StreamSeq;

/// The header of an answer to a write that carries its token.
pub const AS_OF_HEADER: &str = "rdev-as-of";
/// A name and two numbers; an event id is shorter.
const AS_OF_MAX_BYTES: usize = 64;
const _: () = assert!(CURSOR_MAX_BYTES <= AS_OF_MAX_BYTES);

const EXEC: &str = "exec";
const SESSION: &str = "session";

/// A place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AsOf {
    /// That of an event.
    Event(Cursor),
    /// That of a write.
    Write(Written),
}

/// Which part of the log was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WrittenTo {
    /// Commands, output and ends.
    Execs,
    /// Session facts.
    Sessions,
}

/// The place of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Which part of the log.
    pub to: WrittenTo,
    /// The message's sequence in it.
    pub sequence: StreamSeq,
    /// When that part was created, to the microsecond: one that was created anew begins at 1 again.
    /// Absent if it was not known.
    pub created_at: Option<Timestamp>,
}

/// The text is neither a token nor an event id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "as_of takes the id of an event, or what the Rdev-As-Of header of an answer to a write said, \
     as it was"
)]
pub struct InvalidAsOf;

impl fmt::Display for Written {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = match self.to {
            WrittenTo::Execs => EXEC,
            WrittenTo::Sessions => SESSION,
        };
        write!(formatter, "{to}-{}", self.sequence)?;
        match self.created_at {
            Some(at) => write!(formatter, "-{}", at.as_microsecond()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for AsOf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(cursor) => cursor.fmt(formatter),
            Self::Write(written) => written.fmt(formatter),
        }
    }
}

impl FromStr for AsOf {
    type Err = InvalidAsOf;

    fn from_str(text: &str) -> Result<Self, InvalidAsOf> {
        if text.len() > AS_OF_MAX_BYTES {
            return Err(InvalidAsOf);
        }
        let mut parts = text.split('-');
        let to = match parts.next() {
            Some(EXEC) => WrittenTo::Execs,
            Some(SESSION) => WrittenTo::Sessions,
            Some(_) | None => return text.parse().map(Self::Event).map_err(|_| InvalidAsOf),
        };
        let number = |part: &str| decimal(part).map_err(|_| InvalidAsOf);
        let sequence = parts.next().ok_or(InvalidAsOf).and_then(number)?;
        let created_at = parts.next().map(number).transpose()?;
        if parts.next().is_some() {
            return Err(InvalidAsOf);
        }
        let created_at = created_at.map(|at| {
            let at = i64::try_from(at).map_err(|_| InvalidAsOf)?;
            Timestamp::from_microsecond(at).map_err(|_| InvalidAsOf)
        });
        Ok(Self::Write(Written {
            to,
            sequence: StreamSeq(sequence),
            created_at: created_at.transpose()?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_went() {
        for text in [
            "exec-48213-1795328460123456",
            "session-1-1795328460123456",
            "exec-7",
            "session-18446744073709551615-0",
            "48213-17-9f3a61c2",
        ] {
            let as_of: AsOf = text.parse().unwrap();
            assert_eq!(as_of.to_string(), text);
        }
        let written = Written {
            to: WrittenTo::Sessions,
            sequence: StreamSeq(3),
            created_at: Some("2026-11-22T06:21:00.000001Z".parse().unwrap()),
        };
        assert_eq!(written.to_string().parse(), Ok(AsOf::Write(written)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "exec",
            "exec-",
            "exec--1",
            "exec-01",
            "exec-+1",
            "exec-1-",
            "exec-1-x",
            "exec-1-2-3",
            "exec-1-9223372036854775807",
            "exec-18446744073709551616",
            "control-1-2",
            "EXEC-1-2",
            " exec-1-2",
            "48213-17",
            "-1",
        ] {
            assert_eq!(text.parse::<AsOf>(), Err(InvalidAsOf), "{text}");
        }
        assert_eq!("exec-1".repeat(2000).parse::<AsOf>(), Err(InvalidAsOf));
    }
}
