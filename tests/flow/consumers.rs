//! Consumers of the log that are not ours: the programs of docs/consumers.md, run as they stand
//! there, with the real nats-py and nats.js. They see what is stored, and nobody notices them.

use std::time::Duration;

use async_nats::jetstream::{consumer, stream};
use rdev_contract::subject::EXEC_STREAM;
use rdev_embedded::Signal;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::transcript::Transcript;
use rdev_tests::world::World;
use serde_json::{Value, json};

use super::consumer::{Consumer, Language, PATIENCE, programs};
use super::{options, world};

/// Nobody tells when a message was acknowledged.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The numbered events among `[sequence, message]` lines, as readers know them.
pub(super) fn numbered(lines: &[Value]) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    for line in lines {
        let first = line[1]["first"].as_u64().unwrap_or(0);
        for (number, event) in (first..).zip(line[1]["events"].as_array().into_iter().flatten()) {
            events.push((format!("{}-{number}", line[0]), event["data"].clone()));
        }
    }
    events
}

pub(super) fn as_read(transcript: &Transcript) -> Vec<(String, Value)> {
    let place = |id: &str| {
        id.rsplit_once('-')
            .map_or("", |(place, _)| place)
            .to_owned()
    };
    let events = transcript.numbered();
    events
        .iter()
        .map(|event| (place(&event.id), event.json()))
        .collect()
}

/// Each message of the log, as these programs print them.
pub(super) async fn stored(world: &World) -> Outcome<Vec<Value>> {
    let client = async_nats::connect(world.nats.url()).await?;
    let log = async_nats::jetstream::new(client);
    let mut log = log.get_stream(EXEC_STREAM).await?;
    let state = log.info().await?.state.clone();
    let mut stored = Vec::new();
    for sequence in state.first_sequence..=state.last_sequence {
        let message = log.get_raw_message(sequence).await?;
        let payload: Value = serde_json::from_slice(&message.payload)?;
        stored.push(json!([sequence, payload]));
    }
    Ok(stored)
}

const COMMAND: &str = "echo héllo; echo err >&2; sleep 0.3; printf end; exit 3";

pub(super) async fn run(client: &Client, session: &str, stream: &str) -> Outcome<Transcript> {
    let body = json!({"type": "shell", "command": COMMAND, "stream_id": stream});
    let transcript = client.run(session, &body).await?;
    transcript.check()?;
    Ok(transcript)
}

#[tokio::test]
async fn a_live_consumer_sees_its_project_as_readers_do() -> Outcome<()> {
    let (world, services) = world().await?;
    let (client, other) = (&services.client, services.client.of_project("other"));
    let session = client.session("pod").await?;
    let foreign = other.session("pod").await?;
    run(client, &session, "before").await?;
    for (turn, language) in Language::all()?.iter().enumerate() {
        let mut consumer = Consumer::live(language, &world.nats.url()).await?;
        run(&other, &foreign, &format!("foreign-{turn}")).await?;
        let stream = format!("stream-{turn}");
        let ours = run(client, &session, &stream).await?;
        let theirs = consumer.until_complete(&stream).await?;
        // Nothing of the other project, and nothing from before.
        assert!(
            theirs
                .iter()
                .all(|line| line[1]["stream"] == stream.as_str())
        );
        assert_eq!(theirs[0][1]["kind"], "command");
        assert_eq!(numbered(&theirs), as_read(&ours));
    }
    Ok(())
}

/// What happens while it is cut off is not lost to it: `prev` and the log make up for it.
#[tokio::test]
async fn a_live_consumer_that_was_cut_off_makes_up_for_it() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let session = client.session("pod").await?;
    for (turn, language) in Language::all()?.iter().enumerate() {
        let proxy = world.nats_proxy().await?;
        let url = format!("nats://{}", proxy.address());
        let mut consumer = Consumer::live(language, &url).await?;
        let (first, second) = (format!("first-{turn}"), format!("second-{turn}"));
        let gate = format!("gate-{turn}");
        let command = format!("echo 1; until [ -e {gate} ]; do sleep 0.02; done; echo 2");
        let body = json!({"type": "shell", "command": command, "stream_id": first});
        client.exec(&session, &body).await?;
        let mut theirs = Vec::new();
        while theirs
            .iter()
            .all(|line: &Value| line[1]["kind"] != "output")
        {
            theirs.push(consumer.next().await?);
        }
        // The rest of the first and the whole second exec happen without it.
        proxy.refuse();
        std::fs::write(world.pod("pod").join(&gate), "")?;
        let ours = client.transcript(&session, &first).await?;
        run(client, &session, &second).await?;
        proxy.pass();
        theirs.extend(consumer.until_complete(&second).await?);
        let of_first: Vec<_> = theirs
            .into_iter()
            .filter(|line| line[1]["stream"] == first.as_str())
            .collect();
        assert_eq!(numbered(&of_first), as_read(&ours));
    }
    Ok(())
}

/// Without any sign from its connection, a message that never came is noticed by the next one.
#[tokio::test]
async fn a_live_consumer_reads_what_never_came() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let session = client.session("pod").await?;
    let log = async_nats::jetstream::new(async_nats::connect(world.nats.url()).await?);
    let told = log
        .get_stream(EXEC_STREAM)
        .await?
        .cached_info()
        .config
        .clone();
    let untold = stream::Config {
        republish: None,
        ..told.clone()
    };
    for (turn, language) in Language::all()?.iter().enumerate() {
        let mut consumer = Consumer::live(language, &world.nats.url()).await?;
        let stream = format!("stream-{turn}");
        let wait = |gate: &str| format!("until [ -e {gate}-{turn} ]; do sleep 0.02; done");
        let command = format!("echo 1; {}; echo 2; {}; echo 3", wait("a"), wait("b"));
        let body = json!({"type": "shell", "command": command, "stream_id": stream});
        let open = |gate: &str| std::fs::write(world.pod("pod").join(format!("{gate}-{turn}")), "");
        client.exec(&session, &body).await?;
        let mut reader = client.events(&session, &stream, None).await?;
        reader.until("output").await?;
        log.update_stream(&untold).await?;
        open("a")?;
        // Stored, and not told. Our own reader asks the log in a quiet while.
        reader.until("output").await?;
        log.update_stream(&told).await?;
        open("b")?;
        let ours = client.transcript(&session, &stream).await?;
        assert_eq!(
            numbered(&consumer.until_complete(&stream).await?),
            as_read(&ours)
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_replay_gives_what_is_stored_from_a_sequence_on() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let session = client.session("pod").await?;
    run(client, &session, "first").await?;
    run(client, &session, "second").await?;
    for (turn, language) in Language::all()?.iter().enumerate() {
        let middle = stored(&world).await?.len() / 2;
        let begin = stored(&world).await?[middle][0].to_string();
        let arguments = [&*world.nats.url(), "demo", &begin];
        let mut consumer = Consumer::start(language, "replay", &arguments)?;
        let first = consumer.next().await?;
        // And it goes on with what comes.
        let stream = format!("later-{turn}");
        run(client, &session, &stream).await?;
        let mut seen = vec![first];
        seen.extend(consumer.until_complete(&stream).await?);
        assert_eq!(seen, stored(&world).await?[middle..]);
    }
    Ok(())
}

/// Waits until nothing that a durable consumer was sent is unacknowledged.
async fn until_acknowledged(world: &World, name: &str) -> Outcome<()> {
    let log = async_nats::jetstream::new(async_nats::connect(world.nats.url()).await?);
    let log = log.get_stream(EXEC_STREAM).await?;
    let waiting = async {
        loop {
            let consumer: consumer::PullConsumer = log.get_consumer(name).await?;
            if consumer.cached_info().num_ack_pending == 0 {
                return Outcome::Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await?
}

#[tokio::test]
async fn completes_are_told_to_a_consumer_that_was_away() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let session = client.session("pod").await?;
    for (turn, language) in Language::all()?.iter().enumerate() {
        let name = format!("billing-{turn}");
        let arguments = [&*world.nats.url(), "demo", &name];
        let streams: Vec<_> = (0..3).map(|exec| format!("exec-{turn}-{exec}")).collect();
        let first = run(client, &session, &streams[0]).await?;
        let mut consumer = Consumer::start(language, "completes", &arguments)?;
        let told = async |consumer: &mut Consumer, stream: &str| loop {
            let line = consumer.next().await?;
            if line[2] == stream {
                return Outcome::Ok(line);
            }
        };
        let line = told(&mut consumer, &streams[0]).await?;
        assert_eq!((&line[1], &line[3]), (&json!(session), &first.complete()));
        until_acknowledged(&world, &name).await?;
        consumer.child.kill().await?;
        run(client, &session, &streams[1]).await?;
        run(client, &session, &streams[2]).await?;
        let mut consumer = Consumer::start(language, "completes", &arguments)?;
        assert_eq!(consumer.next().await?[2], streams[1].as_str());
        assert_eq!(consumer.next().await?[2], streams[2].as_str());
    }
    Ok(())
}

/// The server ends and starts again: whoever followed, goes on.
#[tokio::test]
async fn consumers_outlive_a_restart_of_the_server() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let client = &services.client;
    let session = client.session("pod").await?;
    run(client, &session, "before").await?;
    let url = world.nats.url();
    let (mut live, mut replaying, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for (turn, language) in Language::all()?.iter().enumerate() {
        live.push(Consumer::live(language, &url).await?);
        let mut consumer = Consumer::start(language, "replay", &[&url, "demo", "1"])?;
        replaying.push((consumer.until_complete("before").await?, consumer));
        let name = format!("restart-{turn}");
        let mut consumer = Consumer::start(language, "completes", &[&url, "demo", &name])?;
        assert_eq!(consumer.next().await?[2], "before");
        told.push(consumer);
    }
    world.nats.kill().await;
    world.nats.restart().await?;
    // The gateway refuses what it cannot store yet.
    let body = json!({"type": "shell", "command": COMMAND, "stream_id": "after"});
    let posted = async {
        while client.exec(&session, &body).await.is_err() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(PATIENCE, posted).await?;
    let ours = client.transcript(&session, "after").await?;
    for mut consumer in live {
        assert_eq!(
            numbered(&consumer.until_complete("after").await?),
            as_read(&ours)
        );
    }
    for (mut seen, mut consumer) in replaying {
        seen.extend(consumer.until_complete("after").await?);
        assert_eq!(seen, stored(&world).await?);
    }
    for mut consumer in told {
        // An acknowledgement may have been lost with the server.
        while consumer.next().await?[2] != "after" {}
    }
    Ok(())
}

/// Prints 24 MB in lines of 8 KB: far more than sockets hold.
const BULK: &str = "head -c 24000000 /dev/zero | tr '\\0' x | fold -w 8000";

/// Stopped, killed and vanished consumers: the command runs, readers read; and who was only
/// stopped has everything later.
#[tokio::test]
async fn slow_and_vanished_consumers_affect_nobody() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let session = client.session("pod").await?;
    run(client, &session, "before").await?;
    let url = world.nats.url();
    let mut stopped = Vec::new();
    for (turn, language) in Language::all()?.iter().enumerate() {
        stopped.push(Consumer::live(language, &url).await?);
        let mut replaying = Consumer::start(language, "replay", &[&url, "demo", "1"])?;
        replaying.until_complete("before").await?;
        stopped.push(replaying);
        let name = format!("vanished-{turn}");
        let mut vanished = Consumer::start(language, "completes", &[&url, "demo", &name])?;
        vanished.next().await?;
        vanished.child.kill().await?;
    }
    let mut killed = Consumer::live(&Language::python()?, &url).await?;
    for consumer in &stopped {
        consumer.signal(Signal::STOP)?;
    }
    let body = json!({"type": "shell", "command": BULK, "stream_id": "bulk"});
    client.exec(&session, &body).await?;
    killed.next().await?;
    killed.child.kill().await?;
    let ours = client.transcript(&session, "bulk").await?;
    ours.check()?;
    assert_eq!(ours.complete()["stdout_bytes"], 24_002_999);
    for mut consumer in stopped {
        consumer.signal(Signal::CONT)?;
        let theirs = consumer.until_complete("bulk").await?;
        assert!(numbered(&theirs) == as_read(&ours), "it saw something else");
    }
    Ok(())
}

#[tokio::test]
async fn joined_events_are_the_exact_bytes() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let claude = super::claude::stand_in(directory.path())?;
    let (world, services) = World::start(options().variable("RDEV_CLAUDE_BIN", claude)).await?;
    let client = &services.client;
    let session = client.session("pod").await?;
    let pod = world.pod("pod");
    std::fs::create_dir_all(&pod)?;
    let any: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    std::fs::write(pod.join("any"), &any)?;
    let shell = json!({"type": "shell", "command": "cat any; printf 'é\\n\\nx' >&2"});
    // A line of claude's that is too long for one message, and an end without a newline.
    let line = format!("{{\"text\":\"{}\"}}", "ü\\ud83d".repeat(100_000));
    let lines = format!("{line}\n {{}}\t\n{{\"a\":1}}").into_bytes();
    let printed = pod.join("printed");
    std::fs::write(printed.with_extension("jsonl"), &lines)?;
    let prompt = format!("{}{}", "../".repeat(32), printed.display());
    let cases = [
        (shell.clone(), "stdout", any),
        (shell, "stderr", "é\n\nx".as_bytes().to_vec()),
        (json!({"type": "claude", "prompt": prompt}), "stdout", lines),
    ];
    let Language::Python(packages) = Language::python()? else {
        return Err("Python is Python".into());
    };
    for (body, wanted, bytes) in cases {
        let stream = client.exec(&session, &body).await?;
        client.transcript(&session, &stream).await?;
        let output = tokio::process::Command::new("python3")
            .arg(programs().join("exact_bytes.py"))
            .args([&world.nats.url(), "demo", &session, &stream, wanted])
            .env("PYTHONPATH", &packages)
            .output()
            .await?;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        assert!(output.stdout == bytes, "{wanted} of {body} differs");
    }
    Ok(())
}

/// What readers of the documentation copy is what is tested here.
#[test]
fn the_documentation_quotes_these_programs() -> Outcome<()> {
    let documentation = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/consumers.md");
    let documentation = std::fs::read_to_string(documentation)?;
    for entry in std::fs::read_dir(programs())? {
        let path = entry?.path();
        let language = match path.extension().and_then(|extension| extension.to_str()) {
            Some("py") => "python",
            Some("mjs") => "js",
            _ => continue,
        };
        let quoted = format!("```{language}\n{}```\n", std::fs::read_to_string(&path)?);
        let name = path.display();
        assert!(
            documentation.contains(&quoted),
            "docs/consumers.md does not quote {name}"
        );
    }
    Ok(())
}
