//! The fenced writer.

use rdev_bus::append::AppendError;
use rdev_contract::envelope::Message;
use rdev_contract::position::StreamSeq;

use crate::{Log, assert_chained, claim, complete, now, numbers, output, stored, tail_of, writer};

#[tokio::test]
async fn messages_are_linked_from_the_command_on() {
    let log = Log::start().await;
    let (exec, mut writer) = log.written().await;
    // Another exec in between: its messages do not count.
    let (_, mut other) = log.written().await;
    for number in 1..=20 {
        let appended = output(&mut writer, number, "line", now()).await;
        assert_eq!(appended, Ok(writer.tail()));
        let appended = output(&mut other, number, "line", now()).await;
        appended.expect("a message");
    }
    complete(&mut writer, 21).await.expect("the end");
    let messages = stored(&log.bus, &exec).await;
    assert_eq!(messages.len(), 22);
    assert_chained(&messages);
    assert_eq!(numbers(&messages), (1..=21).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stale_writer_is_fenced() {
    let log = Log::start().await;
    let (exec, tail) = log.exec().await;
    let mut stale = writer(&log.bus, &exec, claim(), tail);
    output(&mut stale, 1, "first", now()).await.expect("stored");
    let tail = tail_of(&log.bus, &exec).await;
    let mut current = writer(&log.bus, &exec, claim(), tail);
    let taken = output(&mut current, 2, "taken over", now()).await;
    let taken = taken.expect("stored");
    let fenced = Err(AppendError::Fenced { tail: taken });
    assert_eq!(output(&mut stale, 2, "stale", now()).await, fenced);
    assert_eq!(complete(&mut stale, 2).await, fenced);
    complete(&mut current, 3).await.expect("stored");
    let messages = stored(&log.bus, &exec).await;
    assert_eq!(messages.len(), 4);
    assert_chained(&messages);
    let stale_text = b"stale".as_slice();
    let has_stale_text = |payload: &[u8]| payload.windows(5).any(|part| part == stale_text);
    assert!(
        !messages
            .iter()
            .any(|message| has_stale_text(&message.value.payload))
    );
}

#[tokio::test]
async fn of_two_claims_at_once_one_wins() {
    let log = Log::start().await;
    let (exec, tail) = log.exec().await;
    let mut one = writer(&log.bus, &exec, claim(), tail.clone());
    let mut two = writer(&log.bus, &exec, claim(), tail);
    let at = now();
    let (first, second) = tokio::join!(
        output(&mut one, 1, "claim", at),
        output(&mut two, 1, "claim", at)
    );
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    assert_eq!(stored(&log.bus, &exec).await.len(), 2);
}

/// To the log, a message whose ack was lost and its repeat are two writers in the same state.
#[tokio::test]
async fn a_lost_ack_is_found() {
    let log = Log::start().await;
    let (exec, tail) = log.exec().await;
    let (claim, at) = (claim(), now());
    let mut unacknowledged = writer(&log.bus, &exec, claim, tail.clone());
    let mut repeating = writer(&log.bus, &exec, claim, tail);
    let first = output(&mut unacknowledged, 1, "line", at).await;
    let again = output(&mut repeating, 1, "line", at).await;
    assert!(first.is_ok());
    assert_eq!(first, again);
    let next = output(&mut repeating, 2, "next", at).await;
    assert!(next.is_ok());
    assert_eq!(output(&mut unacknowledged, 2, "next", at).await, next);
    let messages = stored(&log.bus, &exec).await;
    assert_eq!(numbers(&messages), [1, 2]);
    assert_chained(&messages);
}

/// The same head is not the same message.
#[tokio::test]
async fn another_text_of_the_same_claim_is_not_ours() {
    let log = Log::start().await;
    let (exec, tail) = log.exec().await;
    let (claim, at) = (claim(), now());
    let mut one = writer(&log.bus, &exec, claim, tail.clone());
    let mut two = writer(&log.bus, &exec, claim, tail);
    let tail = output(&mut one, 1, "one", at).await.expect("stored");
    let fenced = Err(AppendError::Fenced { tail });
    assert_eq!(output(&mut two, 1, "two", at).await, fenced);
}

#[tokio::test]
async fn an_expired_tail_is_continued() {
    let log = Log::start().await;
    let (exec, mut writer) = log.written().await;
    let kept = output(&mut writer, 1, "kept", now()).await.expect("stored");
    let expired = output(&mut writer, 2, "expired", now()).await;
    let expired = expired.expect("stored");
    log.delete(expired).await;
    let next = output(&mut writer, 3, "next", now()).await.expect("stored");
    complete(&mut writer, 4).await.expect("stored");
    let messages = stored(&log.bus, &exec).await;
    assert_eq!(numbers(&messages), [1, 3, 4]);
    assert_eq!(messages[2].sequence, next);
    let message = Message::decode(&messages[2].value.payload).expect("a message");
    assert_eq!(message.head.prev, kept);
    assert_chained(&messages);
}

#[tokio::test]
async fn an_exec_that_is_gone_is_told() {
    let log = Log::start().await;
    let (exec, mut writer) = log.written().await;
    let command = tail_of(&log.bus, &exec).await;
    log.delete(command.sequence).await;
    let vanished = Err(AppendError::Vanished);
    assert_eq!(output(&mut writer, 1, "line", now()).await, vanished);
    assert!(stored(&log.bus, &exec).await.is_empty());
}

#[tokio::test]
async fn a_message_that_is_too_large_is_told() {
    let log = Log::start().await;
    let (_, mut writer) = log.written().await;
    let line = "x".repeat(1024 * 1024);
    let refused = output(&mut writer, 1, &line, now()).await;
    assert!(
        matches!(refused, Err(AppendError::Encoding(_))),
        "{refused:?}"
    );
    let stored = output(&mut writer, 1, "line", now()).await;
    assert!(stored.is_ok_and(|sequence| sequence > StreamSeq(0)));
}

/// A full log holds a writer back; it goes on when there is room.
#[tokio::test]
async fn a_full_log_is_waited_for() {
    let log = Log::start_with(|config| config.log_max_bytes = 64 * 1024).await;
    let (exec, mut writer) = log.written().await;
    let line = "x".repeat(40 * 1024);
    let first = output(&mut writer, 1, &line, now()).await.expect("stored");
    let second = tokio::spawn(async move { output(&mut writer, 2, &line, now()).await });
    let mut refused = false;
    while !refused {
        // The same size is refused to others too: the writer waits for the very same room.
        let probe = crate::command(&"x".repeat(40 * 1024));
        let answer = log.bus.submit(&crate::exec_id(), &probe, now()).await;
        refused = matches!(answer, Err(rdev_bus::submit::SubmitError::Full(_)));
    }
    assert!(!second.is_finished());
    log.delete(first).await;
    let second = crate::within(second).await.expect("no panic");
    second.expect("stored");
    assert_eq!(numbers(&stored(&log.bus, &exec).await), [2]);
}
