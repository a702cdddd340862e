//! SIGKILL, at the points that matter and in the middle.

use std::time::Duration;

use async_nats::jetstream::{self, consumer::pull};
use rdev_bus::Bus;
use rdev_contract::event::Kind;
use rdev_contract::position::Offsets;
use rdev_contract::subject::{ADMITTED_CONSUMER, EXEC_STREAM, Subject};
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::count::Count;
use rdev_tests::log::{ExecLog, exec_id, until, until_kind};
use rdev_tests::reader::Reader;
use rdev_tests::world::{Service, World};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use super::trial::{TAKE_OVER_MAX, Trial, child, continued, parent, signal};
use super::{options, world};

const CLAIMED: &str = "claimed";
const PAUSE: Duration = Duration::from_millis(100);

/// An executor that has claimed, and whose launch goes to a shim that does not read.
async fn claimed(client: &Client, executor: &Service, bus: &Bus) -> Outcome<(Trial, u32)> {
    let session = client.session(CLAIMED).await?;
    client.shell(&session, "true").await?.check()?;
    let serve = child(executor.pid(), "serve").ok_or("no shim")?;
    signal(serve, Signal::STOP)?;
    let trial = Trial::begin(client, &session, Count::to("count", 200)).await?;
    until_kind(bus, &trial.exec, Kind::Started).await?;
    Ok((trial, serve))
}

#[tokio::test]
async fn an_executor_killed_between_claim_and_launch_is_replaced() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let (client, bus) = (&services.client, world.bus().await?);
    let (trial, _) = claimed(client, &services.executor, &bus).await?;
    let since = Instant::now();
    // The shim goes with it: a stopped process whose parent dies is hung up.
    services.executor.kill().await;
    assert!(trial.count.pids(&world.pod(CLAIMED)).is_empty());
    let _second = world.executor()?;
    let (seen, _) = trial.end(&bus, &world.pod(CLAIMED), 2).await?;
    let what = "killed between claim and launch";
    continued(what, &seen, since, TAKE_OVER_MAX);
    Ok(())
}

/// Whether the launch of the former executor arrives while the command runs, or behind its end.
async fn late_launch(behind_the_end: bool) -> Outcome<()> {
    let (mut world, services) = world().await?;
    let (client, bus) = (&services.client, world.bus().await?);
    let (trial, serve) = claimed(client, &services.executor, &bus).await?;
    let (count, exec) = (trial.count.clone(), trial.exec.clone());
    let session = exec.session.to_string();
    services.executor.signal(Signal::STOP)?;
    let second = world.executor()?;
    until_kind(&bus, &exec, Kind::Resumed).await?;
    if !behind_the_end {
        signal(serve, Signal::CONT)?;
    }
    trial.end(&bus, &world.pod(CLAIMED), 2).await?;
    let before = ExecLog::read(&bus, &exec).await?;
    signal(serve, Signal::CONT)?;
    services.executor.signal(Signal::CONT)?;
    second.stop().await;
    // The shim takes requests in order: behind this one, it has taken the launch.
    client.shell(&session, "true").await?.check()?;
    assert_eq!(count.pids(&world.pod(CLAIMED)).len(), 1);
    let after = ExecLog::read(&bus, &exec).await?;
    assert_eq!(
        after.0.len(),
        before.0.len(),
        "nothing is added behind the end"
    );
    Ok(())
}

#[tokio::test]
async fn a_launch_that_arrives_after_the_take_over_launches_nothing_twice() -> Outcome<()> {
    late_launch(false).await
}

#[tokio::test]
async fn a_launch_that_arrives_after_the_end_launches_nothing_twice() -> Outcome<()> {
    late_launch(true).await
}

#[tokio::test]
async fn an_executor_killed_in_the_middle_is_replaced() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let (client, bus) = (&services.client, world.bus().await?);
    let session = client.session("middle").await?;
    let count = Count::to("count", 800).pausing(PAUSE);
    let trial = Trial::begin(client, &session, count).await?;
    let _second = world.executor()?;
    trial.reader.until_count(100).await?;
    let since = Instant::now();
    services.executor.kill().await;
    let (seen, _) = trial.end(&bus, &world.pod("middle"), 2).await?;
    continued("killed in the middle", &seen, since, TAKE_OVER_MAX);
    Ok(())
}

#[tokio::test]
async fn an_executor_killed_between_the_last_output_and_the_end_is_replaced() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let (client, bus) = (&services.client, world.bus().await?);
    let session = client.session("ending").await?;
    let count = Count::to("count", 200).gated(200);
    let all = Offsets::new(count.stdout().len() as u64, count.stderr().len() as u64);
    let trial = Trial::begin(client, &session, count).await?;
    until(&bus, &trial.exec, |line| line.head.to == Some(all)).await?;
    let since = Instant::now();
    services.executor.kill().await;
    // The end of the command has no witness but its supervisor.
    trial.count.open_gate(&world.pod("ending"))?;
    let _second = world.executor()?;
    let (seen, log) = trial.end(&bus, &world.pod("ending"), 2).await?;
    let kinds: Vec<_> = log.0.iter().rev().take(2).map(|line| line.kind()).collect();
    assert_eq!(kinds, [Kind::Complete.token(), Kind::Resumed.token()]);
    continued("killed before the end", &seen, since, TAKE_OVER_MAX);
    Ok(())
}

#[tokio::test]
async fn an_executor_killed_after_the_end_leaves_nothing_to_do() -> Outcome<()> {
    let mut world = World::bare(options()).await?;
    let proxy = world.nats_proxy().await?;
    let first = world.executor_through(&proxy)?;
    let _projector = world.projector()?;
    let (_gateway, client) = world.gateway()?;
    world.ready(&client).await?;
    let bus = world.bus().await?;
    let session = client.session("ended").await?;
    let count = Count::to("count", 100);
    let exec = exec_id(&client, &session, &count.name)?;
    // The end is stored, and the executor does not learn of it.
    proxy.withhold_answers_behind(Subject::exec(&exec, Kind::Complete).as_str());
    let trial = Trial::begin(&client, &session, count).await?;
    proxy.until_withholding().await;
    until_kind(&bus, &exec, Kind::Complete).await?;
    assert_eq!(unacknowledged(&world).await?, 1);
    let before = ExecLog::read(&bus, &exec).await?;
    first.kill().await;
    let _second = world.executor()?;
    while unacknowledged(&world).await? > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (_, log) = trial.end(&bus, &world.pod("ended"), 1).await?;
    assert_eq!(
        log.0.len(),
        before.0.len(),
        "nothing is added behind the end"
    );
    Ok(())
}

/// Commands that have been offered or wait for it, and are not acknowledged.
async fn unacknowledged(world: &World) -> Outcome<u64> {
    let client = async_nats::connect(world.nats.url()).await?;
    let stream = jetstream::new(client).get_stream(EXEC_STREAM).await?;
    let mut consumer = stream
        .get_consumer::<pull::Config>(ADMITTED_CONSUMER)
        .await?;
    let info = consumer.info().await?;
    Ok(info.num_ack_pending as u64 + info.num_pending)
}

#[tokio::test]
async fn a_killed_supervisor_is_told_as_lost() -> Outcome<()> {
    let (world, services) = world().await?;
    let (client, bus) = (&services.client, world.bus().await?);
    let session = client.session("unwitnessed").await?;
    let count = Count::to("count", 200).gated(100);
    let trial = Trial::begin(client, &session, count).await?;
    trial.reader.until_count(110).await?;
    let pids = trial.count.pids(&world.pod("unwitnessed"));
    let [pid] = pids[..] else {
        return Err(format!("{pids:?}").into());
    };
    let since = Instant::now();
    signal(parent(pid).ok_or("no supervisor")?, Signal::KILL)?;
    let seen = trial.reader.end().await?;
    assert!(since.elapsed() < Duration::from_secs(10));
    seen.transcript.check()?;
    let complete = seen.transcript.complete();
    assert_eq!(complete["outcome"], "lost", "{complete}");
    assert_eq!(
        (&complete["exit_code"], &complete["ok"]),
        (&json!(-1), &json!(false))
    );
    let printed = trial.count.stdout();
    assert!(printed.starts_with(&seen.transcript.stdout()));
    ExecLog::read(&bus, &trial.exec).await?.check()?;
    assert_eq!(trial.count.pids(&world.pod("unwitnessed")).len(), 1);
    // It has nobody left who would end it; it may have ended of its broken pipe.
    trial.count.open_gate(&world.pod("unwitnessed"))?;
    Ok(())
}

#[tokio::test]
async fn readers_of_a_killed_gateway_go_on_at_another() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let (_other, other) = world.gateway()?;
    world.ready(&other).await?;
    let (client, bus) = (&services.client, world.bus().await?);
    let session = client.session("gateways").await?;
    let count = Count::to("count", 300).pausing(PAUSE);
    let mut trial = Trial::begin(&other, &session, count).await?;
    trial.reader = Reader::start(vec![client.clone(), other], &session, "count");
    trial.reader.until_count(50).await?;
    let since = Instant::now();
    services.gateway.kill().await;
    let (seen, _) = trial.end(&bus, &world.pod("gateways"), 1).await?;
    assert_eq!(seen.reconnects, 1);
    continued("gateway killed", &seen, since, Duration::from_secs(3));
    Ok(())
}

#[tokio::test]
async fn a_killed_projector_catches_up() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let client = &services.client;
    let session = client.session("projector").await?;
    services.projector.kill().await;
    for code in 0..5 {
        let body = json!({"type": "shell", "command": format!("exit {code}"),
            "stream_id": format!("exit-{code}")});
        client.run(&session, &body).await?.check()?;
    }
    let _projector = world.projector()?;
    for code in 0..5 {
        let path = format!("/sessions/{session}/execs/exit-{code}");
        let projected = async {
            loop {
                let found = client.get(&path).await?.json();
                if found["status"] == "complete" {
                    return Outcome::Ok(found);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(30), projected).await??;
        assert_eq!(found["complete"]["exit_code"], code, "{found}");
    }
    Ok(())
}
