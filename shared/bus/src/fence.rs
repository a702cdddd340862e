//! The pure half of a writer: what it sends, and what an answer (or none) means.
//!
//! [`ExecWriter`](crate::append::ExecWriter) publishes and reads on behalf of a [`Fence`]; it
//! decides nothing itself. So the decisions can be tested against every order of events that a
//! network can make, without one.
//!
//! Invariant: a fence moves only to messages that the log holds, and every attempt names the one
//! before it, by sequence and by chain value.

use std::ops::ControlFlow;

use bytes::Bytes;
use jiff::Timestamp;
use rdev_contract::envelope::{Chain, Head, Message, PAYLOAD_VERSION, Recorded, encode};
use rdev_contract::id::{ClaimId, ExecId};
use rdev_contract::position::StreamSeq;

use crate::append::{AppendError, Entry};

/// Where one claim's writing stands in the log.
#[derive(Debug, Clone)]
pub struct Fence {
    exec: ExecId,
    claim: Option<ClaimId>,
    attempt: u32,
    tail: StreamSeq,
    chain: Chain,
    /// A message of this claim is in the log: from then on nobody else's may be the tail.
    has_written: bool,
}

/// One message, ready to be published behind the tail that was known when it was made.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The payload.
    pub payload: Bytes,
    /// What the log's tail must be for it to be stored.
    pub expected: StreamSeq,
    chain: Chain,
    claim: Option<ClaimId>,
    follows_own: bool,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the log, here.
    Stored(StreamSeq),
    /// Nothing has happened: send it again as it is.
    SendAgain,
    /// What it follows has expired: send it again behind this message.
    SendAgainAfter(Recorded<Chain>),
    /// It is not in the log, and never will be.
    Over(AppendError),
}

impl Fence {
    /// Begins behind `tail`, whose chain value is `tail.value`.
    #[must_use]
    pub fn new(exec: ExecId, claim: Option<ClaimId>, attempt: u32, tail: Recorded<Chain>) -> Self {
        Self {
            exec,
            claim,
            attempt,
            tail: tail.sequence,
            chain: tail.value,
            has_written: false,
        }
    }

    /// Which exec.
    #[must_use]
    pub const fn exec(&self) -> &ExecId {
        &self.exec
    }

    /// Under which claim.
    #[must_use]
    pub const fn claim(&self) -> Option<ClaimId> {
        self.claim
    }

    /// The exec's last message as far as is known.
    #[must_use]
    pub const fn tail(&self) -> StreamSeq {
        self.tail
    }

    /// The message for `entry`. The same entry and time behind the same tail give the same bytes.
    ///
    /// # Errors
    /// None in practice: only if the head cannot be written as JSON.
    pub fn attempt(&self, entry: &Entry<'_>, at: Timestamp) -> Result<Attempt, serde_json::Error> {
        let head = Head {
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
        };
        let encoded = encode(&head, &entry.body, &self.chain)?;
        Ok(Attempt {
            payload: encoded.payload.into(),
            expected: self.tail,
            chain: encoded.chain,
            claim: self.claim,
            follows_own: self.has_written,
        })
    }

    /// Takes note of what became of an attempt: done, or to be made anew and sent.
    pub fn settle(
        &mut self,
        attempt: Attempt,
        verdict: Verdict,
    ) -> ControlFlow<Result<StreamSeq, AppendError>> {
        match verdict {
            Verdict::Stored(sequence) => {
                self.tail = sequence;
                self.chain = attempt.chain;
                self.has_written = true;
                ControlFlow::Break(Ok(sequence))
            }
            Verdict::SendAgain => ControlFlow::Continue(()),
            Verdict::SendAgainAfter(tail) => {
                self.tail = tail.sequence;
                self.chain = tail.value;
                ControlFlow::Continue(())
            }
            Verdict::Over(error) => ControlFlow::Break(Err(error)),
        }
    }
}

impl Attempt {
    /// What became of it when it was not acknowledged, told by the exec's last message as its
    /// leader has it.
    #[must_use]
    pub fn verdict(&self, tail: Option<Recorded<&[u8]>>) -> Verdict {
        let Some(tail) = tail else {
            return Verdict::Over(AppendError::Vanished);
        };
        if tail.value == self.payload {
            return Verdict::Stored(tail.sequence);
        }
        if tail.sequence == self.expected {
            return Verdict::SendAgain;
        }
        let fenced = Verdict::Over(AppendError::Fenced {
            tail: tail.sequence,
        });
        if tail.sequence > self.expected {
            return fenced;
        }
        // The command carries no claim.
        let is_ours = |head: &Head| head.claim.is_none() || head.claim == self.claim;
        match Message::decode(tail.value) {
            Ok(message) if !self.follows_own || is_ours(&message.head) => {
                Verdict::SendAgainAfter(Recorded {
                    sequence: tail.sequence,
                    value: message.chain,
                })
            }
            Ok(_) | Err(_) => fenced,
        }
    }
}

#[cfg(test)]
#[path = "fence_tests.rs"]
mod tests;
