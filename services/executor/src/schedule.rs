//! Whose turn it is: one executor at a time is the scheduler, which admits commands for all of them.
//!
//! The same one keeps sessions ([`crate::keep`]): it knows what runs in them.
//!
//! Every executor says how many execs it can run and hears the others (`slots`), and stands by to
//! schedule. Who holds the term follows the log (`reign`); what may be admitted is decided by
//! `rdev_domain::queue`.
//!
//! Invariant: nothing is in a scheduler that is not in the log, but for whose turn it was. It can be
//! killed at any moment, and two at a time admit nothing twice.

mod reign;
mod settings;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use rdev_bus::term::{RENEW_INTERVAL, Term};
use rdev_bus::{Bus, ReadError};
use rdev_contract::queue::{QueueLimits, SchedulerStatus};
use rdev_runtime::Shutdown;
use tokio::sync::watch;
use uuid::Uuid;

use crate::keep::Keep;
use crate::metrics::METRICS;
pub use settings::QueueSettings;

/// Between two tries while the log does not answer.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// A process that schedules when no other does.
pub struct Scheduler {
    /// The log.
    pub bus: Bus,
    /// Name of this executor.
    pub name: String,
    /// What it keeps to.
    pub limits: QueueLimits,
    /// How many execs this executor can run.
    pub slots: u32,
    /// What the scheduler keeps sessions with.
    pub keep: Arc<Keep>,
}

impl Scheduler {
    /// Announces the slots and takes part in scheduling until shutdown; resigns then.
    pub async fn run(&self, shutdown: &Shutdown) {
        let total = watch::Sender::new(0);
        let scheduling = self.stand_by(total.subscribe(), shutdown);
        let hearing = slots::hear(&self.bus, &total);
        let announcing = slots::announce(&self.bus, &self.name, self.slots, shutdown);
        tokio::select! {
            ((), ()) = async { tokio::join!(scheduling, announcing) } => {}
            () = hearing => {}
        }
    }

    async fn stand_by(&self, mut slots: watch::Receiver<u32>, shutdown: &Shutdown) {
        // Of this process: its name may come back with another one.
        let term = Uuid::new_v4().to_string();
        let heard = slots.clone();
        let status = || SchedulerStatus {
            scheduler: self.name.clone(),
            term: term.clone(),
            slots: *heard.borrow(),
            limits: self.limits.clone(),
        };
        loop {
            let elected = tokio::select! {
                elected = self.elected(&term, &status) => elected,
                () = shutdown.requested() => return,
            };
            let ended = match elected {
                Ok(term) => Box::pin(self.hold(term, &status, &mut slots, shutdown)).await,
                Err(error) => Err(error),
            };
            if let Err(ReadError(reason)) = ended {
                tracing::warn!(reason, "this executor cannot schedule");
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }

    /// Waits for the term.
    async fn elected(
        &self,
        term: &str,
        status: &impl Fn() -> SchedulerStatus,
    ) -> Result<Term, ReadError> {
        let mut candidate = self.bus.candidate(term.to_owned()).await?;
        loop {
            if let Some(term) = candidate.stand(&status()).await? {
                return Ok(term);
            }
            tokio::time::sleep(RENEW_INTERVAL / 2).await;
        }
    }

    /// Schedules as long as the term lasts.
    async fn hold(
        &self,
        mut term: Term,
        status: &impl Fn() -> SchedulerStatus,
        slots: &mut watch::Receiver<u32>,
        shutdown: &Shutdown,
    ) -> Result<(), ReadError> {
        tracing::info!(scheduler = self.name, "this executor is the scheduler");
        let mut certainty = term.certainty();
        let ended = tokio::select! {
            ended = self.reign(&mut certainty, slots, shutdown) => ended,
            () = term.keep(status) => {
                METRICS.scheduling.end();
                tracing::warn!("this executor is no longer the scheduler: another is");
                return Ok(());
            }
        };
        METRICS.scheduling.end();
        term.resign(status()).await;
        ended
    }
}
