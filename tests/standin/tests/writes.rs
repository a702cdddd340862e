//! Pods made and deleted over the API, by a client that nobody here wrote: the `kube` crate, and
//! `kubectl` where it is.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Error, ResourceExt as _};
use rdev_kube_standin::Standin;
use serde_json::{Value, json};

async fn pods(standin: &Standin) -> Api<Pod> {
    let kubeconfig = Kubeconfig::read_from(standin.kubeconfig()).expect("a kubeconfig");
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("a configuration");
    // Refusals are wanted, not fifteen tries.
    config.default_retry = false;
    Api::default_namespaced(Client::try_from(config).expect("a client"))
}

fn pod(name: &str) -> Pod {
    let object = json!({
        "metadata": {"name": name, "labels": {"app": "box"}, "annotations": {"note": "x"}},
        "spec": {
            "containers": [{
                "name": "main", "image": "box:1", "env": [{"name": "DIR", "value": "/data/x"}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    });
    serde_json::from_value(object).expect("a pod")
}

fn refusal(refused: Result<impl std::fmt::Debug, Error>) -> (u16, String, String) {
    match refused {
        Err(Error::Api(status)) => (status.code, status.reason, status.message),
        other => panic!("{other:?} is no refusal"),
    }
}

fn waiting(pod: &Pod) -> Option<String> {
    let statuses = pod.status.clone()?.container_statuses?;
    statuses[0].state.clone()?.waiting?.reason
}

#[tokio::test]
async fn a_pod_is_pending_then_runs_then_is_gone() {
    let standin = Standin::start().await.expect("a stand-in");
    let pods = pods(&standin).await;
    standin.keep_waiting(Some("ContainerCreating"));
    let made = pods.create(&PostParams::default(), &pod("box")).await;
    let made = made.expect("a pod");
    assert_eq!(waiting(&made).as_deref(), Some("ContainerCreating"));
    assert_eq!(made.annotations()["note"], "x");
    standin.keep_waiting(None);
    let running = pods.get("box").await.expect("the pod");
    assert_eq!(
        running.status.and_then(|status| status.phase).as_deref(),
        Some("Running")
    );
    let root = standin.root("default", "box", "main").expect("a root");
    assert!(root.join("data").is_dir(), "a volume is a directory");
    let selected = pods.list(&ListParams::default().labels("app=box")).await;
    assert_eq!(selected.expect("a list").items.len(), 1);
    pods.delete("box", &DeleteParams::default())
        .await
        .expect("deleted");
    standin.until_pods("default", <[Value]>::is_empty).await;
    assert_eq!(refusal(pods.get("box").await).0, 404);
    standin.shutdown().await;
}

#[tokio::test]
async fn refusals_are_those_of_the_api_server() {
    let standin = Standin::start().await.expect("a stand-in");
    let pods = pods(&standin).await;
    let create = async |pod: &Pod| pods.create(&PostParams::default(), pod).await;
    create(&pod("box")).await.expect("a pod");
    let (code, reason, message) = refusal(create(&pod("box")).await);
    assert_eq!((code, reason.as_str()), (409, "AlreadyExists"));
    assert_eq!(message, "pods \"box\" already exists");
    let mut empty = pod("empty");
    empty.spec.get_or_insert_default().containers.clear();
    let (code, reason, _) = refusal(create(&empty).await);
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    let other = DeleteParams::default().preconditions(Preconditions {
        uid: Some("another".to_owned()),
        resource_version: None,
    });
    let (code, reason, _) = refusal(pods.delete("box", &other).await);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert_eq!(refusal(pods.delete("none", &other).await).0, 404);
    standin.refuse_writes(Some(503));
    assert_eq!(refusal(create(&pod("late")).await).0, 503);
    standin.forbid("default", "pods");
    assert_eq!(refusal(create(&pod("late")).await).0, 403);
    assert_eq!(standin.pods_made(), 1);
    standin.shutdown().await;
}

#[tokio::test]
async fn kubectl_deletes_what_a_client_made() {
    let standin = Standin::start().await.expect("a stand-in");
    let (pods, wish) = (pods(&standin).await, PostParams::default());
    pods.create(&wish, &pod("box")).await.expect("a pod");
    let kubeconfig = standin.kubeconfig();
    let kubectl = tokio::process::Command::new("kubectl")
        .args(["delete", "pod", "box", "--wait=false"])
        .env("KUBECONFIG", &kubeconfig)
        .output()
        .await;
    let Ok(kubectl) = kubectl else {
        return standin.shutdown().await;
    };
    assert!(
        kubectl.status.success(),
        "{}",
        String::from_utf8_lossy(&kubectl.stderr)
    );
    standin.until_pods("default", <[Value]>::is_empty).await;
    standin.shutdown().await;
}
