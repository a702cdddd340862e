//! Whoever keeps sessions is killed: pods are made once, and none is left.

use rdev_contract::id::SessionId;
use rdev_kube_standin::PodSpec;
use rdev_tests::Outcome;
use rdev_tests::cluster::{Cluster, LABEL, NAMESPACE};
use rdev_tests::life::{TEMPLATE, create, until, with_templates};
use rdev_tests::world::PROJECT;
use serde_json::json;

use super::options;

const SESSION_LABEL: &str = "rdev.dev/session";
const LOG_LABEL: &str = "rdev.dev/log";

#[tokio::test]
async fn a_keeper_killed_while_a_pod_is_made_is_replaced() -> Outcome<()> {
    let (options, _templates) = with_templates(options())?;
    let mut cluster = Cluster::start(options, &[]).await?;
    let client = cluster.client().clone();
    cluster.standin.keep_waiting(Some("ContainerCreating"));
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(create(&client, &json!({"template": TEMPLATE})).await?);
    }
    let body = json!({"type": "shell", "command": "echo $HOSTNAME"});
    let stream = client.exec(&sessions[0], &body).await?;
    cluster
        .standin
        .until_pods(NAMESPACE, |pods| !pods.is_empty())
        .await;
    cluster.services.executor.kill().await;
    let kubeconfig = cluster.world.directory().join("kubeconfig");
    let second = cluster.world.kube_executor(&kubeconfig)?;
    cluster
        .standin
        .until_pods(NAMESPACE, |pods| pods.len() == 5)
        .await;
    cluster.standin.keep_waiting(None);
    let transcript = client.transcript(&sessions[0], &stream).await?;
    assert_eq!(transcript.stdout(), format!("rdev-{}\n", sessions[0]));
    for session in &sessions {
        until(&client, session, |view| view["pod_state"] == "ready").await?;
    }
    assert_eq!(cluster.standin.pods_made(), 5, "each was made once");
    // Killed again, between the ends and the pods' removal.
    for session in &sessions {
        client.delete(&format!("/sessions/{session}")).await?;
    }
    second.kill().await;
    let third = cluster.world.kube_executor(&kubeconfig)?;
    for session in &sessions {
        until(&client, session, |view| view["pod_state"] == "deleted").await?;
    }
    assert!(cluster.standin.pods(NAMESPACE).is_empty());
    third.stop().await;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn two_keepers_with_an_api_that_fails_make_each_pod_once() -> Outcome<()> {
    let (options, _templates) = with_templates(options())?;
    let mut cluster = Cluster::start(options, &[]).await?;
    let client = cluster.client().clone();
    cluster.standin.refuse_writes(Some(503));
    let session = create(&client, &json!({"template": TEMPLATE})).await?;
    until(&client, &session, |view| view["pod_message"].is_string()).await?;
    // One that wakes up later believes for a moment that it is the keeper still.
    cluster
        .services
        .executor
        .signal(rustix::process::Signal::STOP)?;
    let kubeconfig = cluster.world.directory().join("kubeconfig");
    let second = cluster.world.kube_executor(&kubeconfig)?;
    second
        .until_it_says("this executor is the scheduler")
        .await?;
    cluster
        .services
        .executor
        .signal(rustix::process::Signal::CONT)?;
    cluster.standin.refuse_writes(None);
    until(&client, &session, |view| view["pod_state"] == "ready").await?;
    assert_eq!(cluster.standin.pods_made(), 1);
    second.stop().await;
    cluster.shutdown().await;
    Ok(())
}

/// A pod of a keeper that was too late is found and removed; pods that are not of this log are left.
#[tokio::test]
async fn pods_that_nobody_remembers_are_removed() -> Outcome<()> {
    let (options, _templates) = with_templates(options())?;
    let mut cluster = Cluster::start(options, &[]).await?;
    let client = cluster.client().clone();
    let session = create(&client, &json!({"template": TEMPLATE})).await?;
    until(&client, &session, |view| view["pod_state"] == "ready").await?;
    let alive = create(&client, &json!({"template": TEMPLATE})).await?;
    until(&client, &alive, |view| view["pod_state"] == "ready").await?;
    let labels = cluster.standin.pods(NAMESPACE)[0]["metadata"]["labels"].clone();
    let log = labels[LOG_LABEL].as_str().unwrap_or_default().to_owned();
    client.delete(&format!("/sessions/{session}")).await?;
    until(&client, &session, |view| view["pod_state"] == "deleted").await?;
    cluster.services.executor.stop().await;
    let unknown = SessionId::new(uuid::Uuid::now_v7()).to_string();
    for (name, session, log) in [
        ("late", session.as_str(), log.as_str()),
        ("unknown", &unknown, &log),
        ("of-another-log", &unknown, "1"),
    ] {
        let pod = PodSpec::new(NAMESPACE, name)
            .label(LABEL, PROJECT)
            .label(SESSION_LABEL, session)
            .label(LOG_LABEL, log);
        cluster.standin.add_pod(pod)?;
    }
    let kubeconfig = cluster.world.directory().join("kubeconfig");
    let second = cluster.world.kube_executor(&kubeconfig)?;
    cluster
        .standin
        .until_pods(NAMESPACE, |pods| pods.len() == 2)
        .await;
    let left = cluster.standin.pods(NAMESPACE);
    let names: Vec<_> = left
        .iter()
        .map(|pod| pod["metadata"]["name"].clone())
        .collect();
    assert_eq!(
        names,
        [json!("of-another-log"), json!(format!("rdev-{alive}"))]
    );
    second.stop().await;
    cluster.shutdown().await;
    Ok(())
}
