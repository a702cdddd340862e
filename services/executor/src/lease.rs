//! Keeping a command: in-progress acks while it is ours, and noticing that it is not.
//!
//! JetStream does not fence acks: an executor that was stopped for a while could keep a command
//! alive that another has claimed since. So after any pause, and from time to time while nothing
//! is written, the lease is extended only after the log has shown that the last claim is ours.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdev_bus::queue::Ticket;
use rdev_bus::topology::ACK_WAIT;
use rdev_bus::{Bus, ReadError};
use rdev_contract::envelope::Message;
use rdev_contract::id::{ClaimId, ExecId};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Five chances within an ack wait.
const EXTEND_INTERVAL: Duration = Duration::from_secs(1);
/// How long the log's last word on our claim is good for.
const PROOF_AGE_MAX: Duration = Duration::from_secs(5);

/// When the log last showed that our claim is the last one: every acknowledged append does.
#[derive(Debug, Clone, Default)]
pub struct Proof(Arc<Mutex<Option<(ClaimId, Instant)>>>);

impl Proof {
    /// The log has just accepted a message of this claim.
    pub fn renew(&self, claim: ClaimId) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((claim, Instant::now()));
    }

    fn get(&self) -> Option<(ClaimId, Instant)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to work on one exec, as long as it lasts.
pub struct Lease {
    ticket: Ticket,
    /// When the ticket came or was last extended: it is good for an ack wait from then.
    extended: Instant,
    /// The same command offered again: only its handle is newer.
    replacements: mpsc::Receiver<Ticket>,
    proof: Proof,
}

/// Another executor has claimed the exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fenced;

impl Lease {
    /// A lease on the command that `ticket` belongs to.
    #[must_use]
    pub fn new(ticket: Ticket, replacements: mpsc::Receiver<Ticket>, proof: Proof) -> Self {
        Self {
            ticket,
            extended: Instant::now(),
            replacements,
            proof,
        }
    }

    /// Extends the lease until another claim is found in the log.
    pub async fn keep(&mut self, bus: &Bus, exec: &ExecId) -> Fenced {
        let mut ticks = tokio::time::interval(EXTEND_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut paused = false;
        loop {
            let replacement = tokio::select! {
                _ = ticks.tick() => None,
                Some(ticket) = self.replacements.recv() => Some(ticket),
            };
            // Looked at before a newer ticket hides it, and true until the log has been asked.
            paused |= self.has_lapsed();
            if let Some(ticket) = replacement {
                self.replace(ticket);
            }
            match self.is_ours(bus, exec, paused).await {
                Ok(true) => paused = false,
                Ok(false) => return Fenced,
                // Nobody can be told either way; the next tick asks again.
                Err(ReadError(_)) => continue,
            }
            // Without a connection it waits in a buffer and extends nothing.
            if self.ticket.in_progress().await.is_ok() && bus.is_connected() {
                self.extended = Instant::now();
            }
        }
    }

    fn replace(&mut self, ticket: Ticket) {
        self.ticket = ticket;
        self.extended = Instant::now();
    }

    fn take_newest(&mut self) {
        while let Ok(ticket) = self.replacements.try_recv() {
            self.replace(ticket);
        }
    }

    fn has_lapsed(&self) -> bool {
        self.extended.elapsed() > ACK_WAIT
    }

    /// The command is dealt with for good.
    pub async fn done(&mut self) {
        self.take_newest();
        if let Err(error) = self.ticket.done().await {
            // It will be offered again, and be found complete.
            tracing::warn!(%error, "a finished command was not acknowledged");
        }
    }

    /// Gives the command back, to be offered again after `delay`. After the ack wait it is offered
    /// again anyway, and who has it then would lose it: JetStream takes a ticket of any age.
    pub async fn give_back(&mut self, delay: Duration) {
        self.take_newest();
        if self.has_lapsed() {
            return;
        }
        if let Err(error) = self.ticket.retry_later(delay).await {
            tracing::warn!(%error, "a command was not given back; it will be after the ack wait");
        }
    }

    /// Before a claim of ours is in the log, the claim's own publish decides.
    async fn is_ours(&self, bus: &Bus, exec: &ExecId, paused: bool) -> Result<bool, ReadError> {
        let Some((claim, proven)) = self.proof.get() else {
            return Ok(true);
        };
        if !paused && proven.elapsed() < PROOF_AGE_MAX {
            return Ok(true);
        }
        let Some(tail) = bus.tail(exec).await? else {
            return Ok(false);
        };
        let last = Message::decode(&tail.value.payload)
            .ok()
            .and_then(|message| message.head.claim);
        if last != Some(claim) {
            return Ok(false);
        }
        self.proof.renew(claim);
        Ok(true)
    }
}
