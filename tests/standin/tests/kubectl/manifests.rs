//! The manifests of `deploy/kubernetes`, as `kubectl` puts them together: every field is one that
//! Kubernetes knows, and nothing has more rights than it needs.

use std::path::Path;
use std::process::Command;

use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PodSpec, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::kubectl_program;

fn documents() -> Vec<Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes");
    let output = Command::new(kubectl_program())
        .arg("kustomize")
        .arg(directory)
        .output()
        .expect("kubectl runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("text");
    serde_saphyr::from_multiple(&text).expect("YAML")
}

/// The document as its type, and that nothing of it was passed over.
fn typed<T: Resource + Serialize + DeserializeOwned>(document: &Value) -> T {
    assert_eq!(document["apiVersion"], T::API_VERSION, "{document}");
    let object: T = serde_json::from_value(document.clone()).expect("an object of its kind");
    let known = serde_json::to_value(&object).expect("JSON");
    let (kind, name) = (T::KIND, &document["metadata"]["name"]);
    assert_known(document, &known, &format!("{kind} {name}"));
    object
}

fn assert_known(given: &Value, known: &Value, place: &str) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (field, value) in given {
                let place = format!("{place}.{field}");
                let found = known.get(field);
                // Types leave out what is empty.
                let is_empty = value.as_object().is_some_and(serde_json::Map::is_empty);
                match found {
                    Some(found) => assert_known(value, found, &place),
                    None => assert!(is_empty, "{place} is no field that Kubernetes knows"),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            assert_eq!(given.len(), known.len(), "{place}");
            for (given, known) in given.iter().zip(known) {
                assert_known(given, known, place);
            }
        }
        (given, known) => assert_eq!(given, known, "{place}"),
    }
}

fn of_kind<T: Resource + Serialize + DeserializeOwned>() -> Vec<T> {
    let documents = documents();
    let of_kind = documents
        .iter()
        .filter(|document| document["kind"] == T::KIND);
    of_kind.map(typed).collect()
}

#[test]
fn every_document_is_what_kubernetes_knows() {
    for document in documents() {
        match document["kind"].as_str().expect("a kind") {
            "ConfigMap" => drop(typed::<ConfigMap>(&document)),
            "Deployment" => drop(typed::<Deployment>(&document)),
            "Namespace" => drop(typed::<Namespace>(&document)),
            "NetworkPolicy" => drop(typed::<NetworkPolicy>(&document)),
            "PodDisruptionBudget" => drop(typed::<PodDisruptionBudget>(&document)),
            "Role" => drop(typed::<Role>(&document)),
            "RoleBinding" => drop(typed::<RoleBinding>(&document)),
            "Service" => drop(typed::<Service>(&document)),
            "ServiceAccount" => drop(typed::<ServiceAccount>(&document)),
            kind => panic!("{kind}: say here which type it is, and what it is for"),
        }
    }
}

#[test]
#[should_panic(expected = "replica is no field that Kubernetes knows")]
fn a_misspelt_field_is_found() {
    let spec = serde_json::json!({"replica": 2, "selector": {}, "template": {}});
    let document = serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "a"}, "spec": spec});
    typed::<Deployment>(&document);
}

fn pods() -> Vec<(String, PodSpec)> {
    let deployments = of_kind::<Deployment>().into_iter();
    let pods = deployments.map(|deployment| {
        let spec = deployment.spec.expect("a spec");
        let name = deployment.metadata.name.unwrap_or_default();
        (name, spec.template.spec.expect("a pod"))
    });
    pods.collect()
}

/// What the Pod Security Standard "restricted" asks for, and a root file system that stays as it is.
#[test]
fn services_run_without_privileges() {
    let pods = pods();
    assert_eq!(pods.len(), 3);
    for (name, pod) in pods {
        let context = pod.security_context.expect("a security context");
        assert_eq!(context.run_as_non_root, Some(true), "{name}");
        let seccomp = context.seccomp_profile.expect("a seccomp profile");
        assert_eq!(seccomp.type_, "RuntimeDefault", "{name}");
        assert!(!pod.host_network.unwrap_or_default(), "{name}");
        for container in pod.containers {
            let context = container.security_context.expect("a security context");
            assert_eq!(context.allow_privilege_escalation, Some(false), "{name}");
            assert_eq!(context.read_only_root_filesystem, Some(true), "{name}");
            let capabilities = context.capabilities.expect("capabilities");
            assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]), "{name}");
            assert_eq!(capabilities.add, None, "{name}");
        }
        // Only executors speak to the API server.
        let has_token = pod.automount_service_account_token == Some(true);
        assert_eq!(has_token, name == "rdev-executor", "{name}");
    }
}

#[test]
fn each_service_sees_its_own_key_alone() {
    for (name, pod) in pods() {
        let service = name.trim_start_matches("rdev-");
        let volumes = pod.volumes.unwrap_or_default();
        let secrets = volumes.iter().filter_map(|volume| volume.secret.as_ref());
        let secrets: Vec<_> = secrets
            .filter_map(|secret| secret.secret_name.as_deref())
            .collect();
        assert_eq!(secrets, [format!("rdev-nats-{service}")]);
        let container = pod.containers.first().expect("a container");
        let env = container.env.iter().flatten();
        let mut paths = env.filter(|one| one.name == "RDEV_NATS_CREDS");
        let path = paths.next().and_then(|one| one.value.clone());
        let mount = container.volume_mounts.iter().flatten().next();
        let mount = mount.map(|mount| format!("{}/nats.nk", mount.mount_path));
        assert_eq!(path, mount, "{name}");
        assert!(path.is_some(), "{name}");
    }
}

#[test]
fn only_executors_have_rights_and_only_these() {
    let bindings = of_kind::<RoleBinding>();
    let subjects: Vec<_> = bindings
        .iter()
        .flat_map(|binding| binding.subjects.iter().flatten())
        .map(|subject| subject.name.as_str())
        .collect();
    assert_eq!(subjects, ["rdev-executor"]);
    let mut rights: Vec<String> = of_kind::<Role>()
        .into_iter()
        .flat_map(|role| role.rules.unwrap_or_default())
        .flat_map(|rule| {
            let resources = rule.resources.unwrap_or_default();
            let verbs = rule.verbs;
            resources.into_iter().flat_map(move |resource| {
                let right = |verb: &String| format!("{verb} {resource}");
                verbs.iter().map(right).collect::<Vec<_>>()
            })
        })
        .collect();
    rights.sort();
    assert_eq!(rights, RIGHTS);
}

/// All that the executor asks of the API, as docs/kubernetes.md tells it.
const RIGHTS: [&str; 6] = [
    "create pods/exec",
    "get pods",
    "get pods/exec",
    "get secrets",
    "list pods",
    "watch pods",
];

/// Nobody reaches a session's pod over the network, and it reaches nothing of the cluster.
#[test]
fn pods_of_sessions_are_apart() {
    let policies = of_kind::<NetworkPolicy>();
    let of_pods = policies
        .iter()
        .find(|policy| policy.metadata.namespace.as_deref() == Some("rdev-workspaces"));
    let spec = of_pods
        .and_then(|policy| policy.spec.as_ref())
        .expect("a policy");
    let types = spec.policy_types.as_deref().unwrap_or_default();
    assert_eq!(types, ["Ingress", "Egress"]);
    assert_eq!(spec.ingress, None);
    let private = [
        "10.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
    ];
    let blocks = spec
        .egress
        .iter()
        .flatten()
        .flat_map(|rule| rule.to.iter().flatten());
    let blocks: Vec<_> = blocks.filter_map(|peer| peer.ip_block.as_ref()).collect();
    assert!(!blocks.is_empty());
    for block in blocks.iter().filter(|block| block.cidr == "0.0.0.0/0") {
        let except = block.except.as_deref().unwrap_or_default();
        for range in private {
            assert!(except.iter().any(|one| one == range), "{range}");
        }
    }
}
