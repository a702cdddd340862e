//! The state of an exec, folded from what the log holds of it, and what an executor does next.
//!
//! The fold is sparse: it needs only the last message of each kind, which one batched read gives,
//! however long the output is. Used by the executor (intake, claim, take-over), the gateway and
//! auditors.
//!
//! Invariants: a command with a claim is never started again, only resumed; a command that was
//! started is never `rejected`. (What a refused publish means is decided where the log is written.)

use jiff::{SignedDuration, Timestamp};
use rdev_contract::envelope::{Chain, Message, Recorded};
use rdev_contract::event::{
    Command, CommandSpec, Complete, Kind, PodIdentity, RawEvent, Resumed, Started, event_name,
};
use rdev_contract::id::{ClaimId, ExecId};
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use serde::Deserialize;

/// A command that could not be claimed this often brings its executors down or cannot be served;
/// trying for ever would only hide that.
pub const DELIVERIES_BEFORE_START_MAX_COUNT: u64 = 5;
/// Claims in a row that failed soon and brought no event: what they try to follow cannot be
/// followed.
pub const FAILED_CLAIMS_MAX_COUNT: u32 = 10;
/// Why a command was never started that has waited for too long.
pub const QUEUE_TIMEOUT_REASON: &str =
    "queue_timeout_seconds is over: it was not started in that time";
/// A claim that lasted longer has not failed soon, though its command may have been silent.
const SOON_SECONDS: i64 = 30;

/// The claim that holds an exec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The claim.
    pub claim: ClaimId,
    /// Its number: 1 for `started`, one more for each `resumed`.
    pub attempt: u32,
    /// Who claimed.
    pub executor: String,
    /// The container that it runs in.
    pub pod: PodIdentity,
    /// The shim instance.
    pub shim: String,
    /// Where the claim stands in the log.
    pub sequence: StreamSeq,
    /// When it was made.
    pub at: Timestamp,
    /// How many claims in a row before it failed soon and brought no event.
    pub failed_before: u32,
}

/// An exec as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecState {
    /// Which exec.
    pub exec: ExecId,
    /// Sequence of its `command`.
    pub command_seq: StreamSeq,
    /// What was asked for.
    pub command: Command,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// The last claim.
    pub claim: Option<Claimed>,
    /// The first claim: argv, and what it resumes.
    pub started: Option<Started>,
    /// When it was first claimed.
    pub started_at: Option<Timestamp>,
    /// The number of the next event.
    pub next: EventNo,
    /// Up to where its output is in the log.
    pub to: Offsets,
    /// Sequence of its last message: what the next publish expects.
    pub tail: StreamSeq,
    /// Chain value of its last message.
    pub chain: Chain,
    /// Its end.
    pub complete: Option<Complete>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// The last claim has brought at least one numbered event. Attempts without progress are
    /// what failures are counted by.
    pub progressed: bool,
}

/// The messages do not make an exec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The first message of every exec is missing.
    #[error("the exec has no command")]
    NoCommand,
    /// Messages of two execs.
    #[error("message {sequence} belongs to another exec")]
    Mixed {
        /// The message.
        sequence: StreamSeq,
    },
    /// A message does not have the shape of its kind.
    #[error("message {sequence} cannot be read: {detail}")]
    Unreadable {
        /// The message.
        sequence: StreamSeq,
        /// What is wrong with it.
        detail: String,
    },
}

/// The state that these messages make: at least the last of each kind there is, in any order.
///
/// # Errors
/// [`FoldError`] when there is no command, or a message cannot be read.
pub fn fold(messages: &[Recorded<Message<'_>>]) -> Result<ExecState, FoldError> {
    let mut ordered: Vec<_> = messages.iter().collect();
    ordered.sort_by_key(|message| message.sequence);
    let first = ordered
        .iter()
        .find(|message| message.value.head.known_kind() == Some(Kind::Command))
        .ok_or(FoldError::NoCommand)?;
    let mut state = ExecState {
        exec: first.value.head.exec(),
        command_seq: first.sequence,
        command: fact(first)?,
        asked_at: first.value.head.at,
        claim: None,
        started: None,
        started_at: None,
        next: EventNo::FIRST,
        to: Offsets::default(),
        tail: first.sequence,
        chain: first.value.chain.clone(),
        complete: None,
        completed_at: None,
        progressed: false,
    };
    for message in ordered {
        state.apply(message)?;
    }
    Ok(state)
}

impl ExecState {
    /// The attempt that the next claim of this exec is: the first is 1.
    #[must_use]
    pub fn next_attempt(&self) -> u32 {
        self.claim.as_ref().map_or(0, |claimed| claimed.attempt) + 1
    }

    /// Whether the next claim may launch the command, if nobody has: only while nothing that it
    /// printed has been seen. Whoever claimed before may have ended between claim and launch.
    #[must_use]
    pub fn may_launch(&self) -> bool {
        self.next == EventNo::FIRST
    }

    /// Takes in how far the shim was told that the log goes: further than the log still shows when
    /// its last bulk message has expired. The larger of both is true.
    pub fn raise(&mut self, next: EventNo, to: Offsets) {
        self.next = self.next.max(next);
        self.to = self.to.max(to);
    }

    /// Takes one more message in; it comes after all that were taken in before.
    ///
    /// # Errors
    /// [`FoldError`] when it is of another exec or cannot be read.
    pub fn apply(&mut self, message: &Recorded<Message<'_>>) -> Result<(), FoldError> {
        let sequence = message.sequence;
        let head = &message.value.head;
        if head.exec() != self.exec {
            return Err(FoldError::Mixed { sequence });
        }
        match head.known_kind() {
            Some(Kind::Command | Kind::Admitted) => {}
            // Of a later build: what has numbers has taken them.
            None if head.first.is_some() => self.apply_numbered(&message.value),
            None => {}
            Some(Kind::Started) => self.apply_started(message)?,
            Some(Kind::Resumed) => self.apply_resumed(message)?,
            Some(Kind::Output | Kind::Claude | Kind::Codex | Kind::Approval) => {
                self.apply_numbered(&message.value);
            }
            Some(Kind::Complete) => {
                self.complete = Some(complete(message)?);
                self.completed_at = Some(head.at);
                self.apply_numbered(&message.value);
            }
        }
        self.tail = sequence;
        self.chain = message.value.chain.clone();
        Ok(())
    }

    fn apply_started(&mut self, message: &Recorded<Message<'_>>) -> Result<(), FoldError> {
        let started: Started = fact(message)?;
        self.claim = Some(Claimed {
            claim: started.claim,
            attempt: started.attempt,
            executor: started.executor.clone(),
            pod: started.pod.clone(),
            shim: started.shim.clone(),
            sequence: message.sequence,
            at: message.value.head.at,
            failed_before: 0,
        });
        self.started = Some(started);
        self.started_at = Some(message.value.head.at);
        self.progressed = false;
        Ok(())
    }

    fn apply_resumed(&mut self, message: &Recorded<Message<'_>>) -> Result<(), FoldError> {
        let resumed: Resumed = fact(message)?;
        self.claim = Some(Claimed {
            claim: resumed.claim,
            attempt: resumed.attempt,
            executor: resumed.executor,
            pod: resumed.pod,
            shim: resumed.shim,
            sequence: message.sequence,
            at: message.value.head.at,
            failed_before: resumed.failed_before,
        });
        // Bulk output may have expired; the take-over still says how far it went.
        self.raise(resumed.from.next, resumed.from.offsets);
        self.progressed = false;
        Ok(())
    }

    fn apply_numbered(&mut self, message: &Message<'_>) {
        if let Some(next) = next_after(message) {
            self.next = self.next.max(next);
        }
        if let Some(to) = message.head.to {
            self.to = self.to.max(to);
        }
        self.progressed = true;
    }
}

/// The number of the event after this message. A part of a long line that is not its last counts
/// for nothing: the line is repeated from its first part.
#[must_use]
pub fn next_after(message: &Message<'_>) -> Option<EventNo> {
    let first = message.head.first?;
    let whole = message
        .events
        .iter()
        .filter(|event| event.fragment.as_ref().is_none_or(|part| part.last))
        .count();
    Some(first.plus(whole as u64))
}

/// The `complete` in a message that holds it.
///
/// # Errors
/// [`FoldError::Unreadable`] when it does not.
pub fn complete(message: &Recorded<Message<'_>>) -> Result<Complete, FoldError> {
    let is_complete = |event: &&RawEvent<'_>| event.name == event_name::COMPLETE;
    let data = message
        .value
        .events
        .iter()
        .find(is_complete)
        .and_then(|event| event.data)
        .ok_or_else(|| unreadable(message, "it holds no complete event"))?;
    serde_json::from_str(data.get()).map_err(|error| unreadable(message, &error.to_string()))
}

fn fact<'a, T: Deserialize<'a>>(message: &Recorded<Message<'a>>) -> Result<T, FoldError> {
    message
        .value
        .fact()
        .map_err(|error| unreadable(message, &error.to_string()))
}

fn unreadable(message: &Recorded<Message<'_>>, detail: &str) -> FoldError {
    FoldError::Unreadable {
        sequence: message.sequence,
        detail: detail.to_owned(),
    }
}

/// What an executor does with a command that was delivered to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It has ended: acknowledge the delivery, nothing else.
    Finished,
    /// Write a `rejected` end with this reason: it was never started and must not be any more.
    Reject {
        /// For `complete.reason`.
        reason: String,
    },
    /// Write a `timed_out` end with this reason: it has waited for its start for too long, and is
    /// never started.
    TimeOut {
        /// For `complete.reason`.
        reason: String,
    },
    /// Claim it with `started`, then launch it.
    Start,
    /// Claim it with `resumed`, then follow what runs.
    Resume {
        /// For the claim: how many in a row before it failed.
        failed_before: u32,
    },
    /// Write a `lost` end with this reason: what was started cannot be followed to its end.
    Lose {
        /// For `complete.reason`.
        reason: String,
    },
}

fn follow_up(claimed: &Claimed, progressed: bool, now: Timestamp) -> Step {
    let lasted_seconds = now.as_second() - claimed.at.as_second();
    let failed_before = if progressed || lasted_seconds > SOON_SECONDS {
        0
    } else {
        claimed.failed_before + 1
    };
    if failed_before <= FAILED_CLAIMS_MAX_COUNT {
        return Step::Resume { failed_before };
    }
    Step::Lose {
        reason: format!(
            "{FAILED_CLAIMS_MAX_COUNT} executors in a row could not follow the command: see \
             their logs"
        ),
    }
}

/// Until when a command that was stored at `recorded_at` may wait for its start; `None` means for
/// ever.
#[must_use]
pub fn start_by(spec: &CommandSpec, recorded_at: Timestamp) -> Option<Timestamp> {
    let seconds = i64::try_from(spec.queue_timeout_seconds?).ok()?;
    recorded_at
        .checked_add(SignedDuration::from_secs(seconds))
        .ok()
}

/// What to do with a command at its `deliveries`-th delivery (the first is 1). `recorded_at` is when
/// the log stored it: what waited long for an executor was accepted in time all the same.
#[must_use]
pub fn decide(state: &ExecState, deliveries: u64, recorded_at: Timestamp, now: Timestamp) -> Step {
    if state.complete.is_some() {
        return Step::Finished;
    }
    // Whatever may have been launched is followed, never launched again nor given up here.
    if let Some(claimed) = &state.claim {
        return follow_up(claimed, state.progressed, now);
    }
    if state.command.accept_until < recorded_at {
        return Step::Reject {
            reason:
                "the command reached the log too late, when its client had been told so: post it \
                     again"
                    .to_owned(),
        };
    }
    if start_by(&state.command.spec, recorded_at).is_some_and(|last| last < now) {
        return Step::TimeOut {
            reason: QUEUE_TIMEOUT_REASON.to_owned(),
        };
    }
    if deliveries > DELIVERIES_BEFORE_START_MAX_COUNT {
        return Step::Reject {
            reason: format!(
                "{DELIVERIES_BEFORE_START_MAX_COUNT} attempts to start the command have failed: \
                 see the executors' logs"
            ),
        };
    }
    Step::Start
}

#[cfg(test)]
#[path = "exec_tests.rs"]
mod tests;
