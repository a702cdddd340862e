//! What every user of the log counts of it: connections, and publishes with their answers.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::Event;
use rdev_contract::event::Kind;
use rdev_runtime::metrics::{self, Counter, Gauge, Histogram, Many, SHORT_SECONDS};

use crate::publish::NotStored;

const STALE: &str = "stale";
const FULL: &str = "full";
const TOO_LARGE: &str = "too_large";
const UNKNOWN: &str = "unknown";

/// Handles; see the help of each.
pub(crate) struct Metrics {
    pub(crate) connections: Gauge,
    pub(crate) connects: Counter,
    pub(crate) disconnects: Counter,
    pub(crate) slow_consumers: Counter,
    pub(crate) fenced: Counter,
    pub(crate) bulk_waits: Counter,
    publish_seconds: Many<Histogram, 1>,
    failures: Many<Counter, 1>,
    published_bytes: Many<Counter, 1>,
}

pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// What is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Written {
    /// A message of an exec.
    Exec(Kind),
    /// A fact of a session.
    Session,
    /// An order for an exec.
    Order,
    /// An API key, or what belongs to one.
    Key,
}

impl Written {
    const fn name(self) -> &'static str {
        match self {
            Self::Exec(kind) => kind.token(),
            Self::Session => "session",
            Self::Order => "order",
            Self::Key => "key",
        }
    }
}

/// One connection, for the number of those that are up.
#[derive(Debug, Default)]
pub(crate) struct Line {
    is_up: AtomicBool,
}

impl Line {
    /// Takes note of what became of the connection.
    pub(crate) fn tell(&self, event: &Event) {
        match event {
            Event::Connected => {
                METRICS.connects.inc();
                if !self.is_up.swap(true, Ordering::Relaxed) {
                    METRICS.connections.inc();
                }
            }
            Event::Disconnected => {
                METRICS.disconnects.inc();
                self.down();
            }
            Event::Closed => self.down(),
            Event::SlowConsumer(_) => {
                METRICS.slow_consumers.inc();
            }
            Event::LameDuckMode
            | Event::Draining
            | Event::ServerError(_)
            | Event::ClientError(_) => {}
        }
    }

    fn down(&self) {
        if self.is_up.swap(false, Ordering::Relaxed) {
            METRICS.connections.dec();
        }
    }
}

impl Metrics {
    fn new() -> Self {
        let made = Self {
            connections: metrics::gauge("rdev_nats_connections", "Connections to NATS that are up"),
            connects: metrics::counter(
                "rdev_nats_connects",
                "Connections to NATS made, the first ones included",
            ),
            disconnects: metrics::counter("rdev_nats_disconnects", "Connections to NATS lost"),
            slow_consumers: metrics::counter(
                "rdev_nats_slow_consumers",
                "Times that a subscription dropped messages, which are read from the log then",
            ),
            fenced: metrics::counter(
                "rdev_fenced_writes",
                "Writes of claims that the log refused, because another claim has the exec: the writer has stopped",
            ),
            bulk_waits: metrics::counter(
                "rdev_bulk_wait_seconds",
                "Time that output of commands waited in their pods because the log was full",
            ),
            publish_seconds: metrics::histograms(
                "rdev_publish_duration_seconds",
                "Time from a publish to its acknowledgement, which means on disk",
                ["kind"],
                SHORT_SECONDS,
            ),
            failures: metrics::counters(
                "rdev_publish_failures",
                "Publishes that were not acknowledged: stale (the log has gone on), full, too_large, unknown (no answer); each is looked into, and sent again where that is right",
                ["result"],
            ),
            published_bytes: metrics::counters(
                "rdev_published_bytes",
                "Payloads that the log has stored",
                ["kind"],
            ),
        };
        // An alert sees a counter move only if it was there before.
        for result in [STALE, FULL, TOO_LARGE, UNKNOWN] {
            made.failures.of([result]);
        }
        made
    }

    /// A publish was answered, or not, after so many seconds.
    pub(crate) fn published(
        &self,
        written: Written,
        bytes: usize,
        seconds: f64,
        answer: Result<(), &NotStored>,
    ) {
        let kind = written.name();
        let failed = match answer {
            Ok(()) => {
                self.publish_seconds.of([kind]).observe(seconds);
                self.published_bytes.of([kind]).inc_by(bytes as u64);
                return;
            }
            Err(NotStored::Stale) => STALE,
            Err(NotStored::Full(_)) => FULL,
            Err(NotStored::TooLarge(_)) => TOO_LARGE,
            Err(NotStored::Unknown(_)) => UNKNOWN,
        };
        self.failures.of([failed]).inc();
    }

    /// What is not even sent, because the log is nearly full.
    pub(crate) fn refused(&self) {
        self.failures.of([FULL]).inc();
    }
}
