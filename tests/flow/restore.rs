//! The log is lost and put back from a copy; PostgreSQL is lost with it, or has all that the lost one held:
//! what the copy holds goes on as if nothing had been, what came after it is told as missing, and nothing is
//! run again. docs/backup.md says how it is done.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream;
use futures::{StreamExt, TryStreamExt};
use rdev_tests::client::Client;
use rdev_tests::transcript::Transcript;
use rdev_tests::world::{Service, World};
use rdev_tests::{Failure, Outcome};
use serde_json::{Value, json};

use super::options;

/// Of one message of a snapshot.
const CHUNK_BYTES: u32 = 128 * 1024;
/// Nothing that is waited for here takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(20);

/// A copy of the log.
enum Backup {
    /// Of the files of a server that stood still.
    Files(PathBuf),
    /// As a server that runs gives it, stream by stream.
    Snapshots(Vec<Snapshot>),
}

/// What the server needs to make a stream again.
struct Snapshot {
    name: String,
    /// Its `config` and `state`.
    about: Value,
    chunks: Vec<bytes::Bytes>,
}

fn store(world: &World) -> PathBuf {
    world.directory().join("nats/jetstream")
}

fn copy(from: &Path, to: &Path) -> Outcome<()> {
    let done = Command::new("cp").arg("-a").args([from, to]).status()?;
    done.success().then_some(()).ok_or_else(|| "cp".into())
}

async fn ask(client: &async_nats::Client, subject: String, body: Value) -> Outcome<Value> {
    let answer = client.request(subject, body.to_string().into()).await?;
    let answer: Value = serde_json::from_slice(&answer.payload)?;
    match answer.get("error") {
        Some(error) => Err(error.to_string().into()),
        None => Ok(answer),
    }
}

impl Snapshot {
    async fn take(client: &async_nats::Client, name: String) -> Outcome<Self> {
        let inbox = client.new_inbox();
        let mut delivered = client.subscribe(inbox.clone()).await?;
        let wanted = json!({"deliver_subject": inbox, "chunk_size": CHUNK_BYTES});
        let about = ask(client, format!("$JS.API.STREAM.SNAPSHOT.{name}"), wanted).await?;
        let mut chunks = Vec::new();
        while let Some(message) = delivered.next().await {
            if message.payload.is_empty() {
                return Ok(Self {
                    name,
                    about,
                    chunks,
                });
            }
            chunks.push(message.payload);
            if let Some(reply) = message.reply {
                client.publish(reply, "".into()).await?;
            }
        }
        Err(Failure::from("the snapshot has no end"))
    }

    async fn restore(&self, client: &async_nats::Client) -> Outcome<()> {
        let wanted = json!({"config": self.about["config"], "state": self.about["state"]});
        let subject = format!("$JS.API.STREAM.RESTORE.{}", self.name);
        let begun = ask(client, subject, wanted).await?;
        let to = begun["deliver_subject"].as_str().unwrap_or_default();
        for chunk in &self.chunks {
            client.request(to.to_owned(), chunk.clone()).await?;
        }
        let done = client.request(to.to_owned(), "".into()).await?;
        let done: Value = serde_json::from_slice(&done.payload)?;
        done.get("error")
            .map_or(Ok(()), |error| Err(error.to_string().into()))
    }
}

impl Backup {
    async fn of_files(world: &mut World) -> Outcome<Self> {
        let place = world.directory().join("copy");
        world.nats.stop().await;
        copy(&store(world), &place)?;
        world.nats.restart().await?;
        Ok(Self::Files(place))
    }

    async fn of_snapshots(world: &World) -> Outcome<Self> {
        let client = async_nats::connect(world.nats.url()).await?;
        let log = jetstream::new(client.clone());
        let names: Vec<String> = log.stream_names().try_collect().await?;
        let mut snapshots = Vec::new();
        for name in names {
            snapshots.push(Snapshot::take(&client, name).await?);
        }
        Ok(Self::Snapshots(snapshots))
    }

    /// Puts it in the place of what the server has.
    async fn restore(&self, world: &mut World) -> Outcome<()> {
        world.nats.stop().await;
        std::fs::remove_dir_all(store(world))?;
        match self {
            Self::Files(place) => {
                copy(place, &store(world))?;
                Ok(world.nats.restart().await?)
            }
            Self::Snapshots(snapshots) => {
                world.nats.restart().await?;
                let client = async_nats::connect(world.nats.url()).await?;
                for snapshot in snapshots {
                    snapshot.restore(&client).await?;
                }
                Ok(())
            }
        }
    }
}

/// Another database, with nothing in it.
async fn empty_database(world: &mut World) -> Outcome<()> {
    let (admin, connection) =
        tokio_postgres::connect(&world.postgres_url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let (place, name) = world.postgres_url.rsplit_once('/').ok_or("no database")?;
    admin
        .batch_execute(&format!("CREATE DATABASE {name}_restored"))
        .await?;
    world.postgres_url = format!("{place}/{name}_restored");
    Ok(())
}

/// A command that goes on with each file that appears.
fn gated() -> Value {
    let command = "echo one; for gate in two three; do until [ -e $gate ]; do sleep 0.02; done; \
                   echo $gate; done; echo ran >> runs";
    json!({"type": "shell", "command": command, "stream_id": "running"})
}

fn open_gate(world: &World, gate: &str) -> Outcome<()> {
    Ok(std::fs::write(world.pod("box").join(gate), "")?)
}

/// What is asked before and after.
async fn lists(client: &Client, session: &str) -> Outcome<BTreeMap<String, Value>> {
    let mut lists = BTreeMap::new();
    for path in ["/sessions".to_owned(), format!("/sessions/{session}/execs")] {
        let list = client.get(&path).await?.json();
        lists.insert(path, list["items"].clone());
    }
    Ok(lists)
}

/// The tables after the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tables {
    Lost,
    /// With rows that no log has.
    Kept,
}

async fn restored(is_of_files: bool, tables: Tables) -> Outcome<()> {
    let (mut world, services) = World::start(options()).await?;
    let client = services.client.clone();
    let ended_later = client.session("box").await?;
    let session = client.session("box").await?;
    let body = json!({"type": "shell", "command": "echo a; echo b", "stream_id": "before"});
    let before = client.run(&session, &body).await?;
    client.exec(&session, &gated()).await?;
    let mut running = client.events(&session, "running", None).await?;
    let one = running.until("output").await?;
    let backup = if is_of_files {
        Backup::of_files(&mut world).await?
    } else {
        Backup::of_snapshots(&world).await?
    };

    until_ready(&client).await?;

    // What comes now is in no copy.
    let ended = client.delete(&format!("/sessions/{ended_later}")).await?;
    assert_eq!(ended.status, 200, "{}", ended.text);
    let body = json!({"type": "shell", "command": "echo late >> late", "stream_id": "after"});
    let after = client.run(&session, &body).await?;
    until_listed(&client, &session, "after").await?;
    open_gate(&world, "two")?;
    let two = client.events(&session, "running", Some(&one.id)).await?;
    let two = { two }.until("output").await?;
    assert_eq!(two.number(), 2);
    for service in [services.gateway, services.executor, services.projector] {
        service.kill().await;
    }
    drop(running);
    backup.restore(&mut world).await?;
    let _projector = projector(&mut world, tables).await?;
    let _executor = world.executor()?;
    let (_gateway, client) = world.gateway()?;
    world.ready(&client).await?;

    // What was there is read on, from any event.
    let replay = client.transcript(&session, "before").await?;
    assert_eq!(replay.numbered(), before.numbered());
    let first = &before.numbered()[0].id;
    let rest = client
        .events(&session, "before", Some(first))
        .await?
        .rest()
        .await?;
    assert_eq!(rest.numbered(), before.numbered()[1..]);
    // The command went on: the same process, with what is missing told.
    open_gate(&world, "three")?;
    let rest = client
        .events(&session, "running", Some(&one.id))
        .await?
        .rest()
        .await?;
    expect_gap(&rest);
    assert_eq!(rest.complete()["stdout_bytes"], "one\ntwo\nthree\n".len());
    let runs = std::fs::read_to_string(world.pod("box").join("runs"))?;
    assert_eq!(runs, "ran\n");
    // What came after the copy never was, for the log; an id of it is refused rather than misread.
    let lost = client
        .events(&session, "after", Some(&after.numbered()[0].id))
        .await?;
    assert_eq!(lost.status, 400);
    expect_tables(&world, &client, [&session, &ended_later]).await?;
    let new = client.shell(&session, "cat late").await?;
    assert_eq!(new.stdout(), "late\n");
    Ok(())
}

/// Starts one, with tables that it does not believe.
async fn projector(world: &mut World, tables: Tables) -> Outcome<Service> {
    if tables == Tables::Lost {
        empty_database(world).await?;
        return world.projector();
    }
    let projector = world.projector()?;
    // By itself it notices only while the log is shorter than what it knows.
    let said = "the tables are of this build";
    projector.until_it_says(said).await?;
    Ok(projector)
}

/// The tables are there again, equal, and know nothing of what came after the copy.
async fn expect_tables(world: &World, client: &Client, sessions: [&str; 2]) -> Outcome<()> {
    until_listed(client, sessions[0], "running").await?;
    world.audit(&[], &[]).await?.expect_equal()?;
    let lists = lists(client, sessions[0]).await?;
    let listed = lists["/sessions"].as_array().cloned().unwrap_or_default();
    let ids: Vec<_> = listed.iter().map(|session| &session["id"]).collect();
    assert_eq!(ids, sessions);
    assert!(listed.iter().all(|session| session["status"] == "active"));
    Ok(())
}

/// The second line was shown, is in no log, and its number is not given again.
fn expect_gap(rest: &Transcript) {
    let names: Vec<_> = rest
        .names()
        .into_iter()
        .filter(|name| *name != "caught_up")
        .collect();
    assert_eq!(names, ["connected", "gap", "output", "complete"]);
    let gap = rest
        .events
        .iter()
        .find(|event| event.name == "gap")
        .map(|event| event.json());
    let gap = gap.unwrap_or_default();
    assert_eq!(
        (gap["requested"].as_u64(), gap["first_available"].as_u64()),
        (Some(2), Some(3))
    );
    assert_eq!(rest.stdout(), "three\n");
}

/// Waits until a gateway has found the log again.
async fn until_ready(client: &Client) -> Outcome<()> {
    let ready = async {
        let probe = || client.http().get(format!("{}/readyz", client.base));
        while client.send(probe()).await?.status != 200 {
            tokio::time::sleep(INTERVAL).await;
        }
        Outcome::Ok(())
    };
    tokio::time::timeout(PATIENCE, ready).await?
}

async fn until_listed(client: &Client, session: &str, stream: &str) -> Outcome<()> {
    let complete = async {
        loop {
            let lists = lists(client, session).await?;
            let execs = lists.values().next_back().and_then(Value::as_array);
            let mut execs = execs.into_iter().flatten();
            if execs.any(|exec| exec["id"] == stream && exec["status"] == "complete") {
                return Outcome::Ok(());
            }
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::time::timeout(PATIENCE, complete).await?
}

#[tokio::test]
async fn the_log_is_put_back_from_its_files() -> Outcome<()> {
    restored(true, Tables::Kept).await
}

#[tokio::test]
async fn the_log_is_put_back_from_snapshots() -> Outcome<()> {
    restored(false, Tables::Lost).await
}
