//! The lives of pods: made, restarted, evicted, deleted, as the API server and the kubelet do it.
//!
//! Called by tests only. Invariant: the API shows a step before, or at the moment when, clients can
//! feel it; a container that is shown as ended has no process left.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::pod::{self, Container, ContainerSpec, ContainerState, Pod, PodSpec};
use crate::process;
use crate::{Cluster, Standin, StandinError, cannot, key};

/// The code of a container that was killed: 128 + SIGKILL.
const KILLED: i32 = 137;

impl Standin {
    /// Adds a pod that runs at once, and returns its uid.
    ///
    /// # Errors
    /// When its directories cannot be made.
    pub fn add_pod(&self, spec: PodSpec) -> Result<String, StandinError> {
        let uid = Uuid::new_v4().to_string();
        let mut wanted = spec.containers;
        if wanted.is_empty() {
            wanted.push(ContainerSpec::new("main"));
        }
        let mut containers = Vec::new();
        for container in wanted {
            let root = self.new_root(&uid, &container.name, 0)?;
            containers.push(Container {
                name: container.name,
                id: pod::new_container_id(),
                restarts: 0,
                env: container.env,
                root,
                state: ContainerState::Running {
                    since: Timestamp::now(),
                },
                last: None,
            });
        }
        self.cluster.store.put(Pod {
            namespace: spec.namespace,
            name: spec.name,
            uid: uid.clone(),
            labels: spec.labels,
            phase: "Running".to_owned(),
            reason: None,
            message: None,
            created: Timestamp::now(),
            deleting: None,
            annotations: Value::Null,
            spec: None,
            unreachable: false,
            containers,
        });
        Ok(uid)
    }

    /// Deletes a pod as the API and the kubelet do: marked, killed, gone.
    ///
    /// # Errors
    /// When there is no such pod.
    pub async fn delete_pod(&self, namespace: &str, name: &str) -> Result<(), StandinError> {
        let deleted = self.cluster.delete(namespace, name).await;
        deleted.ok_or_else(|| no_pod(namespace, name))
    }

    /// Deletes a pod as `kubectl delete --force --grace-period=0` does: the object goes first and at
    /// once, so a watch tells nothing but DELETED; then its processes are killed.
    ///
    /// # Errors
    /// When there is no such pod.
    pub async fn delete_pod_by_force(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<(), StandinError> {
        let gone = self.cluster.store.remove(namespace, name);
        let pod = gone.ok_or_else(|| no_pod(namespace, name))?;
        let containers = pod.containers.into_iter().map(|container| container.id);
        kill(containers.collect()).await;
        remove_directory(&self.home.path().join(&pod.uid));
        Ok(())
    }

    /// Deletes a pod and makes one of the same name, as a StatefulSet does. Returns the new uid.
    ///
    /// # Errors
    /// When there is no such pod, or the directories cannot be made.
    pub async fn recreate_pod(&self, namespace: &str, name: &str) -> Result<String, StandinError> {
        let (old, _) = self
            .cluster
            .store
            .get(namespace, name)
            .ok_or_else(|| no_pod(namespace, name))?;
        self.delete_pod(namespace, name).await?;
        let containers = old.containers.into_iter().map(|container| ContainerSpec {
            name: container.name,
            env: container.env,
        });
        self.add_pod(PodSpec {
            namespace: old.namespace,
            name: old.name,
            labels: old.labels,
            containers: containers.collect(),
        })
    }

    /// The container ends (with a reason such as `OOMKilled`) and the kubelet starts it again: another
    /// container id, one more restart, a fresh directory.
    ///
    /// # Errors
    /// When there is no such container, or the directory cannot be made.
    pub async fn restart_container(
        &self,
        namespace: &str,
        name: &str,
        container: &str,
        reason: &str,
    ) -> Result<(), StandinError> {
        let ended = self
            .stop_container(namespace, name, container, reason)
            .await?;
        let (pod, _) = self
            .cluster
            .store
            .get(namespace, name)
            .ok_or_else(|| no_pod(namespace, name))?;
        let root = self.new_root(&pod.uid, container, ended.restarts + 1)?;
        self.change(namespace, name, |pod| {
            pod.containers
                .iter_mut()
                .filter(|found| found.name == container)
                .for_each(|found| found.come_back(root.clone()))
        })?;
        remove_directory(&ended.root);
        Ok(())
    }

    /// The container ends and does not come back (yet): `terminated` with a reason and exit code 137.
    ///
    /// # Errors
    /// When there is no such container.
    pub async fn terminate_container(
        &self,
        namespace: &str,
        name: &str,
        container: &str,
        reason: &str,
    ) -> Result<(), StandinError> {
        self.stop_container(namespace, name, container, reason)
            .await
            .map(drop)
    }

    async fn stop_container(
        &self,
        namespace: &str,
        name: &str,
        container: &str,
        reason: &str,
    ) -> Result<Container, StandinError> {
        let pod = self.change(namespace, name, |pod| {
            pod.containers
                .iter_mut()
                .filter(|found| found.name == container)
                .for_each(|found| found.terminate(reason, KILLED));
        })?;
        let found = pod
            .containers
            .into_iter()
            .find(|found| found.name == container);
        let found = found.ok_or_else(|| StandinError::NoContainer(container.to_owned()))?;
        kill(vec![found.id.clone()]).await;
        Ok(found)
    }

    /// The kubelet evicts a pod: its containers are killed, phase `Failed`, reason `Evicted`; the pod
    /// object stays.
    ///
    /// # Errors
    /// When there is no such pod.
    pub async fn evict(
        &self,
        namespace: &str,
        name: &str,
        message: &str,
    ) -> Result<(), StandinError> {
        let pod = self.change(namespace, name, |pod| {
            pod.phase = "Failed".to_owned();
            pod.reason = Some("Evicted".to_owned());
            pod.message = Some(message.to_owned());
            pod.containers
                .iter_mut()
                .for_each(|container| container.terminate("Error", KILLED));
        })?;
        kill(
            pod.containers
                .into_iter()
                .map(|container| container.id)
                .collect(),
        )
        .await;
        Ok(())
    }

    /// The node is lost: phase `Unknown`, reason `NodeLost`; what runs goes on, nothing reaches it.
    ///
    /// # Errors
    /// When there is no such pod.
    pub fn lose_node(&self, namespace: &str, name: &str) -> Result<(), StandinError> {
        self.change(namespace, name, |pod| {
            pod.phase = "Unknown".to_owned();
            pod.reason = Some("NodeLost".to_owned());
            pod.message =
                Some("Node standin-node which was running pod is unresponsive".to_owned());
            pod.unreachable = true;
        })?;
        self.cluster.execs.stall(key(namespace, name), true);
        Ok(())
    }

    /// Sets `status.phase` and nothing else.
    ///
    /// # Errors
    /// When there is no such pod.
    pub fn set_phase(&self, namespace: &str, name: &str, phase: &str) -> Result<(), StandinError> {
        self.change(namespace, name, |pod| pod.phase = phase.to_owned())
            .map(drop)
    }

    /// Sets a label, which changes nothing but the resource version of the pod.
    ///
    /// # Errors
    /// When there is no such pod.
    pub fn set_label(
        &self,
        namespace: &str,
        name: &str,
        label: &str,
        value: &str,
    ) -> Result<(), StandinError> {
        self.change(namespace, name, |pod| {
            pod.labels.retain(|(known, _)| known != label);
            pod.labels.push((label.to_owned(), value.to_owned()));
        })
        .map(drop)
    }

    fn change(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Pod),
    ) -> Result<Pod, StandinError> {
        self.cluster
            .store
            .change(namespace, name, change)
            .ok_or_else(|| no_pod(namespace, name))
    }

    fn new_root(&self, uid: &str, container: &str, restarts: u32) -> Result<PathBuf, StandinError> {
        let root = self.cluster.new_root(uid, container, restarts);
        root.map_err(cannot("make a container's directory"))
    }
}

impl Cluster {
    pub(crate) fn new_root(
        &self,
        uid: &str,
        container: &str,
        restarts: u32,
    ) -> io::Result<PathBuf> {
        let root = self.home.join(uid).join(format!("{container}-{restarts}"));
        fs::create_dir_all(&root)?;
        Ok(root)
    }

    /// Marked, killed, gone; none when there is no such pod.
    pub(crate) async fn delete(&self, namespace: &str, name: &str) -> Option<()> {
        let mark = |pod: &mut Pod| pod.deleting = Some(Timestamp::now());
        let pod = self.store.change(namespace, name, mark)?;
        let containers = pod.containers.iter().map(|container| container.id.clone());
        kill(containers.collect()).await;
        self.store.change(namespace, name, |pod| {
            for container in &mut pod.containers {
                container.terminate("Error", KILLED);
            }
            pod.phase = "Failed".to_owned();
        })?;
        self.store.remove(namespace, name);
        remove_directory(&self.home.join(&pod.uid));
        Some(())
    }
}

fn no_pod(namespace: &str, name: &str) -> StandinError {
    StandinError::NoPod(format!("{namespace}/{name}"))
}

/// Kills containers without blocking the runtime, whose tasks may have to reap them.
async fn kill(container_ids: Vec<String>) {
    // The closure cannot panic, and nobody cancels it.
    let _ = tokio::task::spawn_blocking(move || {
        container_ids
            .iter()
            .for_each(|id| process::kill_container(id))
    })
    .await;
}

/// Removes what a dead container left; a file that stays is removed with the stand-in's directory.
fn remove_directory(path: &Path) {
    let _ = fs::remove_dir_all(path);
}
