//! rdev on three nats-servers: every stream has three copies, and the server that leads the log
//! may be killed at any time.

#[path = "cluster/nats.rs"]
mod nats;
#[path = "programs.rs"]
mod programs;

use std::time::Duration;

use rdev_bus::access::Access;
use rdev_contract::event::Kind;
use rdev_contract::subject::EXEC_STREAM;
use rdev_tests::Outcome;
use rdev_tests::client::{Client, Stream};
use rdev_tests::log::{self, ExecLog};
use rdev_tests::transcript::Transcript;
use rdev_tests::world::{Services, World, everybody};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use nats::NatsCluster;
use programs::options;

/// Prints until it is told to stop, and notes its process.
const PRINTING: &str = "echo $$ >> started; i=0; while ! test -e stop; do i=$((i+1)); \
    echo line $i; echo odd $i >&2; sleep 0.01; done";

/// Readers at once, so that every server answers some.
const READERS: usize = 6;

/// More than were under way when a server was killed.
const EVENTS: usize = 300;

/// A change of leader must be over by then, for readers and for whoever repeats what was refused.
const PATIENCE: Duration = Duration::from_secs(40);

struct Clustered {
    nats: NatsCluster,
    world: World,
    services: Services,
    _directory: TempDir,
}

/// The world's own server stays unused: its services are told of the three others.
async fn clustered() -> Outcome<Clustered> {
    let directory = tempfile::Builder::new().prefix("rdev-test-r3-").tempdir()?;
    let keys = directory.path().join("access");
    let accounts = Access::kept_in(&keys)?.configuration(Some(&everybody()));
    let nats = NatsCluster::start(directory.path(), &accounts).await?;
    let mut options = options()
        .variable("RDEV_NATS_URL", nats.url())
        .variable("RDEV_REPLICAS", "3");
    options.access = Some(keys);
    let (world, services) = World::start(options).await?;
    Ok(Clustered {
        nats,
        world,
        services,
        _directory: directory,
    })
}

/// Reads on until some more events have come. Heartbeats do not count.
async fn goes_on(events: &mut Stream, seen: &mut Vec<u64>, world: &World) -> Outcome<()> {
    let before = seen.len();
    let reading = async {
        while seen.len() < before + EVENTS {
            let event = events.next().await?.ok_or("the stream ended")?;
            if event.is_numbered() {
                seen.push(event.number());
            }
        }
        Outcome::Ok(())
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .map_err(|_| format!("nothing comes after event {before}\n{}", world.logs()))?
}

/// Posts until it is accepted, as a client does that was told to come back.
async fn post(client: &Client, session: &str, body: &Value) -> Outcome<u32> {
    let path = format!("/sessions/{session}/exec");
    let mut refused = 0;
    let posting = async {
        loop {
            let answer = client.post(&path, body).await?;
            if matches!(answer.status, 200 | 201) {
                return Outcome::Ok(());
            }
            assert_eq!(answer.status, 503, "{}", answer.text);
            let pause: u64 = answer.header("Retry-After").parse()?;
            assert_eq!(
                answer.json()["stream_id"],
                body["stream_id"],
                "{}",
                answer.text
            );
            refused += 1;
            tokio::time::sleep(Duration::from_secs(pause.min(1))).await;
        }
    };
    tokio::time::timeout(PATIENCE, posting).await??;
    Ok(refused)
}

#[tokio::test]
async fn the_leader_killed_in_the_middle_loses_nothing() -> Outcome<()> {
    let Clustered {
        mut nats,
        world,
        services,
        _directory,
    } = clustered().await?;
    let client = &services.client;
    assert_eq!(nats.copies(EXEC_STREAM).await?, 3);

    let session = client.session("leader").await?;
    let body = json!({"type": "shell", "command": PRINTING});
    let stream = client.exec(&session, &body).await?;
    let mut events = client.events(&session, &stream, None).await?;
    let mut seen = Vec::new();
    goes_on(&mut events, &mut seen, &world).await?;

    for round in 0..2 {
        let leader = nats.leader(EXEC_STREAM).await?;
        nats.kill(leader).await;
        let id = format!("posted-{round}");
        let command = format!("echo x >> ran-{round}; echo done");
        let body = json!({"type": "shell", "command": command, "stream_id": id});
        let refused = post(client, &session, &body).await?;
        nats.led_by_another(EXEC_STREAM, leader).await?;
        let posted = client.transcript(&session, &id).await?;
        posted.check()?;
        assert_eq!(posted.stdout(), "done\n", "after {refused} refusals");
        let ran = std::fs::read_to_string(world.pod("leader").join(format!("ran-{round}")))?;
        assert_eq!(ran, "x\n", "one process, after {refused} refusals");
        goes_on(&mut events, &mut seen, &world).await?;
        nats.restart(leader).await?;
        // What this server missed may be asked of it by now: readers must not miss it.
        nats.in_step(EXEC_STREAM).await?;
    }
    std::fs::write(world.pod("leader").join("stop"), "")?;
    let rest = events.rest().await?;
    seen.extend(rest.numbered().iter().map(|event| event.number()));
    assert_eq!(rest.complete()["outcome"], "exited", "{}", world.logs());
    let wanted: Vec<_> = (1..=seen.len() as u64).collect();
    assert_eq!(
        seen, wanted,
        "the live reader has missed or repeated something"
    );

    let replays = (0..READERS).map(|_| client.transcript(&session, &stream));
    for replay in futures::future::try_join_all(replays).await? {
        replay.check()?;
        assert_eq!(replay.numbered().len(), seen.len());
    }
    let started = std::fs::read_to_string(world.pod("leader").join("started"))?;
    assert_eq!(started.lines().count(), 1, "one launch");

    let bus = log::connect(&nats.url()).await?;
    let log = ExecLog::read(&bus, &log::exec_id(client, &session, &stream)?).await?;
    log.check()?;
    assert_eq!(log.count(Kind::Started), 1);
    Ok(())
}

/// The bytes and a list that includes the end, of any of the servers.
async fn check_output(
    client: &Client,
    session: &str,
    stream: &str,
    replay: &Transcript,
) -> Outcome<()> {
    let all = replay.stdout();
    let path = format!("/sessions/{session}/execs/{stream}/output");
    let whole = client.get(&path).await?;
    assert_eq!(whole.status, 200, "{}", whole.text);
    assert!(whole.text == all, "{} bytes", whole.text.len());
    let half = all.len() / 2;
    let range = format!("bytes={half}-");
    let part = client.http().get(client.url(&path)).header("Range", range);
    let part = client.send(part).await?;
    assert_eq!(part.status, 206, "{}", part.text);
    assert!(part.text == all[half..], "{} bytes", part.text.len());
    let end = replay.numbered().last().map(|event| event.id.clone());
    let as_of = end.unwrap_or_default();
    let path = format!("/sessions/{session}/execs?as_of={as_of}");
    // The projector may have followed through the server that was killed; then it begins anew.
    let deadline = Instant::now() + PATIENCE;
    let listed = loop {
        let listed = client.get(&path).await?;
        if listed.status != 503 || Instant::now() > deadline {
            break listed;
        }
    };
    assert_eq!(listed.status, 200, "{}", listed.text);
    assert!(listed.text.contains(stream), "{}", listed.text);
    Ok(())
}

#[tokio::test]
async fn a_follower_that_lags_hides_nothing_from_readers() -> Outcome<()> {
    let Clustered {
        mut nats,
        mut world,
        services,
        _directory,
    } = clustered().await?;
    let client = &services.client;
    let session = client.session("follower").await?;
    // Whoever is configured for another number of copies does not start.
    let other = world.local_executor(&[("RDEV_REPLICAS", "1".to_owned())])?;
    other.until_it_says("replicas = 3").await?;
    let follower = (nats.leader(EXEC_STREAM).await? + 1) % 3;
    nats.kill(follower).await;
    let session = session.as_str();
    let command = "for i in $(seq 1 3000); do echo line $i; done";
    let streams: Vec<_> = futures::future::try_join_all((0..4).map(|number| async move {
        let id = format!("posted-{number}");
        let body = json!({"type": "shell", "command": command, "stream_id": id});
        post(client, session, &body).await?;
        client.transcript(session, &id).await?.check()?;
        Outcome::Ok(id)
    }))
    .await?;
    // It comes back without all of this, and answers direct gets while it catches up.
    nats.restart(follower).await?;
    for stream in streams.iter().cycle().take(READERS * 4) {
        let replay = client.transcript(session, stream).await?;
        replay
            .check()
            .map_err(|wrong| format!("{wrong}\n{}", world.logs()))?;
        assert_eq!(replay.numbered().len(), 3001);
        check_output(client, session, stream, &replay).await?;
    }
    nats.in_step(EXEC_STREAM).await?;
    Ok(())
}
