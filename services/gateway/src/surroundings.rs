//! What a gateway depends on, looked at from time to time, for alerts and for probes that do not go to
//! the API. It decides nothing: each request finds out by itself.

use std::time::Duration;

use rdev_readmodel::ReadModel;
use rdev_runtime::Shutdown;
use rdev_runtime::health::Readiness;
use tokio::time::MissedTickBehavior;

use crate::queue::Line;
use crate::state::Log;

/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// PostgreSQL is asked less often: that takes one of a few connections.
const POSTGRES_INTERVAL: Duration = Duration::from_secs(5);
/// What takes longer is no answer.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

const NATS: &str = "nats";
const POSTGRES: &str = "postgres";
const SCHEDULER: &str = "scheduler";

/// Nothing was looked at yet.
pub(crate) fn declare() -> Readiness {
    let readiness = Readiness::new();
    readiness.needs(NATS);
    // Commands are accepted and streams served without; lists are not.
    readiness.uses(POSTGRES);
    // Commands are accepted, and wait.
    readiness.uses(SCHEDULER);
    readiness
}

/// Looks until the end is asked for.
pub(crate) async fn look(
    log: &Log,
    read_model: &ReadModel,
    line: &Line,
    readiness: &Readiness,
    shutdown: &Shutdown,
) {
    readiness.set(true);
    tokio::select! {
        () = look_around(log, line, readiness) => {}
        () = look_at_postgres(read_model, readiness) => {}
        () = shutdown.requested() => {}
    }
    readiness.set(false);
    std::future::pending().await
}

async fn look_around(log: &Log, line: &Line, readiness: &Readiness) {
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let none = String::new;
        let is_connected = log.connected().is_ok();
        let nats = is_connected
            .then(none)
            .ok_or_else(|| "not connected".to_owned());
        readiness.tell(NATS, nats);
        let scheduler = line.scheduler();
        readiness.tell(
            SCHEDULER,
            scheduler.ok_or_else(|| "none is known".to_owned()),
        );
    }
}

/// Nothing is learned while requests have all connections, and one miss may be bad luck: the last that
/// was known holds.
async fn look_at_postgres(read_model: &ReadModel, readiness: &Readiness) {
    let mut looks = tokio::time::interval(POSTGRES_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut may_miss = false;
    loop {
        looks.tick().await;
        if read_model.is_busy() {
            continue;
        }
        let state = postgres(read_model).await;
        let is_up = state.is_ok();
        if is_up || !std::mem::take(&mut may_miss) {
            readiness.tell(POSTGRES, state);
        }
        may_miss |= is_up;
    }
}

async fn postgres(read_model: &ReadModel) -> Result<String, String> {
    match tokio::time::timeout(CHECK_TIMEOUT, read_model.check()).await {
        Ok(Ok(())) => Ok(String::new()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
