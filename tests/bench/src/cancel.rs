//! From POST of a cancel to the end at a reader that is subscribed already.

use std::process::Stdio;
use std::time::Duration;

use rdev_embedded::SyncInterval;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::world::World;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::Instant;

use crate::report::{Report, Samples, milliseconds};

/// Not counted: caches fill.
const WARM_UP_SAMPLES: usize = 10;
/// Ends when it is asked to.
const OBEDIENT: &str = "echo on; exec sleep 300";
/// Does not, and has a child that does not either.
const STUBBORN: &str =
    "trap '' TERM; (trap '' TERM; sleep 300) & echo on; while :; do sleep 1; done";
/// What a command of `shell` has between the polite signal and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// How many commands that obey are canceled, one after the other.
    #[arg(long, default_value_t = 200)]
    samples: usize,
    /// How many that do not.
    #[arg(long, default_value_t = 10)]
    stubborn: usize,
    /// Execs that run besides all the time.
    #[arg(long, default_value_t = 20)]
    besides: usize,
}

pub(crate) async fn run(settings: &Settings) -> Outcome<Report> {
    let mut report = Report::new("cancel to complete");
    let floor = bare_kills(settings.samples).await?;
    let (_world, services) = World::start(crate::options(SyncInterval::Always)?).await?;
    let client = &services.client;
    let session = client.session("bench").await?;
    for number in 0..settings.besides {
        let body = json!({"type": "shell", "command": "while :; do echo on; sleep 0.05; done",
            "stream_id": format!("besides-{number}")});
        client.exec(&session, &body).await?;
    }
    let mut found = Samples::default();
    for sample in 0..settings.samples + WARM_UP_SAMPLES {
        let took = one(client, &session, OBEDIENT, &format!("obeys-{sample}")).await?;
        if sample >= WARM_UP_SAMPLES {
            found.add(took);
        }
    }
    for share in [0.5, 0.99] {
        report.row(
            &format!("obeys SIGTERM, p{}", share * 100.0),
            milliseconds(found.quantile(share)),
            format!("bare kill and wait {}", milliseconds(floor.quantile(share))),
        );
    }
    let mut found = Samples::default();
    for sample in 0..settings.stubborn {
        found.add(one(client, &session, STUBBORN, &format!("stubborn-{sample}")).await?);
    }
    let longest = found.quantile(1.0);
    report.row(
        "ignores SIGTERM, longest",
        milliseconds(longest),
        format!(
            "its grace {}: {} over it",
            milliseconds(GRACE),
            milliseconds(longest.saturating_sub(GRACE))
        ),
    );
    client
        .delete(&format!("/sessions/{session}?cancel=true"))
        .await?;
    Ok(report)
}

/// The same, as directly as it gets.
async fn bare_kills(samples: usize) -> Outcome<Samples> {
    let mut found = Samples::default();
    for _ in 0..samples {
        let mut child = Command::new("sh")
            .args(["-c", OBEDIENT])
            .stdout(Stdio::piped())
            .spawn()?;
        child.stdout.take().ok_or("no pipe")?.read_u8().await?;
        let began = Instant::now();
        child.kill().await?;
        found.add(began.elapsed());
    }
    Ok(found)
}

async fn one(client: &Client, session: &str, command: &str, stream: &str) -> Outcome<Duration> {
    let body = json!({"type": "shell", "command": command, "stream_id": stream});
    client.exec(session, &body).await?;
    let mut events = client.events(session, stream, None).await?;
    events.until("output").await?;
    let began = Instant::now();
    let canceled = client.cancel(session, stream);
    let (canceled, complete) = tokio::join!(canceled, events.until("complete"));
    let took = began.elapsed();
    canceled?;
    let complete = complete?.json();
    if complete["outcome"] != "canceled" {
        return Err(complete.to_string().into());
    }
    Ok(took)
}
