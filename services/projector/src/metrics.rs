//! What a projector counts. docs/metrics.md says what each is good for.

use std::sync::LazyLock;

use jiff::Timestamp;
use rdev_bus::LogStream;
use rdev_readmodel::Database;
use rdev_runtime::metrics::{self, Counter, Fraction, Gauge, Histogram, Many, SHORT_SECONDS};

use crate::archive::Progress;
use crate::lag::{self, Board};

/// Handles; see the help of each.
pub(crate) struct Metrics {
    pub(crate) messages: Many<Counter, 1>,
    pub(crate) batch_seconds: Many<Histogram, 1>,
    pub(crate) interruptions: Many<Counter, 1>,
    pub(crate) archived: Archived,
    active: Gauge,
    lag: Lag,
    log_limit: Gauge,
    archiving: Gauge,
    archive_position: Many<Gauge, 0>,
    archive_lag: Many<Fraction, 0>,
    pool: Many<Gauge, 1>,
}

/// What only the active projector knows; absent in all others.
struct Lag {
    position: Many<Gauge, 1>,
    messages: Many<Gauge, 1>,
    seconds: Many<Fraction, 1>,
    poisoned: Many<Gauge, 1>,
    log_messages: Many<Gauge, 1>,
    log_bytes: Many<Gauge, 1>,
}

pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

impl Metrics {
    fn new() -> Self {
        let made = Self {
            messages: metrics::counters(
                "rdev_projection_messages",
                "Messages of the log that were brought into the tables",
                ["stream"],
            ),
            batch_seconds: metrics::histograms(
                "rdev_projection_batch_duration_seconds",
                "Time that a transaction took, from its first message to its commit",
                ["stream"],
                SHORT_SECONDS,
            ),
            interruptions: metrics::counters(
                "rdev_projection_interruptions",
                "Times that following the log broke off and began again",
                ["stream"],
            ),
            archived: Archived::new(),
            active: metrics::gauge(
                "rdev_projector_active",
                "Whether this projector is the active one: 1 or 0",
            ),
            lag: Lag::new(),
            log_limit: metrics::gauge(
                "rdev_log_limit_bytes",
                "RDEV_LOG_MAX_BYTES: bytes at which the stream of execs refuses; 0 for no limit",
            ),
            archiving: metrics::gauge(
                "rdev_archiver_active",
                "Whether this projector archives: 1 or 0",
            ),
            archive_position: metrics::gauges(
                "rdev_archive_position",
                "Sequence up to which all execs that ended are archived; only who archives has it",
                [],
            ),
            archive_lag: metrics::fractions(
                "rdev_archive_lag_seconds",
                "For how long the oldest exec that is not archived has been due; only who archives has it",
                [],
            ),
            pool: metrics::gauges(
                "rdev_postgres_connections",
                "Connections to PostgreSQL: used, idle, and the max there may be; waiting: requests for one",
                ["state"],
            ),
        };
        for stream in STREAMS {
            made.messages.of([stream.name()]);
            made.interruptions.of([stream.name()]);
        }
        made
    }

    /// What is looked up at each scrape.
    pub(crate) fn look_up(&self, board: &Board, archive: Option<&Progress>, now: Timestamp) {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.active.set(i64::from(board.is_active()));
        for stream in STREAMS {
            let Some(progress) = board.progress(stream) else {
                self.lag.forget();
                break;
            };
            self.lag.tell([stream.name()], &progress, now);
        }
        let archived = archive.and_then(|archive| archive.position_and_lag(now));
        self.archiving.set(i64::from(archived.is_some()));
        if let Some((position, lag)) = archived {
            self.archive_position.one().set(whole(position.0));
            self.archive_lag.one().set(lag);
        } else {
            self.archive_position.clear();
            self.archive_lag.clear();
        }
    }

    /// How large the log may become.
    pub(crate) fn limit(&self, max_bytes: i64) {
        self.log_limit.set(max_bytes.max(0));
    }

    /// Shows this pool of connections from now on.
    pub(crate) fn watch(&self, database: &Database) {
        let (database, pool) = (database.clone(), self.pool.clone());
        metrics::on_scrape(move || {
            for (state, count) in database.connections() {
                pool.of([state])
                    .set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        });
    }
}

impl Lag {
    fn tell(&self, stream: [&'static str; 1], progress: &lag::Progress, now: Timestamp) {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let lag = progress.lag(now);
        self.position.of(stream).set(whole(progress.position.0));
        self.messages.of(stream).set(whole(lag.messages));
        self.seconds.of(stream).set(lag.age.as_secs_f64());
        self.poisoned.of(stream).set(whole(progress.poisoned));
        let held = progress.held;
        self.log_messages.of(stream).set(whole(held.messages));
        self.log_bytes.of(stream).set(whole(held.bytes));
    }

    fn new() -> Self {
        Self {
            position: metrics::gauges(
                "rdev_projection_position",
                "Sequence up to which the log is in the tables; only the active projector has it",
                ["stream"],
            ),
            messages: metrics::gauges(
                "rdev_projection_lag_messages",
                "Messages behind that position, those that make no rows among them; only the active projector has it",
                ["stream"],
            ),
            seconds: metrics::fractions(
                "rdev_projection_lag_seconds",
                "Age of the oldest message that is not in the tables; only the active projector has it",
                ["stream"],
            ),
            poisoned: metrics::gauges(
                "rdev_projection_poisoned_messages",
                "Messages that could not be projected and are kept in the table of poison; only the active projector has it",
                ["stream"],
            ),
            log_messages: metrics::gauges(
                "rdev_log_messages",
                "Messages that a stream of the log holds; only the active projector has it",
                ["stream"],
            ),
            log_bytes: metrics::gauges(
                "rdev_log_bytes",
                "Bytes that a stream of the log holds; only the active projector has it",
                ["stream"],
            ),
        }
    }

    /// A stand-by knows nothing.
    fn forget(&self) {
        for gauges in [
            &self.position,
            &self.messages,
            &self.poisoned,
            &self.log_messages,
            &self.log_bytes,
        ] {
            gauges.clear();
        }
        self.seconds.clear();
    }
}

/// What the archiver did.
pub(crate) struct Archived {
    pub(crate) execs: Counter,
    pub(crate) parts: Counter,
    pub(crate) bytes: Counter,
    pub(crate) failures: Counter,
}

impl Archived {
    fn new() -> Self {
        Self {
            execs: metrics::counter("rdev_archived_execs", "Execs that were archived"),
            parts: metrics::counter(
                "rdev_archived_parts",
                "Execs that were archived in part only, because the rest had expired",
            ),
            bytes: metrics::counter(
                "rdev_archived_bytes",
                "Bytes that were written to the archive, compressed",
            ),
            failures: metrics::counter(
                "rdev_archive_failures",
                "Tries to archive that failed; they are made again",
            ),
        }
    }
}

const STREAMS: [LogStream; 2] = [LogStream::Session, LogStream::Exec];
