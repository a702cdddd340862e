//! From POST to the first output at a reader that is subscribed already.

use std::process::Stdio;
use std::time::Duration;

use rdev_embedded::SyncInterval;
use rdev_kube_standin::{PodSpec, Standin};
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::world::{PROJECT, World};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::Instant;

use crate::report::{Report, Samples, milliseconds};

/// Not counted: the channel into the pod is opened, caches fill.
const WARM_UP_SAMPLES: usize = 20;
const COMMAND: &str = "echo hi";

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// How many commands are measured, one after the other.
    #[arg(long, default_value_t = 300)]
    samples: usize,
}

pub(crate) async fn run(settings: &Settings) -> Outcome<Report> {
    let mut report = Report::new("POST to first output");
    let floor = bare_spawns(settings.samples).await?;
    let local = {
        let (_world, services) = World::start(crate::options(SyncInterval::Always)?).await?;
        execs(&services.client, settings.samples).await?
    };
    add(&mut report, "local backend", &local, &floor);
    let kube = on_kube(settings.samples).await?;
    add(&mut report, "kube backend, channel open", &kube, &floor);
    Ok(report)
}

fn add(report: &mut Report, what: &str, found: &Samples, floor: &Samples) {
    for share in [0.5, 0.99] {
        let (found, floor) = (found.quantile(share), floor.quantile(share));
        report.row(
            &format!("{what}, p{}", share * 100.0),
            milliseconds(found),
            format!(
                "bare spawn {}: {} over it",
                milliseconds(floor),
                milliseconds(found.saturating_sub(floor))
            ),
        );
    }
}

async fn on_kube(samples: usize) -> Outcome<Samples> {
    let standin = Standin::start().await?;
    let pod = PodSpec::new("default", "bench").label("rdev.dev/project", PROJECT);
    standin.add_pod(pod)?;
    let mut world = World::bare(crate::options(SyncInterval::Always)?).await?;
    let _executor = world.kube_executor(&standin.kubeconfig())?;
    let _projector = world.projector()?;
    let (_gateway, client) = world.gateway()?;
    world.ready(&client).await?;
    let found = execs(&client, samples).await;
    standin.shutdown().await;
    found
}

/// The same command, as directly as it gets.
async fn bare_spawns(samples: usize) -> Outcome<Samples> {
    let mut found = Samples::default();
    for sample in 0..samples + WARM_UP_SAMPLES {
        let began = Instant::now();
        let mut child = Command::new("sh")
            .args(["-c", COMMAND])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdout = child.stdout.take().ok_or("no pipe")?;
        stdout.read_u8().await?;
        let took = began.elapsed();
        child.wait().await?;
        if sample >= WARM_UP_SAMPLES {
            found.add(took);
        }
    }
    Ok(found)
}

async fn execs(client: &Client, samples: usize) -> Outcome<Samples> {
    let session = client.session("bench").await?;
    let mut found = Samples::default();
    for sample in 0..samples + WARM_UP_SAMPLES {
        let took = one(client, &session, sample).await?;
        if sample >= WARM_UP_SAMPLES {
            found.add(took);
        }
    }
    Ok(found)
}

async fn one(client: &Client, session: &str, sample: usize) -> Outcome<Duration> {
    let stream = format!("latency-{sample}");
    let mut events = client.events(session, &stream, None).await?;
    events.until("connected").await?;
    let body = json!({"type": "shell", "command": COMMAND, "stream_id": stream});
    let began = Instant::now();
    let posted = client.exec(session, &body);
    let (posted, output) = tokio::join!(posted, events.until("output"));
    posted?;
    output?;
    let took = began.elapsed();
    events.until("complete").await?;
    Ok(took)
}
