//! The manifests of `deploy/kubernetes`, as `kubectl` puts them together: the base and each overlay,
//! which together have every component. Every field is one that Kubernetes knows, what refers to
//! something finds it, and nothing has more rights than it needs.

#[path = "manifests/nats.rs"]
mod nats;
#[path = "manifests/pods.rs"]
mod pods;
#[path = "manifests/rights.rs"]
mod rights;
#[path = "manifests/wiring.rs"]
mod wiring;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PodTemplateSpec, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::kubectl_program;

/// Whose types are not ours to check here: that of their operator, and of the Gateway API.
const CUSTOM: [(&str, &str); 2] = [
    ("postgresql.cnpg.io/v1", "Cluster"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
];

/// What is applied together.
pub(super) struct Rendered {
    /// Its directory, for messages.
    pub(super) name: &'static str,
    pub(super) documents: Vec<Value>,
}

/// A Deployment or a StatefulSet.
pub(super) struct Workload {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) replicas: Option<i32>,
    pub(super) selector: LabelSelector,
    pub(super) template: PodTemplateSpec,
}

impl Rendered {
    /// All of one kind.
    pub(super) fn of_kind<T: Resource + Serialize + DeserializeOwned>(&self) -> Vec<T> {
        let documents = self.documents.iter();
        documents
            .filter(|document| document["kind"] == T::KIND)
            .map(typed)
            .collect()
    }

    /// All that makes pods.
    pub(super) fn workloads(&self) -> Vec<Workload> {
        let deployments = self.of_kind::<Deployment>().into_iter().map(|deployment| {
            let spec = deployment.spec.expect("a spec");
            Workload {
                kind: Deployment::KIND,
                name: deployment.metadata.name.expect("a name"),
                namespace: deployment.metadata.namespace.expect("a namespace"),
                replicas: spec.replicas,
                selector: spec.selector,
                template: spec.template,
            }
        });
        let sets = self.of_kind::<StatefulSet>().into_iter().map(|set| {
            let spec = set.spec.expect("a spec");
            Workload {
                kind: StatefulSet::KIND,
                name: set.metadata.name.expect("a name"),
                namespace: set.metadata.namespace.expect("a namespace"),
                replicas: spec.replicas,
                selector: spec.selector,
                template: spec.template,
            }
        });
        deployments.chain(sets).collect()
    }
}

pub(super) fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes")
}

/// A file of the checkout.
pub(super) fn file(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    fs::read_to_string(path).expect("a file of the checkout")
}

/// The base and the overlays, put together once.
pub(super) fn all() -> &'static [Rendered] {
    static ALL: OnceLock<Vec<Rendered>> = OnceLock::new();
    let names = ["base", "overlays/managed", "overlays/self-contained"];
    ALL.get_or_init(|| names.into_iter().map(rendered).collect())
}

pub(super) fn base() -> &'static Rendered {
    &all()[0]
}

fn rendered(name: &'static str) -> Rendered {
    let output = Command::new(kubectl_program())
        .arg("kustomize")
        .arg(directory().join(name))
        .output()
        .expect("kubectl runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{name}: {said}");
    let text = String::from_utf8(output.stdout).expect("text");
    let documents = serde_saphyr::from_multiple(&text).expect("YAML");
    Rendered { name, documents }
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

#[test]
fn every_document_is_what_kubernetes_knows() {
    for document in all().iter().flat_map(|rendered| &rendered.documents) {
        let kind = document["kind"].as_str().expect("a kind");
        if let Some((version, _)) = CUSTOM.iter().find(|(_, custom)| *custom == kind) {
            assert_eq!(document["apiVersion"], *version, "{kind}");
            continue;
        }
        match kind {
            "ConfigMap" => drop(typed::<ConfigMap>(document)),
            "Deployment" => drop(typed::<Deployment>(document)),
            "HorizontalPodAutoscaler" => drop(typed::<HorizontalPodAutoscaler>(document)),
            "Ingress" => drop(typed::<Ingress>(document)),
            "Namespace" => drop(typed::<Namespace>(document)),
            "NetworkPolicy" => drop(typed::<NetworkPolicy>(document)),
            "PodDisruptionBudget" => drop(typed::<PodDisruptionBudget>(document)),
            "Role" => drop(typed::<Role>(document)),
            "RoleBinding" => drop(typed::<RoleBinding>(document)),
            "Service" => drop(typed::<Service>(document)),
            "ServiceAccount" => drop(typed::<ServiceAccount>(document)),
            "StatefulSet" => drop(typed::<StatefulSet>(document)),
            kind => panic!("{kind}: say here which type it is, and what it is for"),
        }
    }
}

/// No component is left out of what is looked at here.
#[test]
fn overlays_have_every_component() {
    let overlays = all()[1..].iter();
    let listed: String = overlays
        .map(|overlay| {
            file(&format!(
                "deploy/kubernetes/{}/kustomization.yaml",
                overlay.name
            ))
        })
        .collect();
    for component in fs::read_dir(directory().join("components")).expect("components") {
        let name = component.expect("a component").file_name();
        let name = name.to_string_lossy();
        let line = format!("  - ../../components/{name}\n");
        assert!(
            listed.contains(&line),
            "no overlay has the component {name}"
        );
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
