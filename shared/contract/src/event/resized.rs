//! `resized`: the size of a command's terminal. The first event of every exec that has one, with the
//! size that was asked for; then one for each other size, in its place between the output.
//!
//! Written by executors, as the supervisor in the pod noted it; read by whoever wants to show the
//! output as it was seen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many characters fit into a terminal: the `data` of a `resized` event, and what a request
/// asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TerminalSize {
    /// In a row.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}
