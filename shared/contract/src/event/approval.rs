//! `approval` and `approval_answered`: an agent wants to use a tool and waits, and what became of that.
//!
//! Written by the executor that has the exec, right behind the line in which the agent asks, and
//! before an answer is given to the agent; read by whoever answers, lists or audits them. Invariant:
//! for each `approval` there is one `approval_answered` at most, and an agent is given no answer that
//! is not in the log.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Data of `approval`: the agent waits for an answer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// The agent's own name for the question; unique within the exec.
    pub approval_id: String,
    /// The tool that it wants to use.
    pub tool_name: String,
    /// What the use is called in the agent's messages; empty if it is not told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tool_use_id: String,
    /// With what, as the agent printed it; absent if it is long: then it is in the agent's own event
    /// alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub input: Option<Box<RawValue>>,
    /// How long the input is.
    pub input_bytes: u64,
    /// Rules that would make the question needless from now on, as the agent printed them: one or
    /// more of them may be given back as `updated_permissions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Value>>")]
    pub suggestions: Option<Box<RawValue>>,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// When it is answered by nobody; absent if that is only when the exec ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Data of `approval_answered`: the agent waits no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalAnswered {
    /// Which question.
    pub approval_id: String,
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
    /// Whose answer it is.
    pub by: AnsweredBy,
    /// Id of the API key of the client; empty where none is configured.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// When it was given.
    pub answered_at: Timestamp,
    /// Sequence of the order that it came with; absent if the agent withdrew the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<u64>,
    /// Up to which byte of its standard input the agent has been answered with this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin_to: Option<u64>,
}

/// What an agent is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// Whether it may.
    pub decision: Decision,
    /// Why not, for the agent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// It may not, and is to stop working.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupt: bool,
    /// It may, but with this input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_input: Option<Map<String, Value>>,
    /// It may, and these rules hold from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_permissions: Option<Vec<Value>>,
}

impl Answer {
    /// This decision and nothing else.
    #[must_use]
    pub const fn of(decision: Decision) -> Self {
        Self {
            decision,
            message: String::new(),
            interrupt: false,
            updated_input: None,
            updated_permissions: None,
        }
    }
}

/// What was decided about the use of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The agent may.
    Allow,
    /// It may not.
    Deny,
    /// Nothing: the agent does not want to know any more.
    Withdrawn,
}

/// Who decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnsweredBy {
    /// A client of the API.
    Client,
    /// Nobody in time.
    Timeout,
    /// The agent itself.
    Agent,
}

/// What an exec was asked for with, if its agent is to ask before it uses tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalPolicy {
    /// How long it waits for an answer; as long as it runs if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// What happens then.
    #[serde(default)]
    pub on_timeout: OnTimeout,
}

/// What happens when nobody has answered in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// The agent may not, and goes on without.
    #[default]
    Deny,
    /// The exec is canceled.
    Cancel,
}
