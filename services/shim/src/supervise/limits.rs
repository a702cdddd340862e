//! The times after which a command is ended: of its whole run, and of its silence. Pure: the time is
//! an argument.

use std::time::{Duration, Instant};

use rdev_frames::Spec;

/// A time that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// That of the run.
    Run,
    /// That of silence.
    Silence,
}

/// How long a command may run, and be silent.
#[derive(Debug)]
pub(crate) struct Limits {
    run_until: Option<Instant>,
    silence: Option<Duration>,
    /// When something was last heard of it.
    heard: Instant,
}

impl Limits {
    /// Those of `spec`, for a command that starts now.
    pub(crate) fn new(spec: &Spec, now: Instant) -> Self {
        let run = spec.timeout_ms.map(Duration::from_millis);
        Self {
            run_until: run.and_then(|run| now.checked_add(run)),
            silence: spec.idle_timeout_ms.map(Duration::from_millis),
            heard: now,
        }
    }

    /// It printed something, or could not be heard until now.
    pub(crate) fn was_heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When the first of the times is over.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        [self.run_until, self.silent_until()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What is over by `now`.
    pub(crate) fn over(&self, now: Instant) -> Option<Over> {
        let is_over = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        if is_over(self.run_until) {
            return Some(Over::Run);
        }
        is_over(self.silent_until()).then_some(Over::Silence)
    }

    fn silent_until(&self) -> Option<Instant> {
        self.heard.checked_add(self.silence?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_that_is_over_counts() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut spec = Spec::new(Vec::new());
        assert_eq!(Limits::new(&spec, start).next_at(), None);
        spec.timeout_ms = Some(1_000);
        spec.idle_timeout_ms = Some(300);
        let mut limits = Limits::new(&spec, start);
        assert_eq!(limits.next_at(), Some(at(300)));
        assert_eq!(limits.over(at(299)), None);
        assert_eq!(limits.over(at(300)), Some(Over::Silence));
        limits.was_heard(at(299));
        assert_eq!(limits.over(at(598)), None);
        limits.was_heard(at(900));
        assert_eq!(limits.next_at(), Some(at(1_000)));
        assert_eq!(limits.over(at(1_000)), Some(Over::Run));
        spec.timeout_ms = Some(u64::MAX);
        spec.idle_timeout_ms = Some(u64::MAX);
        assert_eq!(Limits::new(&spec, start).over(at(999_999)), None);
    }
}
