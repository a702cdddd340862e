//! The rules as they are told, against the queue: after every step of a random history both say the
//! same.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::*;
use super::{command, complete, exec, limits, project, queue_of, session};

/// A command as the model has it.
#[derive(Debug, Clone)]
struct Known {
    sequence: u64,
    project: usize,
    session: usize,
    turn: Turn,
    is_running: bool,
    /// The log says that it runs.
    is_admitted: bool,
}

impl Known {
    fn id(&self) -> ExecId {
        exec(self.project, self.session, self.sequence)
    }
}

/// The rules as they are told, looked at anew for every command each time.
#[derive(Debug)]
struct Model {
    limits: QueueLimits,
    slots: u32,
    execs: Vec<Known>,
    held: Vec<(usize, usize)>,
    finish: [u64; 3],
    present: u64,
}

impl Model {
    fn running(&self, which: impl Fn(&Known) -> bool) -> u32 {
        let running = self.execs.iter().filter(|one| one.is_running && which(one));
        running.count() as u32
    }

    fn weight(&self, index: usize) -> u32 {
        self.limits
            .weights
            .get(&project(index))
            .copied()
            .unwrap_or(1)
    }

    fn may_begin(&self, one: &Known) -> bool {
        let is_of_session =
            |other: &Known| (other.project, other.session) == (one.project, one.session);
        let of_project = self.running(|other| other.project == one.project);
        let free = self.slots.saturating_sub(self.running(|_| true));
        let is_behind = matches!(one.turn, Turn::Resumes(agent) if self.execs.iter().any(|other| {
            let is_of_agent = other.turn.agent() == Some(agent);
            is_of_session(other) && is_of_agent && other.sequence < one.sequence
        }));
        !one.is_running
            && !self.held.contains(&(one.project, one.session))
            && self.running(is_of_session) < self.limits.session_running_max
            && of_project < self.limits.project_running_max
            && u64::from(of_project) < HEADROOM * u64::from(self.weight(one.project) * free)
            && !is_behind
    }

    fn admit(&mut self) -> Option<u64> {
        let turn = |one: &Known| {
            let finish = self.finish[one.project];
            (finish.max(self.present), finish, one.sequence)
        };
        let next = self.execs.iter().filter(|one| self.may_begin(one));
        let next = next.min_by_key(|one| turn(one))?.sequence;
        self.start(next);
        Some(next)
    }

    fn start(&mut self, sequence: u64) {
        let of_sequence = |one: &&mut Known| one.sequence == sequence;
        let known = self.execs.iter_mut().find(of_sequence).unwrap();
        if std::mem::replace(&mut known.is_running, true) {
            return;
        }
        let index = known.project;
        self.present = self.finish[index].max(self.present);
        self.finish[index] = self.present + TURN_COST / u64::from(self.weight(index));
        if self.waits().iter().all(|other| other.project == index) {
            self.present = self.finish[index];
        }
    }

    fn waits(&self) -> Vec<&Known> {
        self.execs.iter().filter(|one| !one.is_running).collect()
    }

    fn check(&self, queue: &Queue) {
        let sequences = |is_admitted: bool| -> Vec<StreamSeq> {
            let all = self.execs.iter();
            let some = all.filter(|one| one.is_admitted == is_admitted);
            some.map(|one| StreamSeq(one.sequence)).collect()
        };
        assert_eq!(queue.unfinished(), (sequences(false), sequences(true)));
        let waits = self.waits();
        let mut by_reason = HashMap::new();
        for one in &self.execs {
            let before = |same: &dyn Fn(&Known) -> bool| {
                let before = waits.iter().filter(|other| other.sequence < one.sequence);
                before.filter(|other| same(other)).count() as u64
            };
            let in_project = before(&|other| other.project == one.project);
            let in_session =
                before(&|other| (other.project, other.session) == (one.project, one.session));
            let place = queue.place(&one.id());
            assert_eq!(place.is_none(), one.is_running);
            if let Some(place) = place {
                assert_eq!(place.position, in_project + 1);
                assert_eq!(place.ahead_in_session, in_session);
                // What may begin waits for nothing; what waits for nothing is behind what may.
                assert!(!self.may_begin(one) || place.reason.is_none(), "{place:?}");
                *by_reason.entry(place.reason).or_default() += 1;
            }
        }
        assert_eq!(queue.waiting_by_reason(), by_reason);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Command(usize, usize, Turn),
    Admit,
    Complete(usize),
    Admitted(usize),
    Slots(u32),
    Hold(usize, usize),
    Release(usize, usize),
    Limits(u32, u32),
    Restart,
}

fn steps() -> impl Strategy<Value = Step> {
    let turn = prop_oneof![
        Just(Turn::Any),
        Just(Turn::Begins(Agent::Claude)),
        Just(Turn::Resumes(Agent::Claude)),
        Just(Turn::Resumes(Agent::Codex)),
    ];
    prop_oneof![
        8 => (0..3_usize, 0..3_usize, turn).prop_map(|(p, s, turn)| Step::Command(p, s, turn)),
        8 => Just(Step::Admit),
        5 => (0..8_usize).prop_map(Step::Complete),
        8 => (0..8_usize).prop_map(Step::Admitted),
        1 => (0..24_u32).prop_map(Step::Slots),
        1 => (0..3_usize, 0..3_usize).prop_map(|(p, s)| Step::Hold(p, s)),
        2 => (0..3_usize, 0..3_usize).prop_map(|(p, s)| Step::Release(p, s)),
        1 => (1..4_u32, 1..6_u32).prop_map(|(s, p)| Step::Limits(s, p)),
        1 => Just(Step::Restart),
    ]
}

/// The queue and the model, side by side.
struct Both {
    queue: Queue,
    model: Model,
    sequence: u64,
    /// The last admitted of each session, those that resume apart: they may be passed by.
    last: BTreeMap<(usize, usize, Option<Agent>), u64>,
}

impl Both {
    fn new() -> Self {
        let mut limits = limits(2, 4);
        limits.weights.insert(project(2), 2);
        Self {
            queue: queue_of(8, limits.clone()),
            model: Model {
                limits,
                slots: 8,
                execs: Vec::new(),
                held: Vec::new(),
                finish: [0; 3],
                present: 0,
            },
            sequence: 0,
            last: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Command(project, session, turn) => {
                self.sequence += 3;
                let known = Known {
                    sequence: self.sequence,
                    project,
                    session,
                    turn,
                    is_running: false,
                    is_admitted: false,
                };
                command(&mut self.queue, self.sequence, known.id(), turn);
                self.model.execs.push(known);
            }
            Step::Admit => self.admit(),
            Step::Complete(index) => {
                if index < self.model.execs.len() {
                    let known = self.model.execs.remove(index);
                    complete(&mut self.queue, known.id());
                }
            }
            // By this scheduler or another: the log decides.
            Step::Admitted(index) => {
                if let Some(known) = self.model.execs.get(index).cloned() {
                    self.model.start(known.sequence);
                    self.model.execs[index].is_admitted = true;
                    let fact = Fact::Admitted(known.id());
                    self.queue.apply(StreamSeq(u64::MAX), fact);
                    self.last.clear();
                }
            }
            Step::Slots(slots) => {
                self.model.slots = slots;
                self.queue.set_slots(slots);
            }
            Step::Hold(project_index, session_index) => {
                self.model.held.push((project_index, session_index));
                let session = session(project_index, session_index);
                self.queue.hold(&project(project_index), session);
            }
            Step::Release(project_index, session_index) => {
                let held = (project_index, session_index);
                self.model.held.retain(|other| *other != held);
                let session = session(project_index, session_index);
                self.queue.release(&project(project_index), session);
            }
            Step::Limits(of_session, of_project) => {
                self.model.limits.session_running_max = of_session;
                self.model.limits.project_running_max = of_project;
                self.queue.set_limits(self.model.limits.clone());
            }
            Step::Restart => self.restart(),
        }
        self.model.check(&self.queue);
    }

    fn admit(&mut self) {
        let expected = self.model.admit();
        let admitted = self.queue.admit();
        assert_eq!(
            admitted.as_ref().map(|admission| admission.command_seq.0),
            expected
        );
        let Some(sequence) = expected else {
            return;
        };
        let known = self.model.execs.iter().find(|one| one.sequence == sequence);
        let known = known.unwrap();
        assert_eq!(admitted.unwrap().exec, known.id());
        let resumes = match known.turn {
            Turn::Any | Turn::Begins(_) => None,
            Turn::Resumes(agent) => Some(agent),
        };
        let lane = (known.project, known.session, resumes);
        let before = self.last.insert(lane, sequence);
        assert!(before < Some(sequence), "a session's order");
    }

    /// Another scheduler goes on with what a snapshot says. Whose turn it was is forgotten.
    fn restart(&mut self) {
        let (waiting, admitted) = self.queue.unfinished();
        assert_eq!(waiting.len() + admitted.len(), self.model.execs.len());
        let mut queue = queue_of(self.model.slots, self.model.limits.clone());
        for known in &mut self.model.execs {
            command(&mut queue, known.sequence, known.id(), known.turn);
            known.is_running = known.is_admitted;
        }
        for sequence in admitted {
            queue.admitted(sequence);
        }
        self.last.clear();
        for (project_index, session_index) in &self.model.held {
            let session = session(*project_index, *session_index);
            queue.hold(&project(*project_index), session);
        }
        self.model.present = queue.present;
        for index in 0..3 {
            let known = queue.projects.get(&project(index));
            self.model.finish[index] = known.map_or(0, |project| project.finish);
        }
        self.queue = queue;
    }

    /// Everything that waits gets its turn if what runs ends, and nobody comes twice before another
    /// that could come has come once.
    fn drain(mut self) {
        self.step(Step::Slots(3));
        for held in self.model.held.clone() {
            self.step(Step::Release(held.0, held.1));
        }
        for _ in 0..=self.model.execs.len() * 2 {
            while self.queue.admit().is_some() {
                let _ = self.model.admit();
            }
            let running = self.model.execs.iter().position(|one| one.is_running);
            let Some(index) = running else {
                assert!(self.model.execs.is_empty(), "{:?} starve", self.model.execs);
                return;
            };
            self.step(Step::Complete(index));
        }
        panic!("it does not end");
    }
}

proptest! {
    #[test]
    fn it_is_what_the_rules_say(steps in proptest::collection::vec(steps(), 0..120)) {
        let mut both = Both::new();
        for step in steps {
            both.step(step);
        }
        both.drain();
    }
}
