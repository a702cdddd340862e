//! `started`: an executor claimed the exec for the first time. Written before the launch, so a
//! crash in between is healed by the next claim; read by the next executor and the projector.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{AgentSessionId, ClaimId};

/// The `data` of a `started` message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// This claim; every later message of the claim carries it too.
    pub claim: ClaimId,
    /// 1.
    pub attempt: u32,
    /// Name of the executor, for people.
    pub executor: String,
    /// What is executed in the pod.
    pub argv: Vec<String>,
    /// The session that the agent resumes, resolved at this claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_id: Option<AgentSessionId>,
    /// The container it runs in. Any other is not a continuation of it.
    pub pod: PodIdentity,
    /// Nonce of the shim instance in that container; another instance refuses to launch.
    pub shim: String,
}

/// Exactly one life of one container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct PodIdentity {
    /// Kubernetes namespace; empty for the `local` backend.
    pub namespace: String,
    /// Pod name.
    pub name: String,
    /// `metadata.uid`: a pod recreated under the same name has another.
    pub uid: String,
    /// Container name.
    pub container: String,
    /// `containerID` of its status: changes with every restart.
    pub container_id: String,
    /// `restartCount` of its status.
    pub restarts: u32,
}
