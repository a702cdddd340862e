//! How a command ended. The supervisor writes it as the last frame of the journal, after both pipes
//! are drained; an executor makes the exec's `complete` of it. Only this frame decides how an exec
//! ended, never the way in which a connection ended.

use serde::{Deserialize, Serialize};

/// How the command's own process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// The end of an exec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How the command's process ended. When it could not be started: code 127 (not found) or 126.
    pub exit: Exit,
    /// The supervisor ended the command because a time was over.
    #[serde(default)]
    pub timed_out: bool,
    /// That was the time of its silence, not of its whole run.
    #[serde(default)]
    pub was_idle: bool,
    /// The supervisor ended the command because it was told to cancel it.
    #[serde(default)]
    pub canceled: bool,
    /// The supervisor could not end all of the command's processes: some survived SIGKILL.
    #[serde(default)]
    pub has_survivors: bool,
    /// Why the command's program could not be started.
    #[serde(default)]
    pub spawn_error: Option<String>,
    /// Why the output is incomplete or the command was ended: the journal's disk is full, the
    /// journal went over its limit, processes survived SIGKILL. With an error, it is no success.
    #[serde(default)]
    pub error: Option<String>,
    /// How many bytes of standard output the journal took.
    pub stdout_bytes: u64,
    /// How many bytes of standard error the journal took.
    pub stderr_bytes: u64,
    /// SHA-256 of those bytes of standard output, in hexadecimal.
    pub stdout_sha256: String,
    /// SHA-256 of those bytes of standard error, in hexadecimal.
    pub stderr_sha256: String,
    /// From the start of the command until its last byte and process were gone, in milliseconds.
    pub duration_ms: u64,
}
