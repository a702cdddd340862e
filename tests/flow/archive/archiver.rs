//! The archiver: what it does where it is killed, comes late, stands by, or has no PostgreSQL.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rdev_bus::LogStream;
use rdev_tests::Outcome;
use rdev_tests::log::exec_id;
use rdev_tests::world::{Service, World};
use serde_json::{Value, json};

use super::{Kept, LOOK_INTERVAL, PATIENCE, Short, feed, objects, short_lived};

/// Waits until an archive has a position of this world's log.
async fn until_marked(directory: &Path, world: &World) -> Outcome<Value> {
    let path = directory.join(position(world).await?);
    let looking = async {
        loop {
            if let Ok(text) = std::fs::read_to_string(&path) {
                return Outcome::Ok(serde_json::from_str(&text)?);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await?
}

async fn position(world: &World) -> Outcome<String> {
    let identity = world.bus().await?.identity(LogStream::Exec).await?;
    let created_at = identity.created_at.as_microsecond();
    Ok(format!("v1/positions/{created_at:020}.json"))
}

#[tokio::test]
async fn killed_between_the_object_and_its_mark() -> Outcome<()> {
    let kept = Kept::start(Short::Output).await?;
    let client = kept.client();
    // Nothing can be put where a directory is.
    let mark = kept.directory.path().join(position(&kept.world).await?);
    std::fs::create_dir_all(&mark)?;
    let session = client.session("killed").await?;
    let body = json!({"type": "shell", "command": "seq 1000", "stream_id": "one"});
    let whole = client.run(&session, &body).await?;
    let exec = exec_id(client, &session, "one")?;
    let object = kept.until_archived(&exec).await?;
    let projector = &kept.services.projector;
    projector.until_it_says("archiving is interrupted").await?;
    projector.kill().await;
    let before = std::fs::metadata(&object)?;

    std::fs::remove_dir(&mark)?;
    let mut world = kept.world;
    let _second = world.projector()?;
    let position = until_marked(kept.directory.path(), &world).await?;
    let complete = whole.events.last().ok_or("no events")?;
    let sequence = complete.id.split('-').next().unwrap_or_default();
    assert_eq!(position["sequence"].to_string(), sequence);
    // It was found, and not written again.
    assert_eq!(
        objects(kept.directory.path(), &exec),
        std::slice::from_ref(&object)
    );
    let after = std::fs::metadata(&object)?;
    assert_eq!((after.ino(), after.mtime()), (before.ino(), before.mtime()));
    Ok(())
}

#[tokio::test]
async fn what_comes_too_late_is_archived_as_the_part_that_is_left() -> Outcome<()> {
    let mut kept = Kept::start(Short::Output).await?;
    kept.services.projector.kill().await;
    let client = kept.services.client.clone();
    let session = client.session("late").await?;
    let body = json!({"type": "shell", "command": "seq 1000", "stream_id": "one"});
    client.run(&session, &body).await?.check()?;
    let exec = exec_id(&client, &session, "one")?;
    kept.until_expired(&exec, Short::Output).await?;
    let left = client.transcript(&session, "one").await?;
    assert!(left.names().contains(&"gap"), "{:?}", left.names());

    kept.services.projector = kept.world.projector()?;
    let object = kept.until_archived(&exec).await?;
    let name = object
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    assert!(name.ends_with(".part.ndjson.zst"), "{name}");
    let projector = &kept.services.projector;
    projector
        .until_it_says("an exec is archived in part")
        .await?;
    // Nothing is made up of what is gone.
    assert_eq!(client.transcript(&session, "one").await?, left);
    let audited = kept.audit(&["--exec", &exec.to_string()]).await?;
    audited.expect_equal()?;
    assert_eq!(audited.report["expired"].as_array().map(Vec::len), Some(1));
    Ok(())
}

/// One is active. While PostgreSQL is away nobody is, and execs are archived all the same.
#[tokio::test]
async fn postgresql_is_not_needed() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let archive = format!("file://{}", directory.path().display());
    let options = short_lived(Short::Everything)
        .variable("RDEV_ARCHIVE_URL", archive)
        .variable("RDEV_POSTGRES_URL", "postgres://rdev@127.0.0.1:1/rdev");
    let mut world = World::bare(options).await?;
    let (_gateway, client) = world.gateway()?;
    let _executor = world.executor()?;
    let _projectors: [Service; 2] = [world.projector()?, world.projector()?];
    let serving = async {
        let url = format!("{}/readyz", client.base);
        while client.http().get(&url).send().await.is_err() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    tokio::time::timeout(PATIENCE, serving).await?;
    let session = client.session("alone").await?;
    let body = json!({"type": "shell", "command": "seq 1000", "stream_id": "one"});
    client.run(&session, &body).await?.check()?;
    let whole = client.transcript(&session, "one").await?;
    let exec = exec_id(&client, &session, "one")?;
    let bus = world.bus().await?;
    let expiring = async {
        while super::held(&bus, &exec, Short::Everything).await? > 0 {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Outcome::Ok(())
    };
    tokio::time::timeout(PATIENCE, expiring).await??;
    assert_eq!(objects(directory.path(), &exec).len(), 1);
    assert_eq!(client.transcript(&session, "one").await?, whole);
    let view = client
        .get(&format!("/sessions/{session}/execs/one"))
        .await?;
    assert_eq!(view.json()["status"], "complete", "{}", view.text);
    Ok(())
}

#[tokio::test]
async fn a_stand_by_leaves_it_to_the_active_one() -> Outcome<()> {
    let mut kept = Kept::start(Short::Output).await?;
    let second = kept.world.projector()?;
    second.until_it_says("standing by").await?;
    let client = kept.client();
    let session = client.session("two").await?;
    let body = json!({"type": "shell", "command": "seq 10", "stream_id": "one"});
    client.run(&session, &body).await?.check()?;
    kept.until_archived(&exec_id(client, &session, "one")?)
        .await?;
    let said = std::fs::read_to_string(&second.log)?;
    assert!(!said.contains("archiving"), "{said}");
    // It goes on where the first one is killed.
    kept.services.projector.kill().await;
    second.until_it_says("archiving").await?;
    let client = kept.client();
    let body = json!({"type": "shell", "command": "seq 10", "stream_id": "two"});
    client.run(&session, &body).await?.check()?;
    kept.until_archived(&exec_id(client, &session, "two")?)
        .await?;
    Ok(())
}

/// A damaged object is as if it were not there: what it held is told as a gap.
#[tokio::test]
async fn a_damaged_object_is_not_shown() -> Outcome<()> {
    let kept = Kept::start(Short::Output).await?;
    let client = kept.client();
    let session = client.session("damaged").await?;
    // Some blocks of what cannot be compressed much.
    let command = "head -c 900000 /dev/urandom | base64; echo end";
    let mut execs = Vec::new();
    for stream in ["intact", "middle", "end", "cut", "gone"] {
        let body = json!({"type": "shell", "command": command, "stream_id": stream});
        client.run(&session, &body).await?.check()?;
        let whole = client.transcript(&session, stream).await?;
        execs.push((exec_id(client, &session, stream)?, whole));
    }
    for (exec, whole) in &execs {
        let object = kept.until_archived(exec).await?;
        kept.until_expired(exec, Short::Output).await?;
        let mut bytes = std::fs::read(&object)?;
        let (middle, end) = (bytes.len() / 2, bytes.len() - 200);
        let stream = exec.stream.as_str();
        match stream {
            "middle" => bytes[middle] ^= 1,
            "end" => bytes[end] ^= 1,
            "cut" => bytes.truncate(middle),
            "intact" | "gone" => {}
            other => return Err(other.into()),
        }
        std::fs::write(&object, bytes)?;
        if stream == "gone" {
            std::fs::remove_file(&object)?;
        }
        let shown = client.transcript(&session, stream).await?;
        let path = format!("/sessions/{session}/execs/{stream}/output");
        let output = client.http().get(client.url(&path)).send().await?;
        let name = exec.to_string();
        let audited = kept.audit(&["--exec", &name]).await?;
        if stream == "intact" {
            assert_eq!(shown, *whole);
            assert_eq!(output.status(), 200);
            assert_eq!(output.bytes().await?, whole.bytes("stdout"));
            audited.expect_equal()?;
            assert!(
                audited.report["archive"]["only_here"].as_u64() > Some(0),
                "{audited:?}"
            );
            assert_eq!(audited.report["hashed"], true);
            continue;
        }
        // Whatever is shown is what was there, and what is not shown is told.
        let numbered = shown.numbered();
        let gaps = shown.events.iter().filter(|event| event.name == "gap");
        assert_eq!(gaps.count(), 1, "{stream}: {:?}", shown.names());
        for event in &numbered {
            let number = usize::try_from(event.number())?;
            assert_eq!(**event, whole.numbered()[number - 1].clone(), "{stream}");
        }
        assert!(numbered.len() < whole.numbered().len());
        // Refused at once, or broken off.
        let is_refused = output.status() == 410;
        assert!(is_refused || output.bytes().await.is_err(), "{stream}");
        if stream == "gone" {
            assert_eq!(audited.report["expired"].as_array().map(Vec::len), Some(1));
        } else {
            assert_eq!(audited.code, Some(1), "{stream}: {audited:?}");
            let differences = &audited.report["archive"]["differences"];
            assert_eq!(differences.as_array().map(Vec::len), Some(1), "{audited:?}");
        }
    }
    let all = kept.audit(&["--execs"]).await?;
    assert_eq!(all.code, Some(1), "{all:?}");
    let damaged = all.report["archive_differences"].as_array().map(Vec::len);
    assert_eq!(damaged, Some(3), "{all:?}");
    assert_eq!(all.report["different"], 0, "{all:?}");
    Ok(())
}

/// The same of an exec of which the log knows nothing any more: what is behind the damage is shown.
#[tokio::test]
async fn damage_does_not_hide_the_end() -> Outcome<()> {
    let kept = Kept::start(Short::Everything).await?;
    let client = kept.client();
    let session = client.session("damaged").await?;
    let command = "head -c 900000 /dev/urandom | base64; echo end";
    let body = json!({"type": "shell", "command": command, "stream_id": "all"});
    client.run(&session, &body).await?.check()?;
    let whole = client.transcript(&session, "all").await?;
    let (_, whole_feed) = feed(client, &session).await?;
    let exec = exec_id(client, &session, "all")?;
    let object = kept.until_archived(&exec).await?;
    kept.until_expired(&exec, Short::Everything).await?;
    let mut bytes = std::fs::read(&object)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&object, bytes)?;
    let shown = client.transcript(&session, "all").await?;
    let names = shown.names();
    assert_eq!(
        names.iter().filter(|name| **name == "gap").count(),
        1,
        "{names:?}"
    );
    let (shown, whole) = (shown.numbered(), whole.numbered());
    assert!(shown.len() < whole.len());
    assert_eq!(shown.last(), whole.last());
    // And in the session's feed, where nothing else is left.
    let (_, shown_feed) = feed(client, &session).await?;
    let is_gap = |line: &&str| line.contains(r#""event":"gap""#);
    assert_eq!(shown_feed.lines().filter(is_gap).count(), 1);
    let numbered = |feed: &str| feed.lines().filter(|line| !is_gap(line)).count();
    assert_eq!(
        numbered(&whole_feed) - numbered(&shown_feed),
        whole.len() - shown.len()
    );
    assert_eq!(shown_feed.lines().last(), whole_feed.lines().last());
    Ok(())
}
