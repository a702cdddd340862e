//! Sessions, as they are asked for and shown.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `POST /projects/{id}/sessions`: exactly one of `pod`, `selector` and `template`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    /// The pod to attach to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Labels of the pod to attach to: one that is ready is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<BTreeMap<String, String>>,
    /// The template of the pod to make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The pod's namespace; the executor's default if absent. Of a template, the template says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The container; the pod's default one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Ends the session when nothing has happened in it for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u64>,
    /// Ends the session after so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
}

/// A session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionView {
    /// Its id.
    pub id: String,
    /// The tenant.
    pub project_id: String,
    /// `active` or `ended`.
    pub status: String,
    /// The pod; null until one was chosen.
    pub pod: Option<String>,
    /// Its namespace, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The container, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The template that the pod is made from, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The labels that the pod is chosen by, if it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
    /// What has become of it, if it is made or chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_state: Option<String>,
    /// What is waited for, or why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_message: Option<String>,
    /// The conversation held in it.
    pub conversation_id: String,
    /// The claude session it continues with, once there is one.
    pub claude_session_id: Option<String>,
    /// The codex session that codex continues it with, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codex_session_id: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// It ends when nothing has happened in it for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u64>,
    /// When it ends unless something happens: it has been warned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ends_at: Option<Timestamp>,
    /// When it ends, whatever happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
    /// Why: `deleted`, `idle`, `expired` or `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_reason: Option<String>,
}
