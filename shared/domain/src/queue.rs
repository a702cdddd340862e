//! Which commands wait, and which of them is next. Folded from the log by the scheduler, which
//! admits commands, and by gateways, which tell where a command stands.
//!
//! A command waits from its `command` to its `admitted`, and counts as running from there to its
//! `complete`. Three rules say whether one may be admitted:
//!
//! - its session and its project have fewer running execs than they may have;
//! - one that resumes an agent's session waits for every earlier exec of that agent in its session:
//!   two that resume at a time would fork the history without a word. Whoever is behind it passes it
//!   by;
//! - its project has less than [`HEADROOM`] times as many running execs as there are free slots. So
//!   whoever fills all slots leaves some for those who come later, and who has little gets more.
//!
//! Of what may be admitted, the oldest command of the project whose turn it is comes first. Turns go
//! round by start-time fair queueing: a turn costs a project one part in its weight of virtual time,
//! and a project that had nothing to do begins at the present, however long it was away.
//!
//! Invariants: the state is that of the facts alone, whatever it was asked in between; a session's
//! commands are admitted in the order of the log, but for those that resume and wait.

mod line;
mod session;
mod sums;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use rdev_contract::agent::Agent;
use rdev_contract::envelope::{Chain, Message};
use rdev_contract::event::{Command, CommandSpec, Kind};
use rdev_contract::id::{ExecId, ProjectId};
use rdev_contract::position::StreamSeq;
use rdev_contract::queue::{QueueLimits, QueuePlace, WaitReason};
use rdev_contract::subject;

use crate::exec;
use line::{Line, Project};

/// How many running execs a project of weight 1 may have for each slot that is free. Alone it
/// gets all but a ninth of the slots: few enough to lose, and as many projects begin at once, however
/// long the execs of the first one run.
pub const HEADROOM: u64 = 8;
/// What a turn costs in virtual time, for weight 1: divisible by small weights, and no log is long
/// enough for the sum to overflow.
const TURN_COST: u64 = 1 << 20;

/// Fewer projects are looked through in no time.
const PROJECTS_MIN: usize = 64;

/// What a command has to wait for in its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// For nothing: `shell` and `git`.
    Any,
    /// For nothing, but who resumes this agent's session waits for it: it begins one.
    Begins(Agent),
    /// For every earlier exec of this agent.
    Resumes(Agent),
}

impl Turn {
    /// That of a command.
    #[must_use]
    pub fn of(spec: &CommandSpec) -> Self {
        match spec.work.agent() {
            None => Self::Any,
            Some(task) if task.continue_conversation || task.conversation_id.is_some() => {
                Self::Resumes(task.agent)
            }
            Some(task) => Self::Begins(task.agent),
        }
    }

    const fn agent(self) -> Option<Agent> {
        match self {
            Self::Any => None,
            Self::Begins(agent) | Self::Resumes(agent) => Some(agent),
        }
    }
}

/// A command as it begins to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commanded {
    /// Whose.
    pub exec: ExecId,
    /// What it has to wait for.
    pub turn: Turn,
    /// What its next message links to.
    pub chain: Chain,
    /// When the log stored it.
    pub recorded_at: Timestamp,
    /// When it has waited for too long.
    pub start_by: Option<Timestamp>,
    /// Nothing of its session may be admitted until its pod is ready ([`Queue::hold`]).
    pub awaits_pod: bool,
}

/// What a message of the log means for the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A command waits.
    Commanded(Commanded),
    /// Its turn has come.
    Admitted(ExecId),
    /// It has ended.
    Completed(ExecId),
}

impl Fact {
    /// What a message says that was stored at `recorded_at`. A command that cannot be read has its
    /// turn like any other: its executor will say what is wrong with it.
    #[must_use]
    pub fn of(subject: &str, payload: &[u8], recorded_at: Timestamp) -> Option<Self> {
        let (exec, kind) = subject::parse_exec(subject).ok()?;
        match kind.parse().ok()? {
            Kind::Command => {
                let message = Message::decode(payload).ok();
                let command = message
                    .as_ref()
                    .and_then(|message| message.fact::<Command>().ok());
                let spec = command.as_ref().map(|command| &command.spec);
                Some(Self::Commanded(Commanded {
                    exec,
                    turn: spec.map_or(Turn::Any, Turn::of),
                    recorded_at,
                    start_by: spec.and_then(|spec| exec::start_by(spec, recorded_at)),
                    awaits_pod: command.as_ref().is_some_and(|command| command.awaits_pod),
                    chain: message.map(|message| message.chain).unwrap_or_default(),
                }))
            }
            Kind::Admitted => Some(Self::Admitted(exec)),
            Kind::Complete => Some(Self::Completed(exec)),
            Kind::Started
            | Kind::Resumed
            | Kind::Output
            | Kind::Claude
            | Kind::Codex
            | Kind::Approval => None,
        }
    }
}

/// A command that is to wait no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Whose.
    pub exec: ExecId,
    /// Its place in the log.
    pub command_seq: StreamSeq,
    /// What its next message links to.
    pub chain: Chain,
}

/// An exec that has not ended.
#[derive(Debug)]
struct Exec {
    id: ExecId,
    turn: Turn,
    chain: Chain,
    recorded_at: Timestamp,
    start_by: Option<Timestamp>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    /// It is to be admitted; the log does not say so yet.
    Due,
    Admitted,
}

/// All execs that have not ended.
#[derive(Debug)]
pub struct Queue {
    limits: QueueLimits,
    slots: u32,
    running: u32,
    waiting: usize,
    /// Virtual time: when the last turn began, or was over if nobody else waited for one.
    present: u64,
    execs: BTreeMap<StreamSeq, Exec>,
    sequences: HashMap<ExecId, StreamSeq>,
    projects: BTreeMap<ProjectId, Project>,
    /// When those that wait will have waited for too long.
    deadlines: BTreeSet<(Timestamp, StreamSeq)>,
    /// When so many projects are known, those are forgotten that have nothing to do.
    projects_max: usize,
}

impl Queue {
    /// Of an empty log, and no slots yet.
    #[must_use]
    pub fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            slots: 0,
            running: 0,
            waiting: 0,
            present: 0,
            execs: BTreeMap::new(),
            sequences: HashMap::new(),
            projects: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            projects_max: PROJECTS_MIN,
        }
    }

    /// Takes in what a message says that is stored at `sequence`. What is known already changes
    /// nothing, nor does what is said of an exec without a command.
    pub fn apply(&mut self, sequence: StreamSeq, fact: Fact) {
        match fact {
            Fact::Commanded(command) => self.commanded(sequence, command),
            Fact::Admitted(exec) => {
                if let Some(sequence) = self.sequences.get(&exec) {
                    self.admitted(*sequence);
                }
            }
            Fact::Completed(exec) => self.forget(&exec),
        }
    }

    /// The exec with this command was admitted.
    pub fn admitted(&mut self, command_seq: StreamSeq) {
        self.start(command_seq);
        if let Some(exec) = self.execs.get_mut(&command_seq) {
            exec.phase = Phase::Admitted;
        }
    }

    /// How many execs all executors can run at once.
    pub const fn set_slots(&mut self, slots: u32) {
        self.slots = slots;
    }

    /// The same.
    #[must_use]
    pub const fn slots(&self) -> u32 {
        self.slots
    }

    /// What is kept to.
    #[must_use]
    pub const fn limits(&self) -> &QueueLimits {
        &self.limits
    }

    /// Keeps to other limits from now on.
    pub fn set_limits(&mut self, limits: QueueLimits) {
        if self.limits == limits {
            return;
        }
        self.limits = limits;
        for project in self.projects.values_mut() {
            project.relimit(self.limits.session_running_max);
        }
    }

    /// The next command to be admitted, if any may be. It counts as running from here on, and is
    /// admitted when the log says so.
    pub fn admit(&mut self) -> Option<Admission> {
        let free = self.free();
        let may = |(id, project): &(&ProjectId, &Project)| {
            project.running < self.limits.project_running_max
                && self.has_headroom(id, project, free)
        };
        let (_, _, command_seq) = self
            .projects
            .iter()
            .filter(may)
            .filter_map(|(_, project)| {
                let (oldest, finish) = (project.next()?, project.finish);
                // At the same turn, whoever had the last one longer ago.
                Some((finish.max(self.present), finish, oldest))
            })
            .min()?;
        self.start(command_seq);
        self.admission(command_seq)
    }

    /// A command that has waited for too long, each once: whoever learns it ends it, and if it is
    /// admitted meanwhile its executor does.
    pub fn overdue(&mut self, now: Timestamp) -> Option<Admission> {
        let (start_by, command_seq) = *self.deadlines.first()?;
        if start_by >= now {
            return None;
        }
        self.deadlines.pop_first();
        self.admission(command_seq)
    }

    /// The log holds nothing of this exec any more, or its end.
    pub fn forget(&mut self, exec: &ExecId) {
        let Some(sequence) = self.sequences.remove(exec) else {
            return;
        };
        let Some(known) = self.execs.remove(&sequence) else {
            return;
        };
        if let Some(start_by) = known.start_by {
            self.deadlines.remove(&(start_by, sequence));
        }
        let is_running = known.phase != Phase::Waiting;
        if is_running {
            self.running -= 1;
        } else {
            self.waiting -= 1;
        }
        self.change(exec, |project, line| {
            if is_running {
                project.running -= 1;
                line.running -= 1;
            } else {
                project.waits_no_more(sequence);
                line.waits_no_more(sequence, known.turn);
            }
            line.ended(sequence, known.turn);
        });
    }

    /// Where a command stands that waits.
    #[must_use]
    pub fn place(&self, exec: &ExecId) -> Option<QueuePlace> {
        let sequence = *self.sequences.get(exec)?;
        let known = self.execs.get(&sequence)?;
        if known.phase != Phase::Waiting {
            return None;
        }
        let project = self.projects.get(&exec.project)?;
        let line = project.line(exec.session)?;
        let is_behind = line.is_behind_its_agent(sequence, known.turn);
        Some(QueuePlace {
            position: project.ahead_of(sequence) + 1,
            ahead_in_session: line.ahead_of(sequence),
            reason: self.reason(&exec.project, project, line, is_behind),
        })
    }

    /// The command of an exec that has not ended.
    #[must_use]
    pub fn command_seq(&self, exec: &ExecId) -> Option<StreamSeq> {
        self.sequences.get(exec).copied()
    }

    /// How many commands of a project wait.
    #[must_use]
    pub fn waiting(&self, project: &ProjectId) -> usize {
        self.projects
            .get(project)
            .map_or(0, |project| project.waiting())
    }

    /// What the log says: sequences of the commands that were not admitted, and of those that were and
    /// have not ended.
    #[must_use]
    pub fn unfinished(&self) -> (Vec<StreamSeq>, Vec<StreamSeq>) {
        let (mut waiting, mut admitted) = (Vec::new(), Vec::new());
        for (sequence, exec) in &self.execs {
            match exec.phase {
                Phase::Waiting | Phase::Due => waiting.push(*sequence),
                Phase::Admitted => admitted.push(*sequence),
            }
        }
        (waiting, admitted)
    }

    fn admission(&self, command_seq: StreamSeq) -> Option<Admission> {
        let exec = self.execs.get(&command_seq)?;
        Some(Admission {
            exec: exec.id.clone(),
            command_seq,
            chain: exec.chain.clone(),
        })
    }

    const fn free(&self) -> u32 {
        self.slots.saturating_sub(self.running)
    }

    fn weight(&self, project: &ProjectId) -> u64 {
        let weight = self.limits.weights.get(project).copied().unwrap_or(1);
        u64::from(weight.max(1))
    }

    fn has_headroom(&self, id: &ProjectId, project: &Project, free: u32) -> bool {
        u64::from(project.running) < HEADROOM * self.weight(id) * u64::from(free)
    }

    fn reason(
        &self,
        id: &ProjectId,
        project: &Project,
        line: &Line,
        is_behind_its_agent: bool,
    ) -> Option<WaitReason> {
        if line.is_held {
            Some(WaitReason::SessionNotReady)
        } else if self.slots == 0 {
            Some(WaitReason::NoExecutor)
        } else if is_behind_its_agent {
            Some(WaitReason::AgentSession)
        } else if line.running >= self.limits.session_running_max {
            Some(WaitReason::SessionLimit)
        } else if project.running >= self.limits.project_running_max {
            Some(WaitReason::ProjectLimit)
        } else if !self.has_headroom(id, project, self.free()) {
            Some(WaitReason::Slots)
        } else {
            None
        }
    }

    fn commanded(&mut self, sequence: StreamSeq, command: Commanded) {
        let Commanded {
            exec,
            turn,
            chain,
            recorded_at,
            start_by,
            awaits_pod,
        } = command;
        if self.sequences.contains_key(&exec) {
            return;
        }
        self.deadlines.extend(start_by.map(|at| (at, sequence)));
        self.sequences.insert(exec.clone(), sequence);
        self.waiting += 1;
        self.change(&exec, |project, line| {
            project.waits(sequence);
            line.waits(sequence, turn);
            line.begins(sequence, turn);
            line.is_held |= awaits_pod;
        });
        let known = Exec {
            id: exec,
            turn,
            chain,
            recorded_at,
            start_by,
            phase: Phase::Waiting,
        };
        self.execs.insert(sequence, known);
    }

    fn start(&mut self, sequence: StreamSeq) {
        let Some(exec) = self.execs.get_mut(&sequence) else {
            return;
        };
        if exec.phase != Phase::Waiting {
            return;
        }
        exec.phase = Phase::Due;
        let (id, turn) = (exec.id.clone(), exec.turn);
        if let Some(start_by) = exec.start_by {
            self.deadlines.remove(&(start_by, sequence));
        }
        self.forget_idle_projects();
        let (present, cost) = (self.present, TURN_COST / self.weight(&id.project));
        self.running += 1;
        self.waiting -= 1;
        let waiting = self.waiting;
        let mut now = present;
        self.change(&id, |project, line| {
            project.running += 1;
            line.running += 1;
            project.waits_no_more(sequence);
            line.waits_no_more(sequence, turn);
            let began = project.finish.max(present);
            project.finish = began + cost;
            let is_alone = project.waiting() == waiting;
            now = if is_alone { project.finish } else { began };
        });
        self.present = now;
    }

    fn forget_idle_projects(&mut self) {
        if self.projects.len() <= self.projects_max {
            return;
        }
        let present = self.present;
        self.projects.retain(|_, project| !project.is_idle(present));
        self.projects_max = PROJECTS_MIN.max(self.projects.len() * 2);
    }

    fn change(&mut self, exec: &ExecId, change: impl FnOnce(&mut Project, &mut Line)) {
        let limit = self.limits.session_running_max;
        let project = self.projects.entry(exec.project.clone()).or_default();
        project.change(exec.session, limit, change);
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
