//! An executor as a row of single steps, between which anything may happen. It does what the
//! real one does, in the same order; what it decides is decided by the real code.

use std::ops::ControlFlow;

use jiff::Timestamp;
use rdev_bus::append::{AppendError, Entry};
use rdev_bus::fence::{Attempt, Fence, Verdict};
use rdev_contract::envelope::{Body, Recorded};
use rdev_contract::event::{
    Complete, Event, EventBatch, Kind, Outcome, PodIdentity, Resumed, ResumedFrom, Started,
};
use rdev_contract::id::ClaimId;
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_domain::exec::{self, ExecState, Step};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::Violation;
use crate::dice::Dice;
use crate::log::{Log, Stored};
use crate::pod::Pod;
use crate::pump::{Pump, reach};
use crate::world::Network;

/// What an executor sees and touches.
pub(crate) struct Around<'a> {
    pub(crate) log: &'a mut Log,
    pub(crate) pod: &'a mut Pod,
    pub(crate) network: &'a mut Network,
    pub(crate) dice: &'a mut Dice,
    pub(crate) now: Timestamp,
    pub(crate) recorded_at: Timestamp,
}

/// What came back for a publish.
#[derive(Debug)]
pub(crate) enum Answer {
    Stored(StreamSeq),
    Refused,
    Silence,
}

/// What became of the work on a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Work {
    GoesOn,
    /// Dropped without an acknowledgement: the command will be offered again.
    Dropped,
    /// The command is acknowledged.
    Done,
}

#[derive(Debug)]
enum Content {
    Data(Box<RawValue>),
    Events(EventBatch),
}

/// What is being appended, until its fate is known.
#[derive(Debug)]
struct Writing {
    kind: Kind,
    first: Option<EventNo>,
    to: Option<Offsets>,
    content: Content,
    at: Timestamp,
    attempt: Attempt,
    ticket: u64,
    answer: Option<Answer>,
    then: Then,
}

/// What follows when it is stored.
#[derive(Debug, Clone)]
enum Then {
    Reach(Box<ExecState>),
    Pump(EventNo, Offsets),
    Collect,
    Acknowledge,
}

#[derive(Debug)]
enum Station {
    Look {
        is_first: bool,
    },
    /// A claim, or an end, is being written.
    Wait,
    Reach(Box<ExecState>),
    Pump(Box<Pump>),
    Collect,
    Acknowledge,
}

/// The work on one offer of the command.
#[derive(Debug)]
pub(crate) struct Job {
    deliveries: u64,
    /// A claim of this job that the log has accepted.
    claim: Option<ClaimId>,
    fence: Option<Fence>,
    writing: Option<Writing>,
    station: Station,
}

fn raw(fact: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(fact).expect("a fact is JSON")
}

fn pod_identity() -> PodIdentity {
    PodIdentity {
        namespace: "team".to_owned(),
        name: "pod".to_owned(),
        uid: "u".to_owned(),
        container: "main".to_owned(),
        container_id: "c".to_owned(),
        restarts: 0,
    }
}

impl Writing {
    fn entry(&self) -> Entry<'_> {
        Entry {
            kind: self.kind,
            first: self.first,
            to: self.to,
            body: match &self.content {
                Content::Data(data) => Body::Data(data),
                Content::Events(events) => Body::Events(events),
            },
        }
    }
}

impl Job {
    pub(crate) fn new(deliveries: u64) -> Self {
        Self {
            deliveries,
            claim: None,
            fence: None,
            writing: None,
            station: Station::Look {
                is_first: deliveries == 1,
            },
        }
    }

    /// Whether this is what the job has sent and waits for.
    pub(crate) fn awaits(&self, ticket: u64) -> bool {
        let writing = self.writing.as_ref();
        writing.is_some_and(|writing| writing.ticket == ticket && writing.answer.is_none())
    }

    /// The answer to the publish under way: an acknowledgement, a refusal, or that none came.
    pub(crate) fn answer(&mut self, answer: Answer) {
        if let Some(writing) = &mut self.writing
            && writing.answer.is_none()
        {
            writing.answer = Some(answer);
        }
    }

    /// Whether the last publish has no answer yet.
    pub(crate) fn is_waiting(&self) -> bool {
        let writing = self.writing.as_ref();
        writing.is_some_and(|writing| writing.answer.is_none())
    }

    /// The sequence that the publish under way expects to be the last.
    pub(crate) fn expects(&self) -> Option<StreamSeq> {
        self.writing
            .as_ref()
            .map(|writing| writing.attempt.expected)
    }

    /// The connection to the pod breaks.
    pub(crate) fn disconnect(&mut self) {
        if let Station::Pump(pump) = &mut self.station {
            pump.follower = None;
        }
    }

    /// Before a lease is extended: whether the log's last claim is still this one.
    pub(crate) fn may_extend(&self, log: &Log) -> bool {
        let last = log.tail().and_then(|tail| tail.message().head.claim);
        self.claim.is_none() || last == self.claim
    }

    /// Does the next thing.
    pub(crate) fn step(&mut self, around: &mut Around<'_>) -> Result<Work, Violation> {
        if let Some(writing) = self.writing.take_if(|writing| writing.answer.is_some()) {
            return self.hear(writing, around);
        }
        match &mut self.station {
            Station::Look { is_first } => {
                let state = match is_first {
                    true => around.log.first_look()?,
                    false => around.log.look()?,
                };
                self.decide(state, around);
            }
            Station::Wait => {}
            Station::Reach(state) => {
                let pump = reach(state, around);
                self.station = Station::Pump(Box::new(pump));
            }
            Station::Pump(_) => {
                let work = self.pump(around);
                // Only who was replaced may find that the journal has been freed before it.
                if work == Work::Dropped && self.may_extend(around.log) {
                    return Err("output was freed before it was in the log".to_owned());
                }
                return Ok(work);
            }
            Station::Collect => {
                around.pod.collect();
                self.station = Station::Acknowledge;
            }
            Station::Acknowledge => return Ok(Work::Done),
        }
        Ok(Work::GoesOn)
    }

    fn decide(&mut self, mut state: ExecState, around: &mut Around<'_>) {
        let (now, recorded_at) = (around.now, around.recorded_at);
        match exec::decide(&state, self.deliveries, recorded_at, now) {
            Step::Finished => self.station = Station::Acknowledge,
            Step::Reject { reason } => {
                self.end_unclaimed(&state, Outcome::Rejected, reason, around)
            }
            Step::TimeOut { reason } => {
                self.end_unclaimed(&state, Outcome::TimedOut, reason, around);
            }
            Step::Lose { reason } => self.end_unclaimed(&state, Outcome::Lost, reason, around),
            Step::Start if around.pod.is_gone => {
                self.end_unclaimed(&state, Outcome::Rejected, "no such pod".to_owned(), around);
            }
            Step::Resume { .. } if around.pod.is_gone => {
                self.end_unclaimed(&state, Outcome::Lost, "replaced".to_owned(), around);
            }
            Step::Start => {
                let started = Started {
                    claim: around.network.claim(),
                    attempt: state.next_attempt(),
                    executor: String::new(),
                    argv: Vec::new(),
                    resume_id: None,
                    pod: pod_identity(),
                    shim: "nonce".to_owned(),
                };
                let (claim, attempt) = (started.claim, started.attempt);
                self.take(Kind::Started, claim, attempt, &started, state, around);
            }
            Step::Resume { failed_before } => {
                let (next, to) = around.pod.acknowledged();
                state.raise(next, to);
                let resumed = Resumed {
                    claim: around.network.claim(),
                    attempt: state.next_attempt(),
                    executor: String::new(),
                    pod: pod_identity(),
                    shim: "nonce".to_owned(),
                    from: ResumedFrom {
                        next: state.next,
                        offsets: state.to,
                    },
                    failed_before,
                };
                let attempt = resumed.attempt;
                self.take(
                    Kind::Resumed,
                    resumed.claim,
                    attempt,
                    &resumed,
                    state,
                    around,
                );
            }
        }
    }

    fn take(
        &mut self,
        kind: Kind,
        claim: ClaimId,
        attempt: u32,
        fact: &impl Serialize,
        state: ExecState,
        around: &mut Around<'_>,
    ) {
        self.begin(&state, Some(claim), attempt);
        let then = Then::Reach(Box::new(state));
        self.write(kind, None, Content::Data(raw(fact)), then, around);
        self.station = Station::Wait;
    }

    fn end_unclaimed(
        &mut self,
        state: &ExecState,
        outcome: Outcome,
        reason: String,
        around: &mut Around<'_>,
    ) {
        let (claim, attempt) = match &state.claim {
            None => (None, 0),
            Some(_) => (Some(around.network.claim()), state.next_attempt()),
        };
        self.begin(state, claim, attempt);
        let end = Complete::without_process(outcome, reason);
        let place = Some((state.next, state.to));
        self.write(Kind::Complete, place, last(&end), Then::Acknowledge, around);
        self.station = Station::Wait;
    }

    fn begin(&mut self, state: &ExecState, claim: Option<ClaimId>, attempt: u32) {
        let tail = Recorded {
            sequence: state.tail,
            value: state.chain.clone(),
        };
        self.fence = Some(Fence::new(state.exec.clone(), claim, attempt, tail));
    }

    fn write(
        &mut self,
        kind: Kind,
        place: Option<(EventNo, Offsets)>,
        content: Content,
        then: Then,
        around: &mut Around<'_>,
    ) {
        let fence = self.fence.as_ref().expect("a writer has a fence");
        let body = match &content {
            Content::Data(data) => Body::Data(data),
            Content::Events(events) => Body::Events(events),
        };
        let (first, to) = (place.map(|place| place.0), place.map(|place| place.1));
        let entry = Entry {
            kind,
            first,
            to,
            body,
        };
        let attempt = fence.attempt(&entry, around.now).expect("JSON");
        self.writing = Some(Writing {
            kind,
            first,
            to,
            content,
            at: around.now,
            ticket: around.network.send(&attempt),
            attempt,
            answer: None,
            then,
        });
    }

    /// An answer has come, or none will.
    fn hear(&mut self, mut writing: Writing, around: &mut Around<'_>) -> Result<Work, Violation> {
        let verdict = match writing.answer.take() {
            Some(Answer::Stored(sequence)) => Verdict::Stored(sequence),
            Some(Answer::Refused | Answer::Silence) | None => {
                let tail = around.log.tail();
                let verdict = writing.attempt.verdict(tail.map(|tail| Recorded {
                    sequence: tail.sequence,
                    value: tail.payload.as_ref(),
                }));
                is_true(&verdict, &writing.attempt, tail)?;
                verdict
            }
        };
        let fence = self.fence.as_mut().expect("a writer has a fence");
        match fence.settle(writing.attempt.clone(), verdict) {
            ControlFlow::Continue(()) => {
                writing.attempt = fence.attempt(&writing.entry(), writing.at).expect("JSON");
                writing.ticket = around.network.send(&writing.attempt);
                self.writing = Some(writing);
                Ok(Work::GoesOn)
            }
            ControlFlow::Break(Ok(_)) => {
                self.stored(writing, around);
                Ok(Work::GoesOn)
            }
            ControlFlow::Break(Err(AppendError::Fenced { .. } | AppendError::Vanished)) => {
                Ok(self.stand_back(&writing.then))
            }
            ControlFlow::Break(Err(error @ AppendError::Encoding(_))) => Err(error.to_string()),
        }
    }

    fn stored(&mut self, writing: Writing, around: &mut Around<'_>) {
        match writing.then {
            Then::Reach(state) => {
                self.claim = around.log.messages.iter().rev().find_map(|stored| {
                    let is_this = stored.payload == writing.attempt.payload;
                    is_this.then(|| stored.message().head.claim).flatten()
                });
                self.station = Station::Reach(state);
            }
            Then::Pump(next, to) => {
                let Station::Pump(pump) = &mut self.station else {
                    return;
                };
                pump.to = to;
                // The acknowledgement may get lost on the way to the shim.
                if pump.follower.is_some() && !around.dice.one_in(3) {
                    around.pod.acknowledge(next, to);
                }
            }
            Then::Collect => self.station = Station::Collect,
            Then::Acknowledge => self.station = Station::Acknowledge,
        }
    }

    /// Before there is a claim, what others wrote decides; with one, the exec is another's.
    fn stand_back(&mut self, then: &Then) -> Work {
        match then {
            Then::Reach(_) | Then::Acknowledge => {
                self.station = Station::Look { is_first: false };
                Work::GoesOn
            }
            Then::Pump(..) | Then::Collect => Work::Dropped,
        }
    }

    fn pump(&mut self, around: &mut Around<'_>) -> Work {
        let Station::Pump(pump) = &mut self.station else {
            return Work::GoesOn;
        };
        let is_idle = self.writing.is_none();
        if is_idle && (pump.last.is_some() || !around.dice.one_in(3)) {
            if let Some(batch) = pump.run.take_batch() {
                let place = Some((batch.first, batch.to));
                let content = Content::Events(batch.events);
                let then = Then::Pump(batch.next, batch.to);
                self.write(batch.kind, place, content, then, around);
                return Work::GoesOn;
            }
            if let Some(end) = pump.last.take() {
                let place = Some((pump.run.next(), pump.to));
                self.station = Station::Wait;
                self.write(Kind::Complete, place, last(&end), Then::Collect, around);
                return Work::GoesOn;
            }
        }
        if pump.last.is_some() {
            return Work::GoesOn;
        }
        pump.read(around)
    }
}

fn last(end: &Complete) -> Content {
    let mut events = EventBatch::default();
    events.push(&Event::Complete(end)).expect("JSON");
    Content::Events(events)
}

/// What the fence concludes must be so: the log is there to compare with.
fn is_true(verdict: &Verdict, attempt: &Attempt, tail: Option<&Stored>) -> Result<(), Violation> {
    let is_there = tail.is_some_and(|tail| tail.payload == attempt.payload);
    let is_foreign = tail.is_some_and(|tail| tail.sequence > attempt.expected) && !is_there;
    let is_right = match verdict {
        Verdict::Stored(_) => is_there,
        Verdict::SendAgain | Verdict::SendAgainAfter(_) => !is_there && !is_foreign,
        Verdict::Over(_) => is_foreign,
    };
    if is_right {
        return Ok(());
    }
    Err(format!(
        "{verdict:?} of a message that expects {}",
        attempt.expected
    ))
}
