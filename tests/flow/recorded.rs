//! Logs as earlier builds have written them, read by this one: readers are shown what they were shown
//! then, the lists say what they said, and audits are equal.
//!
//! `RDEV_RECORD_LOG` is the name of a new recording; it is made with the program that `RDEV_UPGRADE_FROM`
//! names, or with this build. docs/upgrading.md has the commands.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use rdev_bus::LogStream;
use rdev_tests::client::Client;
use rdev_tests::log;
use rdev_tests::world::World;
use rdev_tests::{Failure, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::upgrade::FROM_VARIABLE;
use super::{claude, codex, options};

/// The name of the recording that is to be made.
const RECORD_VARIABLE: &str = "RDEV_RECORD_LOG";
const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/logs");
/// Streams that are recorded, in the order in which they are written again.
const STREAMS: [LogStream; 2] = [LogStream::Session, LogStream::Exec];
/// Nothing that is waited for here takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(20);
/// Takes the place of messages that the log does not hold any more, and is deleted.
const FILLER: &str = "filler";

/// A stored message: a line of a recording.
#[derive(Debug, Serialize, Deserialize)]
struct Message {
    stream: String,
    sequence: u64,
    subject: String,
    payload: String,
}

/// What a build has shown of a log.
#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    /// Name and data of the numbered events of each exec, by its path.
    events: BTreeMap<String, Vec<(String, String)>>,
    /// Answers, by their path.
    lists: BTreeMap<String, Value>,
}

/// One recording: two files.
struct Recording {
    log: PathBuf,
    seen: PathBuf,
}

impl Recording {
    fn named(name: &str) -> Self {
        let place = PathBuf::from(RECORDINGS);
        Self {
            log: place.join(format!("{name}.log.jsonl")),
            seen: place.join(format!("{name}.seen.json")),
        }
    }

    fn all() -> Outcome<Vec<String>> {
        let mut names = Vec::new();
        for file in std::fs::read_dir(RECORDINGS)? {
            let name = file?.file_name();
            names.extend(
                name.to_str()
                    .and_then(|name| Some(name.strip_suffix(".log.jsonl")?.to_owned())),
            );
        }
        Ok(names)
    }

    async fn write(&self, log: &Context, seen: &Seen) -> Outcome<()> {
        let mut lines = String::new();
        for stream in STREAMS {
            let stream = log.get_stream(stream.name()).await?;
            for sequence in 1..=stream.cached_info().state.last_sequence {
                // What is not there was deleted by the build itself.
                if let Ok(found) = stream.get_raw_message(sequence).await {
                    let message = Message {
                        stream: stream.cached_info().config.name.clone(),
                        sequence,
                        subject: found.subject.to_string(),
                        payload: String::from_utf8(found.payload.into())?,
                    };
                    lines += &serde_json::to_string(&message)?;
                    lines += "\n";
                }
            }
        }
        std::fs::create_dir_all(RECORDINGS)?;
        std::fs::write(&self.log, lines)?;
        Ok(std::fs::write(
            &self.seen,
            serde_json::to_string_pretty(seen)? + "\n",
        )?)
    }

    /// Writes the messages into a log that holds nothing yet, each at its own place.
    async fn put_back(&self, log: &Context) -> Outcome<()> {
        let mut next = BTreeMap::new();
        for line in std::fs::read_to_string(&self.log)?.lines() {
            let message: Message = serde_json::from_str(line)?;
            let next: &mut u64 = next.entry(message.stream.clone()).or_insert(1);
            let (place, _) = message.subject.rsplit_once('.').ok_or("no subject")?;
            while *next < message.sequence {
                let filler = log.publish(format!("{place}.{FILLER}"), "".into()).await?;
                let stream = log.get_stream(&message.stream).await?;
                stream.delete_message(filler.await?.sequence).await?;
                *next += 1;
            }
            let stored = log.publish(message.subject, message.payload.into());
            let stored = stored.await?.await?;
            if (stored.stream.as_str(), stored.sequence) != (&message.stream, message.sequence) {
                return Err("the log is not empty".into());
            }
            *next += 1;
        }
        Ok(())
    }
}

impl Seen {
    /// All of it, through a gateway.
    async fn through(client: &Client) -> Outcome<Self> {
        let mut seen = Self {
            events: BTreeMap::new(),
            lists: BTreeMap::new(),
        };
        let sessions = seen.list(client, "/sessions").await?;
        for session in &sessions {
            let path = format!("/sessions/{session}/execs");
            for exec in seen.list(client, &path).await? {
                let transcript = client.transcript(session, &exec).await?;
                transcript.check()?;
                let numbered = transcript.numbered().into_iter();
                let shown = numbered.map(|event| (event.name.clone(), event.data.clone()));
                let path = format!("/sessions/{session}/execs/{exec}");
                seen.events.insert(path, shown.collect());
            }
        }
        for conversation in seen.list(client, "/conversations").await? {
            seen.list(client, &format!("/conversations/{conversation}/messages"))
                .await?;
        }
        Ok(seen)
    }

    /// Adds a list; its ids.
    async fn list(&mut self, client: &Client, path: &str) -> Outcome<Vec<String>> {
        let items = client.get(path).await?.json()["items"].clone();
        let ids = items.as_array().into_iter().flatten();
        let ids = ids.filter_map(|item| Some(item["id"].as_str()?.to_owned()));
        let ids = ids.collect();
        self.lists.insert(path.to_owned(), items);
        Ok(ids)
    }

    /// The same once the tables have all of it; or, where that takes too long, as it is then.
    async fn until_listed(client: &Client, is_listed: impl Fn(&Self) -> bool) -> Outcome<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = Self::through(client).await?;
            if is_listed(&seen) || Instant::now() > deadline {
                return Ok(seen);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// A command that has printed something.
async fn begun(client: &Client, session: &str, command: &str) -> Outcome<String> {
    let body = json!({"type": "shell", "command": command});
    let stream = client.exec(session, &body).await?;
    let mut events = client.events(session, &stream, None).await?;
    events.until("output").await?;
    Ok(stream)
}

/// Whatever a log may hold, asked of a build of any age.
async fn work(world: &mut World) -> Outcome<Seen> {
    let projector = world.projector()?;
    let executor = world.executor()?;
    let (gateway, client) = world.gateway()?;
    world.ready(&client).await?;
    let session = client.session("recorded").await?;
    let ended = client.session("ended").await?;
    let body = json!({"type": "shell", "command": "printf 'a\\0b\\nc'; echo d >&2; exit 7"});
    client.run(&session, &body).await?;
    for (agent, prompt) in [
        ("claude", "simple"),
        ("claude", "unicode"),
        ("codex", "hello"),
    ] {
        let body = json!({"type": agent, "prompt": prompt});
        let path = format!("/sessions/{session}/exec");
        let asked = client.post(&path, &body).await?;
        // A build that does not know the agent says so, and has nothing of it in its log.
        if let Some(stream) = asked.json()["id"].as_str() {
            client.transcript(&session, stream).await?;
        }
    }
    let command = "echo up; until [ -e enough ]; do sleep 0.02; done";
    let stream = begun(&client, &session, command).await?;
    // Nor are there cancels for a build that does not know them.
    if client.cancel(&session, &stream).await?.status != 202 {
        std::fs::write(world.pod("recorded").join("enough"), "")?;
    }
    client.transcript(&session, &stream).await?;
    // One that outlives its executor.
    let command = "echo one; until [ -e go ]; do sleep 0.02; done; echo two";
    let stream = begun(&client, &session, command).await?;
    executor.kill().await;
    let executor = world.executor()?;
    executor.until_it_says("executor is ready").await?;
    std::fs::write(world.pod("recorded").join("go"), "")?;
    client.transcript(&session, &stream).await?;
    // Nor do its sessions end.
    let asked = client.delete(&format!("/sessions/{ended}")).await?;
    let ends = asked.status == 200;
    let is_listed = |seen: &Seen| {
        let lists = json!(seen.lists).to_string();
        (!ends || lists.contains(r#""status":"ended""#)) && !lists.contains(r#""status":"running""#)
    };
    let seen = Seen::until_listed(&client, is_listed).await?;
    if !is_listed(&seen) {
        return Err(format!("not listed in time: {:#}", json!(seen.lists)).into());
    }
    for service in [gateway, executor, projector] {
        service.stop().await;
    }
    Ok(seen)
}

/// Whether everything that was said is said, and perhaps more.
fn says(found: &Value, said: &Value) -> bool {
    match (found, said) {
        (Value::Object(found), Value::Object(said)) => said
            .iter()
            .all(|(name, said)| found.get(name).is_some_and(|found| says(found, said))),
        (Value::Array(found), Value::Array(said)) => {
            found.len() == said.len()
                && found
                    .iter()
                    .zip(said)
                    .all(|(found, said)| says(found, said))
        }
        (found, said) => found == said,
    }
}

async fn log_of(world: &World) -> Outcome<Context> {
    Ok(jetstream::new(async_nats::connect(world.nats.url()).await?))
}

async fn record(name: &str) -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let mut options = options()
        .variable("RDEV_CLAUDE_BIN", claude::stand_in(directory.path())?)
        .variable("RDEV_CODEX_BIN", codex::stand_in(directory.path())?);
    if let Ok(from) = std::env::var(FROM_VARIABLE) {
        options.program = from.into();
    }
    let mut world = World::bare(options).await?;
    let seen = work(&mut world).await?;
    let recording = Recording::named(name);
    recording.write(&log_of(&world).await?, &seen).await
}

async fn read_again(name: &str) -> Outcome<()> {
    let recording = Recording::named(name);
    let said: Seen = serde_json::from_str(&std::fs::read_to_string(&recording.seen)?)?;
    let mut world = World::bare(options()).await?;
    log::connect(&world.nats.url())
        .await?
        .ensure_topology()
        .await?;
    recording.put_back(&log_of(&world).await?).await?;
    let _projector = world.projector()?;
    let (_gateway, client) = world.gateway()?;
    world.ready(&client).await?;
    let found = Seen::until_listed(&client, |seen| {
        let is_said = |(path, said)| seen.lists.get(path).is_some_and(|found| says(found, said));
        seen.lists.keys().eq(said.lists.keys()) && said.lists.iter().all(is_said)
    })
    .await?;
    assert!(found.lists.keys().eq(said.lists.keys()), "{name}");
    assert_eq!(found.events, said.events, "{name}");
    for (path, said) in &said.lists {
        let found = &found.lists[path];
        assert!(says(found, said), "{name} {path}: {found:#}, not {said:#}");
    }
    world.audit(&[], &[]).await?.expect_equal()?;
    world.audit(&["--execs"], &[]).await?.expect_equal()
}

#[tokio::test]
async fn logs_of_earlier_builds_are_read_as_they_were() -> Outcome<()> {
    if let Ok(name) = std::env::var(RECORD_VARIABLE) {
        record(&name).await?;
    }
    let names = Recording::all()?;
    if names.is_empty() {
        return Err(Failure::from("there are no recordings"));
    }
    for name in names {
        read_again(&name).await?;
    }
    Ok(())
}
