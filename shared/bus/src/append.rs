//! Writing an exec's messages: one at a time, each fenced with the sequence of the one before.
//!
//! A refused or unanswered publish decides nothing by itself. The exec's tail is read at the
//! leader, and there are four cases: the tail is what was sent, byte for byte (the ack was lost:
//! go on); it is what was there before (send again); it is lower (the message before has expired:
//! fence at the tail, link to it, and send again); or somebody else wrote it (fenced: stop, and
//! touch nothing). What to send and which case it is are decided by [`fence`](crate::fence).

use std::ops::ControlFlow;
use std::time::Duration;

use async_recursion::async_recursion as boxed;
use jiff::Timestamp;
use rdev_contract::envelope::{Body, Chain, Recorded};
use rdev_contract::event::{Complete, Event, EventBatch, Kind};
use rdev_contract::id::{ClaimId, ExecId};
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_contract::subject::{Filter, Subject};
use rdev_contract::trace::TraceParent;

use crate::fence::{Attempt, Fence, Verdict};
use crate::metrics::{METRICS, Written};
use crate::publish::{Fenced, NotStored};
use crate::{Bus, ReadError};

/// Between two tries while the log does not answer; doubles up to the maximum.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(20);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(1);

/// What is to be appended.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Number of its first event, if it has numbered events.
    pub first: Option<EventNo>,
    /// Up to where the output is in the log with it.
    pub to: Option<Offsets>,
    /// Its content.
    pub body: Body<'a>,
}

/// Why an entry is not in the log and never will be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Another claim has written since: this one is over.
    #[error("another claim wrote message {tail}")]
    Fenced {
        /// The message that says so.
        tail: StreamSeq,
    },
    /// The log holds nothing of this exec any more.
    #[error("the log no longer holds this exec")]
    Vanished,
    /// The entry cannot be written as JSON, or is larger than the server takes.
    #[error("cannot encode: {0}")]
    Encoding(String),
}

/// The one writer of an exec's messages under one claim. Dropping an `append` in its middle
/// leaves the writer without knowledge of the tail: make a new one from the log then.
#[derive(Debug)]
pub struct ExecWriter {
    bus: Bus,
    subjects: Filter,
    fence: Fence,
    trace: Option<TraceParent>,
}

impl ExecWriter {
    /// A writer that continues behind `tail`, whose chain value is `chain`.
    #[must_use]
    pub fn new(
        bus: Bus,
        exec: ExecId,
        claim: Option<ClaimId>,
        attempt: u32,
        tail: Recorded<Chain>,
    ) -> Self {
        Self {
            bus,
            subjects: Filter::exec(&exec),
            fence: Fence::new(exec, claim, attempt, tail),
            trace: None,
        }
    }

    /// To which span of a trace belongs from now on what this writes, where that begins something
    /// ([`Kind::begins_span`]).
    pub const fn set_trace(&mut self, trace: Option<TraceParent>) {
        self.trace = trace;
    }

    /// Appends one message and waits until it is stored, through outages of any length.
    ///
    /// # Errors
    /// See [`AppendError`]; none of them can be healed by trying again.
    pub async fn append(
        &mut self,
        entry: Entry<'_>,
        at: Timestamp,
    ) -> Result<StreamSeq, AppendError> {
        let subject = Subject::exec(self.fence.exec(), entry.kind);
        let ttl = if entry.kind.is_bulk() {
            self.bus.config.output_ttl
        } else {
            self.bus.config.facts_ttl
        };
        if entry.kind == Kind::Output || entry.kind.agent().is_some() {
            self.bus.room_for_bulk().await;
        }
        let mut delay = RETRY_DELAY_MIN;
        loop {
            let attempt = self
                .fence
                .attempt(&entry, at)
                .map_err(|error| AppendError::Encoding(error.to_string()))?;
            let message = Fenced {
                subject: &subject,
                fence: &self.subjects,
                expected: attempt.expected,
                payload: attempt.payload.clone(),
                ttl: Some(ttl),
                trace: self.trace.filter(|_| entry.kind.begins_span()),
                written: Written::Exec(entry.kind),
            };
            let verdict = match self.bus.publish_fenced(message).await {
                Ok(sequence) => Verdict::Stored(sequence),
                Err(reason) => self.investigate(&attempt, reason, &mut delay).await,
            };
            if let ControlFlow::Break(result) = self.fence.settle(attempt, verdict) {
                if self.fence.claim().is_some() && matches!(result, Err(AppendError::Fenced { .. }))
                {
                    METRICS.fenced.inc();
                }
                return result;
            }
        }
    }

    /// Appends the end, as event `number`, with output up to `to`.
    ///
    /// # Errors
    /// See [`AppendError`].
    #[boxed]
    pub async fn append_end(
        &mut self,
        number: EventNo,
        to: Offsets,
        complete: &Complete,
        at: Timestamp,
    ) -> Result<StreamSeq, AppendError> {
        let mut events = EventBatch::default();
        events
            .push(&Event::Complete(complete))
            .map_err(|error| AppendError::Encoding(error.to_string()))?;
        let entry = Entry {
            kind: Kind::Complete,
            first: Some(number),
            to: Some(to),
            body: Body::Events(&events),
        };
        self.append(entry, at).await
    }

    /// The exec's last message as this writer knows it.
    #[must_use]
    pub const fn tail(&self) -> StreamSeq {
        self.fence.tail()
    }

    /// Finds out what became of a publish that was not acknowledged; waits while nobody answers.
    async fn investigate(
        &self,
        attempt: &Attempt,
        reason: NotStored,
        delay: &mut Duration,
    ) -> Verdict {
        let is_stale = matches!(reason, NotStored::Stale);
        match reason {
            NotStored::Stale => {}
            NotStored::TooLarge(text) => return Verdict::Over(AppendError::Encoding(text)),
            NotStored::Full(_) | NotStored::Unknown(_) => {
                // Once an append: an outage of an hour is not worth thousands of lines.
                if *delay == RETRY_DELAY_MIN {
                    tracing::warn!(stream.id = %self.fence.exec().stream, %reason, "append not acknowledged");
                }
                wait(delay).await;
            }
        }
        loop {
            match self.bus.tail(self.fence.exec()).await {
                Ok(tail) => {
                    let verdict = attempt.verdict(tail.as_ref().map(|tail| Recorded {
                        sequence: tail.sequence,
                        value: tail.value.payload.as_ref(),
                    }));
                    // While a leader changes, it refuses what is not stale at all.
                    if is_stale && verdict == Verdict::SendAgain {
                        wait(delay).await;
                    }
                    return verdict;
                }
                Err(ReadError(reason)) => {
                    tracing::debug!(stream.id = %self.fence.exec().stream, reason, "tail not read");
                    wait(delay).await;
                }
            }
        }
    }
}

async fn wait(delay: &mut Duration) {
    tokio::time::sleep(*delay).await;
    *delay = (*delay * 2).min(RETRY_DELAY_MAX);
}
