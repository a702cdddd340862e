//! How far the archive is behind the log, for probes, alerts and metrics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rdev_archive::Archived;
use rdev_contract::position::StreamSeq;

use crate::metrics::METRICS;

/// What was archived, and what waits. Cheap to clone; clones show the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    /// None while another projector archives.
    position: Option<StreamSeq>,
    /// When the oldest exec that is not archived is due.
    due_at: Option<Timestamp>,
    execs: u64,
    parts: u64,
    bytes: u64,
    failures: u64,
}

impl Progress {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every exec that ended up to here is archived.
    pub(crate) fn reached(&self, position: StreamSeq) {
        self.shown().position = Some(position);
    }

    /// The next one is due then.
    pub(crate) fn waits_for(&self, due_at: Option<Timestamp>) {
        self.shown().due_at = due_at;
    }

    /// An exec was archived.
    pub(crate) fn archived(&self, kept: &Archived) {
        METRICS.archived.execs.inc();
        METRICS
            .archived
            .parts
            .inc_by(u64::from(!kept.footer().whole));
        METRICS.archived.bytes.inc_by(kept.size());
        let mut shown = self.shown();
        shown.execs += 1;
        shown.parts += u64::from(!kept.footer().whole);
        shown.bytes += kept.size();
    }

    /// Something did not work, and is tried again.
    pub(crate) fn failed(&self) {
        METRICS.archived.failures.inc();
        self.shown().failures += 1;
    }

    /// Another projector archives.
    pub(crate) fn rest(&self) {
        let mut shown = self.shown();
        shown.position = None;
        shown.due_at = None;
    }

    /// Up to where all that ended is archived, and for how many seconds the next one has been due;
    /// none while another projector archives.
    pub(crate) fn position_and_lag(&self, now: Timestamp) -> Option<(StreamSeq, f64)> {
        let shown = self.shown();
        let lag = shown.due_at.map(|due_at| now.duration_since(due_at));
        let lag = lag.map_or(0.0, |lag| lag.as_secs_f64().max(0.0));
        shown.position.map(|position| (position, lag))
    }

    /// For people and scripts: one line.
    pub(crate) fn report(&self, now: Timestamp) -> String {
        let Some((position, lag)) = self.position_and_lag(now) else {
            return "archive standing by\n".to_owned();
        };
        let shown = self.shown();
        format!(
            "archive position={position} lag_seconds={lag:.3} execs={} parts={} bytes={} failures={}\n",
            shown.execs, shown.parts, shown.bytes, shown.failures
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lags_from_the_moment_at_which_something_is_due() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let progress = Progress::default();
        assert_eq!(progress.report(at(0)), "archive standing by\n");
        progress.reached(StreamSeq(7));
        progress.waits_for(Some(at(10)));
        progress.failed();
        let expected = |lag| {
            format!("archive position=7 lag_seconds={lag} execs=0 parts=0 bytes=0 failures=1\n")
        };
        assert_eq!(progress.report(at(9)), expected("0.000"));
        assert_eq!(progress.report(at(12)), expected("2.000"));
        progress.waits_for(None);
        assert_eq!(progress.report(at(12)), expected("0.000"));
        progress.rest();
        assert_eq!(progress.report(at(12)), "archive standing by\n");
    }
}
