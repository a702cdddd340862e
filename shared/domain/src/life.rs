//! What is due in the life of a session: a pod for it, a warning, an end, and that its pod is removed.
//! Decided by the executor that keeps sessions, from the session's facts alone and from whether
//! anything of it waits or runs.
//!
//! Invariants: a session does not end for being idle without a warning that said when; a pod is
//! removed only after the session's end, and not while a command runs that may go on; what an end stops
//! is stopped however late whoever keeps the session comes.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rdev_contract::session::{EndReason, PodState};

use crate::session::SessionState;

/// After an end that stops what runs, it has so long to stop: the grace of a cancel, and some more.
/// Then the pod is removed all the same.
pub const STOP_WITHIN: Duration = Duration::from_secs(60);

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Nothing now; look again when there is a fact, or at this time.
    Wait(Option<Timestamp>),
    /// A pod is to be made or chosen, or looked at.
    Provide,
    /// It may have been idle for this long: see [`idle`].
    LookIdle(Duration),
    /// The warning is not true any more.
    Withdraw,
    /// It ends.
    End(EndReason),
    /// Its execs are to be canceled.
    Cancel,
    /// Its pod is to be removed.
    Discard,
    /// Nothing any more.
    Over,
}

/// What is due of a session in which something waits or runs (`is_busy`), or nothing does.
#[must_use]
pub fn duty(state: &SessionState, is_busy: bool, now: Timestamp) -> Duty {
    if state.ended.is_some() {
        return after_end(state, is_busy, now);
    }
    let expires_at = state.created.expires_at;
    if expires_at.is_some_and(|at| at <= now) {
        return Duty::End(EndReason::Expired);
    }
    match state.pod_state() {
        Some(PodState::Pending) => return Duty::Provide,
        Some(PodState::Failed) => return Duty::End(EndReason::Failed),
        Some(PodState::Ready | PodState::Deleted) | None => {}
    }
    match state.created.idle_timeout_seconds {
        None => Duty::Wait(expires_at),
        Some(_) if is_busy && state.idle_ends_at.is_some() => Duty::Withdraw,
        Some(_) if is_busy => Duty::Wait(expires_at),
        Some(seconds) => Duty::LookIdle(Duration::from_secs(seconds)),
    }
}

fn after_end(state: &SessionState, is_busy: bool, now: Timestamp) -> Duty {
    let is_stopped = state.ended.as_ref().is_some_and(|ended| ended.cancel);
    let stopped_by = state.ended_at.map(|at| plus(at, STOP_WITHIN));
    let has_pod = state.created.template.is_some() && state.pod_state() != Some(PodState::Deleted);
    // Only with a pod that is removed does everything end at last.
    let may_stop = !has_pod || stopped_by.is_some_and(|at| now < at);
    let stops = is_busy && is_stopped && may_stop;
    match (stops, has_pod) {
        (true, _) => Duty::Cancel,
        (false, false) => Duty::Over,
        (false, true) if is_busy && !is_stopped => Duty::Wait(None),
        (false, true) => Duty::Discard,
    }
}

/// What is due of a session in which nothing waits or runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Nothing before this time.
    Wait(Timestamp),
    /// A warning that it ends then.
    Warn(Timestamp),
    /// The warning is not true any more: something has happened.
    Withdraw,
    /// It ends.
    End,
}

/// What is due of a session in which nothing has happened since `since`; `warned` is when it ends as
/// it was told.
#[must_use]
pub fn idle(
    warned: Option<Timestamp>,
    since: Timestamp,
    timeout: Duration,
    warning: Duration,
    now: Timestamp,
) -> Idle {
    let end = plus(since, timeout);
    let soonest = plus(now, warning.min(timeout));
    match warned {
        Some(at) if at >= end && at <= now => Idle::End,
        Some(at) if at >= end => Idle::Wait(at),
        // Whoever could have warned was not there in time: it ends so much later.
        Some(_) | None if soonest >= end => Idle::Warn(soonest),
        Some(_) => Idle::Withdraw,
        None => Idle::Wait(minus(end, warning.min(timeout))),
    }
}

/// As far as times go.
#[must_use]
pub fn plus(at: Timestamp, duration: Duration) -> Timestamp {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

fn minus(at: Timestamp, duration: Duration) -> Timestamp {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    at.checked_sub(duration).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
