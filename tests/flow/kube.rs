//! The Kubernetes backend, against a stand-in of its API that ends connections as real clusters do.

use rdev_kube_standin::{ContainerSpec, Ending, PodSpec, Standin};
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::world::{PROJECT, Service, World};
use serde_json::json;

use super::options;

const NAMESPACE: &str = "default";
const LABEL: &str = "rdev.dev/project";

struct Cluster {
    standin: Standin,
    world: World,
    client: Client,
    _services: [Service; 3],
}

async fn cluster(pods: &[&str]) -> Outcome<Cluster> {
    let standin = Standin::start().await?;
    for pod in pods {
        standin.add_pod(PodSpec::new(NAMESPACE, pod).label(LABEL, PROJECT))?;
    }
    let mut world = World::bare(options()).await?;
    let executor = world.kube_executor(&standin.kubeconfig())?;
    let projector = world.projector()?;
    let (gateway, client) = world.gateway()?;
    world.ready(&client).await?;
    Ok(Cluster {
        standin,
        world,
        client,
        _services: [executor, projector, gateway],
    })
}

#[tokio::test]
async fn commands_run_in_the_pod_over_one_connection() -> Outcome<()> {
    let Cluster {
        standin,
        client,
        world: _world,
        _services,
    } = cluster(&["web"]).await?;
    let session = client.session("web").await?;
    let transcript = client.shell(&session, "pwd; echo oops >&2; exit 7").await?;
    transcript.check()?;
    let root = standin.root(NAMESPACE, "web", "main").ok_or("no root")?;
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
    standin.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_reached_is_one_rejection_that_says_why() -> Outcome<()> {
    let Cluster {
        standin,
        client,
        world: _world,
        _services,
    } = cluster(&["mine"]).await?;
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
    standin.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn no_ending_of_the_connection_is_taken_for_the_end() -> Outcome<()> {
    let Cluster {
        standin,
        client,
        world: _world,
        _services,
    } = cluster(&["cut"]).await?;
    let session = client.session("cut").await?;
    let root = standin.root(NAMESPACE, "cut", "main").ok_or("no root")?;
    for (round, ending) in [
        Ending::Status(0),
        Ending::SuccessUnfinished,
        Ending::CloseWithoutStatus,
        Ending::Cut,
    ]
    .into_iter()
    .enumerate()
    {
        let go = root.join(format!("go{round}"));
        let command = format!(
            "echo $$ >> pids{round}; for i in $(seq 1 300); do echo line $i; \
             if test $i = 150; then while ! test -e go{round}; do sleep 0.05; done; fi; done"
        );
        let body = json!({"type": "shell", "command": command});
        let stream = client.exec(&session, &body).await?;
        let mut events = client.events(&session, &stream, None).await?;
        events.until("output").await?;
        assert_eq!(standin.end_exec(NAMESPACE, "cut", ending), 1);
        std::fs::write(&go, "")?;
        events.until("complete").await?;
        let whole = client.transcript(&session, &stream).await?;
        whole.check()?;
        assert_eq!(whole.numbered().len(), 301);
        assert_eq!(whole.complete()["ok"], true, "{round}");
        let launches = std::fs::read_to_string(root.join(format!("pids{round}")))?;
        assert_eq!(launches.lines().count(), 1);
    }
    standin.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_container_of_several_is_chosen_by_name() -> Outcome<()> {
    let Cluster {
        standin,
        client,
        world: _world,
        _services,
    } = cluster(&[]).await?;
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
    standin.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn another_container_is_never_taken_for_the_same() -> Outcome<()> {
    let Cluster {
        standin,
        client,
        world,
        _services,
    } = cluster(&["deleted", "restarted"]).await?;
    for pod in ["deleted", "restarted"] {
        let session = client.session(pod).await?;
        let launches = world.directory().join(pod);
        let command = format!("echo x >> {}; echo one; sleep 600", launches.display());
        let body = json!({"type": "shell", "command": command});
        let stream = client.exec(&session, &body).await?;
        let mut events = client.events(&session, &stream, None).await?;
        events.until("output").await?;
        match pod {
            "deleted" => standin.delete_pod(NAMESPACE, pod).await?,
            _ => {
                standin
                    .restart_container(NAMESPACE, pod, "main", "OOMKilled")
                    .await?
            }
        }
        let complete = events.until("complete").await?.json();
        assert_eq!(complete["outcome"], "lost", "{complete}");
        assert_eq!(
            (&complete["exit_code"], &complete["ok"]),
            (&json!(-1), &json!(false))
        );
        let reason = complete["reason"].as_str().unwrap_or_default();
        assert!(!reason.is_empty());
        if pod == "restarted" {
            assert!(reason.contains("OOMKilled"), "{complete}");
        }
        let launches = std::fs::read_to_string(launches)?;
        assert_eq!(launches.lines().count(), 1, "{pod}");
        client.transcript(&session, &stream).await?.check()?;
    }
    standin.shutdown().await;
    Ok(())
}
