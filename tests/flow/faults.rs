//! The short form of the fault scenarios: each thing killed once, in the middle of a command.

use rdev_tests::Outcome;
use serde_json::json;

use super::world;

/// Prints a line, notes its process, and goes on when a file appears.
const COUNTING: &str = "echo $$ >> started; for i in $(seq 1 200); do echo line $i; \
    if test $i = 100; then while ! test -e go; do sleep 0.05; done; fi; done";

#[tokio::test]
async fn an_executor_killed_in_the_middle_is_replaced() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let client = &services.client;
    let session = client.session("killed").await?;
    let body = json!({"type": "shell", "command": COUNTING});
    let stream = client.exec(&session, &body).await?;
    let mut events = client.events(&session, &stream, None).await?;
    let first = events.until("output").await?;
    services.executor.kill().await;
    let _second = world.executor()?;
    std::fs::write(world.pods().join("demo/killed/go"), "")?;
    let rest = events.rest().await?;
    assert_eq!(rest.numbered()[0].number(), first.number() + 1);
    let whole = client.transcript(&session, &stream).await?;
    whole.check()?;
    let wanted: String = (1..=200).map(|line| format!("line {line}\n")).collect();
    assert_eq!(whole.stdout(), wanted);
    let launches = std::fs::read_to_string(world.pods().join("demo/killed/started"))?;
    assert_eq!(launches.lines().count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_killed_nats_server_loses_nothing() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let client = &services.client;
    let session = client.session("nats").await?;
    let body = json!({"type": "shell", "command": COUNTING});
    let stream = client.exec(&session, &body).await?;
    let mut events = client.events(&session, &stream, None).await?;
    events.until("output").await?;
    world.nats.kill().await;
    std::fs::write(world.pods().join("demo/nats/go"), "")?;
    world.nats.restart().await?;
    let rest = events.rest().await?;
    assert_eq!(rest.complete()["ok"], true);
    let whole = client.transcript(&session, &stream).await?;
    whole.check()?;
    assert_eq!(whole.numbered().len(), 201);
    Ok(())
}

#[tokio::test]
async fn a_killed_projector_catches_up() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let client = &services.client;
    let session = client.session("projector").await?;
    services.projector.kill().await;
    let streams = futures::future::try_join_all((0..5).map(|number| {
        let body = json!({"type": "shell", "command": format!("exit {number}")});
        let (client, session) = (client.clone(), session.clone());
        async move {
            let stream = client.exec(&session, &body).await?;
            client.transcript(&session, &stream).await?;
            Outcome::Ok(stream)
        }
    }))
    .await?;
    let _projector = world.projector()?;
    let path = format!("/sessions/{session}/execs?limit=200");
    let all_complete = async {
        loop {
            let listed = client.get(&path).await?.json();
            let items = listed["items"].as_array().cloned().unwrap_or_default();
            if items
                .iter()
                .filter(|item| item["status"] == "complete")
                .count()
                == streams.len()
            {
                return Outcome::Ok(items);
            }
            tokio::task::yield_now().await;
        }
    };
    let items = tokio::time::timeout(std::time::Duration::from_secs(30), all_complete).await??;
    for (number, stream) in streams.iter().enumerate() {
        let item = items
            .iter()
            .find(|item| item["id"] == stream.as_str())
            .ok_or("missing")?;
        assert_eq!(item["complete"]["exit_code"], number, "{item}");
    }
    Ok(())
}
