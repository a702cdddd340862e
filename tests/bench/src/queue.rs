//! What a flood of one project costs another, what waiting costs the gateway, and how long a
//! scheduler takes to begin.

use std::time::Duration;

use futures::stream;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use rdev_bus::Bus;
use rdev_bus::submit::Submitted;
use rdev_contract::envelope::{Message, Recorded};
use rdev_contract::event::{Command, CommandSpec, Complete, Outcome as End, Requester, Work};
use rdev_embedded::SyncInterval;
use rdev_tests::client::Client;
use rdev_tests::world::World;
use rdev_tests::{Outcome, log};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::log::new_exec;
use crate::process::{busy, resident_bytes};
use crate::report::{Report, Samples, milliseconds};

/// POSTs of a flood, and writers of a log, at the same time.
const AT_ONCE: usize = 64;
/// Sessions that a flood is spread over.
const SESSIONS: usize = 4;
/// Between two execs of the other project.
const PAUSE: Duration = Duration::from_millis(50);
/// So long the gateway is watched while nothing happens but waiting.
const WATCHED: Duration = Duration::from_secs(10);
/// A scheduler leaves a snapshot every 10 s.
const SNAPSHOT_IS_LEFT: Duration = Duration::from_secs(12);

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Execs of the flood.
    #[arg(long, default_value_t = 10_000)]
    flood: usize,
    /// Execs in the log that have ended before a scheduler begins.
    #[arg(long, default_value_t = 100_000)]
    finished: usize,
    /// Execs of the other project while nothing else happens.
    #[arg(long, default_value_t = 100)]
    samples: usize,
}

pub(crate) async fn run(settings: &Settings) -> Outcome<Report> {
    let mut report = Report::new("queues");
    flood(settings, &mut report).await?;
    waiting(settings, &mut report).await?;
    beginning(settings, &mut report).await?;
    Ok(report)
}

async fn flood(settings: &Settings, report: &mut Report) -> Outcome<()> {
    let (_world, services) = World::start(crate::options(SyncInterval::Always)?).await?;
    let client = &services.client;
    let other = client.of_project("other");
    let quiet = other.session("quiet").await?;
    let (mut alone, mut beside) = (Samples::default(), Samples::default());
    for number in 0..settings.samples {
        alone.add(first_output(&other, &quiet, &format!("alone-{number}")).await?);
    }
    let sessions = sessions(client).await?;
    let began = Instant::now();
    let flooding = async {
        post(client, &sessions, settings.flood, "true").await?;
        let posted = began.elapsed();
        until_none_waits(client).await?;
        Outcome::Ok((posted, began.elapsed()))
    };
    tokio::pin!(flooding);
    let mut number = 0;
    let (posted, ended) = loop {
        let stream = format!("beside-{number}");
        number += 1;
        tokio::select! {
            ended = &mut flooding => break ended?,
            sample = first_output(&other, &quiet, &stream) => beside.add(sample?),
        }
        tokio::select! {
            ended = &mut flooding => break ended?,
            () = sleep(PAUSE) => {}
        }
    };
    for share in [0.5, 0.99, 1.0] {
        report.row(
            &format!(
                "POST to first output beside a flood of {}, p{}",
                settings.flood,
                share * 100.0
            ),
            milliseconds(beside.quantile(share)),
            format!(
                "alone {}; 1,000 ms are asked for",
                milliseconds(alone.quantile(share))
            ),
        );
    }
    report.row(
        "the flood itself",
        format!("{:.0} execs/s", per_second(settings.flood, ended)),
        format!(
            "posted in {:.1} s, {number} others meanwhile",
            posted.as_secs_f64()
        ),
    );
    Ok(())
}

async fn sessions(client: &Client) -> Outcome<Vec<String>> {
    let mut sessions = Vec::new();
    for index in 0..SESSIONS {
        sessions.push(client.session(&format!("flood-{index}")).await?);
    }
    Ok(sessions)
}

async fn post(client: &Client, sessions: &[String], count: usize, command: &str) -> Outcome<()> {
    stream::iter(0..count)
        .map(async |number| {
            let body =
                json!({"type": "shell", "command": command, "stream_id": format!("f{number}")});
            client.exec(&sessions[number % sessions.len()], &body).await
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(async |_| Ok(()))
        .await
}

async fn until_none_waits(client: &Client) -> Outcome<()> {
    loop {
        let page: Value = client.get("/execs?status=queued&limit=1").await?.json();
        let running: Value = client.get("/execs?status=running&limit=1").await?.json();
        let is_empty = |page: &Value| page["items"].as_array().is_some_and(Vec::is_empty);
        if is_empty(&page) && is_empty(&running) {
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// From the POST to the first output at a reader that is subscribed already.
async fn first_output(client: &Client, session: &str, stream: &str) -> Outcome<Duration> {
    let mut events = client.events(session, stream, None).await?;
    events.until("connected").await?;
    let body = json!({"type": "shell", "command": "echo hi", "stream_id": stream});
    let began = Instant::now();
    let (posted, output) = tokio::join!(client.exec(session, &body), events.until("output"));
    posted?;
    output?;
    Ok(began.elapsed())
}

/// Commands wait and nothing else happens.
async fn waiting(settings: &Settings, report: &mut Report) -> Outcome<()> {
    let options = crate::options(SyncInterval::Always)?.variable("RDEV_SESSION_RUNNING_MAX", "1");
    let (mut world, services) = World::start(options).await?;
    let client = &services.client;
    let session = client.session("line").await?;
    client
        .exec(&session, &json!({"type": "shell", "command": "sleep 3600"}))
        .await?;
    let pid = services.gateway.pid();
    let empty = resident_bytes(pid)?;
    post(client, &[session], settings.flood, "true").await?;
    let before = busy(pid)?;
    sleep(WATCHED).await;
    let used = busy(pid)?.saturating_sub(before).as_secs_f64() / WATCHED.as_secs_f64();
    report.row(
        &format!("a gateway while {} wait", settings.flood),
        format!("{:.1} % of a core", used * 100.0),
        format!(
            "{} KiB resident, {} KiB before they came",
            resident_bytes(pid)? / 1024,
            empty / 1024
        ),
    );
    let other = client.of_project("other");
    let quiet = other.session("quiet").await?;
    services.executor.kill().await;
    let began = Instant::now();
    let _second = world.executor()?;
    other.shell(&quiet, "true").await?.check()?;
    report.row(
        &format!(
            "SIGKILL of the scheduler while {} wait: another's exec is done",
            settings.flood
        ),
        format!("{:.2} s", began.elapsed().as_secs_f64()),
        "its term lapses after 3 s".to_owned(),
    );
    Ok(())
}

async fn beginning(settings: &Settings, report: &mut Report) -> Outcome<()> {
    let mut world = World::bare(crate::options(crate::LAZY_SYNC)?).await?;
    let _projector = world.projector()?;
    let (_gateway, client) = world.gateway()?;
    world.ready(&client).await?;
    let session = client.session("begin").await?;
    let bus = world.bus().await?;
    // No executor has made the work queue.
    bus.ensure_topology().await?;
    let writing = stream::iter(0..settings.finished).map(async |_| finished(&bus).await);
    writing
        .buffer_unordered(AT_ONCE)
        .try_for_each(async |()| Ok(()))
        .await?;
    // As their executors did.
    let work = bus.commands().await?;
    let mut left = settings.finished;
    while left > 0 {
        let mut offers = work.ask(AT_ONCE.min(left)).await?;
        while let Some(delivery) = offers.next().await? {
            delivery.ticket.done().await?;
            left -= 1;
        }
    }
    for what in ["without a snapshot", "with one"] {
        let began = Instant::now();
        let executor = world.executor()?;
        client.shell(&session, "true").await?.check()?;
        report.row(
            &format!(
                "an executor starts and runs a command, {} execs in the log, {what}",
                settings.finished
            ),
            format!("{:.2} s", began.elapsed().as_secs_f64()),
            String::new(),
        );
        sleep(SNAPSHOT_IS_LEFT).await;
        executor.stop().await;
    }
    Ok(())
}

/// An exec that was asked for, admitted and ended.
async fn finished(bus: &Bus) -> Outcome<()> {
    let (exec, at) = (new_exec()?, Timestamp::now());
    let Submitted::Created(sequence) = bus.submit(&exec, &command(at), at).await? else {
        return Err("an exec was there already".into());
    };
    let stored = bus.tail(&exec).await?.ok_or("no command")?;
    let value = Message::decode(&stored.value.payload)?.chain;
    bus.admit(&exec, Recorded { sequence, value }, "bench", at)
        .await;
    let complete = Complete::without_process(End::Rejected, "a bench");
    log::end(bus, &exec, &complete).await
}

fn command(at: Timestamp) -> Command {
    let work = Work::Shell {
        command: "true".to_owned(),
    };
    Command {
        spec: CommandSpec::new(work, 60),
        accept_until: at + Duration::from_secs(60),
        awaits_pod: false,
        by: Requester::default(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
