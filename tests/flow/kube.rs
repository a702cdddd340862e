//! The Kubernetes backend, against a stand-in of its API that ends connections as real clusters do.

use rdev_kube_standin::{ContainerSpec, PodSpec};
use rdev_tests::Outcome;
use rdev_tests::cluster::{CONTAINER, Cluster, LABEL, NAMESPACE};
use rdev_tests::world::PROJECT;
use serde_json::json;

use super::options;

#[tokio::test]
async fn commands_run_in_the_pod_over_one_connection() -> Outcome<()> {
    let cluster = Cluster::start(options(), &["web"]).await?;
    let (standin, client) = (&cluster.standin, cluster.client());
    let session = client.session("web").await?;
    let transcript = client.shell(&session, "pwd; echo oops >&2; exit 7").await?;
    transcript.check()?;
    let root = standin.root(NAMESPACE, "web", CONTAINER).ok_or("no root")?;
    assert_eq!(
        transcript.stdout().trim(),
        root.canonicalize()?.display().to_string()
    );
    assert_eq!(transcript.bytes("stderr"), b"oops\n");
    assert_eq!(transcript.complete()["exit_code"], 7);
    let starts = standin.exec_starts();
    for _ in 0..5 {
        client.shell(&session, "true").await?.check()?;
    }
    assert_eq!(
        standin.exec_starts(),
        starts,
        "a command start is a message on an open socket"
    );
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_reached_is_one_rejection_that_says_why() -> Outcome<()> {
    let cluster = Cluster::start(options(), &["mine"]).await?;
    let (standin, client) = (&cluster.standin, cluster.client());
    standin.add_pod(PodSpec::new(NAMESPACE, "foreign").label(LABEL, "another"))?;
    let bodies = [
        (json!({"pod": "nowhere"}), "nowhere"),
        (json!({"pod": "mine", "container": "sidecar"}), "sidecar"),
        (json!({"pod": "foreign"}), LABEL),
        (
            json!({"pod": "mine", "namespace": "elsewhere"}),
            "not found",
        ),
    ];
    for (body, reason) in bodies {
        let session = client.post("/sessions", &body).await?.json();
        let session = session["id"].as_str().unwrap_or_default();
        let transcript = client.shell(session, "echo never").await?;
        transcript.check()?;
        let complete = transcript.complete();
        assert_eq!(complete["outcome"], "rejected", "{body}: {complete}");
        assert_eq!(complete["exit_code"], -1);
        assert!(
            complete["reason"]
                .as_str()
                .unwrap_or_default()
                .contains(reason),
            "{complete}"
        );
        assert_eq!(transcript.numbered().len(), 1);
    }
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_container_of_several_is_chosen_by_name() -> Outcome<()> {
    let cluster = Cluster::start(options(), &[]).await?;
    let (standin, client) = (&cluster.standin, cluster.client());
    standin.add_pod(
        PodSpec::new(NAMESPACE, "two")
            .label(LABEL, PROJECT)
            .container(ContainerSpec::new("first"))
            .container(ContainerSpec::new("second").env("WHO", "second")),
    )?;
    let body = json!({"pod": "two", "container": "second"});
    let session = client.post("/sessions", &body).await?.json();
    let session = session["id"].as_str().unwrap_or_default();
    assert_eq!(
        client.shell(session, "echo $WHO").await?.stdout(),
        "second\n"
    );
    cluster.shutdown().await;
    Ok(())
}
