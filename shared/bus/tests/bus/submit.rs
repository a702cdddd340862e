//! Accepting commands.

use rdev_bus::submit::{SubmitError, Submitted};
use rdev_contract::event::Kind;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::{self, Subject};

use crate::{Log, command, exec_id, now, stored, tail_of, writer};

#[tokio::test]
async fn once_created_then_found() {
    let log = Log::start().await;
    let (exec, wanted) = (exec_id(), command("echo hi"));
    let first = log.bus.submit(&exec, &wanted, now()).await;
    let Ok(Submitted::Created(sequence)) = first else {
        panic!("{first:?}");
    };
    let other = command("echo other");
    for again in [&wanted, &other] {
        let found = log.bus.submit(&exec, again, now()).await;
        let Ok(Submitted::Exists(found)) = found else {
            panic!("{found:?}");
        };
        assert_eq!(found.sequence, sequence);
        assert_eq!(*found.value, wanted);
    }
    assert_eq!(stored(&log.bus, &exec).await.len(), 1);
}

/// All in the same microsecond, so that nothing tells one from another but the log's answer.
#[tokio::test]
async fn one_of_many_at_once_is_created() {
    let log = Log::start().await;
    let (exec, wanted, at) = (exec_id(), command("echo hi"), now());
    let submits = (0..20).map(|_| log.bus.submit(&exec, &wanted, at));
    let mut created = 0;
    for submitted in futures::future::join_all(submits).await {
        match submitted.expect("an answer") {
            Submitted::Created(_) => created += 1,
            Submitted::Exists(found) => assert_eq!(*found.value, wanted),
        }
    }
    assert_eq!(created, 1);
    assert_eq!(stored(&log.bus, &exec).await.len(), 1);
}

#[tokio::test]
async fn an_exec_without_its_command_is_spent() {
    let log = Log::start().await;
    let (exec, tail) = log.exec().await;
    let mut writer = writer(&log.bus, &exec, crate::claim(), tail.clone());
    crate::output(&mut writer, 1, "line", now())
        .await
        .expect("a message");
    log.delete(tail.sequence).await;
    let again = log.bus.submit(&exec, &command("true"), now()).await;
    assert!(matches!(again, Err(SubmitError::Spent)), "{again:?}");
}

#[tokio::test]
async fn a_full_log_refuses() {
    let log = Log::start_with(|config| config.log_max_bytes = 16 * 1024).await;
    let big = command(&"x".repeat(20 * 1024));
    let refused = log.bus.submit(&exec_id(), &big, now()).await;
    assert!(matches!(refused, Err(SubmitError::Full(_))), "{refused:?}");
    let accepted = log.bus.submit(&exec_id(), &command("true"), now()).await;
    assert!(matches!(accepted, Ok(Submitted::Created(_))));
}

#[tokio::test]
async fn a_command_that_is_too_large_is_told_at_once() {
    let log = Log::start().await;
    let huge = command(&"x".repeat(1024 * 1024));
    let refused = log.bus.submit(&exec_id(), &huge, now()).await;
    assert!(
        matches!(refused, Err(SubmitError::Encoding(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn without_a_server_nothing_is_stored() {
    let mut log = Log::start().await;
    let exec = exec_id();
    log.server.kill().await;
    let mut refused = None;
    // The client notices in its own time; from then on it says so at once.
    while !matches!(refused, Some(Err(SubmitError::Unreachable))) {
        refused = Some(crate::within(log.bus.submit(&exec, &command("true"), now())).await);
    }
    log.server.restart().await.expect("a server");
    while !log.bus.is_connected() {
        tokio::task::yield_now().await;
    }
    let submitted = log.bus.submit(&exec, &command("true"), now()).await;
    submitted.expect("an answer");
    assert_eq!(stored(&log.bus, &exec).await.len(), 1);
    tail_of(&log.bus, &exec).await;
}

#[tokio::test]
async fn a_command_lives_as_long_as_facts() {
    let log = Log::start().await;
    let (exec, tail) = log.exec().await;
    assert_eq!(log.ttl(tail.sequence).await, "7776000s");
    let mut writer = writer(&log.bus, &exec, crate::claim(), tail);
    let sequence = crate::output(&mut writer, 1, "line", now()).await;
    let ttl = log.ttl(sequence.expect("a message")).await;
    assert_eq!(ttl, "604800s");
    let sequence = crate::complete(&mut writer, 2).await;
    let ttl = log.ttl(sequence.expect("a message")).await;
    assert_eq!(ttl, "7776000s");
    assert_eq!(
        stored(&log.bus, &exec).await[0].value.subject,
        Subject::exec(&exec, Kind::Command).as_str()
    );
}

impl Log {
    pub(crate) async fn delete(&self, sequence: StreamSeq) {
        let raw = self.raw().await;
        let stream = raw.get_stream(subject::EXEC_STREAM).await;
        let deleted = stream.expect("a stream").delete_message(sequence.0).await;
        assert!(deleted.expect("an answer"));
    }

    async fn ttl(&self, sequence: StreamSeq) -> String {
        let raw = self.raw().await;
        let stream = raw.get_stream(subject::EXEC_STREAM).await;
        let message = stream.expect("a stream").get_raw_message(sequence.0).await;
        let headers = message.expect("a message").headers;
        let ttl = headers.get(async_nats::header::NATS_MESSAGE_TTL);
        ttl.expect("a time to live").to_string()
    }
}
