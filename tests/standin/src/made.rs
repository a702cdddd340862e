//! Pods that clients make and delete over the API, as the API server and the kubelet take care of them.
//!
//! Images and init containers do not exist here: a container runs as soon as the kubelet starts it,
//! which a test may delay ([`crate::Standin::keep_waiting`]). A volume is a directory below the
//! container's own, and paths into it in the environment are changed accordingly. Invariant: a name is
//! given once, and a pod is deleted only if its uid is the one that the client expects.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Request, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Cluster;
use crate::pod::{Container, ContainerState, NODE_NAME, Pod, new_container_id};
use crate::refusal::Refusal;
use crate::serve::{Body, answered, created, refused};

/// `POST …/pods`.
pub(crate) async fn create(
    cluster: &Arc<Cluster>,
    request: Request<Incoming>,
    namespace: &str,
) -> Response<Body> {
    let made = match body(cluster, request).await {
        Ok(object) => cluster.make(namespace, &object),
        Err(refusal) => Err(refusal),
    };
    match made {
        Ok(object) => created(&object),
        Err(refusal) => refused(&refusal),
    }
}

/// `DELETE …/pods/{name}`: answered once it is marked; the kubelet does the rest.
pub(crate) async fn delete(
    cluster: &Arc<Cluster>,
    request: Request<Incoming>,
    namespace: &str,
    name: &str,
) -> Response<Body> {
    let options = match body(cluster, request).await {
        Ok(options) => options,
        Err(refusal) => return refused(&refusal),
    };
    let Some((pod, version)) = cluster.store.get(namespace, name) else {
        return refused(&Refusal::pod_not_found(name));
    };
    if let Some(uid) = options["preconditions"]["uid"].as_str()
        && uid != pod.uid
    {
        return refused(&Refusal::other_uid(name, uid, &pod.uid));
    }
    let (cluster, name) = (Arc::clone(cluster), name.to_owned());
    let namespace = namespace.to_owned();
    tokio::spawn(async move { cluster.delete(&namespace, &name).await });
    answered(&pod.object(version))
}

/// `PATCH …/pods/{name}`, as `kubectl label` sends it: labels that are set, or with null taken away.
pub(crate) async fn label(
    cluster: &Cluster,
    request: Request<Incoming>,
    namespace: &str,
    name: &str,
) -> Response<Body> {
    let patch = match body(cluster, request).await {
        Ok(patch) => patch,
        Err(refusal) => return refused(&refusal),
    };
    let wanted = patch["metadata"]["labels"].as_object();
    let changed = cluster.store.change(namespace, name, |pod| {
        for (label, value) in wanted.into_iter().flatten() {
            pod.labels.retain(|(known, _)| known != label);
            let value = value
                .as_str()
                .map(|value| (label.clone(), value.to_owned()));
            pod.labels.extend(value);
        }
    });
    match changed.and_then(|_| cluster.store.get(namespace, name)) {
        Some((pod, version)) => answered(&pod.object(version)),
        None => refused(&Refusal::pod_not_found(name)),
    }
}

pub(crate) async fn body(cluster: &Cluster, request: Request<Incoming>) -> Result<Value, Refusal> {
    let body = request.into_body().collect().await;
    let body = body.map_err(|_| Refusal::bad_request("the body broke off"))?;
    if let Some(code) = cluster.behaviour().refuse_writes {
        return Err(Refusal::told(code));
    }
    let bytes = body.to_bytes();
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).map_err(|error| Refusal::bad_request(&error.to_string()))
}

impl Cluster {
    pub(crate) fn make(&self, namespace: &str, object: &Value) -> Result<Value, Refusal> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            return Err(Refusal::invalid(name, "metadata.name", "Required value"));
        }
        let containers = object["spec"]["containers"].as_array();
        let containers = containers
            .filter(|all| !all.is_empty())
            .ok_or_else(|| Refusal::invalid(name, "spec.containers", "Required value"))?;
        let uid = Uuid::new_v4().to_string();
        let mut made = Vec::new();
        for container in containers {
            let container = self.container(&uid, container);
            made.push(container.map_err(|error| Refusal::internal(&error.to_string()))?);
        }
        let labels = object["metadata"]["labels"]
            .as_object()
            .into_iter()
            .flatten();
        let label = |(key, value): (&String, &Value)| {
            (key.clone(), value.as_str().unwrap_or_default().to_owned())
        };
        let mut spec = object["spec"].clone();
        spec["nodeName"] = json!(NODE_NAME);
        let pod = Pod {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid,
            labels: labels.map(label).collect(),
            phase: "Pending".to_owned(),
            reason: None,
            message: None,
            created: Timestamp::now(),
            deleting: None,
            annotations: object["metadata"]["annotations"].clone(),
            spec: Some(spec),
            unreachable: false,
            containers: made,
        };
        let version = self.store.add(pod.clone());
        let version = version.ok_or_else(|| Refusal::already_exists(name))?;
        self.made.fetch_add(1, Ordering::Relaxed);
        self.start_waiting();
        Ok(pod.object(version))
    }

    fn container(&self, uid: &str, object: &Value) -> io::Result<Container> {
        let name = object["name"].as_str().unwrap_or_default();
        let root = self.new_root(uid, name, 0)?;
        let mounts = object["volumeMounts"].as_array().into_iter().flatten();
        let mounts: Vec<_> = mounts
            .filter_map(|mount| mount["mountPath"].as_str())
            .collect();
        for mount in &mounts {
            std::fs::create_dir_all(root.join(mount.trim_start_matches('/')))?;
        }
        let env = object["env"].as_array().into_iter().flatten();
        let env = env.map(|variable| {
            let text = |key: &str| variable[key].as_str().unwrap_or_default().to_owned();
            let value = text("value");
            let is_mounted = mounts.iter().any(|mount| value.starts_with(mount));
            let value = if is_mounted {
                format!("{{root}}{value}")
            } else {
                value
            };
            (text("name"), value)
        });
        let env = env.collect();
        Ok(Container {
            name: name.to_owned(),
            id: new_container_id(),
            restarts: 0,
            env,
            root,
            state: ContainerState::Waiting {
                reason: "ContainerCreating".to_owned(),
            },
            last: None,
        })
    }

    /// The kubelet: pods that are pending run, or say why they do not.
    pub(crate) fn start_waiting(&self) {
        let waiting = self.behaviour().waiting.clone();
        for object in self.store.list(None).0 {
            let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
            if object["status"]["phase"] != "Pending" {
                continue;
            }
            self.store.change(text("namespace"), text("name"), |pod| {
                if pod.spec.is_none() {
                    return;
                }
                if waiting.is_none() {
                    pod.phase = "Running".to_owned();
                }
                for container in &mut pod.containers {
                    container.state = match &waiting {
                        Some(reason) => ContainerState::Waiting {
                            reason: reason.clone(),
                        },
                        None => ContainerState::Running {
                            since: Timestamp::now(),
                        },
                    };
                }
            });
        }
    }
}
