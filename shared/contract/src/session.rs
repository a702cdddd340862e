//! What happens to a session. Stored in its own stream for ever; a session's state is folded
//! from the last message of each kind. Written by the gateway (`created`, `ended`) and by
//! executors (`linked`, and by the one that keeps sessions `pod`, `idle_warning`, `ended`); read by
//! both and by the projector.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{PodIdentity, Requester, UnknownKind};
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
    /// What has become of the pod that is made or chosen for the session.
    Pod,
    /// The session will end, because nothing happens in it.
    IdleWarning,
    /// No new execs from here on.
    Ended,
}

impl SessionKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Created,
        Self::Linked,
        Self::CodexLinked,
        Self::Pod,
        Self::IdleWarning,
        Self::Ended,
    ];

    /// The token in the subject and the `kind` in the payload.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Linked => "linked",
            Self::CodexLinked => "codex_linked",
            Self::Pod => "pod",
            Self::IdleWarning => "idle_warning",
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
    /// See [`SessionKind::Pod`].
    Pod(SessionPod),
    /// See [`SessionKind::IdleWarning`].
    IdleWarning(IdleWarning),
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
            Self::Pod(_) => SessionKind::Pod,
            Self::IdleWarning(_) => SessionKind::IdleWarning,
            Self::Ended(_) => SessionKind::Ended,
        }
    }
}

/// The session and the pod that its commands run in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// The pod; absent if one is chosen by its labels, and then told by `pod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodName>,
    /// Its namespace; the executor's `RDEV_NAMESPACE` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<DnsLabel>,
    /// The container; the pod's default one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<DnsLabel>,
    /// The pod is made from this template, for this session alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<DnsLabel>,
    /// The pod is one that has these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
    /// The session ends when nothing has happened in it for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u64>,
    /// The session ends then, whatever runs in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Who asked for it.
    pub by: Requester,
}

impl Created {
    /// Of a pod that is there, and nothing else said.
    #[must_use]
    pub const fn of_pod(pod: PodName, by: Requester) -> Self {
        Self {
            pod: Some(pod),
            namespace: None,
            container: None,
            template: None,
            selector: BTreeMap::new(),
            idle_timeout_seconds: None,
            expires_at: None,
            by,
        }
    }
}

/// What has become of the pod that is made or chosen for a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionPod {
    /// How far it is.
    pub state: PodState,
    /// What is waited for, or why there is none; for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it was begun, while it is `pending`: that may not go on for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Which one it is, once it is `ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodIdentity>,
}

/// How far the pod of a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PodState {
    /// It is being made or looked for.
    Pending,
    /// Commands run in it.
    Ready,
    /// There is none and there will be none: the session ends.
    Failed,
    /// It was removed after the session's end.
    Deleted,
}

impl PodState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Ready, Self::Failed, Self::Deleted];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Deleted => "deleted",
        }
    }
}

/// The session will end, because nothing happens in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IdleWarning {
    /// When, unless something happens; absent once something has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
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
    /// Why; absent in what earlier versions wrote, which knew `deleted` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
}

/// Why a session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Somebody asked for it.
    Deleted,
    /// Nothing happened in it for as long as it may be idle.
    Idle,
    /// It has lived as long as it may.
    Expired,
    /// There is no pod for it.
    Failed,
}

impl EndReason {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Idle => "idle",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }
}
