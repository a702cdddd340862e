//! What happens to an exec, one file per fact.
//!
//! Facts are what the log holds; SSE frames are what a reader is shown ([`crate::sse`]). The
//! numbered events (`output`, `error`, `claude_event`, `codex_event`, `approval`, `approval_answered`,
//! `resized`, `complete`) are shown as they are stored, byte for byte; `command`, `admitted`, `started` and `resumed` take no number and
//! are not shown.

mod admitted;
mod agent_line;
mod approval;
mod command;
mod complete;
mod numbered;
mod resized;
mod resumed;
mod started;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::agent::Agent;

pub use admitted::Admitted;
pub use agent_line::AgentLine;
pub use approval::{
    Answer, AnsweredBy, Approval, ApprovalAnswered, ApprovalPolicy, Decision, OnTimeout,
};
pub use command::{AgentTask, Command, CommandSpec, Requester, SecretRef, Work};
pub use complete::{Complete, Outcome};
pub use numbered::{Event, EventBatch, Fragment, OutputStream, RawEvent, Text, event_name};
pub use resized::TerminalSize;
pub use resumed::{Resumed, ResumedFrom};
pub use started::{PodIdentity, Started};

/// The last token of a message's subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The request; the first message of its exec. By the gateway.
    Command,
    /// Its turn has come: executors may claim it. By the scheduler.
    Admitted,
    /// The first claim. By an executor.
    Started,
    /// A take-over. By an executor.
    Resumed,
    /// A batch of `output` and `resized` events of `shell` and `git`. By an executor.
    Output,
    /// A batch of events of `claude`. By an executor.
    Claude,
    /// A batch of events of `codex`. By an executor.
    Codex,
    /// One `approval` or `approval_answered`. By an executor.
    Approval,
    /// The end. By an executor, exactly once.
    Complete,
}

impl Kind {
    /// All kinds, in the order in which an exec has them.
    pub const ALL: [Self; 9] = [
        Self::Command,
        Self::Admitted,
        Self::Started,
        Self::Resumed,
        Self::Output,
        Self::Claude,
        Self::Codex,
        Self::Approval,
        Self::Complete,
    ];

    /// The token in the subject and the `kind` in the payload.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Admitted => "admitted",
            Self::Started => "started",
            Self::Resumed => "resumed",
            Self::Output => "output",
            Self::Claude => Agent::Claude.name(),
            Self::Codex => Agent::Codex.name(),
            Self::Approval => "approval",
            Self::Complete => "complete",
        }
    }

    /// The kind of an agent's messages.
    #[must_use]
    pub const fn of(agent: Agent) -> Self {
        match agent {
            Agent::Claude => Self::Claude,
            Agent::Codex => Self::Codex,
        }
    }

    /// Whose messages these are, if they are an agent's.
    #[must_use]
    pub const fn agent(self) -> Option<Agent> {
        match self {
            Self::Claude => Some(Agent::Claude),
            Self::Codex => Some(Agent::Codex),
            Self::Command
            | Self::Admitted
            | Self::Started
            | Self::Resumed
            | Self::Output
            | Self::Approval
            | Self::Complete => None,
        }
    }

    /// Whether messages of this kind hold numbered events.
    #[must_use]
    pub const fn is_numbered(self) -> bool {
        matches!(self, Self::Output | Self::Approval | Self::Complete) || self.agent().is_some()
    }

    /// Bulk has a shorter life in the log than facts have.
    #[must_use]
    pub const fn is_bulk(self) -> bool {
        matches!(self, Self::Output)
    }

    /// Whether messages of this kind begin something, and say in which span of a trace.
    #[must_use]
    pub const fn begins_span(self) -> bool {
        matches!(
            self,
            Self::Command | Self::Started | Self::Resumed | Self::Complete
        )
    }

    /// Whether the read model has anything of messages of this kind.
    #[must_use]
    pub const fn is_projected(self) -> bool {
        !matches!(self, Self::Output | Self::Admitted | Self::Approval)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.token())
    }
}

/// A kind that this build does not know: readers pass over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of message")]
pub struct UnknownKind;

impl FromStr for Kind {
    type Err = UnknownKind;
    fn from_str(token: &str) -> Result<Self, UnknownKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.token() == token)
            .ok_or(UnknownKind)
    }
}
