//! One term of the scheduler: the log comes in, admissions go out, many at a time.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use rdev_bus::admit::Admitting;
use rdev_bus::append::ExecWriter;
use rdev_bus::term::Certainty;
use rdev_bus::topology::TopologyError;
use rdev_bus::waiting::{QueueLog, Waiting};
use rdev_bus::{Bus, LogStream, ReadError};
use rdev_contract::envelope::Recorded;
use rdev_contract::event::{Complete, Outcome};
use rdev_contract::id::ExecId;
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_contract::queue::QueueSnapshot;
use rdev_domain::exec::QUEUE_TIMEOUT_REASON;
use rdev_domain::queue::{Admission, Fact, Queue};
use rdev_runtime::Shutdown;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::Scheduler;
use crate::context::now;
use crate::keep::{Keeper, LOOK_INTERVAL, Look, Looked};
use crate::metrics::{METRICS, Standing, UNKNOWN};

/// Admissions that are under way at a time: as many as a server stores in some milliseconds.
const ADMITTING_MAX: usize = 256;
/// Messages that are taken in before what they make possible is done.
const TAKEN_MAX: usize = 256;
/// How often it is checked that the log is still the same, and a snapshot is left.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Messages that are not worth a snapshot: reading them takes as long as restoring one.
const SNAPSHOT_MESSAGES_MIN: usize = 500;

/// What a scheduler has under way.
enum Done {
    Admitted(ExecId, Admitting),
    /// Whoever ended or admitted it: the log says it.
    TimedOut,
    /// Something was done for sessions.
    Looked(Looked),
    /// Whether the log is still the one that is followed.
    Checked(Result<bool, ReadError>),
}

type Doing = FuturesUnordered<BoxFuture<'static, Done>>;

/// The state of one term.
struct Reign<'a> {
    scheduler: &'a Scheduler,
    queue: Queue,
    log: QueueLog,
    doing: Doing,
    keeper: Keeper,
    /// Messages since the last snapshot.
    taken: usize,
}

impl Scheduler {
    /// Schedules until shutdown, or until the log cannot be followed any more.
    pub(super) async fn reign(
        &self,
        certainty: &mut Certainty,
        slots: &mut watch::Receiver<u32>,
        shutdown: &Shutdown,
    ) -> Result<(), ReadError> {
        self.bus
            .retire_former_work_queue()
            .await
            .map_err(|error: TopologyError| ReadError(error.to_string()))?;
        let mut reign = Reign {
            scheduler: self,
            queue: Queue::new(self.limits.clone()),
            log: self.bus.follow_queue().await?,
            doing: Doing::new(),
            keeper: Keeper::begin(Arc::clone(&self.keep)).await?,
            taken: 0,
        };
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut checks = tokio::time::interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        checks.reset();
        loop {
            reign.queue.set_slots(*slots.borrow_and_update());
            if certainty.lasts() {
                reign.admit();
            }
            tokio::select! {
                waiting = reign.log.next() => reign.take(waiting),
                fact = reign.keeper.next() => reign.keeper.take(&fact, &mut reign.queue),
                Some(done) = reign.doing.next() => match done {
                    Done::Admitted(exec, admitting) => reign.admitted(&exec, admitting),
                    Done::Looked(looked) => reign.keeper.looked(looked, &mut reign.queue),
                    Done::TimedOut | Done::Checked(Ok(true)) => {}
                    Done::Checked(Ok(false)) => {
                        return Err(ReadError("the log was replaced".to_owned()));
                    }
                    Done::Checked(Err(ReadError(reason))) => {
                        tracing::warn!(reason, "no snapshot of the queue was left");
                    }
                },
                _ = slots.changed() => {}
                () = certainty.renewed() => {}
                _ = looks.tick() => if certainty.lasts() {
                    reign.look();
                } else {
                    // It may be another's by now, and what this one knew last is of no use.
                    METRICS.scheduling.end();
                },
                _ = checks.tick() => reign.check(),
                () = shutdown.requested() => return Ok(()),
            }
        }
    }
}

impl Reign<'_> {
    fn take(&mut self, first: Waiting) {
        self.take_in(first);
        for _ in 1..TAKEN_MAX {
            let Some(waiting) = self.log.try_next() else {
                return;
            };
            self.take_in(waiting);
        }
    }

    fn take_in(&mut self, waiting: Waiting) {
        match waiting {
            Waiting::Admitted(command_seq) => self.queue.admitted(command_seq),
            Waiting::Message(Recorded { sequence, value }) => {
                self.taken += 1;
                match Fact::of(&value.subject, &value.payload, value.at) {
                    Some(fact) => self.apply(sequence, fact),
                    // The stream takes any token; this one was not published by rdev.
                    None => tracing::error!(subject = value.subject, seq = %sequence, "not a fact"),
                }
            }
        }
    }

    fn apply(&mut self, sequence: StreamSeq, fact: Fact) {
        let waits_for_pod = match &fact {
            Fact::Commanded(command) => command.awaits_pod.then(|| command.exec.clone()),
            Fact::Admitted(_) | Fact::Completed(_) => None,
        };
        self.queue.apply(sequence, fact);
        let look = waits_for_pod.and_then(|exec| self.keeper.commanded(&exec, &mut self.queue));
        self.do_looks(look);
    }

    /// Tells how things are, and does what is due in the lives of sessions, but not before it is known
    /// what waits and runs.
    fn look(&mut self) {
        if self.log.is_replayed() {
            METRICS.scheduling.tell(&self.standing());
            let looks = self.keeper.due(&self.queue);
            self.do_looks(looks);
        }
    }

    fn standing(&self) -> Standing {
        let queue = &self.queue;
        let waited = queue
            .waiting_since()
            .map(|since| now().duration_since(since));
        Standing {
            waiting: queue.waiting_by_reason(),
            oldest_seconds: waited.map_or(0.0, |waited| waited.as_secs_f64().max(0.0)),
            running: queue.all_running(),
            slots: queue.slots(),
            sessions: self.keeper.sessions(),
        }
    }

    fn do_looks(&mut self, looks: impl IntoIterator<Item = Look>) {
        for look in looks {
            self.doing.push(look.map(Done::Looked).boxed());
        }
    }

    /// Admits whatever may be, but not before it is known what runs.
    fn admit(&mut self) {
        if !self.log.is_replayed() {
            return;
        }
        while self.doing.len() < ADMITTING_MAX
            && let Some(admission) = self.queue.admit()
        {
            let (bus, name) = (self.scheduler.bus.clone(), self.scheduler.name.clone());
            self.doing.push(Box::pin(store(bus, name, admission)));
        }
        while let Some(overdue) = self.queue.overdue(now()) {
            let bus = self.scheduler.bus.clone();
            self.doing.push(Box::pin(time_out(bus, overdue)));
        }
    }

    fn admitted(&mut self, exec: &ExecId, admitting: Admitting) {
        match admitting {
            // The log's next messages say the rest.
            Admitting::Stored => {
                METRICS.scheduling.admissions.inc();
            }
            Admitting::Settled => {}
            Admitting::Gone => self.queue.forget(exec),
        }
    }

    fn check(&mut self) {
        let snapshot = self.snapshot();
        let (position, created_at) = (self.log.position(), self.log.created_at());
        let (sessions_position, sessions_created_at) = self.keeper.position();
        let bus = self.scheduler.bus.clone();
        self.doing.push(Box::pin(async move {
            let checked = async {
                let identity = bus.identity(LogStream::Exec).await?;
                let sessions = bus.identity(LogStream::Session).await?;
                let is_same = identity.created_at == created_at
                    && position <= identity.last
                    && sessions.created_at == sessions_created_at
                    && sessions_position <= sessions.last;
                if let Some(snapshot) = snapshot.filter(|_| is_same) {
                    bus.store_snapshot(&snapshot).await?;
                }
                Ok(is_same)
            };
            Done::Checked(checked.await)
        }));
    }

    fn snapshot(&mut self) -> Option<QueueSnapshot> {
        if self.taken < SNAPSHOT_MESSAGES_MIN || !self.log.is_replayed() {
            return None;
        }
        self.taken = 0;
        let (waiting, admitted) = self.queue.unfinished();
        let (position, created_at) = (self.log.position(), self.log.created_at());
        Some(QueueSnapshot::new(
            created_at, position, &waiting, &admitted,
        ))
    }
}

async fn store(bus: Bus, scheduler: String, admission: Admission) -> Done {
    let Admission {
        exec,
        command_seq,
        chain,
    } = admission;
    let command = Recorded {
        sequence: command_seq,
        value: chain,
    };
    let admitting = bus.admit(&exec, command, &scheduler, now()).await;
    tracing::debug!(stream.id = %exec.stream, ?admitting, "admitted");
    Done::Admitted(exec, admitting)
}

/// Ends a command that nobody admits in time. The same end as an executor would write.
async fn time_out(bus: Bus, overdue: Admission) -> Done {
    let tail = Recorded {
        sequence: overdue.command_seq,
        value: overdue.chain,
    };
    let exec = overdue.exec;
    let mut writer = ExecWriter::new(bus.clone(), exec.clone(), None, 0, tail);
    let end = Complete::without_process(Outcome::TimedOut, QUEUE_TIMEOUT_REASON);
    let append = writer.append_end(EventNo::FIRST, Offsets::default(), &end, now());
    if append.await.is_ok() {
        METRICS.scheduling.timeouts.inc();
        METRICS.ended(UNKNOWN, end.outcome);
        tracing::info!(stream.id = %exec.stream, "exec timed out before its turn");
        if let Err(ReadError(reason)) = bus.remove_orders(&exec, None).await {
            tracing::warn!(stream.id = %exec.stream, reason, "its orders are left behind");
        }
    }
    Done::TimedOut
}
