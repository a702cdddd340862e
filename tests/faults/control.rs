//! Orders while executors die: none is lost, none is carried out twice.

use std::time::Duration;

use bytes::Bytes;
use rdev_contract::event::Kind;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::log::{ExecLog, exec_id, until_kind};
use rdev_tests::transcript::sha256;
use rdev_tests::world::World;
use serde_json::json;
use tokio::time::Instant;

use super::{options, world};

const INPUT_BYTES: usize = 100_000_000;
const PIECE_BYTES: usize = 500_000;
/// Every so many pieces the one before is sent once more.
const RESEND_EVERY: usize = 7;
/// Behind so many pieces the executor is killed.
const KILL_AT: [usize; 2] = [60, 130];
/// A moment in which every order that is not lost has been carried out.
const SETTLED: Duration = Duration::from_millis(500);

/// Bytes that differ from place to place.
fn input() -> Bytes {
    let mut state = 1_u32;
    let next = std::iter::repeat_with(|| {
        // A linear congruential generator: the same in every run, and nothing repeats.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    next.take(INPUT_BYTES).collect()
}

/// Sends one piece until it is taken, as a client does that gets no answer or one to come again.
async fn send(client: &Client, session: &str, from: usize, input: &Bytes) -> Outcome<usize> {
    let to = (from + PIECE_BYTES).min(input.len());
    let query = format!("offset={from}&end={}", to == input.len());
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let piece = input.slice(from..to);
        let answer = client.stdin(session, "sum", &query, piece).await?;
        match answer.status {
            202 => {
                return Ok(usize::try_from(
                    answer.json()["next_offset"].as_u64().unwrap_or(0),
                )?);
            }
            429 | 503 if Instant::now() < until => {}
            _ => return Err(format!("{} {}", answer.status, answer.text).into()),
        }
    }
}

#[tokio::test]
async fn a_hundred_megabytes_of_input_survive_dying_executors() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let client = &services.client;
    let session = client.session("input").await?;
    let body = json!({"type": "shell", "command": "sha256sum", "stream_id": "sum",
        "stdin_open": true});
    client.exec(&session, &body).await?;
    let input = input();
    let mut executor = services.executor;
    let (mut next, mut pieces) = (0, 0);
    while next < input.len() {
        let before = next;
        next = send(client, &session, next, &input).await?;
        assert_eq!(next, (before + PIECE_BYTES).min(input.len()));
        pieces += 1;
        if pieces % RESEND_EVERY == 0 {
            let again = send(client, &session, before - 1234, &input).await;
            assert_eq!(again?, next, "what was sent twice is taken once");
        }
        if KILL_AT.contains(&pieces) {
            let second = world.executor()?;
            executor.kill().await;
            executor = second;
        }
    }
    let transcript = client.transcript(&session, "sum").await?;
    transcript.check()?;
    assert_eq!(transcript.stdout(), format!("{}  -\n", sha256(&input)));
    let bus = world.bus().await?;
    let exec = exec_id(client, &session, "sum")?;
    let log = ExecLog::read(&bus, &exec).await?;
    log.check()?;
    assert_eq!(log.count(Kind::Resumed), KILL_AT.len());
    Ok(())
}

#[tokio::test]
async fn a_cancel_while_nobody_has_the_exec_is_carried_out_by_who_takes_it_over() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let (client, bus) = (&services.client, world.bus().await?);
    let session = client.session("orphan").await?;
    let body =
        json!({"type": "shell", "command": "echo $$; exec sleep 300", "stream_id": "orphan"});
    client.exec(&session, &body).await?;
    let mut events = client.events(&session, "orphan", None).await?;
    let pid = events.until("output").await?.json()["line"].clone();
    services.executor.kill().await;
    let canceled = client.cancel(&session, "orphan").await?;
    assert_eq!(canceled.status, 202, "{}", canceled.text);
    assert_eq!(canceled.json()["status"], "running");
    let _second = world.executor()?;
    let complete = events.until("complete").await?.json();
    assert_eq!(complete["outcome"], "canceled", "{complete}");
    let pid = pid.as_str().ok_or("no pid")?.to_owned();
    assert!(!std::path::Path::new("/proc").join(pid).exists());
    let log = ExecLog::read(&bus, &exec_id(client, &session, "orphan")?).await?;
    log.check()?;
    assert_eq!(log.attempts(), [1, 2]);
    Ok(())
}

/// The claim is in the log, the launch has not been answered: an order that comes now waits for it.
#[tokio::test]
async fn a_cancel_between_claim_and_launch_is_carried_out() -> Outcome<()> {
    let mut world = World::bare(options()).await?;
    let proxy = world.nats_proxy().await?;
    let first = world.executor_through(&proxy)?;
    let _projector = world.projector()?;
    let (_gateway, client) = world.gateway()?;
    world.ready(&client).await?;
    let bus = world.bus().await?;
    let session = client.session("claimed").await?;
    let exec = exec_id(&client, &session, "claimed")?;
    // The claim is stored, and the executor does not learn of it.
    let subject = rdev_contract::subject::Subject::exec(&exec, Kind::Started);
    proxy.withhold_answers_behind(subject.as_str());
    let body = json!({"type": "shell", "command": "exec sleep 300", "stream_id": "claimed"});
    client.exec(&session, &body).await?;
    until_kind(&bus, &exec, Kind::Started).await?;
    let canceled = client.cancel(&session, "claimed").await?;
    assert_eq!(canceled.status, 202, "{}", canceled.text);
    first.kill().await;
    let _second = world.executor()?;
    let transcript = client.transcript(&session, "claimed").await?;
    transcript.check()?;
    assert_eq!(transcript.complete()["outcome"], "canceled");
    ExecLog::read(&bus, &exec).await?.check()?;
    Ok(())
}

#[tokio::test]
async fn a_signal_is_carried_out_once_by_all_executors_together() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let client = &services.client;
    let session = client.session("once").await?;
    let command = "exec 2>/dev/null; trap 'echo got' USR1; trap 'echo bye; exit 0' USR2; echo ready; \
        while :; do sleep 0.02; done";
    let body = json!({"type": "shell", "command": command, "stream_id": "once"});
    client.exec(&session, &body).await?;
    let mut events = client.events(&session, "once", None).await?;
    events.until("output").await?;
    let signal = async |name: &str| {
        let body = json!({ "signal": name });
        let answer = client.order(&session, "once", "signal", &body).await?;
        assert_eq!(answer.status, 202, "{}", answer.text);
        Outcome::Ok(())
    };
    let mut executor = services.executor;
    for _ in 0..2 {
        signal("USR1").await?;
        events.until("output").await?;
        let second = world.executor()?;
        executor.kill().await;
        executor = second;
        // One that comes while nobody has it.
        signal("USR1").await?;
        events.until("output").await?;
        tokio::time::sleep(SETTLED).await;
    }
    signal("USR2").await?;
    let transcript = client.transcript(&session, "once").await?;
    transcript.check()?;
    assert_eq!(transcript.stdout(), "ready\ngot\ngot\ngot\ngot\nbye\n");
    Ok(())
}

#[tokio::test]
async fn without_the_log_orders_are_refused_and_may_be_repeated() -> Outcome<()> {
    let mut world = World::bare(options()).await?;
    let proxy = world.nats_proxy().await?;
    let _executor = world.executor()?;
    let _projector = world.projector()?;
    let (_gateway, client) = world.gateway_through(&proxy)?;
    world.ready(&client).await?;
    let session = client.session("away").await?;
    let body = json!({"type": "shell", "command": "cat", "stream_id": "away", "stdin_open": true});
    client.exec(&session, &body).await?;
    proxy.refuse();
    for answer in [
        client.cancel(&session, "away").await?,
        client.stdin(&session, "away", "offset=0", "x").await?,
    ] {
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert!(!answer.header("retry-after").is_empty());
    }
    proxy.pass();
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = client.cancel(&session, "away").await?;
        match answer.status {
            202 => break,
            503 if Instant::now() < until => tokio::time::sleep(Duration::from_millis(50)).await,
            _ => return Err(answer.text.into()),
        }
    }
    let transcript = client.transcript(&session, "away").await?;
    transcript.check()?;
    assert_eq!(transcript.complete()["outcome"], "canceled");
    Ok(())
}
