//! What an executor counts. docs/metrics.md says what each is good for.

use std::collections::HashMap;
use std::sync::LazyLock;

use rdev_contract::event::{Complete, Outcome};
use rdev_contract::position::Offsets;
use rdev_contract::queue::WaitReason;
use rdev_runtime::metrics::{
    self, Counter, Fraction, Gauge, Histogram, LONG_SECONDS, Many, SHORT_SECONDS,
};

use crate::context::Stop;

/// Handles; see the help of each.
pub(crate) struct Metrics {
    pub(crate) slots: Gauge,
    pub(crate) running: Gauge,
    pub(crate) starts: Counter,
    pub(crate) takeovers: Counter,
    pub(crate) start_delay: Histogram,
    pub(crate) claim_seconds: Many<Histogram, 1>,
    pub(crate) output_bytes: Counter,
    pub(crate) events: Counter,
    pub(crate) unlogged_bytes: Gauge,
    pub(crate) channels: Gauge,
    pub(crate) channels_opened: Many<Counter, 1>,
    pub(crate) scheduling: Scheduling,
    ends: Ends,
}

/// How work on execs ended.
struct Ends {
    completed: Many<Counter, 2>,
    duration: Many<Histogram, 1>,
    stops: Many<Counter, 1>,
}

/// What only the scheduler knows; absent in all others.
pub(crate) struct Scheduling {
    pub(crate) is_scheduler: Gauge,
    pub(crate) admissions: Counter,
    pub(crate) timeouts: Counter,
    pub(crate) keeper_steps: Many<Counter, 1>,
    waiting: Many<Gauge, 1>,
    oldest_age: Many<Fraction, 0>,
    running: Many<Gauge, 0>,
    slots: Many<Gauge, 0>,
    sessions: Many<Gauge, 0>,
}

/// How things are in the scheduler.
pub(crate) struct Standing {
    /// Commands that wait, by what they wait for: nothing if they are about to be admitted.
    pub(crate) waiting: HashMap<Option<WaitReason>, usize>,
    /// How long the oldest of them has waited, in seconds; 0 if none waits.
    pub(crate) oldest_seconds: f64,
    /// Execs that were admitted and have not ended.
    pub(crate) running: u32,
    /// Slots of all executors.
    pub(crate) slots: u32,
    /// Sessions that are kept.
    pub(crate) sessions: usize,
}

pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

impl Metrics {
    fn new() -> Self {
        let made = Self {
            slots: metrics::gauge("rdev_executor_slots", "Execs that this executor can run"),
            running: metrics::gauge("rdev_execs_running", "Execs that this executor works on"),
            starts: metrics::counter(
                "rdev_exec_starts",
                "First attempts: commands that were claimed and launched",
            ),
            takeovers: metrics::counter(
                "rdev_exec_takeovers",
                "Further attempts: execs that another claim had begun, and this executor goes on with",
            ),
            start_delay: metrics::histogram(
                "rdev_exec_start_delay_seconds",
                "Time from a command in the log to its launch: queue, pod and channel",
                LONG_SECONDS,
            ),
            claim_seconds: metrics::histograms(
                "rdev_exec_claim_duration_seconds",
                "Time that a claim took: pod, channel and the message in the log",
                ["kind"],
                SHORT_SECONDS,
            ),
            output_bytes: metrics::counter(
                "rdev_output_bytes",
                "Bytes that commands printed, as they came from the pods",
            ),
            events: metrics::counter(
                "rdev_events_logged",
                "Numbered events that the log has stored",
            ),
            unlogged_bytes: metrics::gauge(
                "rdev_journal_unlogged_bytes",
                "Bytes that came from the journals in the pods and are not in the log yet",
            ),
            channels: metrics::gauge("rdev_channels", "Open connections to shims in pods"),
            channels_opened: metrics::counters(
                "rdev_channels_opened",
                "Connections to shims in pods: opened, or failed",
                ["result"],
            ),
            scheduling: Scheduling::new(),
            ends: Ends::new(),
        };
        for result in [OPENED, FAILED] {
            made.channels_opened.of([result]);
        }
        made
    }

    /// The log has stored an end, which is a numbered event. `kind` is the type of the command.
    pub(crate) fn ended(&self, kind: &'static str, outcome: Outcome) {
        self.ends.completed.of([kind, outcome.name()]).inc();
        self.events.inc();
    }

    /// The same of a command that was launched.
    pub(crate) fn completed(&self, kind: &'static str, end: &Complete) {
        self.ended(kind, end.outcome);
        // Without a process nothing ran.
        if !matches!(end.outcome, Outcome::Rejected | Outcome::Lost) {
            let milliseconds = u32::try_from(end.duration_ms).unwrap_or(u32::MAX);
            let seconds = f64::from(milliseconds) / 1_000.0;
            self.ends.duration.of([kind]).observe(seconds);
        }
    }

    /// The work on an exec ended before its end.
    pub(crate) fn stopped(&self, stop: &Stop) {
        self.stopped_for(match stop {
            Stop::StoodBack => "stood_back",
            Stop::Passing(_) => "passing",
            Stop::Unstarted(_) => "unstarted",
        });
    }

    /// The same, for this reason.
    pub(crate) fn stopped_for(&self, reason: &'static str) {
        self.ends.stops.of([reason]).inc();
    }
}

impl Ends {
    fn new() -> Self {
        let made = Self {
            completed: metrics::counters(
                "rdev_execs_completed",
                "Ends that this executor wrote, by type of command and outcome",
                ["type", "outcome"],
            ),
            duration: metrics::histograms(
                "rdev_exec_duration_seconds",
                "How long commands ran in their pods",
                ["type"],
                LONG_SECONDS,
            ),
            stops: metrics::counters(
                "rdev_exec_stops",
                "Times that this executor stopped working on an exec before its end: stood_back (another has it), passing and unstarted (tried again), handed_over (shutdown), broken (a bug)",
                ["reason"],
            ),
        };
        for reason in [
            "stood_back",
            "passing",
            "unstarted",
            "handed_over",
            "broken",
        ] {
            made.stops.of([reason]);
        }
        // An alert sees a counter move only if it was there before.
        for kind in ["shell", "git", "claude", "codex"] {
            for outcome in [Outcome::Exited, Outcome::Lost, Outcome::Rejected] {
                made.completed.of([kind, outcome.name()]);
            }
        }
        made
    }
}

/// The type of a command that cannot be read, or was not looked at.
pub(crate) const UNKNOWN: &str = "unknown";
/// What a command waits for that is about to be admitted.
const NOTHING: &str = "none";
/// Results of what may fail.
pub(crate) const OPENED: &str = "opened";
pub(crate) const FAILED: &str = "failed";
pub(crate) const DONE: &str = "done";

impl Scheduling {
    fn new() -> Self {
        let made = Self {
            is_scheduler: metrics::gauge(
                "rdev_scheduler",
                "Whether this executor is the scheduler, which also keeps sessions: 1 or 0",
            ),
            admissions: metrics::counter("rdev_queue_admissions", "Commands whose turn came"),
            timeouts: metrics::counter(
                "rdev_queue_timeouts",
                "Commands that ended because their turn did not come in time",
            ),
            keeper_steps: metrics::counters(
                "rdev_keeper_steps",
                "Steps in the lives of sessions (pods made and removed, ends): done, or failed and tried again",
                ["result"],
            ),
            waiting: metrics::gauges(
                "rdev_queue_waiting",
                "Commands that wait for their turn, by what they wait for: none if it has come; only the scheduler has it",
                ["reason"],
            ),
            oldest_age: metrics::fractions(
                "rdev_queue_oldest_age_seconds",
                "How long the oldest command has waited; only the scheduler has it",
                [],
            ),
            running: metrics::gauges(
                "rdev_queue_running",
                "Execs that were admitted and have not ended; only the scheduler has it",
                [],
            ),
            slots: metrics::gauges(
                "rdev_queue_slots",
                "Execs that all executors together can run; only the scheduler has it",
                [],
            ),
            sessions: metrics::gauges(
                "rdev_sessions_kept",
                "Sessions with a pod of their own or a limited life; only the scheduler has it",
                [],
            ),
        };
        for result in [DONE, FAILED] {
            made.keeper_steps.of([result]);
        }
        made
    }

    /// How things are.
    pub(crate) fn tell(&self, standing: &Standing) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.is_scheduler.set(1);
        let reasons = WaitReason::ALL.map(Some);
        for reason in reasons.into_iter().chain([None]) {
            let waiting = standing.waiting.get(&reason).copied().unwrap_or(0);
            let word = reason.map_or(NOTHING, WaitReason::name);
            self.waiting.of([word]).set(count(waiting));
        }
        self.oldest_age.one().set(standing.oldest_seconds);
        self.running.one().set(i64::from(standing.running));
        self.slots.one().set(i64::from(standing.slots));
        self.sessions.one().set(count(standing.sessions));
    }

    /// This executor is not the scheduler any more: it knows nothing.
    pub(crate) fn end(&self) {
        self.is_scheduler.set(0);
        self.waiting.clear();
        self.oldest_age.clear();
        self.running.clear();
        self.slots.clear();
        self.sessions.clear();
    }
}

/// The bytes of one exec that came from its journal and are not in the log, for the sum of all.
#[derive(Debug, Default)]
pub(crate) struct Unlogged(u64);

impl Unlogged {
    /// What came moved the end from there to here.
    pub(crate) fn came(&mut self, before: Offsets, now: Offsets) {
        let bytes = between(before, now);
        METRICS.output_bytes.inc_by(bytes);
        self.set(self.0 + bytes);
    }

    /// The log has everything up to there.
    pub(crate) fn logged(&mut self, before: Offsets, now: Offsets) {
        self.set(self.0.saturating_sub(between(before, now)));
    }

    fn set(&mut self, bytes: u64) {
        let number = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        METRICS
            .unlogged_bytes
            .inc_by(number(bytes) - number(self.0));
        self.0 = bytes;
    }
}

fn between(before: Offsets, now: Offsets) -> u64 {
    let sum = |offsets: Offsets| offsets.stdout + offsets.stderr;
    sum(now).saturating_sub(sum(before))
}

impl Drop for Unlogged {
    fn drop(&mut self) {
        self.set(0);
    }
}
