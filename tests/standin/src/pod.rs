//! Pods and containers as the stand-in keeps them, and the JSON that the API shows of them.
//!
//! Written by tests through [`crate::Standin`], and by clients of the API ([`crate::made`]). Invariant: a container that
//! comes back after a restart has a new id, one more restart, and a fresh directory, as a real one.

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

/// The node on which every pod of the stand-in runs.
pub(crate) const NODE_NAME: &str = "standin-node";
/// The image that every container claims to run; nothing reads it but people.
const IMAGE: &str = "standin/local-process:1";

/// What a test asks for: one pod with its labels and containers.
#[derive(Clone, Debug)]
pub struct PodSpec {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) containers: Vec<ContainerSpec>,
}

impl PodSpec {
    /// A pod without labels; without [`PodSpec::container`] it gets one container named `main`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: Vec::new(),
            containers: Vec::new(),
        }
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Adds a container.
    #[must_use]
    pub fn container(mut self, container: ContainerSpec) -> Self {
        self.containers.push(container);
        self
    }
}

/// One container of a [`PodSpec`].
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    pub(crate) name: String,
    pub(crate) env: Vec<(String, String)>,
}

impl ContainerSpec {
    /// A container with nothing but the environment that every container has.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            env: Vec::new(),
        }
    }

    /// Sets a variable for everything that is run in the container. `{root}` in the value stands
    /// for the container's own directory, which is another one after a restart.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// How a container ended.
#[derive(Clone, Debug)]
pub(crate) struct Terminated {
    pub(crate) container_id: String,
    pub(crate) reason: String,
    pub(crate) exit_code: i32,
    pub(crate) started: Timestamp,
    pub(crate) finished: Timestamp,
}

#[derive(Clone, Debug)]
pub(crate) enum ContainerState {
    /// The kubelet has not started it, for this reason.
    Waiting {
        reason: String,
    },
    Running {
        since: Timestamp,
    },
    Terminated(Terminated),
}

#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) restarts: u32,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) root: PathBuf,
    pub(crate) state: ContainerState,
    pub(crate) last: Option<Terminated>,
}

impl Container {
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, ContainerState::Running { .. })
    }

    /// Records how the container ended; its processes are the caller's concern.
    pub(crate) fn terminate(&mut self, reason: &str, exit_code: i32) {
        let ContainerState::Running { since } = self.state else {
            return;
        };
        self.state = ContainerState::Terminated(Terminated {
            container_id: self.id.clone(),
            reason: reason.to_owned(),
            exit_code,
            started: since,
            finished: Timestamp::now(),
        });
    }

    /// The kubelet's restart: a new container in the place of the ended one.
    pub(crate) fn come_back(&mut self, root: PathBuf) {
        if let ContainerState::Terminated(ended) = &self.state {
            self.last = Some(ended.clone());
        }
        self.id = new_container_id();
        self.restarts += 1;
        self.root = root;
        self.state = ContainerState::Running {
            since: Timestamp::now(),
        };
    }

    fn status(&self) -> Value {
        let state = match &self.state {
            ContainerState::Waiting { reason } => json!({"waiting": {"reason": reason}}),
            ContainerState::Running { since } => json!({"running": {"startedAt": seconds(*since)}}),
            ContainerState::Terminated(ended) => json!({"terminated": terminated(ended)}),
        };
        let last = self.last.as_ref().map_or_else(
            || json!({}),
            |ended| json!({"terminated": terminated(ended)}),
        );
        let id = match &self.state {
            ContainerState::Waiting { .. } => Value::Null,
            ContainerState::Running { .. } | ContainerState::Terminated(_) => json!(self.id),
        };
        json!({
            "name": self.name, "containerID": id, "restartCount": self.restarts,
            "ready": self.is_running(), "started": self.is_running(),
            "image": IMAGE, "imageID": IMAGE, "state": state, "lastState": last,
        })
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) phase: String,
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) created: Timestamp,
    pub(crate) deleting: Option<Timestamp>,
    /// As a client has written it: the rest of `metadata`, and `spec`.
    pub(crate) annotations: Value,
    pub(crate) spec: Option<Value>,
    /// The node does not answer: what runs goes on, but nothing reaches it.
    pub(crate) unreachable: bool,
    pub(crate) containers: Vec<Container>,
}

impl Pod {
    /// The pod as the API shows it at one resource version.
    pub(crate) fn object(&self, version: u64) -> Value {
        let ready = self.phase == "Running"
            && !self.unreachable
            && self.containers.iter().all(Container::is_running);
        let labels: serde_json::Map<_, _> = self
            .labels
            .iter()
            .map(|(k, v)| (k.clone(), json!(v)))
            .collect();
        let mut metadata = json!({
            "name": self.name, "namespace": self.namespace, "uid": self.uid,
            "resourceVersion": version.to_string(), "creationTimestamp": seconds(self.created), "labels": labels,
        });
        if !self.annotations.is_null() {
            metadata["annotations"] = self.annotations.clone();
        }
        if let Some(at) = self.deleting {
            metadata["deletionTimestamp"] = json!(seconds(at));
            metadata["deletionGracePeriodSeconds"] = json!(0);
        }
        let containers: Vec<Value> = self.containers.iter().map(|c| json!({
            "name": c.name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "resources": {},
            "env": c.env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>(),
        })).collect();
        let mut status = json!({
            "phase": self.phase, "startTime": seconds(self.created), "qosClass": "BestEffort",
            "podIP": "10.244.0.2", "hostIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            "containerStatuses": self.containers.iter().map(Container::status).collect::<Vec<_>>(),
        });
        if let Some(reason) = &self.reason {
            status["reason"] = json!(reason);
        }
        if let Some(message) = &self.message {
            status["message"] = json!(message);
        }
        json!({
            "kind": "Pod", "apiVersion": "v1", "metadata": metadata, "status": status,
            "spec": self.spec.clone().unwrap_or_else(|| json!({
                "nodeName": NODE_NAME, "restartPolicy": "Always", "containers": containers,
            })),
        })
    }
}

/// An id as containerd gives them: 32 bytes in hex.
pub(crate) fn new_container_id() -> String {
    format!(
        "containerd://{}{}",
        Uuid::new_v4().simple(),
        Uuid::new_v4().simple()
    )
}

/// The API shows times in whole seconds.
fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn terminated(ended: &Terminated) -> Value {
    json!({
        "containerID": ended.container_id, "reason": ended.reason, "exitCode": ended.exit_code,
        "startedAt": seconds(ended.started), "finishedAt": seconds(ended.finished),
    })
}
