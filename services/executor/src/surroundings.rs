//! What an executor depends on, looked at from time to time, for probes and alerts.
//!
//! It decides nothing: whoever needs one of these finds out by using it.

use std::time::Duration;

use rdev_bus::Bus;
use rdev_bus::term::TermWatch;
use rdev_runtime::health::Readiness;
use tokio::time::{Instant, MissedTickBehavior};

use crate::pod::Backend;

/// How often it is looked. Longer than a term lasts that nobody renews.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The log.
pub(crate) const NATS: &str = "nats";
const PODS: &str = "kubernetes";
const SCHEDULER: &str = "scheduler";

/// Nothing was looked at yet.
pub(crate) fn declare() -> Readiness {
    let readiness = Readiness::new();
    readiness.needs(NATS);
    readiness.needs(PODS);
    // Where there is none, the executors elect one: that is their work, and no reason to end it.
    readiness.uses(SCHEDULER);
    readiness
}

/// Looks for ever.
pub(crate) async fn look(bus: &Bus, backend: &Backend, readiness: &Readiness) {
    let mut term = TermWatch::default();
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        readiness.tell(NATS, nats(bus));
        let (pods, scheduler) = tokio::join!(backend.reach(), scheduler(bus, &mut term));
        readiness.tell(PODS, pods);
        readiness.tell(SCHEDULER, scheduler);
    }
}

fn nats(bus: &Bus) -> Result<String, String> {
    if bus.is_connected() {
        return Ok(String::new());
    }
    Err("not connected".to_owned())
}

/// Who schedules, if anybody does.
async fn scheduler(bus: &Bus, term: &mut TermWatch) -> Result<String, String> {
    let status = bus.scheduler_status().await;
    match status.map_err(|error| error.to_string())? {
        Some((revision, status)) if !term.has_lapsed(revision, Instant::now()) => {
            if status.scheduler.is_empty() {
                return Err("the last one has resigned".to_owned());
            }
            Ok(status.scheduler)
        }
        Some((_, status)) => Err(format!("{} is silent", status.scheduler)),
        None => Err("there was none yet".to_owned()),
    }
}
