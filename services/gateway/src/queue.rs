//! Which commands wait, as this gateway's own follower of the log has it: for places that are shown,
//! and for the limit of what may wait.
//!
//! A cache: it is folded anew at every start, from the scheduler's last snapshot on, and whatever it
//! costs, it costs once, however many commands wait and readers watch. The scheduler decides; what
//! it keeps to, it says itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdev_bus::term::{LAPSED_AFTER, RENEW_INTERVAL, TermWatch};
use rdev_bus::waiting::{QueueLog, Waiting};
use rdev_bus::{Bus, LogStream, ReadError};
use rdev_contract::envelope::{Chain, Recorded};
use rdev_contract::event::Command;
use rdev_contract::id::{ExecId, ProjectId};
use rdev_contract::position::StreamSeq;
use rdev_contract::queue::{QueueLimits, QueuePlace, SchedulerStatus};
use rdev_domain::queue::{Commanded, Fact, Queue, Turn};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::state::now;

/// How often those who watch places are woken. A command that is admitted at once is gone before
/// that: it is not told to wait.
const TICK_INTERVAL: Duration = Duration::from_millis(500);
/// How often it is checked that the log is still the one that is followed.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Between two tries to follow a log that does not answer.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// Before the scheduler has said what it keeps to.
const UNKNOWN_LIMITS: QueueLimits = QueueLimits {
    session_running_max: u32::MAX,
    project_running_max: u32::MAX,
    weights: std::collections::BTreeMap::new(),
};

/// What waits. Cheap to clone; clones show the same.
#[derive(Debug, Clone)]
pub(crate) struct Line(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    ticks: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    /// Up to where the log is in the queue.
    position: StreamSeq,
    /// The same at the last tick.
    ticked: StreamSeq,
    /// Who schedules.
    scheduler: Option<String>,
}

/// What a reader is told of an exec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It waits, here.
    Waits(QueuePlace),
    /// It waits, but too shortly to be told of.
    Passes,
    /// It does not wait, as far as the log goes up to here.
    Gone(StreamSeq),
}

impl Default for Line {
    fn default() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State::new()),
            ticks: watch::Sender::new(()),
        }))
    }
}

impl State {
    fn new() -> Self {
        Self {
            queue: Queue::new(UNKNOWN_LIMITS),
            position: StreamSeq(0),
            ticked: StreamSeq(0),
            scheduler: None,
        }
    }

    fn take(&mut self, waiting: Waiting) {
        match waiting {
            Waiting::Admitted(command_seq) => {
                self.queue.admitted(command_seq);
                if let Some(exec) = self.queue.exec_of(command_seq).cloned() {
                    self.release(&exec);
                }
            }
            Waiting::Message(Recorded { sequence, value }) => {
                if let Some(fact) = Fact::of(&value.subject, &value.payload, value.at) {
                    if let Fact::Admitted(exec) = &fact {
                        self.release(exec);
                    }
                    let ended = match &fact {
                        Fact::Completed(exec) => Some(exec.clone()),
                        Fact::Commanded(_) | Fact::Admitted(_) => None,
                    };
                    self.queue.apply(sequence, fact);
                    // Nothing waits any more, and nothing of it may ever have been admitted.
                    if let Some(exec) = ended
                        && !self.queue.is_busy(&exec.project, exec.session)
                    {
                        self.release(&exec);
                    }
                }
                self.position = sequence;
            }
        }
    }

    /// What the scheduler admits shows that the pod of its session is ready.
    fn release(&mut self, exec: &ExecId) {
        self.queue.release(&exec.project, exec.session);
    }
}

impl Line {
    /// Where an exec stands, if it waits.
    pub(crate) fn place(&self, exec: &ExecId) -> Option<QueuePlace> {
        self.state().queue.place(exec)
    }

    /// What is to be told of an exec to those who watch it.
    pub(crate) fn standing(&self, exec: &ExecId) -> Standing {
        let state = self.state();
        let (place, sequence) = (state.queue.place(exec), state.queue.command_seq(exec));
        match place {
            None => Standing::Gone(state.position),
            Some(place) if place.reason.is_some() && sequence <= Some(state.ticked) => {
                Standing::Waits(place)
            }
            Some(_) => Standing::Passes,
        }
    }

    /// Up to where the log was followed.
    pub(crate) fn position(&self) -> StreamSeq {
        self.state().position
    }

    /// Who schedules; none if nobody is known to.
    pub(crate) fn scheduler(&self) -> Option<String> {
        self.state().scheduler.clone()
    }

    /// How many commands of a project wait.
    pub(crate) fn waiting(&self, project: &ProjectId) -> usize {
        self.state().queue.waiting(project)
    }

    /// A command was stored: it is counted before the follower sees it, so that whoever posts one
    /// after the other passes no limit.
    pub(crate) fn submitted(&self, exec: &ExecId, sequence: StreamSeq, command: &Command) {
        let mut state = self.state();
        if sequence > state.position {
            let command = Commanded {
                exec: exec.clone(),
                turn: Turn::of(&command.spec),
                chain: Chain::default(),
                recorded_at: now(),
                start_by: None,
                awaits_pod: command.awaits_pod,
            };
            state.queue.apply(sequence, Fact::Commanded(command));
        }
    }

    /// Wakes at every tick.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.0.ticks.subscribe()
    }

    /// Keeps it up to date, for ever.
    pub(crate) async fn follow(&self, bus: &Bus) {
        tokio::join!(
            self.follow_log(bus),
            self.follow_scheduler(bus),
            self.tick()
        );
    }

    async fn follow_log(&self, bus: &Bus) {
        loop {
            if let Err(ReadError(reason)) = self.follow_once(bus).await {
                tracing::debug!(reason, "what waits is not known");
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    /// Returns when the log is another one.
    async fn follow_once(&self, bus: &Bus) -> Result<(), ReadError> {
        let mut log = bus.follow_queue().await?;
        {
            let mut state = self.state();
            let (slots, limits) = (state.queue.slots(), state.queue.limits().clone());
            let scheduler = state.scheduler.take();
            *state = State::new();
            state.scheduler = scheduler;
            state.queue.set_slots(slots);
            state.queue.set_limits(limits);
        }
        let mut checks = tokio::time::interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        checks.reset();
        loop {
            tokio::select! {
                waiting = log.next() => self.state().take(waiting),
                _ = checks.tick() => if !is_same(bus, &log).await? {
                    return Ok(());
                },
            }
        }
    }

    /// Learns what the scheduler keeps to. One that is silent has no slots: nothing is admitted.
    async fn follow_scheduler(&self, bus: &Bus) {
        let mut term = TermWatch::default();
        let mut answered_at = Instant::now();
        loop {
            match bus.scheduler_status().await {
                Ok(Some((revision, status))) => {
                    answered_at = Instant::now();
                    self.hear(term.has_lapsed(revision, answered_at), status);
                }
                // Whoever scheduled last cannot renew its term either, as far as is known here.
                Ok(None) | Err(_) if answered_at.elapsed() >= LAPSED_AFTER => {
                    self.state().scheduler = None;
                }
                Ok(None) | Err(_) => {}
            }
            tokio::time::sleep(RENEW_INTERVAL).await;
        }
    }

    fn hear(&self, is_over: bool, status: SchedulerStatus) {
        let mut state = self.state();
        let slots = if is_over { 0 } else { status.slots };
        state.queue.set_slots(slots);
        state.queue.set_limits(status.limits);
        let is_there = !is_over && !status.scheduler.is_empty();
        state.scheduler = is_there.then_some(status.scheduler);
    }

    async fn tick(&self) {
        let mut ticks = tokio::time::interval(TICK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = StreamSeq(0);
        loop {
            ticks.tick().await;
            {
                let mut state = self.state();
                // What came since the last tick has not waited for long.
                state.ticked = before;
                before = state.position;
            }
            self.0.ticks.send_replace(());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn is_same(bus: &Bus, log: &QueueLog) -> Result<bool, ReadError> {
    let identity = bus.identity(LogStream::Exec).await?;
    Ok(identity.created_at == log.created_at() && log.position() <= identity.last)
}

#[cfg(test)]
mod tests {
    use rdev_contract::queue::WaitReason;

    use super::*;

    fn exec(stream: &str) -> ExecId {
        ExecId {
            project: "demo".parse().unwrap(),
            session: "01935bd0-7a3c-7000-8000-5f1e2d3c4b5a".parse().unwrap(),
            stream: stream.parse().unwrap(),
        }
    }

    fn command() -> Command {
        let text = r#"{"type":"shell","command":"true","timeout_seconds":9,
            "accept_until":"2026-11-22T06:21:00Z","by":{"key":"","address":"","agent":""}}"#;
        serde_json::from_str(text).unwrap()
    }

    fn message(stream: &str, kind: &str, sequence: u64) -> Waiting {
        let subject = format!("rdev.exec.demo.{}.{stream}.{kind}", exec(stream).session);
        Waiting::Message(Recorded {
            sequence: StreamSeq(sequence),
            value: rdev_bus::Stored {
                subject,
                payload: axum::body::Bytes::new(),
                at: jiff::Timestamp::UNIX_EPOCH,
                trace: None,
            },
        })
    }

    #[test]
    fn own_commands_count_before_they_are_seen() {
        let line = Line::default();
        let project = exec("a").project;
        line.state().take(message("a", "command", 5));
        line.submitted(&exec("b"), StreamSeq(9), &command());
        line.submitted(&exec("b"), StreamSeq(9), &command());
        assert_eq!(line.waiting(&project), 2);
        line.state().take(message("b", "command", 9));
        assert_eq!(line.waiting(&project), 2);
        line.state().take(message("b", "complete", 12));
        // Its answer was long in coming: it has ended.
        line.submitted(&exec("b"), StreamSeq(9), &command());
        assert_eq!(line.waiting(&project), 1);
    }

    #[test]
    fn a_session_is_not_held_behind_what_was_never_admitted() {
        let line = Line::default();
        line.state().queue.set_slots(1);
        let mut awaiting = command();
        awaiting.awaits_pod = true;
        line.submitted(&exec("a"), StreamSeq(5), &awaiting);
        let place = line.place(&exec("a")).unwrap();
        assert_eq!(place.reason, Some(WaitReason::SessionNotReady));
        line.state().take(message("a", "complete", 6));
        line.state().take(message("b", "command", 7));
        assert_eq!(line.place(&exec("b")).unwrap().reason, None);
    }

    #[test]
    fn only_who_has_waited_is_told() {
        let line = Line::default();
        line.state().take(message("a", "command", 5));
        assert_eq!(line.standing(&exec("a")), Standing::Passes);
        assert_eq!(line.place(&exec("a")).unwrap().position, 1);
        line.state().ticked = StreamSeq(4);
        assert_eq!(line.standing(&exec("a")), Standing::Passes);
        line.state().ticked = StreamSeq(5);
        assert!(matches!(line.standing(&exec("a")), Standing::Waits(_)));
        // What may be admitted will be, very soon.
        line.state().queue.set_slots(1);
        assert_eq!(line.standing(&exec("a")), Standing::Passes);
        line.state().take(message("a", "admitted", 6));
        assert_eq!(line.standing(&exec("a")), Standing::Gone(StreamSeq(6)));
    }
}
