//! The lines that commands wait in: one for each session, and each project's view of its sessions.
//!
//! Invariant: after every change a project knows, for each of its sessions that may begin an exec,
//! the one that it would begin. So what is next is found without looking at what waits.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use rdev_contract::agent::Agent;
use rdev_contract::id::SessionId;
use rdev_contract::position::StreamSeq;

use super::Turn;

/// What waits and runs in one session.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) running: u32,
    pub(super) is_held: bool,
    /// Who waits for nothing in this session but room.
    any: Sorted,
    agents: BTreeMap<Agent, AgentLine>,
}

/// What waits and runs of one agent in one session.
#[derive(Debug, Default)]
struct AgentLine {
    /// Who waits for all that are before it.
    resuming: Sorted,
    /// All that have not ended.
    unfinished: BTreeSet<StreamSeq>,
}

impl AgentLine {
    fn has_earlier(&self, sequence: StreamSeq) -> bool {
        self.unfinished
            .first()
            .is_some_and(|first| *first < sequence)
    }

    fn next(&self) -> Option<StreamSeq> {
        let first = self.resuming.first()?;
        (!self.has_earlier(first)).then_some(first)
    }
}

impl Line {
    pub(super) fn waits(&mut self, sequence: StreamSeq, turn: Turn) {
        self.lane(turn).insert(sequence);
    }

    pub(super) fn waits_no_more(&mut self, sequence: StreamSeq, turn: Turn) {
        self.lane(turn).remove(sequence);
    }

    pub(super) fn begins(&mut self, sequence: StreamSeq, turn: Turn) {
        if let Some(agent) = turn.agent() {
            let line = self.agents.entry(agent).or_default();
            line.unfinished.insert(sequence);
        }
    }

    pub(super) fn ended(&mut self, sequence: StreamSeq, turn: Turn) {
        if let Some(line) = turn.agent().and_then(|agent| self.agents.get_mut(&agent)) {
            line.unfinished.remove(&sequence);
        }
    }

    /// Whether it waits for others of its agent.
    pub(super) fn is_behind_its_agent(&self, sequence: StreamSeq, turn: Turn) -> bool {
        match turn {
            Turn::Any | Turn::Begins(_) => false,
            Turn::Resumes(agent) => {
                let line = self.agents.get(&agent);
                line.is_some_and(|line| line.has_earlier(sequence))
            }
        }
    }

    /// How many commands wait.
    pub(super) fn waiting(&self) -> usize {
        let resuming = self.agents.values().map(|line| line.resuming.0.len());
        self.any.0.len() + resuming.sum::<usize>()
    }

    /// How many of them wait for others of their agent: all that resume, but for the first one where
    /// nothing is before it.
    pub(super) fn behind_their_agents(&self) -> usize {
        let agents = self.agents.values();
        let behind = agents.map(|line| line.resuming.0.len() - usize::from(line.next().is_some()));
        behind.sum()
    }

    /// How many commands that wait were there before this one.
    pub(super) fn ahead_of(&self, sequence: StreamSeq) -> u64 {
        let agents = self.agents.values();
        let resuming = agents.map(|line| line.resuming.before(sequence));
        self.any.before(sequence) + resuming.sum::<u64>()
    }

    fn lane(&mut self, turn: Turn) -> &mut Sorted {
        match turn {
            Turn::Any | Turn::Begins(_) => &mut self.any,
            Turn::Resumes(agent) => &mut self.agents.entry(agent).or_default().resuming,
        }
    }

    /// What this session would begin.
    fn next(&self, running_max: u32) -> Option<StreamSeq> {
        if self.is_held || self.running >= running_max {
            return None;
        }
        let resuming = self.agents.values().filter_map(AgentLine::next);
        self.any.first().into_iter().chain(resuming).min()
    }

    fn is_busy(&self) -> bool {
        let mut agents = self.agents.values();
        self.running > 0 || !self.any.is_empty() || agents.any(|line| !line.unfinished.is_empty())
    }

    fn is_idle(&self) -> bool {
        !self.is_held && !self.is_busy()
    }
}

/// What waits and runs in one project.
#[derive(Debug, Default)]
pub(super) struct Project {
    pub(super) running: u32,
    /// Virtual time at which its last turn is over.
    pub(super) finish: u64,
    waiting: Sorted,
    lines: HashMap<SessionId, Line>,
    /// What each session would begin.
    ready: BTreeSet<StreamSeq>,
}

impl Project {
    /// Changes a session's line, and what it would begin.
    pub(super) fn change(
        &mut self,
        session: SessionId,
        running_max: u32,
        change: impl FnOnce(&mut Self, &mut Line),
    ) {
        let mut line = self.lines.remove(&session).unwrap_or_default();
        if let Some(before) = line.next(running_max) {
            self.ready.remove(&before);
        }
        change(self, &mut line);
        self.ready.extend(line.next(running_max));
        if !line.is_idle() {
            self.lines.insert(session, line);
        }
    }

    pub(super) fn relimit(&mut self, running_max: u32) {
        let next = self
            .lines
            .values()
            .filter_map(|line| line.next(running_max));
        self.ready = next.collect();
    }

    pub(super) fn waits(&mut self, sequence: StreamSeq) {
        self.waiting.insert(sequence);
    }

    pub(super) fn waits_no_more(&mut self, sequence: StreamSeq) {
        self.waiting.remove(sequence);
    }

    /// The oldest command that one of its sessions would begin.
    pub(super) fn next(&self) -> Option<StreamSeq> {
        self.ready.first().copied()
    }

    pub(super) fn line(&self, session: SessionId) -> Option<&Line> {
        self.lines.get(&session)
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.values()
    }

    pub(super) fn is_held(&self, session: SessionId) -> bool {
        self.lines.get(&session).is_some_and(|line| line.is_held)
    }

    pub(super) fn is_busy(&self, session: SessionId) -> bool {
        self.lines.get(&session).is_some_and(Line::is_busy)
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.0.len()
    }

    pub(super) fn ahead_of(&self, sequence: StreamSeq) -> u64 {
        self.waiting.before(sequence)
    }

    /// Nothing is to be remembered of it: nor that it is ahead of its turn.
    pub(super) fn is_idle(&self, present: u64) -> bool {
        self.lines.is_empty() && self.finish <= present
    }
}

/// Sequences in their order. They come at the end and go near the beginning, nearly always.
#[derive(Debug, Default)]
struct Sorted(VecDeque<StreamSeq>);

impl Sorted {
    fn insert(&mut self, sequence: StreamSeq) {
        let at = self.0.partition_point(|other| *other < sequence);
        self.0.insert(at, sequence);
    }

    fn remove(&mut self, sequence: StreamSeq) {
        if let Ok(at) = self.0.binary_search(&sequence) {
            self.0.remove(at);
        }
    }

    fn first(&self) -> Option<StreamSeq> {
        self.0.front().copied()
    }

    fn before(&self, sequence: StreamSeq) -> u64 {
        self.0.partition_point(|other| *other < sequence) as u64
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
