//! One schedule: what there is, and an adversary who chooses what happens next.

use jiff::{SignedDuration, Timestamp};
use rdev_bus::append::Entry;
use rdev_bus::fence::{Attempt, Fence};
use rdev_contract::envelope::{self, Body, Chain, Head, Recorded};
use rdev_contract::event::{Admitted, Command, CommandSpec, Kind, Requester, Work as CommandWork};
use rdev_contract::id::ClaimId;
use rdev_contract::position::StreamSeq;
use rdev_domain::exec::next_after;
use uuid::Uuid;

use crate::Violation;
use crate::dice::Dice;
use crate::executor::{Answer, Around, Job, Work};
use crate::log::Log;
use crate::pod::Pod;

const ADVERSE_STEPS_MAX: usize = 160;
/// After the adversary has gone, an exec ends within far fewer.
const FAIR_STEPS_MAX: usize = 4_000;
const OFFERS_MAX: u64 = 14;

/// A publish on its way.
#[derive(Debug, Clone)]
struct Flight {
    ticket: u64,
    attempt: Attempt,
}

/// Publishes on their way, in no order.
#[derive(Debug, Default)]
pub(crate) struct Network {
    flights: Vec<Flight>,
    drawn: u64,
}

impl Network {
    pub(crate) fn send(&mut self, attempt: &Attempt) -> u64 {
        self.drawn += 1;
        self.flights.push(Flight {
            ticket: self.drawn,
            attempt: attempt.clone(),
        });
        self.drawn
    }

    pub(crate) fn claim(&mut self) -> ClaimId {
        self.drawn += 1;
        ClaimId::new(Uuid::from_u128(u128::from(self.drawn)))
    }
}

#[derive(Debug, Default)]
struct Executor {
    is_stopped: bool,
    job: Option<Job>,
}

/// What this schedule's adversary does, beside what it always may.
#[derive(Debug)]
struct Temper {
    /// Once in so many publishes something is lost; never if 0.
    loses: usize,
    /// Once in so many steps an executor dies, is stopped, or the command is offered again.
    disturbs: usize,
    /// Retention takes bulk messages.
    expires: bool,
    /// The container goes away, or the volume with the journals is emptied; not when the log
    /// forgets as well, for then nobody knows the numbers.
    destroys: usize,
    seconds_per_step: i64,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) log: Log,
    pub(crate) pod: Pod,
    /// The command reached the log after its client was told that it would not.
    pub(crate) is_late: bool,
    network: Network,
    executors: Vec<Executor>,
    dice: Dice,
    temper: Temper,
    now: Timestamp,
    recorded_at: Timestamp,
    offers: u64,
    is_acknowledged: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let expires = dice.one_in(8);
        let temper = Temper {
            loses: [0, 2, 3, 6][dice.below(4)],
            disturbs: [4, 8, 16][dice.below(3)],
            expires,
            destroys: if !expires && dice.one_in(6) { 60 } else { 0 },
            seconds_per_step: [0, 1, 10][dice.below(3)],
        };
        let recorded_at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000);
        let is_late = dice.one_in(25);
        let mut world = Self {
            log: Log::default(),
            pod: Pod::new(&mut dice),
            is_late,
            network: Network::default(),
            executors: (0..2 + dice.below(2))
                .map(|_| Executor::default())
                .collect(),
            dice,
            temper,
            now: recorded_at,
            recorded_at,
            offers: 0,
            is_acknowledged: false,
        };
        let command = command(recorded_at, is_late);
        world
            .log
            .offer(StreamSeq(0), &command.into(), &mut world.dice);
        world.admit();
        world
    }

    /// One scheduler's admission is in the log; another's is on its way, and comes too late.
    fn admit(&mut self) {
        let command = self.log.tail().expect("a command");
        let tail = Recorded {
            sequence: command.sequence,
            value: command.message().chain,
        };
        let fence = Fence::new(command.message().head.exec(), None, 0, tail);
        let [first, late] = ["first", "late"].map(|scheduler| {
            let admitted = Admitted {
                command_seq: fence.tail(),
                scheduler: scheduler.to_owned(),
            };
            let data = serde_json::value::to_raw_value(&admitted).expect("JSON");
            let entry = Entry {
                kind: Kind::Admitted,
                first: None,
                to: None,
                body: Body::Data(&data),
            };
            fence.attempt(&entry, self.now).expect("JSON")
        });
        self.log
            .offer(first.expected, &first.payload, &mut self.dice);
        self.network.send(&late);
    }

    /// The adversary's part, then a fair part in which the exec must end.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        self.offer();
        for _ in 0..self.dice.below(ADVERSE_STEPS_MAX) {
            self.adverse_step()?;
        }
        self.temper.loses = 0;
        // Who sleeps on wakes only when all is over; one at least is awake.
        let sleepless = self.dice.below(self.executors.len());
        self.executors[sleepless].is_stopped = false;
        if self.dice.one_in(2) {
            self.end_fairly()?;
        }
        for executor in &mut self.executors {
            executor.is_stopped = false;
        }
        self.end_fairly()
    }

    /// Nothing is lost any more, and everybody who is awake is heard in turn.
    fn end_fairly(&mut self) -> Result<(), Violation> {
        for _ in 0..FAIR_STEPS_MAX {
            let mut awake = self
                .executors
                .iter()
                .filter(|executor| !executor.is_stopped);
            let is_idle = awake.all(|executor| executor.job.is_none());
            if is_idle && self.network.flights.is_empty() && self.is_acknowledged {
                return Ok(());
            }
            self.fair_step(is_idle)?;
        }
        Err("the exec does not end".to_owned())
    }

    fn fair_step(&mut self, is_idle: bool) -> Result<(), Violation> {
        if is_idle && !self.is_acknowledged {
            self.offer();
        }
        self.pod.print();
        self.arrive();
        for index in 0..self.executors.len() {
            if self.executors[index].is_stopped {
                continue;
            }
            let is_unheard = self.executors[index]
                .job
                .as_ref()
                .is_some_and(Job::is_waiting);
            if is_unheard && self.network.flights.is_empty() {
                self.time_out(index);
            }
            self.step(index)?;
        }
        Ok(())
    }

    fn adverse_step(&mut self) -> Result<(), Violation> {
        let pace = SignedDuration::from_secs(self.temper.seconds_per_step);
        self.now += pace + SignedDuration::from_micros(1);
        let index = self.dice.below(self.executors.len());
        if self.dice.one_in(self.temper.disturbs) {
            self.disturb(index);
        }
        if self.temper.expires && self.dice.one_in(6) {
            self.expire();
        }
        if self.dice.one_in(self.temper.destroys) {
            self.destroy();
        }
        match self.dice.below(8) {
            0 | 1 => self.arrive(),
            2 => self.pod.print(),
            3 if self.temper.loses > 0 => self.time_out(index),
            _ if self.executors[index].is_stopped => {}
            _ => self.step(index)?,
        }
        Ok(())
    }

    fn disturb(&mut self, index: usize) {
        match self.dice.below(7) {
            // Killed: what it has sent is still on its way.
            0 => self.executors[index] = Executor::default(),
            1 => self.executors[index].is_stopped = true,
            2 => self.executors[index].is_stopped = false,
            3 => {
                if let Some(job) = &mut self.executors[index].job {
                    job.disconnect();
                }
            }
            4 => {
                let executor = &mut self.executors[index];
                let log = &self.log;
                executor.job.take_if(|job| !job.may_extend(log));
            }
            _ => self.offer(),
        }
    }

    fn destroy(&mut self) {
        if self.dice.one_in(2) {
            self.pod.is_gone = true;
        } else if self.log.has_events() {
            self.pod.wipe();
        }
    }

    fn expire(&mut self) {
        let Some(tail) = self.log.tail().map(|tail| tail.sequence) else {
            return;
        };
        // A message expires days after it was acknowledged, and no publish is on its way so long.
        let mut jobs = self
            .executors
            .iter()
            .filter_map(|executor| executor.job.as_ref());
        let is_known = jobs.all(|job| job.expects().is_none_or(|expected| expected == tail));
        // By then the shim has been told of it, too.
        let is_told = self.log.tail().is_some_and(|tail| {
            next_after(&tail.message()).is_none_or(|next| next <= self.pod.acknowledged().0)
        });
        if is_known && is_told && self.network.flights.is_empty() {
            self.log.expire_tail();
        }
    }

    /// The command is offered once more, to whoever; offers may come late and in any order.
    fn offer(&mut self) {
        if self.offers >= OFFERS_MAX && !self.is_fair() {
            return;
        }
        self.offers += 1;
        let behind = self.dice.below(2).min(self.dice.below(2)) as u64;
        let deliveries = self.offers.saturating_sub(behind).max(1);
        let index = self.dice.below(self.executors.len());
        // Of an exec that is being worked on, only the handle is replaced.
        let executor = &mut self.executors[index];
        if executor.job.is_none() {
            executor.job = Some(Job::new(deliveries));
        }
    }

    const fn is_fair(&self) -> bool {
        self.temper.loses == 0
    }

    /// One publish arrives, or does not; its answer arrives, or does not.
    fn arrive(&mut self) {
        if self.network.flights.is_empty() {
            return;
        }
        let index = self.dice.below(self.network.flights.len());
        let flight = match self.temper.loses > 0 && self.dice.one_in(12) {
            true => self.network.flights[index].clone(),
            false => self.network.flights.swap_remove(index),
        };
        if self.dice.one_in(self.temper.loses * 2) {
            return;
        }
        let Attempt {
            payload, expected, ..
        } = &flight.attempt;
        let stored = self.log.offer(*expected, payload, &mut self.dice);
        if self.dice.one_in(self.temper.loses) {
            return;
        }
        let sender = self.executors.iter_mut().find_map(|executor| {
            executor
                .job
                .as_mut()
                .filter(|job| job.awaits(flight.ticket))
        });
        if let Some(job) = sender {
            job.answer(stored.map_or(Answer::Refused, Answer::Stored));
        }
    }

    fn time_out(&mut self, index: usize) {
        if let Some(job) = &mut self.executors[index].job {
            job.answer(Answer::Silence);
        }
    }

    fn step(&mut self, index: usize) -> Result<(), Violation> {
        let Some(job) = &mut self.executors[index].job else {
            return Ok(());
        };
        let mut around = Around {
            log: &mut self.log,
            pod: &mut self.pod,
            network: &mut self.network,
            dice: &mut self.dice,
            now: self.now,
            recorded_at: self.recorded_at,
        };
        match job.step(&mut around)? {
            Work::GoesOn => return Ok(()),
            Work::Dropped => {}
            Work::Done => {
                if !self.log.is_complete() {
                    return Err("acknowledged before its end was in the log".to_owned());
                }
                // This acknowledgement may get lost as well.
                self.is_acknowledged |= !self.dice.one_in(self.temper.loses);
            }
        }
        self.executors[index].job = None;
        Ok(())
    }
}

fn command(recorded_at: Timestamp, is_late: bool) -> Vec<u8> {
    let margin = SignedDuration::from_secs(if is_late { -1 } else { 10 });
    let command = Command {
        spec: CommandSpec::new(
            CommandWork::Shell {
                command: "true".to_owned(),
            },
            60,
        ),
        accept_until: recorded_at + margin,
        awaits_pod: false,
        by: Requester::default(),
    };
    let head = Head {
        v: envelope::PAYLOAD_VERSION,
        project: "demo".parse().expect("a project"),
        session: "01930000-0000-7000-8000-000000000001"
            .parse()
            .expect("a session"),
        stream: "s-1".parse().expect("a stream"),
        kind: Kind::Command.token().to_owned(),
        claim: None,
        attempt: 0,
        first: None,
        at: recorded_at,
        to: None,
        prev: StreamSeq(0),
    };
    let data = serde_json::value::to_raw_value(&command).expect("JSON");
    envelope::encode(&head, &Body::Data(&data), &Chain::default())
        .expect("JSON")
        .payload
}
