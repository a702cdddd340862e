//! When a reader's connection has to end although what it reads has not.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use super::feed::Farewell;

/// How long the log may fail in the middle of a stream until the reader is sent elsewhere. A new
/// leader takes 4–10 s.
const LOG_PATIENCE: Duration = Duration::from_secs(30);
/// A connection is renewed after this at the latest, so that replicas share the load again after
/// one was added, and below the limits of idle and age that load balancers have.
const LIFETIME_MIN: Duration = Duration::from_secs(3 * 60 * 60);
const LIFETIME_MAX: Duration = Duration::from_secs(4 * 60 * 60);
/// When a connection has to end although the exec has not.
pub(super) struct Limits {
    /// It has lived long enough then.
    pub(super) lifetime: Instant,
    /// Nobody has posted the exec by then.
    pub(super) not_started: Option<Instant>,
    /// Since when the log has not answered.
    pub(super) failing_since: Option<Instant>,
}

impl Limits {
    pub(super) fn new(at: Instant) -> Self {
        let lifetime = rand::rng().random_range(LIFETIME_MIN..LIFETIME_MAX);
        Self {
            lifetime: at + lifetime,
            not_started: None,
            failing_since: None,
        }
    }

    fn all(&self) -> [(Option<Instant>, Farewell); 3] {
        let failing = self.failing_since.map(|since| since + LOG_PATIENCE);
        [
            (self.not_started, Farewell::NotStarted),
            (failing, Farewell::LogUnavailable),
            (Some(self.lifetime), Farewell::Lifetime),
        ]
    }

    /// When the first of them is reached.
    pub(super) fn first(&self) -> Instant {
        let ends = self.all().into_iter().filter_map(|(at, _)| at);
        ends.fold(self.lifetime, Instant::min)
    }

    /// What has been reached.
    pub(super) fn reached(&self, at: Instant) -> Option<Farewell> {
        let mut ends = self.all().into_iter();
        ends.find(|(end, _)| end.is_some_and(|end| end <= at))
            .map(|(_, farewell)| farewell)
    }
}
