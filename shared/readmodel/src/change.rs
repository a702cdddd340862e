//! What a message of the log changes in the tables: values that [`crate::Writer`] executes, one
//! statement each.
//!
//! Each can be applied again over what is there already and gives the same rows, so a log that was
//! restored under another identity can be read again from its beginning.

use jiff::Timestamp;
use rdev_contract::agent::Agent;
use rdev_contract::event::{Complete, PodIdentity, Requester};
use rdev_contract::id::{AgentSessionId, ConversationId, ExecId, ProjectId, SessionId, StreamId};
use rdev_contract::position::StreamSeq;
use rdev_contract::session::{Created, EndReason, PodState};
use serde_json::Value;
use uuid::Uuid;

use rdev_contract::position::LogIdentity;

/// One change of one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A session exists.
    SessionCreated(SessionCreated),
    /// A session's conversation continues with another session of an agent.
    SessionLinked(SessionLinked),
    /// A session takes no new execs.
    SessionEnded(SessionEnded),
    /// Something became of a session's pod.
    SessionPodTold(SessionPodTold),
    /// A session was warned that it is idle, or is not any more.
    SessionWarned(SessionWarned),
    /// An exec was asked for.
    Commanded(Box<Commanded>),
    /// An exec was claimed.
    Started(Box<Started>),
    /// An exec was taken over.
    Resumed(Resumed),
    /// An agent told which version it is.
    AgentBegun(AgentBegun),
    /// An agent answered.
    AgentAnswered(AgentAnswered),
    /// An agent told how its run went.
    AgentResult(Box<AgentResult>),
    /// What a run took, as far as the agent told it. Behind its [`Self::AgentResult`].
    RunCounted(RunCounted),
    /// An agent used a tool, or a tool answered.
    ToolAdded(Box<ToolAdded>),
    /// A part of an agent's line is here.
    FragmentAdded(FragmentAdded),
    /// An exec ended.
    Completed(Box<Completed>),
    /// An exec belongs to a conversation. Behind its [`Self::Completed`].
    ConversationHeld(ConversationHeld),
    /// An exec's prompt is a message. Behind its [`Self::Completed`].
    UserMessage(UserMessage),
    /// An exec's result is a message. Behind its [`Self::Completed`].
    AssistantMessage(AssistantMessage),
    /// What an exec's tools said belongs to a conversation. Behind its [`Self::Completed`].
    ToolsHeld(ToolsHeld),
    /// A message could not be read.
    Poisoned(Box<Poisoned>),
}

/// See [`Change::SessionCreated`].
#[derive(Debug, Clone, PartialEq)]
pub struct SessionCreated {
    /// The tenant.
    pub project: ProjectId,
    /// The session.
    pub session: SessionId,
    /// What was asked for.
    pub created: Created,
    /// When.
    pub at: Timestamp,
}

/// See [`Change::SessionPodTold`].
#[derive(Debug, Clone, PartialEq)]
pub struct SessionPodTold {
    /// The tenant.
    pub project: ProjectId,
    /// The session.
    pub session: SessionId,
    /// How far it is.
    pub state: PodState,
    /// What is waited for, or why there is none.
    pub message: String,
    /// Its name, once it is known.
    pub pod: Option<String>,
}

/// See [`Change::SessionWarned`].
#[derive(Debug, Clone, PartialEq)]
pub struct SessionWarned {
    /// The tenant.
    pub project: ProjectId,
    /// The session.
    pub session: SessionId,
    /// When it ends, if it does.
    pub ends_at: Option<Timestamp>,
}

/// See [`Change::SessionLinked`].
#[derive(Debug, Clone, PartialEq)]
pub struct SessionLinked {
    /// The tenant.
    pub project: ProjectId,
    /// The session.
    pub session: SessionId,
    /// Whose session it is.
    pub agent: Agent,
    /// What it continues with.
    pub agent_session: AgentSessionId,
    /// The exec that yielded it.
    pub stream: StreamId,
    /// Place of that exec's command.
    pub command_seq: StreamSeq,
}

/// See [`Change::SessionEnded`].
#[derive(Debug, Clone, PartialEq)]
pub struct SessionEnded {
    /// The tenant.
    pub project: ProjectId,
    /// The session.
    pub session: SessionId,
    /// Who asked for it.
    pub by: Requester,
    /// Why, if that was said.
    pub reason: Option<EndReason>,
    /// When.
    pub at: Timestamp,
}

/// See [`Change::Commanded`].
#[derive(Debug, Clone, PartialEq)]
pub struct Commanded {
    /// The exec.
    pub exec: ExecId,
    /// `shell`, `git`, `claude` or `codex`.
    pub kind: &'static str,
    /// Of `shell` and `git`.
    pub command: Option<String>,
    /// Of agents.
    pub prompt: Option<String>,
    /// Further arguments.
    pub args: Vec<String>,
    /// Working directory, if one was given.
    pub cwd: Option<String>,
    /// Limit of its run.
    pub timeout_seconds: u64,
    /// Who asked for it.
    pub by: Requester,
    /// The life of the stream that holds the command.
    pub log: LogIdentity,
    /// The command's place in it.
    pub sequence: StreamSeq,
    /// When.
    pub at: Timestamp,
}

/// See [`Change::Started`].
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    /// The exec.
    pub exec: ExecId,
    /// The life of the stream, for an exec whose command is not in it any more.
    pub log: LogIdentity,
    /// Number of the claim.
    pub attempt: u32,
    /// Who claimed it.
    pub executor: String,
    /// What is executed.
    pub argv: Vec<String>,
    /// The session of its agent that it resumes.
    pub resume_id: Option<AgentSessionId>,
    /// Where it runs.
    pub pod: PodIdentity,
    /// When.
    pub at: Timestamp,
}

/// See [`Change::Resumed`].
#[derive(Debug, Clone, PartialEq)]
pub struct Resumed {
    /// The exec.
    pub exec: ExecId,
    /// The life of the stream.
    pub log: LogIdentity,
    /// Number of the claim.
    pub attempt: u32,
    /// Who claimed it.
    pub executor: String,
    /// When.
    pub at: Timestamp,
}

/// See [`Change::AgentBegun`].
#[derive(Debug, Clone, PartialEq)]
pub struct AgentBegun {
    /// The exec.
    pub exec: ExecId,
    /// The life of the stream.
    pub log: LogIdentity,
    /// Version of the CLI.
    pub version: String,
    /// Whether this version counts each process alone, if that is known.
    pub counts_alone: Option<bool>,
    /// When.
    pub at: Timestamp,
}

/// Tokens of all models.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Read, and in no cache.
    pub input: u64,
    /// Written.
    pub output: u64,
    /// Read from the cache.
    pub cache_read: u64,
    /// Read, and put into the cache.
    pub cache_write: u64,
}

/// See [`Change::RunCounted`].
#[derive(Debug, Clone, PartialEq)]
pub struct RunCounted {
    /// The exec.
    pub exec: ExecId,
    /// As far as the CLI counts: of this process, or of all runs of its session.
    pub total: Option<TokenCounts>,
    /// Of this process alone, where its first result says it.
    pub alone: Option<TokenCounts>,
    /// The digits of what `alone` cost.
    pub alone_cost_usd: Option<String>,
}

/// See [`Change::ToolAdded`].
#[derive(Debug, Clone, PartialEq)]
pub struct ToolAdded {
    /// The exec.
    pub exec: ExecId,
    /// Where in the exec it stands.
    pub step: u64,
    /// The message.
    pub id: MessageId,
    /// `tool_use` or `tool_result`.
    pub role: &'static str,
    /// What use and answer have in common.
    pub tool_use_id: String,
    /// The tool.
    pub tool_name: Option<String>,
    /// The use of the tool that runs the agent which this is of.
    pub parent_tool_use_id: Option<String>,
    /// Whether the answer is an error.
    pub is_error: Option<bool>,
    /// Input or answer.
    pub content: String,
    /// The content is only the beginning.
    pub truncated: bool,
    /// When.
    pub at: Timestamp,
}

/// See [`Change::ToolsHeld`]. Its time is that of the command.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolsHeld {
    /// The exec.
    pub exec: ExecId,
    /// The conversation.
    pub conversation: ConversationId,
}

/// See [`Change::AgentAnswered`].
#[derive(Debug, Clone, PartialEq)]
pub struct AgentAnswered {
    /// The exec.
    pub exec: ExecId,
    /// The life of the stream.
    pub log: LogIdentity,
    /// The last answer stands, also where it is none.
    pub text: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// See [`Change::AgentResult`]. All as the CLI printed it.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentResult {
    /// The exec.
    pub exec: ExecId,
    /// The life of the stream.
    pub log: LogIdentity,
    /// Its subtype.
    pub subtype: String,
    /// Whether the CLI calls it an error.
    pub is_error: bool,
    /// The digits of the cost.
    pub total_cost_usd: Option<String>,
    /// Tokens of the turn.
    pub usage: Option<Value>,
    /// Tokens and cost by model.
    pub model_usage: Option<Value>,
    /// When.
    pub at: Timestamp,
}

/// See [`Change::FragmentAdded`].
#[derive(Debug, Clone, PartialEq)]
pub struct FragmentAdded {
    /// The exec.
    pub exec: ExecId,
    /// 0, 1, 2 …
    pub part: u32,
    /// A piece of JSON text.
    pub content: Vec<u8>,
}

/// See [`Change::Completed`].
#[derive(Debug, Clone, PartialEq)]
pub struct Completed {
    /// The exec.
    pub exec: ExecId,
    /// The life of the stream.
    pub log: LogIdentity,
    /// Place of the message.
    pub sequence: StreamSeq,
    /// How it ended.
    pub complete: Complete,
    /// When.
    pub at: Timestamp,
}

/// See [`Change::ConversationHeld`].
#[derive(Debug, Clone, PartialEq)]
pub struct ConversationHeld {
    /// The exec.
    pub exec: ExecId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Its title.
    pub title: String,
    /// Whose session the exec yielded.
    pub agent: Agent,
    /// Which one.
    pub agent_session: AgentSessionId,
    /// When the exec ended.
    pub at: Timestamp,
}

/// Id of a message of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageId(pub Uuid);

/// See [`Change::UserMessage`]. Its text and time are those of the command.
#[derive(Debug, Clone, PartialEq)]
pub struct UserMessage {
    /// The exec.
    pub exec: ExecId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The message.
    pub id: MessageId,
}

/// See [`Change::AssistantMessage`]. Its text is that of the last answer.
#[derive(Debug, Clone, PartialEq)]
pub struct AssistantMessage {
    /// The exec.
    pub exec: ExecId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The message.
    pub id: MessageId,
    /// When the exec ended.
    pub at: Timestamp,
}

/// See [`Change::Poisoned`].
#[derive(Debug, Clone, PartialEq)]
pub struct Poisoned {
    /// Name of the stream.
    pub stream: &'static str,
    /// Its life.
    pub log: LogIdentity,
    /// Place of the message.
    pub sequence: StreamSeq,
    /// Where it was published to.
    pub subject: String,
    /// What it holds.
    pub payload: Vec<u8>,
    /// When the server stored it.
    pub stored_at: Timestamp,
    /// Why it cannot be read.
    pub reason: String,
}
