//! The supervisor's end frame becomes the exec's `complete`.
//!
//! Invariant: only an exit code of 0, with no error told, is `ok`; of an agent also the success
//! of its last result is needed.

use rdev_contract::agent::Agent;
use rdev_contract::event::{Complete, Outcome};
use rdev_contract::id::ConversationId;
use rdev_contract::position::Offsets;

use crate::agent::{Tally, bounded};

/// Shells count a death by signal so.
const SIGNAL_EXIT_CODE_BASE: i32 = 128;
/// Where there is no exit code to tell.
const NO_EXIT_CODE: i32 = -1;

const RUN_TIMEOUT_REASON: &str = "timeout_seconds is over: it ran for that time";
const IDLE_TIMEOUT_REASON: &str = "idle_timeout_seconds is over: it printed nothing in that time";

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// A time that was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeOut {
    /// That of the whole run.
    Run,
    /// That of silence.
    Idle,
}

/// What the supervisor's end frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessEnd {
    /// How the process ended. 127 or 126 where it could not be started.
    pub exit: Exit,
    /// It was stopped because it ran for too long, or printed nothing for too long.
    pub timed_out: Option<TimeOut>,
    /// It was stopped because a client asked for it.
    pub canceled: bool,
    /// Why it could not be started.
    pub spawn_error: Option<String>,
    /// Why its output is not whole, or why the supervisor had to stop it.
    pub error: Option<String>,
    /// It was stopped, but some of its processes could not be ended.
    pub has_survivors: bool,
    /// Bytes of both streams.
    pub totals: Offsets,
    /// Hash of stdout, lower-case hex.
    pub stdout_sha256: String,
    /// Hash of stderr, lower-case hex.
    pub stderr_sha256: String,
    /// From launch to end.
    pub duration_ms: u64,
}

pub(super) fn complete(
    tally: Option<&Tally>,
    end: &ProcessEnd,
    conversation: ConversationId,
) -> Complete {
    let (outcome, exit_code) = outcome(end);
    let is_unharmed =
        outcome == Outcome::Exited && end.spawn_error.is_none() && end.error.is_none();
    let (ok, session) = match tally {
        None => (is_unharmed && exit_code == 0, None),
        Some(tally) => (
            is_unharmed && tally.is_success(exit_code),
            tally.session_id().map(|id| (tally.agent(), id)),
        ),
    };
    let session_of = |agent: Agent| {
        let id = session.filter(|(of, _)| *of == agent);
        id.map(|(_, id)| id.to_string()).unwrap_or_default()
    };
    Complete {
        exit_code,
        duration_ms: end.duration_ms,
        claude_session_id: session_of(Agent::Claude),
        codex_session_id: session_of(Agent::Codex),
        conversation_id: session
            .map(|_| conversation.to_string())
            .unwrap_or_default(),
        ok,
        outcome,
        signal: match end.exit {
            Exit::Code(_) => None,
            Exit::Signal(number) => Some(number),
        },
        stdout_bytes: Some(end.totals.stdout),
        stderr_bytes: Some(end.totals.stderr),
        stdout_sha256: Some(end.stdout_sha256.clone()),
        stderr_sha256: Some(end.stderr_sha256.clone()),
        reason: reason(tally, end, ok, outcome),
    }
}

const fn outcome(end: &ProcessEnd) -> (Outcome, i32) {
    // Something of it still runs: it has neither been canceled nor ended in any other way.
    if end.has_survivors {
        return (Outcome::Lost, NO_EXIT_CODE);
    }
    if end.canceled {
        return (Outcome::Canceled, NO_EXIT_CODE);
    }
    if end.timed_out.is_some() {
        return (Outcome::TimedOut, NO_EXIT_CODE);
    }
    match end.exit {
        Exit::Code(code) => (Outcome::Exited, code),
        Exit::Signal(number) => (Outcome::Signaled, SIGNAL_EXIT_CODE_BASE + number),
    }
}

fn reason(tally: Option<&Tally>, end: &ProcessEnd, ok: bool, outcome: Outcome) -> String {
    if let Some(error) = end.error.as_ref().or(end.spawn_error.as_ref()) {
        return bounded(error.clone());
    }
    if outcome == Outcome::TimedOut {
        return match end.timed_out {
            Some(TimeOut::Idle) => IDLE_TIMEOUT_REASON.to_owned(),
            Some(TimeOut::Run) | None => RUN_TIMEOUT_REASON.to_owned(),
        };
    }
    match tally {
        Some(tally) if !ok && outcome == Outcome::Exited => tally.failure(),
        Some(_) | None => String::new(),
    }
}

#[cfg(test)]
#[path = "end_tests.rs"]
mod tests;
