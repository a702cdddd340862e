//! Connections, gateways and executors that go away in the middle.

use std::net::SocketAddr;

use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::world::{PROJECT, World};

use super::super::options;
use super::Person;

/// Prints its lines slowly enough for much to happen meanwhile, and not the last ones before it may.
const COUNT: &str = "i=0; while [ $i -lt 150 ]; do echo line $i; i=$((i+1)); sleep 0.02; \
    [ $i -ne 140 ] || until [ -e go ]; do sleep 0.05; done; done; exit 5";

fn counted() -> String {
    (0..150).map(|number| format!("line {number}\n")).collect()
}

#[tokio::test]
async fn a_gateway_that_is_killed_costs_nobody_a_byte() -> Outcome<()> {
    let mut world = World::bare(options()).await?;
    let _projector = world.projector()?;
    let executor = world.executor()?;
    let address = SocketAddr::from(([127, 0, 0, 1], rdev_embedded::draw_port()?));
    let listen = [("RDEV_LISTEN", address.to_string())];
    let gateway = world.gateway_with(&listen)?;
    let client = Client::new(format!("http://{address}"), PROJECT);
    world.ready(&client).await?;
    let session = client.session("pod").await?;
    let person = Person::of(&client)?.with("RDEV_SESSION", &session);

    let mut streaming = person.begins(&["exec", "-v", "--", COUNT])?;
    let mut polling = person.begins(&["exec", "-v", "--poll", "--", COUNT])?;
    let mut feed = person.begins(&["logs", "-f", "-v"])?;
    streaming.until("line 9").await?;
    polling.until("line 9").await?;
    feed.until("line 9").await?;
    gateway.kill().await;
    streaming.until_it_says("connection lost").await?;
    let gateway = world.gateway_with(&listen)?;
    streaming.until("line 30").await?;
    // Its successor drains: readers are sent away.
    gateway.stop().await;
    let _gateway = world.gateway_with(&listen)?;
    // And whoever runs the commands is replaced.
    executor.kill().await;
    let _executor = world.executor()?;
    streaming.until_it_says("executor was replaced").await?;
    client.shell(&session, "touch go").await?;
    let said = streaming.end().await?.expect(5)?;
    assert_eq!(said.text(), counted());
    let said = polling.end().await?.expect(5)?;
    assert_eq!(said.text(), counted());
    // The feed of the session has had both, each in its order.
    feed.until("line 149").await?;
    feed.until("line 149").await?;
    feed.signal(rustix::process::Signal::INT)?;
    let said = feed.end().await?;
    let lines = said.text();
    for number in [0, 75, 149] {
        let line = format!("line {number}");
        assert_eq!(
            lines.lines().filter(|seen| *seen == line).count(),
            2,
            "{line}"
        );
    }
    assert_eq!(lines.lines().count(), 300);
    Ok(())
}
