//! What happens to a session. Stored in its own stream for ever; a session's state is folded
//! from the last message of each kind. Written by the gateway (`created`, `ended`) and by
//! executors (`linked`); read by both and by the projector.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{Requester, UnknownKind};
use crate::id::{
    AgentSessionId, ConversationId, DnsLabel, PodName, ProjectId, SessionId, StreamId,
};
use crate::position::StreamSeq;

/// The last token of a session fact's subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// The session exists from here on.
    Created,
    /// A claude session is what the session's conversation continues with.
    Linked,
    /// A codex session is what codex continues the session's conversation with.
    CodexLinked,
    /// No new execs from here on.
    Ended,
}

impl SessionKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Created, Self::Linked, Self::CodexLinked, Self::Ended];

    /// The token in the subject and the `kind` in the payload.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Linked => "linked",
            Self::CodexLinked => "codex_linked",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for SessionKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.token())
    }
}

impl FromStr for SessionKind {
    type Err = UnknownKind;
    fn from_str(token: &str) -> Result<Self, UnknownKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.token() == token)
            .ok_or(UnknownKind)
    }
}

/// The payload of a session fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionMessage {
    /// [`crate::envelope::PAYLOAD_VERSION`].
    pub v: u32,
    /// The tenant.
    pub project: ProjectId,
    /// The session.
    pub session: SessionId,
    /// When it was written, to the microsecond.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub fact: SessionFact,
}

/// What happened to a session: `kind` and `data` of the payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum SessionFact {
    /// See [`SessionKind::Created`].
    Created(Created),
    /// See [`SessionKind::Linked`].
    Linked(Linked),
    /// See [`SessionKind::CodexLinked`].
    CodexLinked(CodexLinked),
    /// See [`SessionKind::Ended`].
    Ended(Ended),
}

impl SessionFact {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> SessionKind {
        match self {
            Self::Created(_) => SessionKind::Created,
            Self::Linked(_) => SessionKind::Linked,
            Self::CodexLinked(_) => SessionKind::CodexLinked,
            Self::Ended(_) => SessionKind::Ended,
        }
    }
}

/// The session and the pod that its commands run in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// The pod.
    pub pod: PodName,
    /// Its namespace; the executor's `RDEV_NAMESPACE` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<DnsLabel>,
    /// The container; the pod's default one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<DnsLabel>,
    /// Who asked for it.
    pub by: Requester,
}

/// The claude session that an exec yielded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Linked {
    /// As the Claude CLI names it.
    pub claude_session_id: AgentSessionId,
    /// The session's conversation.
    pub conversation_id: ConversationId,
    /// The exec that yielded it.
    pub stream: StreamId,
    /// Sequence of that exec's `command`: of two links the later command's is the newer.
    pub command_seq: StreamSeq,
}

/// The codex session that an exec yielded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CodexLinked {
    /// As the Codex CLI names it: the thread.
    pub codex_session_id: AgentSessionId,
    /// The session's conversation.
    pub conversation_id: ConversationId,
    /// The exec that yielded it.
    pub stream: StreamId,
    /// Sequence of that exec's `command`: of two links the later command's is the newer.
    pub command_seq: StreamSeq,
}

/// The end of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// Who asked for it.
    pub by: Requester,
    /// Running execs were asked to stop as well.
    #[serde(default)]
    pub cancel: bool,
}
