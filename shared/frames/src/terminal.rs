//! The terminal of a command that has one, and its size.
//!
//! Invariant: every size that the terminal has had stands in the journal, in order with the output:
//! the first one before any output, each other one where it was set. What came out of the terminal
//! can so be shown again as it was.

use serde::{Deserialize, Serialize};

/// How many sizes may be sent beyond what is acknowledged, as the window for bytes: more than
/// anybody sets while a window's edge is dragged, and a bound of what waits in an executor.
pub const MAX_UNACKNOWLEDGED_RESIZES: u64 = 64;

/// How many characters fit into a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// In a row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// The terminal has this size from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    /// 1, 2, 3 …; the first one is the size that the command began with.
    pub number: u64,
    /// How many bytes of standard output came before it.
    pub offset: u64,
    /// When it was set, in microseconds since the Unix epoch.
    pub time_micros: u64,
    /// The size.
    #[serde(flatten)]
    pub size: TerminalSize,
}
