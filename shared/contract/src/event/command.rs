//! `command`: what a client asked for. Written by the gateway as the first message of an exec;
//! read by the scheduler (it is what waits), executors, the projector and auditors.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ApprovalPolicy, TerminalSize};
use crate::agent::Agent;
use crate::id::{SecretKey, SecretName};

/// The `data` of a `command` message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Command {
    /// What is to be run. Two requests are the same if this is equal.
    #[serde(flatten)]
    pub spec: CommandSpec,
    /// A claim after this moment ends in `rejected`: a request that was answered with an error
    /// because its outcome was unknown cannot surface later.
    pub accept_until: Timestamp,
    /// The pod of its session was not ready when it was asked for: it waits until that is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_pod: bool,
    /// Who asked, and from where.
    pub by: Requester,
}

/// What is to be run, as validated by the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandSpec {
    /// The type of command, and what it needs.
    #[serde(flatten)]
    pub work: Work,
    /// Further arguments; see [`Work`] for where they go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Added to the container's environment. Logged as it is: not for secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Added to the environment as well: values that stand in Secrets and only there. The executor
    /// reads them when it launches the command.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_env: BTreeMap<String, SecretRef>,
    /// Working directory in the pod; the container's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// How long it may run before it is stopped and ends in `timed_out`.
    pub timeout_seconds: u64,
    /// How long it may print nothing before it is stopped and ends in `timed_out`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u64>,
    /// How long it may wait for its start; then it ends in `timed_out` and is never started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_timeout_seconds: Option<u64>,
    /// Given to the command's standard input, which is closed behind it unless `stdin_open`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// More standard input may be given while it runs ([`crate::control`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stdin_open: bool,
    /// One pipe for stdout and stderr, in true order; all of it is `stdout` then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub merge: bool,
    /// It runs in a terminal of this size. `merge` and `stdin_open` are set then too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<TerminalSize>,
    /// Its agent asks before it uses tools, and is answered over the API. For claude alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<ApprovalPolicy>,
}

impl CommandSpec {
    /// This work with nothing special about it.
    #[must_use]
    pub const fn new(work: Work, timeout_seconds: u64) -> Self {
        Self {
            work,
            args: Vec::new(),
            env: BTreeMap::new(),
            secret_env: BTreeMap::new(),
            cwd: None,
            timeout_seconds,
            idle_timeout_seconds: None,
            queue_timeout_seconds: None,
            stdin: None,
            stdin_open: false,
            merge: false,
            tty: None,
            approvals: None,
        }
    }
}

/// Where a secret value is: never the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// A Secret in the pod's namespace that carries the project's label.
    pub name: SecretName,
    /// Which of its values.
    pub key: SecretKey,
}

/// The types of command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Work {
    /// `sh -c COMMAND`, with `args` as `$1` and so on.
    Shell {
        /// The script.
        command: String,
    },
    /// `git COMMAND args…`, never through a shell.
    Git {
        /// The git subcommand.
        command: String,
    },
    /// The Claude CLI in print mode; `args` go before the session flags.
    Claude {
        /// Given on standard input.
        prompt: String,
        /// Resume the session's linked claude session, if it has one.
        #[serde(default)]
        continue_conversation: bool,
        /// Resume this claude session. The session's own conversation id means "continue".
        #[serde(default, skip_serializing_if = "Option::is_none")]
        conversation_id: Option<String>,
    },
    /// The Codex CLI in its non-interactive mode; `args` are options of `codex exec`.
    Codex {
        /// Given on standard input.
        prompt: String,
        /// Resume the session's linked codex session, if it has one.
        #[serde(default)]
        continue_conversation: bool,
        /// Resume this codex session. The session's own conversation id means "continue".
        #[serde(default, skip_serializing_if = "Option::is_none")]
        conversation_id: Option<String>,
    },
}

/// What an agent is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentTask<'a> {
    /// Who.
    pub agent: Agent,
    /// What.
    pub prompt: &'a str,
    /// Whether the session's linked session of this agent is resumed.
    pub continue_conversation: bool,
    /// Which one is.
    pub conversation_id: Option<&'a str>,
}

impl Work {
    /// What an agent is asked, if it is one that works.
    #[must_use]
    pub fn agent(&self) -> Option<AgentTask<'_>> {
        let (agent, prompt, continue_conversation, conversation_id) = match self {
            Self::Shell { .. } | Self::Git { .. } => return None,
            Self::Claude {
                prompt,
                continue_conversation,
                conversation_id,
            } => (
                Agent::Claude,
                prompt,
                continue_conversation,
                conversation_id,
            ),
            Self::Codex {
                prompt,
                continue_conversation,
                conversation_id,
            } => (Agent::Codex, prompt, continue_conversation, conversation_id),
        };
        Some(AgentTask {
            agent,
            prompt,
            continue_conversation: *continue_conversation,
            conversation_id: conversation_id.as_deref(),
        })
    }

    /// The command, or the prompt.
    #[must_use]
    pub fn asked(&self) -> &str {
        match self {
            Self::Shell { command } | Self::Git { command } => command,
            Self::Claude { prompt, .. } | Self::Codex { prompt, .. } => prompt,
        }
    }

    /// The `type` as clients write it.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Shell { .. } => "shell",
            Self::Git { .. } => "git",
            Self::Claude { .. } => Agent::Claude.name(),
            Self::Codex { .. } => Agent::Codex.name(),
        }
    }
}

/// Who asked for something, for the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Requester {
    /// Id of the API key; empty where none is configured.
    #[serde(default)]
    pub key: String,
    /// Network address of the client.
    #[serde(default)]
    pub address: String,
    /// `User-Agent` of the client, cut to a bounded length.
    #[serde(default)]
    pub agent: String,
}
