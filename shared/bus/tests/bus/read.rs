//! Single messages by place.

use std::collections::BTreeMap;

use rdev_bus::{LogStream, Stored};
use rdev_contract::envelope::Recorded;
use rdev_contract::event::{EventBatch, Kind};
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Filter;

use crate::{Log, append, complete, now, output, stored};

#[tokio::test]
async fn the_next_message_behind_a_place_is_found() {
    let log = Log::start().await;
    let (exec, mut writer) = log.written().await;
    let (_, mut other) = log.written().await;
    let first = output(&mut writer, 1, "one", now()).await.expect("stored");
    output(&mut other, 1, "other", now()).await.expect("stored");
    let end = complete(&mut writer, 2).await.expect("stored");
    let (of_exec, ends) = (Filter::exec(&exec), Filter::kind(Kind::Complete));
    for (filter, after, expected) in [
        (&of_exec, StreamSeq(first.0 - 1), Some(first)),
        (&of_exec, first, Some(end)),
        (&of_exec, end, None),
        (&of_exec, StreamSeq(end.0 + 1_000_000), None),
        (&ends, StreamSeq(0), Some(end)),
        (&ends, end, None),
    ] {
        let bus = &log.bus;
        let at_replica = bus.next_message(LogStream::Exec, filter, after).await;
        let at_leader = bus.next_at_leader(LogStream::Exec, filter, after).await;
        let (at_replica, at_leader) = (at_replica.expect("read"), at_leader.expect("read"));
        assert_eq!(at_replica, at_leader, "behind {after}");
        assert_eq!(
            at_leader.map(|message| message.sequence),
            expected,
            "behind {after}"
        );
    }
}

/// What is read while somebody writes is what there was at one moment, all kinds together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_of_each_kind_are_of_one_moment() {
    const MESSAGES: u64 = 600;
    const OTHERS: [Kind; 6] = [
        Kind::Admitted,
        Kind::Started,
        Kind::Claude,
        Kind::Codex,
        Kind::Approval,
        Kind::Resumed,
    ];
    let log = Log::start().await;
    let (exec, mut writer) = log.written().await;
    let writing = tokio::spawn(async move {
        let batch = EventBatch::default();
        for number in 1..=MESSAGES {
            // Bulk as fast as it goes, and now and then something else.
            let other = usize::try_from(number / 4 % 6).expect("small");
            let kind = match number % 4 {
                0 => OTHERS[other],
                _ => Kind::Output,
            };
            let appended = append(&mut writer, kind, number, &batch, now()).await;
            appended.expect("stored");
        }
        complete(&mut writer, MESSAGES + 1).await.expect("stored");
    });
    let mut moments = Vec::new();
    while !writing.is_finished() {
        moments.push(log.bus.last_of_each_kind(&exec).await.expect("kinds"));
    }
    writing.await.expect("no panic");
    moments.push(log.bus.last_of_each_kind(&exec).await.expect("kinds"));

    let all = stored(&log.bus, &exec).await;
    for found in &moments {
        let at = found.last().expect("a command").sequence;
        let mut last_of: BTreeMap<&str, _> = BTreeMap::new();
        for message in all.iter().filter(|message| message.sequence <= at) {
            last_of.insert(&message.value.subject, message);
        }
        let mut expected: Vec<_> = last_of.into_values().cloned().collect();
        expected.sort_by_key(|message| message.sequence);
        assert_eq!(found, &expected);
    }
    let is_growing = |pair: &[Vec<_>]| sequence_of(&pair[0]) <= sequence_of(&pair[1]);
    assert!(moments.windows(2).all(is_growing));
    assert_eq!(moments.last().map(Vec::len), Some(Kind::ALL.len()));
}

fn sequence_of(found: &[Recorded<Stored>]) -> Option<StreamSeq> {
    found.last().map(|message| message.sequence)
}
