//! Writing an exec's messages: one at a time, each fenced with the sequence of the one before.
//!
//! A refused or unanswered publish decides nothing by itself. The exec's tail is read at the
//! leader, and there are four cases: the tail is what was sent, byte for byte (the ack was lost:
//! go on); it is what was there before (send again); it is lower (the message before has expired:
//! fence at the tail, link to it, and send again); or somebody else wrote it (fenced: stop, and
//! touch nothing).

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rdev_contract::envelope::{Body, Chain, Head, Message, PAYLOAD_VERSION, Recorded, encode};
use rdev_contract::event::Kind;
use rdev_contract::id::{ClaimId, ExecId};
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_contract::subject::{Filter, Subject};

use crate::publish::{Fenced, NotStored};
use crate::read::Stored;
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
    exec: ExecId,
    fence: Filter,
    claim: Option<ClaimId>,
    attempt: u32,
    tail: StreamSeq,
    chain: Chain,
    /// A message of this writer is in the log: from then on nobody else's may be the tail.
    has_written: bool,
}

/// A message whose publish was not acknowledged.
struct Sent {
    payload: Bytes,
    prev: StreamSeq,
    claim: Option<ClaimId>,
    follows_own: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Stored(StreamSeq),
    SendAgain,
    SendAgainAfter(Recorded<Chain>),
    Over(AppendError),
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
        let fence = Filter::exec(&exec);
        Self {
            bus,
            exec,
            fence,
            claim,
            attempt,
            tail: tail.sequence,
            chain: tail.value,
            has_written: false,
        }
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
        let subject = Subject::exec(&self.exec, entry.kind);
        let ttl = if entry.kind.is_bulk() {
            self.bus.config.output_ttl
        } else {
            self.bus.config.facts_ttl
        };
        let mut delay = RETRY_DELAY_MIN;
        loop {
            let encoded = encode(&self.head(&entry, at), &entry.body, &self.chain)
                .map_err(|error| AppendError::Encoding(error.to_string()))?;
            let sent = Sent {
                payload: encoded.payload.into(),
                prev: self.tail,
                claim: self.claim,
                follows_own: self.has_written,
            };
            let message = Fenced {
                subject: &subject,
                fence: &self.fence,
                expected: self.tail,
                payload: sent.payload.clone(),
                ttl: Some(ttl),
            };
            let verdict = match self.bus.publish_fenced(message).await {
                Ok(sequence) => Verdict::Stored(sequence),
                Err(reason) => self.investigate(&sent, reason, &mut delay).await,
            };
            match verdict {
                Verdict::Stored(sequence) => {
                    self.tail = sequence;
                    self.chain = encoded.chain;
                    self.has_written = true;
                    return Ok(sequence);
                }
                Verdict::SendAgain => {}
                Verdict::SendAgainAfter(tail) => {
                    self.tail = tail.sequence;
                    self.chain = tail.value;
                }
                Verdict::Over(error) => return Err(error),
            }
        }
    }

    /// The exec's last message as this writer knows it.
    #[must_use]
    pub const fn tail(&self) -> StreamSeq {
        self.tail
    }

    fn head(&self, entry: &Entry<'_>, at: Timestamp) -> Head {
        Head {
            v: PAYLOAD_VERSION,
            project: self.exec.project.clone(),
            session: self.exec.session,
            stream: self.exec.stream.clone(),
            kind: entry.kind.token().to_owned(),
            claim: self.claim,
            attempt: self.attempt,
            first: entry.first,
            at,
            to: entry.to,
            prev: self.tail,
        }
    }

    /// Finds out what became of a publish that was not acknowledged; waits while nobody answers.
    async fn investigate(&self, sent: &Sent, reason: NotStored, delay: &mut Duration) -> Verdict {
        let is_stale = matches!(reason, NotStored::Stale);
        match reason {
            NotStored::Stale => {}
            NotStored::TooLarge(text) => return Verdict::Over(AppendError::Encoding(text)),
            NotStored::Full(_) | NotStored::Unknown(_) => {
                // Once an append: an outage of an hour is not worth thousands of lines.
                if *delay == RETRY_DELAY_MIN {
                    tracing::warn!(stream.id = %self.exec.stream, %reason, "append not acknowledged");
                }
                wait(delay).await;
            }
        }
        loop {
            match self.bus.tail(&self.exec).await {
                Ok(tail) => {
                    let verdict = verdict(sent, tail.as_ref());
                    // While a leader changes, it refuses what is not stale at all.
                    if is_stale && verdict == Verdict::SendAgain {
                        wait(delay).await;
                    }
                    return verdict;
                }
                Err(ReadError(reason)) => {
                    tracing::debug!(stream.id = %self.exec.stream, reason, "tail not read");
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

/// The four cases: pure, so that they can be tested one by one.
fn verdict(sent: &Sent, tail: Option<&Recorded<Stored>>) -> Verdict {
    let Some(tail) = tail else {
        return Verdict::Over(AppendError::Vanished);
    };
    if tail.value.payload == sent.payload {
        return Verdict::Stored(tail.sequence);
    }
    if tail.sequence == sent.prev {
        return Verdict::SendAgain;
    }
    let fenced = Verdict::Over(AppendError::Fenced {
        tail: tail.sequence,
    });
    if tail.sequence > sent.prev {
        return fenced;
    }
    // The command carries no claim.
    let is_ours = |head: &Head| head.claim.is_none() || head.claim == sent.claim;
    match Message::decode(&tail.value.payload) {
        Ok(message) if !sent.follows_own || is_ours(&message.head) => {
            Verdict::SendAgainAfter(Recorded {
                sequence: tail.sequence,
                value: message.chain,
            })
        }
        Ok(_) | Err(_) => fenced,
    }
}

#[cfg(test)]
#[path = "append_tests.rs"]
mod tests;
