//! Many short execs at once.

use std::process::Stdio;

use futures::{StreamExt, TryStreamExt};
use rdev_embedded::SyncInterval;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::world::World;
use serde_json::json;
use tokio::process::Command;
use tokio::time::Instant;

use crate::report::Report;

const COMMAND: &str = "echo hi";

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// How many execs.
    #[arg(long, default_value_t = 1000)]
    execs: usize,
    /// How many at once.
    #[arg(long, default_value_t = 64)]
    at_once: usize,
}

pub(crate) async fn run(settings: &Settings) -> Outcome<Report> {
    let mut report = Report::new("short execs");
    let floor = bare_spawns(settings).await?;
    let (_world, services) = World::start(crate::options(SyncInterval::Always)?).await?;
    let client = &services.client;
    let session = client.session("bench").await?;
    client.shell(&session, COMMAND).await?;
    let began = Instant::now();
    futures::stream::iter(0..settings.execs)
        .map(|number| one(client, &session, number))
        .buffer_unordered(settings.at_once)
        .try_collect::<Vec<()>>()
        .await?;
    let found = rate(settings.execs, began);
    report.row(
        &format!("POST to complete, {} at once", settings.at_once),
        format!("{found:.0} execs/s"),
        format!("bare spawns {floor:.0}/s: 1/{:.1} of it", floor / found),
    );
    Ok(report)
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn rate(count: usize, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

async fn one(client: &Client, session: &str, number: usize) -> Outcome<()> {
    let body = json!({"type": "shell", "command": COMMAND, "stream_id": format!("short-{number}")});
    let transcript = client.run(session, &body).await?;
    transcript.check()?;
    Ok(())
}

async fn bare_spawns(settings: &Settings) -> Outcome<f64> {
    let began = Instant::now();
    futures::stream::iter(0..settings.execs)
        .map(|_| async {
            let output = Command::new("sh")
                .args(["-c", COMMAND])
                .stdout(Stdio::piped())
                .output()
                .await?;
            if output.stdout != b"hi\n" {
                return Err("a bare spawn printed something else".into());
            }
            Outcome::Ok(())
        })
        .buffer_unordered(settings.at_once)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(rate(settings.execs, began))
}
