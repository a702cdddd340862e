//! Whether a service can do its work, and which of the things that it depends on is missing.
//!
//! Written by whoever uses such a thing, or looks after it; read by probes and metrics. Invariant: a
//! service is ready when it has begun and everything that it needs is there. What it only uses is
//! told of, and stops nothing.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use crate::metrics::{self, Gauge, Many};

/// Whether the service can do its work right now, and what else it has to tell. Cheap to clone; clones
/// say the same.
#[derive(Clone)]
pub struct Readiness(Arc<Shared>);

struct Shared {
    has_begun: AtomicBool,
    dependencies: Mutex<Vec<Dependency>>,
    details: Box<dyn Fn() -> String + Send + Sync>,
}

struct Dependency {
    name: &'static str,
    is_needed: bool,
    /// Something to be told of it, or why it is missing.
    state: Result<String, String>,
}

struct Metrics {
    ready: Gauge,
    up: Many<Gauge, 1>,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    ready: metrics::gauge(
        "rdev_ready",
        "Whether this service can do its work, as /readyz says: 1 or 0",
    ),
    up: metrics::gauges(
        "rdev_dependency_up",
        "Whether what this service depends on is there: 1 or 0",
        ["dependency"],
    ),
});

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, report) = self.report();
        formatter.debug_tuple("Readiness").field(&report).finish()
    }
}

impl Readiness {
    /// Not ready yet.
    #[must_use]
    pub fn new() -> Self {
        Self::reporting(String::new)
    }

    /// The same, with lines that `/readyz` shows behind its answer. They are made anew for each probe.
    #[must_use]
    pub fn reporting(details: impl Fn() -> String + Send + Sync + 'static) -> Self {
        let readiness = Self(Arc::new(Shared {
            has_begun: AtomicBool::new(false),
            dependencies: Mutex::default(),
            details: Box::new(details),
        }));
        METRICS.ready.set(0);
        let told = Arc::downgrade(&readiness.0);
        metrics::on_scrape(move || {
            if let Some(shared) = told.upgrade() {
                METRICS.ready.set(i64::from(shared.is_ready()));
            }
        });
        readiness
    }

    /// The service needs this: it is not ready without.
    pub fn needs(&self, name: &'static str) {
        self.depend(name, true);
    }

    /// The service uses this, and can do without for a while.
    pub fn uses(&self, name: &'static str) {
        self.depend(name, false);
    }

    fn depend(&self, name: &'static str, is_needed: bool) {
        METRICS.up.of([name]).set(0);
        self.0.dependencies().push(Dependency {
            name,
            is_needed,
            state: Err("not reached yet".to_owned()),
        });
    }

    /// Tells of a dependency: something about it, or why it is missing.
    pub fn tell(&self, name: &'static str, state: Result<String, String>) {
        METRICS.up.of([name]).set(i64::from(state.is_ok()));
        let mut dependencies = self.0.dependencies();
        if let Some(found) = dependencies.iter_mut().find(|one| one.name == name) {
            found.state = state;
        }
    }

    /// Whether the service has begun its work, and has not ended it.
    pub fn set(&self, has_begun: bool) {
        self.0.has_begun.store(has_begun, Ordering::Relaxed);
    }

    /// Whether it is ready, and the text of `/readyz`: a line that says so, one for each dependency, and
    /// the service's own.
    #[must_use]
    pub fn report(&self) -> (bool, String) {
        let is_ready = self.0.is_ready();
        let mut text = if is_ready { "ready\n" } else { "not ready\n" }.to_owned();
        for Dependency { name, state, .. } in self.0.dependencies().iter() {
            // Writing to a String cannot fail.
            let _ = match state {
                Ok(about) if about.is_empty() => writeln!(text, "{name} up"),
                Ok(about) => writeln!(text, "{name} up: {about}"),
                Err(why) => writeln!(text, "{name} down: {why}"),
            };
        }
        (is_ready, text + &(self.0.details)())
    }
}

impl Shared {
    fn dependencies(&self) -> MutexGuard<'_, Vec<Dependency>> {
        self.dependencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ready(&self) -> bool {
        let is_missing = |one: &Dependency| one.is_needed && one.state.is_err();
        self.has_begun.load(Ordering::Relaxed) && !self.dependencies().iter().any(is_missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_missing() {
        let readiness = Readiness::reporting(|| "position=7\n".to_owned());
        readiness.needs("nats");
        readiness.uses("scheduler");
        let expected = "not ready\nnats down: not reached yet\nscheduler down: not reached yet\n";
        let (is_ready, text) = readiness.report();
        assert_eq!((is_ready, text), (false, format!("{expected}position=7\n")));
        readiness.set(true);
        assert!(!readiness.report().0);
        readiness.tell("nats", Ok(String::new()));
        // What is only used stops nothing.
        let expected = "ready\nnats up\nscheduler down: not reached yet\nposition=7\n";
        assert_eq!(readiness.report(), (true, expected.to_owned()));
        readiness.tell("scheduler", Ok("executor-7".to_owned()));
        readiness.tell("nats", Err("not connected".to_owned()));
        let expected =
            "not ready\nnats down: not connected\nscheduler up: executor-7\nposition=7\n";
        assert_eq!(readiness.report(), (false, expected.to_owned()));
        readiness.tell("nats", Ok(String::new()));
        readiness.set(false);
        assert!(!readiness.report().0);
    }
}
