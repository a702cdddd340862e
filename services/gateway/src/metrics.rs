//! What a gateway counts. docs/metrics.md says what each is good for.
//!
//! What is done for each event of each reader is not here: a reader adds to a counter once for each
//! chunk that it is sent.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rdev_runtime::metrics::{
    self, Counter, Gauge, Histogram, Many, SHORT_SECONDS, Value, on_scrape,
};

use crate::events::Farewell;
use crate::state::Gateway;

/// Handles; see the help of each.
pub(crate) struct Metrics {
    pub(crate) connections: Gauge,
    pub(crate) readers: Many<Gauge, 2>,
    pub(crate) readers_behind: Gauge,
    pub(crate) reader_catch_ups: Counter,
    pub(crate) delivered_events: Counter,
    pub(crate) delivered_bytes: Counter,
    stalled: Many<Counter, 1>,
    reader_ends: Many<Counter, 1>,
    requests: Many<Counter, 3>,
    request_seconds: Many<Histogram, 2>,
    stream_slots: Gauge,
    free_stream_slots: Gauge,
    tails: Gauge,
    pool: Many<Gauge, 1>,
    queue_position: Gauge,
}

pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// Why a reader's answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReaderEnd {
    /// It was shown everything it had asked for.
    Finished,
    /// It went away, or was cut.
    Gone,
    /// It was sent away, with this reason.
    SentAway(Farewell),
}

/// Why a connection was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stall {
    /// Its client has stopped reading.
    Reading,
    /// Its client has never asked for anything.
    Silent,
}

impl Stall {
    const fn name(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Silent => "silent",
        }
    }
}

impl Metrics {
    fn new() -> Self {
        let made = Self {
            connections: metrics::gauge("rdev_http_connections", "Open connections of clients"),
            stalled: metrics::counters(
                "rdev_http_stalled_connections",
                "Connections that were cut because of their client: reading (it has stopped reading), silent (it never asked for anything)",
                ["why"],
            ),
            readers: metrics::gauges(
                "rdev_readers",
                "Open streams of events: of one exec or of a whole session; followed, replayed or polled",
                ["scope", "mode"],
            ),
            readers_behind: metrics::gauge(
                "rdev_readers_behind",
                "Readers that read the log, because they are not up to date yet or have fallen behind",
            ),
            reader_catch_ups: metrics::counter(
                "rdev_reader_catch_ups",
                "Times that a reader which was up to date fell behind, and went on in the log at its own pace",
            ),
            delivered_events: metrics::counter("rdev_delivered_events", "Events sent to readers"),
            delivered_bytes: metrics::counter(
                "rdev_delivered_bytes",
                "Bytes of events sent to readers",
            ),
            reader_ends: metrics::counters(
                "rdev_reader_ends",
                "Streams of events that ended: finished, gone (the client went or was cut), or sent away with the reason that it was told",
                ["reason"],
            ),
            requests: metrics::counters(
                "rdev_http_requests",
                "Requests that were answered; with status 499 those whose client had left before",
                ["method", "route", "status"],
            ),
            request_seconds: metrics::histograms(
                "rdev_http_request_duration_seconds",
                "Time from a request to the head of its answer; what is waited for with wait= is in it, what is streamed is not",
                ["method", "route"],
                SHORT_SECONDS,
            ),
            stream_slots: metrics::gauge(
                "rdev_reader_slots",
                "Streams of events that this gateway would have open at a time",
            ),
            free_stream_slots: metrics::gauge(
                "rdev_reader_slots_free",
                "Further streams of events that this gateway would open",
            ),
            tails: metrics::gauge(
                "rdev_tails",
                "Live subscriptions to the log, each shared by all readers of an exec or a session",
            ),
            pool: metrics::gauges(
                "rdev_postgres_connections",
                "Connections to PostgreSQL: used, idle, and the max there may be; waiting: requests for one",
                ["state"],
            ),
            queue_position: metrics::gauge(
                "rdev_queue_follower_position",
                "Sequence up to which this gateway has followed the log for places in the queue",
            ),
        };
        made.declare();
        made
    }

    /// An alert sees a counter move only if it was there before.
    fn declare(&self) {
        for scope in ["exec", "session"] {
            for mode in ["follow", "replay", "poll"] {
                self.readers.of([scope, mode]);
            }
        }
        let ends = [ReaderEnd::Finished, ReaderEnd::Gone].into_iter();
        for end in ends.chain(Farewell::ALL.map(ReaderEnd::SentAway)) {
            self.reader_ends.of([end.name()]);
        }
        for stall in [Stall::Reading, Stall::Silent] {
            self.stalled.of([stall.name()]);
        }
    }

    fn answered(&self, method: &'static str, route: &'static str, status: u16, time: Duration) {
        let status = Value::Number(status);
        self.requests
            .of([method.into(), route.into(), status])
            .inc();
        let seconds = self.request_seconds.of([method, route]);
        seconds.observe(time.as_secs_f64());
    }

    /// A reader's answer ended.
    pub(crate) fn ended(&self, end: ReaderEnd) {
        self.reader_ends.of([end.name()]).inc();
    }

    /// A connection was cut.
    pub(crate) fn cut(&self, stall: Stall) {
        self.stalled.of([stall.name()]).inc();
    }

    /// Shows what this gateway has, at each scrape.
    pub(crate) fn watch(&self, gateway: &Gateway) {
        let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let (streams, tails) = (gateway.streams.clone(), gateway.tails.clone());
        let (line, read_model) = (gateway.line.clone(), gateway.read_model.clone());
        self.stream_slots.set(whole(gateway.streams_max));
        let (free, open) = (self.free_stream_slots.clone(), self.tails.clone());
        let (position, pool) = (self.queue_position.clone(), self.pool.clone());
        on_scrape(move || {
            free.set(whole(streams.available_permits()));
            open.set(whole(tails.count()));
            position.set(i64::try_from(line.position().0).unwrap_or(i64::MAX));
            for (state, count) in read_model.connections() {
                pool.of([state]).set(whole(count));
            }
        });
    }
}

impl ReaderEnd {
    const fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Gone => "gone",
            Self::SentAway(farewell) => farewell.reason(),
        }
    }
}

/// A request that is not answered yet. Dropped before that, its client has left.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    method: &'static str,
    route: &'static str,
    began: Instant,
    status: u16,
}

/// No status of HTTP, since nobody is told; what nginx writes of it in its log.
const CLIENT_LEFT: u16 = 499;

impl OpenRequest {
    /// `method` and `route` are of the few that there are.
    pub(crate) fn new(method: &'static str, route: &'static str) -> Self {
        Self {
            method,
            route,
            began: Instant::now(),
            status: CLIENT_LEFT,
        }
    }

    /// It was answered.
    pub(crate) fn answered(mut self, status: u16) {
        self.status = status;
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        METRICS.answered(self.method, self.route, self.status, self.began.elapsed());
    }
}

/// An open stream of events, for those who count them.
#[derive(Debug)]
pub(crate) struct OpenReader {
    readers: Gauge,
    is_behind: bool,
    end: ReaderEnd,
}

impl OpenReader {
    pub(crate) fn new(scope: &'static str, mode: &'static str) -> Self {
        let readers = METRICS.readers.of([scope, mode]);
        readers.inc();
        Self {
            readers,
            is_behind: false,
            end: ReaderEnd::Gone,
        }
    }

    /// It reads the log; `was_up_to_date` if it had everything before.
    pub(crate) fn reads_log(&mut self, was_up_to_date: bool) {
        if !self.is_behind {
            self.is_behind = true;
            METRICS.readers_behind.inc();
            if was_up_to_date {
                METRICS.reader_catch_ups.inc();
            }
        }
    }

    /// It has what the tail has.
    pub(crate) fn is_up_to_date(&mut self) {
        if std::mem::take(&mut self.is_behind) {
            METRICS.readers_behind.dec();
        }
    }

    /// So much was sent to it.
    pub(crate) fn was_sent(&self, events: u64, bytes: usize) {
        METRICS.delivered_events.inc_by(events);
        METRICS.delivered_bytes.inc_by(bytes as u64);
    }

    /// Its answer is over, for this reason.
    pub(crate) fn ends(&mut self, end: ReaderEnd) {
        self.end = end;
    }
}

impl Drop for OpenReader {
    fn drop(&mut self) {
        self.is_up_to_date();
        self.readers.dec();
        METRICS.ended(self.end);
    }
}
