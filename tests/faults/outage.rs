//! The log away: killed, cut off, frozen, for the executor and for the gateway.

use std::time::Duration;

use rdev_bus::Bus;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::count::Count;
use rdev_tests::log::{ExecLog, exec_id};
use rdev_tests::proxy::{Outage, Proxy};
use rdev_tests::world::{Services, World};
use tokio::time::{Instant, sleep};

use super::trial::{Trial, continued};
use super::{options, world};

const PAUSE: Duration = Duration::from_millis(100);
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(10);
/// After a network is back, clients notice at their next try, at most a reconnect delay later.
const HEALED_MAX: Duration = Duration::from_secs(7);

/// Who reaches the log through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    Executor,
    Gateway,
}

async fn world_with_proxy(behind: Behind) -> Outcome<(World, Services, Proxy)> {
    let mut world = World::bare(options()).await?;
    let proxy = world.nats_proxy().await?;
    let projector = world.projector()?;
    let (executor, (gateway, client)) = match behind {
        Behind::Executor => (world.executor_through(&proxy)?, world.gateway()?),
        Behind::Gateway => (world.executor()?, world.gateway_through(&proxy)?),
    };
    world.ready(&client).await?;
    let services = Services {
        client,
        gateway,
        executor,
        projector,
    };
    Ok((world, services, proxy))
}

async fn without_log(behind: Behind, outage: Outage, duration: Duration) -> Outcome<()> {
    let (world, services, proxy) = world_with_proxy(behind).await?;
    let (client, bus) = (&services.client, world.bus().await?);
    let session = client.session("away").await?;
    let count = Count::to("count", 300).pausing(PAUSE);
    let trial = Trial::begin(client, &session, count).await?;
    trial.reader.until_count(50).await?;
    outage.last(&proxy, duration).await;
    let since = Instant::now();
    let (seen, _) = trial.end(&bus, &world.pod("away"), 1).await?;
    let what = format!("{behind:?} and log {outage:?} for {duration:?}");
    continued(&what, &seen, since, HEALED_MAX);
    Ok(())
}

#[tokio::test]
async fn an_executor_frozen_off_the_log_for_a_moment_goes_on() -> Outcome<()> {
    without_log(Behind::Executor, Outage::Frozen, SHORT).await
}

#[tokio::test]
async fn an_executor_cut_off_the_log_for_a_moment_goes_on() -> Outcome<()> {
    without_log(Behind::Executor, Outage::Refused, SHORT).await
}

#[tokio::test]
async fn an_executor_frozen_off_the_log_for_long_goes_on() -> Outcome<()> {
    without_log(Behind::Executor, Outage::Frozen, LONG).await
}

#[tokio::test]
async fn an_executor_cut_off_the_log_for_long_goes_on() -> Outcome<()> {
    without_log(Behind::Executor, Outage::Refused, LONG).await
}

#[tokio::test]
async fn readers_of_a_gateway_frozen_off_the_log_miss_nothing() -> Outcome<()> {
    without_log(Behind::Gateway, Outage::Frozen, Duration::from_secs(3)).await
}

#[tokio::test]
async fn readers_of_a_gateway_cut_off_the_log_miss_nothing() -> Outcome<()> {
    without_log(Behind::Gateway, Outage::Refused, Duration::from_secs(3)).await
}

#[tokio::test]
async fn a_server_killed_in_a_burst_loses_nothing() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let (client, bus) = (&services.client, world.bus().await?);
    let session = client.session("burst").await?;
    let trial = Trial::begin(client, &session, Count::to("count", 20_000)).await?;
    trial.reader.until_count(2_000).await?;
    world.nats.kill().await;
    sleep(SHORT).await;
    world.nats.restart().await?;
    let since = Instant::now();
    let (seen, _) = trial.end(&bus, &world.pod("burst"), 1).await?;
    continued("server killed", &seen, since, HEALED_MAX);
    Ok(())
}

/// A POST that cannot be stored for certain is answered 503, and can be repeated.
async fn post_in_an_outage(client: &Client, session: &str, count: &Count) -> Outcome<()> {
    let path = format!("/sessions/{session}/exec");
    let answer = client.post(&path, &count.body()).await?;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(answer.header("content-type"), "application/problem+json");
    Ok(())
}

#[tokio::test]
async fn a_command_posted_while_the_log_is_cut_off_does_not_exist() -> Outcome<()> {
    let (world, services, proxy) = world_with_proxy(Behind::Gateway).await?;
    let (client, bus) = (&services.client, world.bus().await?);
    let session = client.session("outage").await?;
    let count = Count::to("count", 100);
    proxy.refuse();
    post_in_an_outage(client, &session, &count).await?;
    proxy.pass();
    let exec = exec_id(client, &session, &count.name)?;
    assert!(ExecLog::read(&bus, &exec).await?.0.is_empty());
    repeated(client, &session, count, &bus, &world).await
}

/// The same POST until it is accepted, as its answer advises; then it has run once.
async fn repeated(
    client: &Client,
    session: &str,
    count: Count,
    bus: &Bus,
    world: &World,
) -> Outcome<()> {
    let path = format!("/sessions/{session}/exec");
    loop {
        let answer = client.post(&path, &count.body()).await?;
        match answer.status {
            503 => sleep(PAUSE).await,
            200 | 201 => break,
            _ => return Err(answer.text.into()),
        }
    }
    let trial = Trial::begin(client, session, count).await?;
    trial.end(bus, &world.pod("outage"), 1).await?;
    Ok(())
}

/// Whatever became of the first POST, the repeat finds it or makes it.
async fn posted_twice(fault: impl FnOnce(&Proxy)) -> Outcome<()> {
    let (world, services, proxy) = world_with_proxy(Behind::Gateway).await?;
    let (client, bus) = (&services.client, world.bus().await?);
    let session = client.session("outage").await?;
    let count = Count::to("count", 100);
    fault(&proxy);
    post_in_an_outage(client, &session, &count).await?;
    proxy.pass();
    repeated(client, &session, count, &bus, &world).await
}

#[tokio::test]
async fn a_command_posted_while_the_log_is_frozen_runs_once_when_repeated() -> Outcome<()> {
    posted_twice(Proxy::freeze).await
}

#[tokio::test]
async fn a_command_whose_ack_was_lost_runs_once_when_repeated() -> Outcome<()> {
    posted_twice(Proxy::withhold_answers).await
}
