//! The server is killed in the middle of everything: what was being written, read and followed
//! goes on, complete and in order.

use std::time::Duration;

use rdev_bus::LogStream;
use rdev_bus::live::{LogReader, Scope};
use rdev_contract::event::Kind;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Filter;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{Log, assert_chained, complete, now, numbers, output, read_to_end, stored, within};

const MESSAGES: u64 = 200;
/// Far below the time after which an ack is overdue: nobody waits for one that cannot come.
const WRITER_BACK: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_and_repeats_nothing() {
    let mut log = Log::start().await;
    let (exec, mut writer) = log.written().await;
    let mut reader = LogReader::open(&log.bus, Scope::Exec(exec.clone()), StreamSeq(0))
        .await
        .expect("a reader");
    let filters = vec![Filter::kind(Kind::Output), Filter::kind(Kind::Complete)];
    let follower = log.bus.follow(LogStream::Exec, filters, StreamSeq(0)).await;
    let mut follower = follower.expect("a follower");

    let (progress, mut seen) = watch::channel(0);
    let writing = tokio::spawn(async move {
        let mut slowest = Duration::ZERO;
        for number in 1..=MESSAGES {
            let began = Instant::now();
            let stored = output(&mut writer, number, "line", now()).await;
            stored.expect("stored");
            slowest = slowest.max(began.elapsed());
            progress.send_replace(number);
        }
        let end = complete(&mut writer, MESSAGES + 1).await;
        (end.expect("stored"), slowest)
    });
    let reading = tokio::spawn(async move { read_to_end(&mut reader).await.0 });
    let following = tokio::spawn(async move {
        let mut sequences = Vec::new();
        while sequences.len() as u64 <= MESSAGES {
            sequences.push(within(follower.next()).await.sequence);
        }
        sequences
    });
    for stop_at in [50, 120] {
        within(seen.wait_for(|number| *number >= stop_at))
            .await
            .expect("a writer");
        log.server.kill().await;
        log.server.restart().await.expect("a server");
    }
    let (end, slowest) = within(writing).await.expect("no panic");
    let all = stored(&log.bus, &exec).await;
    assert_eq!(numbers(&all), (1..=MESSAGES + 1).collect::<Vec<_>>());
    assert_chained(&all);
    assert_eq!(all.last().map(|last| last.sequence), Some(end));
    assert_eq!(within(reading).await.expect("no panic"), all);
    let followed = within(following).await.expect("no panic");
    let behind_command = all.iter().skip(1).map(|message| message.sequence);
    assert!(followed.into_iter().eq(behind_command));
    assert!(slowest < WRITER_BACK, "an append took {slowest:?}");
}
