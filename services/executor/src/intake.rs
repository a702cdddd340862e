//! Taking commands: as many as there are free slots, never one ahead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdev_bus::ReadError;
use rdev_bus::queue::{CommandQueue, Delivery, Ticket};
use rdev_contract::id::ExecId;
use rdev_contract::subject;
use rdev_runtime::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::context::Context;
use crate::drive;
use crate::lease::{Lease, Proof};
use crate::metrics::METRICS;
use crate::traces;

/// One pull asks for so many at most: its reply subscription must hold them all.
const ASK_MAX: u32 = 64;
/// Between two pulls while the log does not answer.
const RETRY_DELAY: Duration = Duration::from_millis(250);
/// Newer handles of one exec that may wait to be looked at; a further one is simply offered again.
const REPLACEMENTS_MAX: usize = 4;

/// The execs that this executor works on right now.
type Running = Arc<Mutex<HashMap<ExecId, mpsc::Sender<Ticket>>>>;

/// Takes commands until shutdown, then waits until all execs are handed over.
pub async fn run(context: Arc<Context>, queue: CommandQueue, slots: u32, shutdown: Shutdown) {
    let free = Arc::new(Semaphore::new(slots as usize));
    let running = Running::default();
    let tasks = TaskTracker::new();
    let taking = async {
        loop {
            if let Err(ReadError(reason)) = pull(&context, &queue, &free, &running, &tasks).await {
                tracing::warn!(reason, "no commands can be taken");
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    };
    tokio::select! {
        () = taking => {}
        () = shutdown.requested() => {}
    }
    tasks.close();
    tasks.wait().await;
}

/// One pull: it holds the slots that it asks for until it is filled or over.
async fn pull(
    context: &Arc<Context>,
    queue: &CommandQueue,
    free: &Arc<Semaphore>,
    running: &Running,
    tasks: &TaskTracker,
) -> Result<(), ReadError> {
    let Ok(mut slots) = Arc::clone(free).acquire_owned().await else {
        return Ok(());
    };
    let more = u32::try_from(free.available_permits())
        .unwrap_or(0)
        .min(ASK_MAX - 1);
    if let Ok(permits) = Arc::clone(free).try_acquire_many_owned(more) {
        slots.merge(permits);
    }
    let mut offers = queue.ask(slots.num_permits()).await?;
    while let Some(delivery) = offers.next().await? {
        let Some(slot) = slots.split(1) else {
            return Ok(());
        };
        take(context, delivery, slot, running, tasks).await;
        if slots.num_permits() == 0 {
            return Ok(());
        }
    }
    Ok(())
}

async fn take(
    context: &Arc<Context>,
    delivery: Delivery,
    slot: OwnedSemaphorePermit,
    running: &Running,
    tasks: &TaskTracker,
) {
    let Ok((exec, _)) = subject::parse_exec(&delivery.subject) else {
        // The stream takes any token; this one was not published by rdev.
        tracing::error!(subject = delivery.subject, seq = %delivery.sequence, "not a command");
        if let Err(error) = delivery.ticket.done().await {
            tracing::warn!(%error, "it will be offered again");
        }
        return;
    };
    let receiver = {
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = running.get(&exec) {
            let _ = holder.try_send(delivery.ticket);
            return;
        }
        let (sender, receiver) = mpsc::channel(REPLACEMENTS_MAX);
        running.insert(exec.clone(), sender);
        METRICS.running.inc();
        receiver
    };
    let context = Arc::clone(context);
    let running = Arc::clone(running);
    tasks.spawn(async move {
        let proof = Proof::default();
        let offer = drive::Offer {
            exec: exec.clone(),
            sequence: delivery.sequence,
            payload: delivery.payload,
            deliveries: delivery.deliveries,
        };
        let lease = Lease::new(delivery.ticket, receiver, proof.clone());
        // A task of its own: whatever happens in it, the slot is freed and the command offered
        // again.
        let span = traces::exec_span(&exec);
        let driving = async move { drive::run(&context, offer, lease, proof).await };
        let driving = tokio::spawn(driving.instrument(span));
        if let Err(error) = driving.await {
            METRICS.stopped_for("broken");
            tracing::error!(stream.id = %exec.stream, %error, "the work on an exec broke off");
        }
        METRICS.running.dec();
        running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&exec);
        drop(slot);
    });
}
