//! Places in the log, in an exec and in its output. Four different numbers that must not be
//! mixed up, hence four types.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The sequence that JetStream gave a message in its stream. The first message has 1.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct StreamSeq(pub u64);

/// The number of an event within its exec: 1, 2, 3 … without gaps. 0 is before the first.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct EventNo(pub u64);

impl EventNo {
    /// The number of an exec's first event.
    pub const FIRST: Self = Self(1);

    /// The number after `count` more events.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

impl fmt::Display for StreamSeq {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for EventNo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// When a stream of the log was created, to the microsecond, which is what PostgreSQL keeps. A
/// stream that was created anew begins at 1 again; this tells it from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogIdentity(Timestamp);

impl LogIdentity {
    /// The stream that was created at this moment.
    #[must_use]
    pub fn created_at(at: Timestamp) -> Self {
        Self(Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at))
    }

    /// The moment.
    #[must_use]
    pub const fn timestamp(self) -> Timestamp {
        self.0
    }
}

/// How far a command has come: how many bytes of each of its output streams, counted from its start,
/// and how many sizes of its terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
pub struct Offsets {
    /// Bytes of standard output.
    pub stdout: u64,
    /// Bytes of standard error.
    pub stderr: u64,
    /// Sizes that its terminal has had; absent where it has none.
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

    /// Both streams together.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.stdout + self.stderr
    }

    /// The larger of both, number by number.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            stdout: self.stdout.max(other.stdout),
            stderr: self.stderr.max(other.stderr),
            resizes: self.resizes.max(other.resizes),
        }
    }
}
