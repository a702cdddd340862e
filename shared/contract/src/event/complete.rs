//! `complete`: the last event of every exec, exactly once. Written by the executor that holds
//! the claim (or that found the command unacceptable); read by everybody.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `data` of a `complete` event, in the log and over SSE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Complete {
    /// The process's own; 128 + n when ended by signal n; −1 when there is none to tell.
    pub exit_code: i32,
    /// From launch to end as the supervisor measured it; 0 if it never ran.
    pub duration_ms: u64,
    /// The claude session that the run yielded; empty if none.
    pub claude_session_id: String,
    /// The codex session that the run yielded; empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub codex_session_id: String,
    /// The conversation it belongs to; empty if it yielded no session of an agent.
    pub conversation_id: String,
    /// Exit code 0, and of an agent a successful last result.
    pub ok: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Number of the signal that ended the process.
    pub signal: Option<i32>,
    /// Bytes of standard output, from the supervisor's end frame; null when there was none.
    pub stdout_bytes: Option<u64>,
    /// Bytes of standard error.
    pub stderr_bytes: Option<u64>,
    /// SHA-256 of standard output, lower-case hex.
    pub stdout_sha256: Option<String>,
    /// SHA-256 of standard error, lower-case hex.
    pub stderr_sha256: Option<String>,
    /// Why, in words, where the outcome alone does not say it.
    pub reason: String,
}

/// How an exec ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The process ended by itself.
    Exited,
    /// A signal ended the process.
    Signaled,
    /// It ran longer than allowed and was stopped.
    TimedOut,
    /// A client canceled it.
    Canceled,
    /// Nobody can know how it ended. Never a success, never run again.
    Lost,
    /// It was never started.
    Rejected,
}

impl Outcome {
    /// As in JSON and in the read model.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Signaled => "signaled",
            Self::TimedOut => "timed_out",
            Self::Canceled => "canceled",
            Self::Lost => "lost",
            Self::Rejected => "rejected",
        }
    }
}

impl Complete {
    /// An end without a process to tell of: `lost` or `rejected`.
    #[must_use]
    pub fn without_process(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self {
            exit_code: -1,
            duration_ms: 0,
            claude_session_id: String::new(),
            codex_session_id: String::new(),
            conversation_id: String::new(),
            ok: false,
            outcome,
            signal: None,
            stdout_bytes: None,
            stderr_bytes: None,
            stdout_sha256: None,
            stderr_sha256: None,
            reason: reason.into(),
        }
    }
}
