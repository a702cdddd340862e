//! What is said about commands that wait: limits, places, who schedules, and what a scheduler leaves
//! for the next one. The wait itself is in the log: a `command` without its `admitted`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::ProjectId;
use crate::position::StreamSeq;

/// How many execs may run at once. What is admitted counts as running until it is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLimits {
    /// Of one session.
    pub session_running_max: u32,
    /// Of one project.
    pub project_running_max: u32,
    /// Shares of projects among each other; a project that is not named has 1.
    #[serde(default)]
    pub weights: BTreeMap<ProjectId, u32>,
}

/// Where a command stands that waits. Shown as `queue` of an exec and as the data of `queued`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueuePlace {
    /// Its place among the commands of its project that wait, from 1. It never grows.
    pub position: u64,
    /// How many commands of its session that wait were there before it.
    pub ahead_in_session: u64,
    /// What it waits for; absent when it is about to be admitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<WaitReason>,
}

/// What a command waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// Its session has as many running execs as it may have.
    SessionLimit,
    /// Its project has as many running execs as it may have.
    ProjectLimit,
    /// It resumes an agent's session, and an earlier exec of that agent in its session has not ended.
    AgentSession,
    /// The pod of its session is not ready.
    SessionNotReady,
    /// The executors have no slot for its project.
    Slots,
    /// No executor is there.
    NoExecutor,
}

impl WaitReason {
    /// All reasons.
    pub const ALL: [Self; 6] = [
        Self::SessionLimit,
        Self::ProjectLimit,
        Self::AgentSession,
        Self::SessionNotReady,
        Self::Slots,
        Self::NoExecutor,
    ];

    /// The word for it, in JSON and elsewhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SessionLimit => "session_limit",
            Self::ProjectLimit => "project_limit",
            Self::AgentSession => "agent_session",
            Self::SessionNotReady => "session_not_ready",
            Self::Slots => "slots",
            Self::NoExecutor => "no_executor",
        }
    }
}

/// What the scheduler says about itself each time it renews its term.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulerStatus {
    /// Name of its executor; empty when it has resigned.
    pub scheduler: String,
    /// Tells this process from one of the same name.
    pub term: String,
    /// Execs that all executors together can run at once.
    pub slots: u32,
    /// What it keeps to.
    pub limits: QueueLimits,
}

/// How many execs an executor can run at once, as it says every second. Not stored: whoever is
/// silent is not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotsAnnounced {
    /// Its name.
    pub executor: String,
    /// 0 when it ends.
    pub slots: u32,
}

/// Which execs had not ended at a position of the log: where a scheduler begins to read, instead of
/// at the log's beginning. A cache: without it the log says the same, and takes longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSnapshot {
    /// Which life of the stream.
    pub log_created_at: Timestamp,
    /// Up to where the log was read.
    pub position: StreamSeq,
    /// Sequences of commands that wait, each as the distance from the one before.
    waiting: Vec<u64>,
    /// The same of execs that were admitted.
    admitted: Vec<u64>,
}

/// JSON of two lists of distances of one digit or two: some 250,000 commands that wait.
const SNAPSHOT_MAX_BYTES: usize = 768 * 1024;

impl QueueSnapshot {
    /// Of a log at a position; the sequences in ascending order.
    #[must_use]
    pub fn new(
        log_created_at: Timestamp,
        position: StreamSeq,
        waiting: &[StreamSeq],
        admitted: &[StreamSeq],
    ) -> Self {
        Self {
            log_created_at,
            position,
            waiting: distances(waiting),
            admitted: distances(admitted),
        }
    }

    /// Sequences of the commands that waited.
    #[must_use]
    pub fn waiting(&self) -> Vec<StreamSeq> {
        sequences(&self.waiting)
    }

    /// Sequences of the commands of execs that were admitted and had not ended.
    #[must_use]
    pub fn admitted(&self) -> Vec<StreamSeq> {
        sequences(&self.admitted)
    }

    /// As it is stored. One that does not fit a message names the place before the first exec that
    /// has not ended, from which the log says the rest.
    ///
    /// # Errors
    /// None in practice: only if it cannot be written as JSON.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let whole = serde_json::to_vec(self)?;
        if whole.len() <= SNAPSHOT_MAX_BYTES {
            return Ok(whole);
        }
        let first = [&self.waiting, &self.admitted].into_iter();
        let first = first.filter_map(|list| list.first()).min();
        let before = first.map_or(self.position.0, |first| first.saturating_sub(1));
        serde_json::to_vec(&Self::new(self.log_created_at, StreamSeq(before), &[], &[]))
    }
}

fn distances(sequences: &[StreamSeq]) -> Vec<u64> {
    let mut before = 0;
    let distance = |sequence: &StreamSeq| sequence.0 - std::mem::replace(&mut before, sequence.0);
    sequences.iter().map(distance).collect()
}

fn sequences(distances: &[u64]) -> Vec<StreamSeq> {
    let mut sequence = 0;
    let next = |distance: &u64| {
        sequence += distance;
        StreamSeq(sequence)
    };
    distances.iter().map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(waiting: &[StreamSeq]) -> QueueSnapshot {
        let position = StreamSeq(u64::MAX / 2);
        QueueSnapshot::new(Timestamp::UNIX_EPOCH, position, waiting, &[StreamSeq(9)])
    }

    #[test]
    fn reasons_have_one_word_each() {
        for reason in WaitReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.name());
        }
    }

    #[test]
    fn sequences_come_back() {
        let waiting = [StreamSeq(12), StreamSeq(13), StreamSeq(900)];
        let read: QueueSnapshot =
            serde_json::from_slice(&snapshot(&waiting).encode().unwrap()).unwrap();
        assert_eq!(read.waiting(), waiting);
        assert_eq!(read.admitted(), [StreamSeq(9)]);
    }

    #[test]
    fn one_that_is_too_large_becomes_a_place() {
        let many: Vec<_> = (0..300_000)
            .map(|number| StreamSeq(100 + 11 * number))
            .collect();
        let encoded = snapshot(&many).encode().unwrap();
        assert!(encoded.len() < 1000, "{} bytes", encoded.len());
        let read: QueueSnapshot = serde_json::from_slice(&encoded).unwrap();
        assert_eq!(read.position, StreamSeq(8));
        assert_eq!((read.waiting(), read.admitted()), (vec![], vec![]));
        // Just below, it is whole.
        let fewer = &many[..250_000];
        let read: QueueSnapshot =
            serde_json::from_slice(&snapshot(fewer).encode().unwrap()).unwrap();
        assert_eq!(read.waiting(), fewer);
    }
}
