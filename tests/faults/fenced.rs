//! Executors that come back: stopped, cut off, or asked to end, while another takes over.

use std::time::Duration;

use rdev_contract::event::Kind;
use rdev_embedded::Signal;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::count::Count;
use rdev_tests::log::{exec_id, until_kind};
use rdev_tests::world::{Service, World};
use serde_json::json;
use tokio::time::Instant;

use super::trial::{TAKE_OVER_MAX, Trial, continued};
use super::{options, world};

const PAUSE: Duration = Duration::from_millis(100);
/// One at a time: a slot that is not freed shows.
const ONE_SLOT: (&str, &str) = ("RDEV_EXECUTOR_SLOTS", "1");
const READY: &str = "executor is ready";

/// The command that runs now keeps the other executor's only slot, so this one is the former's.
async fn takes_another(
    former: &Service,
    client: &Client,
    session: &str,
    world: &World,
) -> Outcome<()> {
    let stream = "another";
    let body = json!({"type": "shell", "command": "echo free", "stream_id": stream});
    let transcript = client.run(session, &body).await?;
    transcript.check()?;
    assert_eq!(transcript.stdout(), "free\n");
    let exec = exec_id(client, session, stream)?;
    let started = until_kind(&world.bus().await?, &exec, Kind::Started).await?;
    let executor = started.value["data"]["executor"]
        .as_str()
        .unwrap_or_default();
    assert!(
        executor.ends_with(&format!("-{}", former.pid())),
        "{executor}"
    );
    Ok(())
}

async fn one_slot_world() -> Outcome<(World, Client, Vec<Service>)> {
    let mut world = World::bare(options()).await?;
    let projector = world.projector()?;
    let (gateway, client) = world.gateway()?;
    world.ready(&client).await?;
    Ok((world, client, vec![projector, gateway]))
}

#[tokio::test]
async fn a_stopped_executor_that_wakes_up_stands_back() -> Outcome<()> {
    let (mut world, client, _services) = one_slot_world().await?;
    let bus = world.bus().await?;
    let one_slot = [(ONE_SLOT.0, ONE_SLOT.1.to_owned())];
    let first = world.local_executor(&one_slot)?;
    let session = client.session("stopped").await?;
    let count = Count::to("count", 700).pausing(PAUSE).gated(700);
    let trial = Trial::begin(&client, &session, count).await?;
    trial.reader.until_count(100).await?;
    let since = Instant::now();
    first.signal(Signal::STOP)?;
    let _second = world.local_executor(&one_slot)?;
    until_kind(&bus, &trial.exec, Kind::Resumed).await?;
    first.signal(Signal::CONT)?;
    first.until_it_says("standing back").await?;
    takes_another(&first, &client, &session, &world).await?;
    trial.count.open_gate(&world.pod("stopped"))?;
    let (seen, _) = trial.end(&bus, &world.pod("stopped"), 2).await?;
    continued("stopped and continued", &seen, since, TAKE_OVER_MAX);
    Ok(())
}

/// Both follow the exec in the pod for as long as the first is cut off; only one is heard.
#[tokio::test]
async fn an_executor_that_was_cut_off_stands_back() -> Outcome<()> {
    let (mut world, client, _services) = one_slot_world().await?;
    let bus = world.bus().await?;
    let proxy = world.nats_proxy().await?;
    let root = world.pods().display().to_string();
    let first = world.executor_with(&[
        ("RDEV_BACKEND", "local".to_owned()),
        ("RDEV_LOCAL_ROOT", root),
        ("RDEV_NATS_URL", format!("nats://{}", proxy.address())),
        (ONE_SLOT.0, ONE_SLOT.1.to_owned()),
    ])?;
    let session = client.session("cut").await?;
    let count = Count::to("count", 700).pausing(PAUSE).gated(700);
    let trial = Trial::begin(&client, &session, count).await?;
    trial.reader.until_count(100).await?;
    let since = Instant::now();
    proxy.freeze();
    let _second = world.local_executor(&[(ONE_SLOT.0, ONE_SLOT.1.to_owned())])?;
    until_kind(&bus, &trial.exec, Kind::Resumed).await?;
    trial.reader.until_count(400).await?;
    proxy.pass();
    first.until_it_says("standing back").await?;
    takes_another(&first, &client, &session, &world).await?;
    trial.count.open_gate(&world.pod("cut"))?;
    let (seen, _) = trial.end(&bus, &world.pod("cut"), 2).await?;
    continued("cut off and back", &seen, since, TAKE_OVER_MAX);
    Ok(())
}

#[tokio::test]
async fn an_executor_that_is_asked_to_end_hands_over_at_once() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let (client, bus) = (&services.client, world.bus().await?);
    let session = client.session("upgrade").await?;
    let count = Count::to("count", 400).pausing(PAUSE);
    let trial = Trial::begin(client, &session, count).await?;
    let second = world.executor()?;
    second.until_it_says(READY).await?;
    trial.reader.until_count(100).await?;
    let since = Instant::now();
    services.executor.stop().await;
    assert!(
        since.elapsed() < Duration::from_secs(2),
        "the process ends soon"
    );
    let (seen, _) = trial.end(&bus, &world.pod("upgrade"), 2).await?;
    continued("asked to end", &seen, since, Duration::from_secs(1));
    Ok(())
}
