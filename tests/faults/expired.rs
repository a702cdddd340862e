//! Retention that is faster than the command: what it printed has expired from the log when its
//! executor dies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::jetstream;
use rdev_contract::event::Kind;
use rdev_contract::subject::{EXEC_STREAM, Subject};
use rdev_tests::Outcome;
use rdev_tests::count::Count;
use rdev_tests::log::{ExecLog, until_kind};
use serde_json::json;

use super::trial::Trial;
use super::world;

/// Behind this line the command waits.
const GATE: u32 = 100;
/// Where the shim keeps the next number in its record of what was acknowledged.
const NEXT_NUMBER: std::ops::Range<usize> = 16..24;

#[tokio::test]
async fn a_take_over_goes_on_although_all_output_has_expired() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let (client, bus) = (&services.client, world.bus().await?);
    let session = client.session("expired").await?;
    let count = Count::to("count", 200).gated(GATE);
    let before = Count::to("count", GATE);
    // `complete` would be the next one.
    let next = before.events() as u64;
    let trial = Trial::begin(client, &session, count.clone()).await?;
    until_acknowledged(&world.pods(), next).await?;
    services.executor.kill().await;

    let log = jetstream::new(async_nats::connect(world.nats.url()).await?);
    let output = Subject::exec(&trial.exec, Kind::Output);
    let purged = log.get_stream(EXEC_STREAM).await?;
    let purged = purged.purge().filter(output.as_str()).await?;
    assert!(purged.purged > 0);

    let _second = world.executor()?;
    let resumed = until_kind(&bus, &trial.exec, Kind::Resumed).await?;
    let from = json!({"next": next, "stdout": before.stdout().len(),
        "stderr": before.stderr().len()});
    assert_eq!(resumed.value["data"]["from"], from);
    count.open_gate(&world.pod("expired"))?;

    // Who was there all along has everything, once.
    let exec = trial.exec.clone();
    let seen = trial.reader.end().await?;
    let finding = count.judge(&seen.transcript, &world.pod("expired"));
    assert!(finding.is_clean(), "{finding:?}");
    assert_eq!(seen.transcript.events.len(), count.events());
    let log = ExecLog::read(&bus, &exec).await?;
    assert_eq!(log.attempts(), [1, 2]);

    // Who comes later is told what is gone, and gets the rest.
    let replay = client.transcript(&session, "count").await?;
    let gaps: Vec<_> = replay
        .events
        .iter()
        .filter(|one| one.name == "gap")
        .collect();
    let [gap] = gaps[..] else {
        return Err(format!("{gaps:?}").into());
    };
    assert_eq!(
        gap.json(),
        json!({"requested": 1, "first_available": next, "reason": "expired"})
    );
    let rest: Vec<_> = replay.numbered().into_iter().cloned().collect();
    let skipped = usize::try_from(next - 1)?;
    assert_eq!(rest, seen.transcript.events[skipped..]);
    Ok(())
}

/// Waits until the shim knows that the log goes up to `next`: an executor that is killed before
/// that takes the knowledge with it.
async fn until_acknowledged(pods: &Path, next: u64) -> Outcome<()> {
    let waiting = async {
        loop {
            let record = find(pods, "acknowledged").and_then(|path| std::fs::read(path).ok());
            let found = record.as_ref().and_then(|record| record.get(NEXT_NUMBER));
            if found == Some(&next.to_be_bytes()[..]) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, waiting)
        .await
        .map_err(|_| "the shim was not told what is in the log".into())
}

fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?.flatten();
    entries.map(|entry| entry.path()).find_map(|path| {
        if path.file_name()? == name {
            return Some(path);
        }
        find(&path, name)
    })
}
