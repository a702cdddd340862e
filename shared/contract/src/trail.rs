//! The trail of orders: who wanted what of which exec. An order itself is removed once it is carried
//! out; this stays as long as facts do. Written by gateways before the order, read by auditors.
//!
//! Invariant: no client's order is given that is not here; what an executor orders because a time is
//! over, nobody has asked for. One that is here may not have been given: its
//! gateway ended in between, or another order was faster.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::control::{Order, SignalName};
use crate::envelope::PAYLOAD_VERSION;
use crate::event::{Decision, Requester, TerminalSize};
use crate::id::{ExecId, ProjectId, SessionId, StreamId};

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrailMessage {
    /// Version of the payload's shape.
    pub v: u32,
    /// The tenant.
    pub project: ProjectId,
    /// The session.
    pub session: SessionId,
    /// The exec.
    pub stream: StreamId,
    /// When it was written, to the microsecond.
    pub at: Timestamp,
    /// Who asked for it.
    pub by: Requester,
    /// What was asked for.
    pub order: TrailOrder,
}

/// An order without what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TrailOrder {
    /// The end of the exec.
    Cancel,
    /// A signal to its processes.
    Signal {
        /// Which one.
        signal: SignalName,
    },
    /// Standard input.
    Stdin {
        /// Where in the whole of it the piece begins.
        offset: u64,
        /// Nothing comes after it.
        end: bool,
    },
    /// Another size of its terminal.
    Resize {
        /// The size.
        #[serde(flatten)]
        size: TerminalSize,
    },
    /// An answer to its agent.
    Answer {
        /// Which question.
        approval_id: String,
        /// Whether it may.
        decision: Decision,
    },
    /// Written by a newer version.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl From<&Order> for TrailOrder {
    fn from(order: &Order) -> Self {
        match order {
            Order::Cancel { .. } => Self::Cancel,
            Order::Signal { signal } => Self::Signal { signal: *signal },
            Order::Stdin { offset, end, .. } => Self::Stdin {
                offset: *offset,
                end: *end,
            },
            Order::Resize { size } => Self::Resize { size: *size },
            Order::Answer {
                approval_id,
                answer,
                ..
            } => Self::Answer {
                approval_id: approval_id.clone(),
                decision: answer.decision,
            },
            Order::Unknown => Self::Unknown,
        }
    }
}

impl TrailMessage {
    /// That somebody wants this of this exec.
    #[must_use]
    pub fn new(exec: &ExecId, at: Timestamp, by: Requester, order: &Order) -> Self {
        Self {
            v: PAYLOAD_VERSION,
            project: exec.project.clone(),
            session: exec.session,
            stream: exec.stream.clone(),
            at,
            by,
            order: order.into(),
        }
    }
}
