//! Followers of a whole stream.

use rdev_bus::LogStream;
use rdev_bus::follow::Follower;
use rdev_contract::event::Kind;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Filter;

use crate::{Log, complete, now, output, within};

async fn follower(log: &Log, kinds: &[Kind], after: StreamSeq) -> Follower {
    let filters = kinds.iter().map(|kind| Filter::kind(*kind)).collect();
    let follower = log.bus.follow(LogStream::Exec, filters, after).await;
    follower.expect("a follower")
}

#[tokio::test]
async fn only_what_matches_behind_a_position() {
    let log = Log::start().await;
    let mut ends = Vec::new();
    for _ in 0..3 {
        let (_, mut writer) = log.written().await;
        for number in 1..=5 {
            output(&mut writer, number, "line", now())
                .await
                .expect("stored");
        }
        ends.push(complete(&mut writer, 6).await.expect("stored"));
    }
    let kinds = [Kind::Command, Kind::Complete];
    let mut all = follower(&log, &kinds, StreamSeq(0)).await;
    assert!(!all.is_caught_up());
    let mut subjects = Vec::new();
    while subjects.len() < 6 {
        assert!(!all.is_caught_up());
        subjects.push(within(all.next()).await.value.subject);
    }
    assert!(all.is_caught_up());
    assert!(all.try_next().is_none());
    assert_eq!(all.position(), ends[2]);
    let is_end = |subject: &String| subject.ends_with(".complete");
    assert_eq!(subjects.iter().filter(|text| is_end(text)).count(), 3);

    let mut later = follower(&log, &[Kind::Complete], ends[0]).await;
    assert_eq!(within(later.next()).await.sequence, ends[1]);
    assert_eq!(within(later.next()).await.sequence, ends[2]);
    assert!(later.is_caught_up());

    let mut at_end = follower(&log, &kinds, ends[2]).await;
    assert!(at_end.is_caught_up());
    let (exec, _) = log.exec().await;
    let next = within(at_end.next()).await;
    assert!(next.value.subject.contains(&exec.session.to_string()));
}

/// More than one pull brings, and messages that are there already are had without waiting.
#[tokio::test]
async fn a_long_stream_is_complete_and_in_order() {
    const MESSAGES: u64 = 1500;
    let log = Log::start().await;
    let (_, mut writer) = log.written().await;
    for number in 1..=MESSAGES {
        output(&mut writer, number, "line", now())
            .await
            .expect("stored");
    }
    let mut follower = follower(&log, &[Kind::Output], StreamSeq(0)).await;
    let mut sequences = Vec::new();
    while sequences.len() < MESSAGES as usize {
        sequences.push(within(follower.next()).await.sequence);
        while let Some(message) = follower.try_next() {
            sequences.push(message.sequence);
        }
    }
    assert!(sequences.is_sorted());
    sequences.dedup();
    assert_eq!(sequences.len() as u64, MESSAGES);
    assert!(follower.is_caught_up());
}

/// Its consumer is taken away: it makes another and goes on behind what it handed out.
#[tokio::test]
async fn a_consumer_that_is_deleted_is_made_again() {
    let log = Log::start().await;
    let (_, mut writer) = log.written().await;
    let first = output(&mut writer, 1, "line", now()).await.expect("stored");
    let mut follower = follower(&log, &[Kind::Output], StreamSeq(0)).await;
    assert_eq!(within(follower.next()).await.sequence, first);
    log.delete_consumers().await;
    let second = output(&mut writer, 2, "line", now()).await.expect("stored");
    assert_eq!(within(follower.next()).await.sequence, second);
}

impl Log {
    /// Deletes every consumer but the work queue.
    async fn delete_consumers(&self) {
        use futures::TryStreamExt;
        use rdev_contract::subject;
        let raw = self.raw().await;
        let stream = raw.get_stream(subject::EXEC_STREAM).await;
        let stream = stream.expect("a stream");
        let names: Vec<String> = stream.consumer_names().try_collect().await.expect("names");
        for name in names {
            if name != subject::ADMITTED_CONSUMER {
                stream.delete_consumer(&name).await.expect("a consumer");
            }
        }
    }
}
