//! Another container, or none: what ran in the former one is `lost`, once, with the reason that
//! the API gives, and is never run again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rdev_contract::event::Kind;
use rdev_tests::Outcome;
use rdev_tests::client::{Client, Stream};
use rdev_tests::cluster::{CONTAINER, Cluster, NAMESPACE};
use rdev_tests::log::{ExecLog, exec_id};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::options;

/// From what the API shows to the end in the log.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// A command that outlives its test, with what it printed before the fault read.
struct Doomed {
    /// Not in the pod, which may vanish.
    launches: PathBuf,
    session: String,
    stream: String,
    events: Stream,
}

impl Doomed {
    async fn begin(client: &Client, pod: &str, directory: &Path) -> Outcome<Self> {
        let launches = directory.join(pod);
        let session = client.session(pod).await?;
        let command = format!("echo $$ >> {}; echo one; sleep 600", launches.display());
        let body = json!({"type": "shell", "command": command});
        let stream = client.exec(&session, &body).await?;
        let mut events = client.events(&session, &stream, None).await?;
        events.until("output").await?;
        Ok(Self {
            launches,
            session,
            stream,
            events,
        })
    }

    /// Its end, which must be as it is for all of them.
    #[expect(
        clippy::print_stdout,
        reason = "a measurement, for people who ask for it"
    )]
    async fn lost(mut self, cluster: &Cluster, since: Instant) -> Outcome<String> {
        let client = cluster.client();
        let complete = self.events.until("complete").await?.json();
        let took = since.elapsed();
        assert_eq!(complete["outcome"], "lost", "{complete}");
        assert_eq!(
            (&complete["exit_code"], &complete["ok"]),
            (&json!(-1), &Value::Bool(false))
        );
        let whole = client.transcript(&self.session, &self.stream).await?;
        whole.check()?;
        assert_eq!(whole.stdout(), "one\n");
        let exec = exec_id(client, &self.session, &self.stream)?;
        let log = ExecLog::read(&cluster.world.bus().await?, &exec).await?;
        log.check()?;
        assert_eq!(
            (log.count(Kind::Started), log.count(Kind::Complete)),
            (1, 1)
        );
        let launches = std::fs::read_to_string(&self.launches)?;
        assert_eq!(launches.lines().count(), 1);
        let reason = complete["reason"].as_str().unwrap_or_default().to_owned();
        println!(
            "{}: told after {took:.2?}: {reason}",
            self.launches.display()
        );
        assert!(took < TOLD_WITHIN, "{took:?}");
        Ok(reason)
    }
}

#[tokio::test]
async fn a_pod_that_is_gone_is_never_taken_for_the_same() -> Outcome<()> {
    let pods = ["deleted", "forced", "recreated"];
    let cluster = Cluster::start(options(), &pods).await?;
    for pod in pods {
        let doomed = Doomed::begin(cluster.client(), pod, cluster.world.directory()).await?;
        let since = Instant::now();
        match pod {
            "deleted" => cluster.standin.delete_pod(NAMESPACE, pod).await?,
            "forced" => cluster.standin.delete_pod_by_force(NAMESPACE, pod).await?,
            _ => drop(cluster.standin.recreate_pod(NAMESPACE, pod).await?),
        }
        let reason = doomed.lost(&cluster, since).await?;
        assert!(!reason.is_empty());
    }
    // The new pod of the same name is as good as any.
    let client = cluster.client();
    let session = client.session("recreated").await?;
    assert_eq!(client.shell(&session, "echo new").await?.stdout(), "new\n");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_container_that_ended_is_told_with_its_reason() -> Outcome<()> {
    let cluster = Cluster::start(options(), &["restarted", "evicted", "unreachable"]).await?;
    for (pod, wanted) in [
        ("restarted", "OOMKilled"),
        ("evicted", "Evicted"),
        ("unreachable", "NodeLost"),
    ] {
        let doomed = Doomed::begin(cluster.client(), pod, cluster.world.directory()).await?;
        let since = Instant::now();
        match pod {
            "restarted" => {
                let standin = &cluster.standin;
                standin
                    .restart_container(NAMESPACE, pod, CONTAINER, wanted)
                    .await?;
            }
            "evicted" => {
                cluster
                    .standin
                    .evict(NAMESPACE, pod, "low on memory")
                    .await?
            }
            _ => cluster.standin.lose_node(NAMESPACE, pod)?,
        }
        let reason = doomed.lost(&cluster, since).await?;
        assert!(reason.contains(wanted), "{reason}");
    }
    cluster.shutdown().await;
    Ok(())
}

/// The container is replaced while nobody watches it.
#[tokio::test]
async fn a_take_over_does_not_run_it_in_another_container() -> Outcome<()> {
    let mut cluster = Cluster::start(options(), &["restarted"]).await?;
    let directory = cluster.world.directory().to_owned();
    let doomed = Doomed::begin(cluster.client(), "restarted", &directory).await?;
    cluster.services.executor.kill().await;
    cluster
        .standin
        .restart_container(NAMESPACE, "restarted", CONTAINER, "OOMKilled")
        .await?;
    let since = Instant::now();
    let kubeconfig = cluster.standin.kubeconfig();
    cluster.services.executor = cluster.world.kube_executor(&kubeconfig)?;
    let reason = doomed.lost(&cluster, since).await?;
    assert!(reason.contains("OOMKilled"), "{reason}");
    cluster.shutdown().await;
    Ok(())
}
