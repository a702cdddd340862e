//! What an executor depends on, looked at from time to time, for probes and alerts.
//!
//! It decides nothing: whoever needs one of these finds out by using it.

use std::time::Duration;

use rdev_bus::Bus;
use rdev_bus::term::TermWatch;
use rdev_runtime::health::Readiness;
use tokio::time::{Instant, MissedTickBehavior};

use crate::config::BackendKind;
use crate::pod::Backend;

/// How often it is looked whether the log and a scheduler are there.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Every so many times the API server is asked, too.
const PODS_EVERY: u32 = 10;

/// The log.
pub(crate) const NATS: &str = "nats";
const PODS: &str = "kubernetes";
const SHIM: &str = "shim";
const SCHEDULER: &str = "scheduler";

/// Nothing was looked at yet.
pub(crate) fn declare(backend: BackendKind) -> Readiness {
    let readiness = Readiness::new();
    readiness.needs(NATS);
    if backend == BackendKind::Kube {
        readiness.needs(PODS);
        readiness.uses(SHIM);
    }
    // Where there is none, the executors elect one: that is their work, and no reason to end it.
    readiness.uses(SCHEDULER);
    readiness
}

/// Looks for ever.
pub(crate) async fn look(bus: &Bus, backend: &dyn Backend, readiness: &Readiness) {
    let mut term = TermWatch::default();
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::join!(
        async {
            loop {
                looks.tick().await;
                readiness.tell(NATS, nats(bus));
                readiness.tell(SCHEDULER, scheduler(bus, &mut term).await);
            }
        },
        look_for_pods(backend, readiness),
    );
}

async fn look_for_pods(backend: &dyn Backend, readiness: &Readiness) {
    if let Some(cluster) = backend.cluster() {
        readiness.tell(SHIM, Ok(cluster.shim_in_words().to_owned()));
        let mut looks = tokio::time::interval(LOOK_INTERVAL * PODS_EVERY);
        loop {
            looks.tick().await;
            readiness.tell(PODS, cluster.reach().await);
        }
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
