//! Who a pod is: reading its object, nothing else.
//!
//! Invariant: an identity names one life of one container (uid, container id, restarts); lives do not
//! come back, so an identity that is not shown any more is gone for good.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;

use super::super::{PodError, PodIdentity};

/// The annotation by which a pod with several containers names the one that is meant.
pub(super) const DEFAULT_CONTAINER_ANNOTATION: &str = "kubectl.kubernetes.io/default-container";

/// Refuses a pod of another project.
pub(super) fn check_label(pod: &Pod, key: &str, project: &str) -> Result<(), PodError> {
    if pod.labels().get(key).map(String::as_str) == Some(project) {
        return Ok(());
    }
    let name = full_name(pod);
    Err(PodError::Refused(format!(
        "the pod {name} does not belong to project {project}: it needs the label {key}={project}"
    )))
}

/// The identity of a pod's container, if it runs.
pub(super) fn identify(pod: &Pod, container: &str) -> Result<PodIdentity, PodError> {
    let container = choose_container(pod, container)?;
    let not_running = |why: &str| {
        let why = why.trim_end();
        Err(PodError::NotRunning(format!(
            "the pod {} does not run: {why}",
            full_name(pod)
        )))
    };
    if pod.metadata.deletion_timestamp.is_some() {
        return not_running("it is being deleted");
    }
    let status = pod.status.clone().unwrap_or_default();
    if let Some(phase @ ("Failed" | "Succeeded" | "Unknown")) = status.phase.as_deref() {
        let reason =
            [status.reason.as_deref(), status.message.as_deref()].map(Option::unwrap_or_default);
        return not_running(&format!("{phase} {}", reason.join(" ")));
    }
    let Some(found) = container_status(pod, &container) else {
        return not_running("it has not started yet");
    };
    let state = found.state.unwrap_or_default();
    let Some(id) = found.container_id.filter(|_| state.running.is_some()) else {
        let waiting = state.waiting.and_then(|waiting| waiting.reason);
        let reason = waiting
            .or(state.terminated.and_then(|ended| ended.reason))
            .unwrap_or_default();
        return not_running(&format!("its container {container} is not up {reason}"));
    };
    Ok(PodIdentity {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        container,
        container_id: id,
        restarts: u32::try_from(found.restart_count).unwrap_or_default(),
    })
}

/// Why the pod is not the one that we know any more; none while it is.
pub(super) fn why_replaced(known: &PodIdentity, now: &Pod) -> Option<String> {
    let name = format!("{}/{}", known.namespace, known.name);
    if now.uid().is_some_and(|uid| uid != known.uid) {
        return Some(format!(
            "the pod {name} was deleted; another one has its name now"
        ));
    }
    let status = now.status.as_ref()?;
    let reason = status.reason.as_deref().unwrap_or_default();
    let why = format!(
        "{reason}: {}",
        status.message.as_deref().unwrap_or_default()
    );
    let why = why.trim_matches([':', ' ']);
    if let Some(phase @ ("Failed" | "Succeeded" | "Unknown")) = status.phase.as_deref() {
        return Some(format!("the pod {name} is {phase} ({why})"));
    }
    if reason == "NodeLost" {
        return Some(format!("the node of the pod {name} is lost ({why})"));
    }
    let words = why_container_replaced(known, container_status(now, &known.container)?)?;
    Some(format!(
        "the container {} of the pod {name} {words}",
        known.container
    ))
}

fn why_container_replaced(known: &PodIdentity, now: ContainerStatus) -> Option<String> {
    let state = now.state.unwrap_or_default();
    let id = now.container_id.unwrap_or_default();
    let restarts = u32::try_from(now.restart_count).unwrap_or_default();
    if let Some(ended) = state.terminated {
        let reason = ended.reason.unwrap_or_default();
        return Some(format!("ended: {reason}, exit code {}", ended.exit_code));
    }
    // Without an id and not waiting to be started again it is only not known.
    let is_same = restarts == known.restarts
        && (id == known.container_id || (id.is_empty() && state.waiting.is_none()));
    if is_same && state.waiting.is_none() {
        return None;
    }
    let last = now
        .last_state
        .and_then(|state| state.terminated)
        .and_then(|ended| ended.reason);
    Some(last.map_or_else(
        || "was restarted".to_owned(),
        |reason| format!("was restarted: {reason}"),
    ))
}

/// The status of a container, sidecars included.
fn container_status(pod: &Pod, name: &str) -> Option<ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = [&status.container_statuses, &status.init_container_statuses];
    all.into_iter()
        .flatten()
        .flatten()
        .find(|container| container.name == name)
        .cloned()
}

/// The named container, the annotated one, or the only one.
fn choose_container(pod: &Pod, wanted: &str) -> Result<String, PodError> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let names: Vec<&str> = containers
        .map(|container| container.name.as_str())
        .collect();
    let sidecars = pod
        .spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten());
    let sidecars: Vec<&str> = sidecars.map(|container| container.name.as_str()).collect();
    let is_known = |name: &str| names.contains(&name) || sidecars.contains(&name);
    let annotated = pod
        .annotations()
        .get(DEFAULT_CONTAINER_ANNOTATION)
        .map(String::as_str);
    match (wanted, annotated, names.as_slice()) {
        ("", Some(annotated), _) if is_known(annotated) => Ok(annotated.to_owned()),
        ("", _, [only]) => Ok((*only).to_owned()),
        ("", ..) => {
            let text = format!(
                "the pod {} has several containers: name one of {}",
                full_name(pod),
                names.join(", ")
            );
            Err(PodError::Refused(text))
        }
        (wanted, ..) if is_known(wanted) => Ok(wanted.to_owned()),
        (wanted, ..) => {
            let text = format!(
                "the pod {} has no container {wanted}; it has {}",
                full_name(pod),
                names.join(", ")
            );
            Err(PodError::Refused(text))
        }
    }
}

fn full_name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(uid: &str, status: &Value) -> Pod {
        let object = json!({
            "metadata": {"name": "box", "namespace": "default", "uid": uid, "labels": {"team": "demo"}},
            "spec": {"containers": [{"name": "main"}]},
            "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    fn status(state: &Value, id: Option<&str>, restarts: i32) -> Value {
        json!({"phase": "Running", "containerStatuses": [{
            "name": "main", "containerID": id, "restartCount": restarts, "image": "", "imageID": "", "ready": true,
            "state": state, "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
        }]})
    }

    fn running(id: &str, restarts: i32) -> Value {
        status(&json!({"running": {}}), Some(id), restarts)
    }

    fn known() -> PodIdentity {
        identify(&pod("u1", &running("containerd://a", 0)), "").unwrap()
    }

    #[test]
    fn the_same_container_is_not_replaced() {
        assert_eq!(
            why_replaced(&known(), &pod("u1", &running("containerd://a", 0))),
            None
        );
        assert_eq!(
            why_replaced(&known(), &pod("u1", &json!({}))),
            None,
            "no status says nothing"
        );
    }

    #[test]
    fn every_way_of_not_being_it_any_more_is_told() {
        let ended = json!({"terminated": {"reason": "OOMKilled", "exitCode": 137}});
        let cases = [
            (
                pod("u2", &running("containerd://b", 0)),
                "another one has its name",
            ),
            (pod("u1", &running("containerd://b", 0)), "was restarted"),
            (
                pod("u1", &running("containerd://b", 1)),
                "was restarted: OOMKilled",
            ),
            (
                pod("u1", &running("containerd://a", 1)),
                "was restarted: OOMKilled",
            ),
            (
                pod("u1", &status(&ended, Some("containerd://a"), 0)),
                "ended: OOMKilled, exit code 137",
            ),
            (
                pod(
                    "u1",
                    &status(&json!({"waiting": {"reason": "CrashLoopBackOff"}}), None, 0),
                ),
                "was restarted: OOMKilled",
            ),
            (
                pod(
                    "u1",
                    &json!({"phase": "Failed", "reason": "Evicted", "message": "memory"}),
                ),
                "is Failed (Evicted: memory)",
            ),
            (
                pod("u1", &json!({"phase": "Running", "reason": "NodeLost"})),
                "is lost (NodeLost)",
            ),
        ];
        for (now, words) in cases {
            let verdict = why_replaced(&known(), &now).expect(words);
            assert!(verdict.contains(words), "{verdict}");
        }
    }

    #[test]
    fn only_a_running_container_has_an_identity() {
        let waiting = status(&json!({"waiting": {"reason": "ImagePullBackOff"}}), None, 0);
        for (status, words) in [
            (waiting, "ImagePullBackOff"),
            (
                json!({"phase": "Failed", "reason": "Evicted"}),
                "Failed Evicted",
            ),
            (json!({"phase": "Pending"}), "not started"),
        ] {
            let Err(PodError::NotRunning(text)) = identify(&pod("u1", &status), "") else {
                panic!("{status}")
            };
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn the_label_must_be_the_project() {
        let pod = pod("u1", &running("containerd://a", 0));
        assert_eq!(check_label(&pod, "team", "demo"), Ok(()));
        assert!(
            matches!(check_label(&pod, "team", "other"), Err(PodError::Refused(text)) if text.contains("team=other"))
        );
        assert!(check_label(&pod, "missing", "demo").is_err());
    }

    #[test]
    fn of_several_containers_one_must_be_named() {
        let mut two = pod("u1", &running("containerd://a", 0));
        let spec = json!({"containers": [{"name": "main"}, {"name": "proxy"}], "initContainers": [{"name": "mesh"}]});
        two.spec = serde_json::from_value(spec).unwrap();
        assert!(
            matches!(choose_container(&two, ""), Err(PodError::Refused(text)) if text.contains("main, proxy"))
        );
        assert!(matches!(
            choose_container(&two, "x"),
            Err(PodError::Refused(_))
        ));
        assert_eq!(choose_container(&two, "mesh"), Ok("mesh".to_owned()));
        let annotations = two.metadata.annotations.get_or_insert_default();
        annotations.insert(DEFAULT_CONTAINER_ANNOTATION.to_owned(), "proxy".to_owned());
        assert_eq!(choose_container(&two, ""), Ok("proxy".to_owned()));
    }
}
