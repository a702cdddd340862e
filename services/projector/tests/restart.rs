//! The same rows come out wherever the projector is killed, on a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

mod database;
mod log;
mod scenario;

use std::collections::BTreeSet;

use database::{TestDatabase, difference};
use log::{Log, exec, shell};
use rdev_bus::LogStream;
use rdev_contract::event::Kind;
use rdev_contract::position::StreamSeq;
use rdev_projector::store::{LogState, Store};
use rdev_readmodel::WriteError;
use scenario::{eventful, open, project_all, resume, state};

#[tokio::test]
async fn killed_anywhere_it_comes_to_the_same_rows() {
    let database = TestDatabase::start().await;
    let (execs, sessions) = eventful();
    project_all(&database, &execs, &sessions).await;
    let expected = database.dump().await;
    assert!(expected.lines().count() > 15, "{expected}");

    // Cut at every message, in small transactions and in one; the sessions before, after, between.
    let all = execs.messages.len();
    for cut in 0..=all {
        let batch = [1, 3, 100][cut % 3];
        database.forget_everything().await;
        let middle = cut.min(sessions.messages.len());
        resume(&database, LogStream::Exec, &execs, cut, batch).await;
        resume(&database, LogStream::Session, &sessions, middle, batch).await;
        resume(&database, LogStream::Exec, &execs, all, batch).await;
        resume(
            &database,
            LogStream::Session,
            &sessions,
            sessions.messages.len(),
            batch,
        )
        .await;
        let difference = difference(&database.dump().await, &expected);
        assert_eq!(difference, "", "cut at {cut}, batches of {batch}");
    }
    database.stop().await;
}

#[tokio::test]
async fn what_is_projected_already_changes_nothing() {
    let database = TestDatabase::start().await;
    let (execs, sessions) = eventful();
    project_all(&database, &execs, &sessions).await;
    let expected = database.dump().await;

    project_all(&database, &execs, &sessions).await;
    assert_eq!(database.dump().await, expected);

    // A stale projector that still holds its old position is refused, and writes nothing.
    let mut stale = open(&database, LogStream::Exec, &execs).await;
    let mut active = open(&database, LogStream::Exec, &execs).await;
    let mut more = execs.clone();
    more.command(&exec(3, "active"), shell("true"));
    active
        .take(&more.messages[execs.messages.len()..])
        .await
        .unwrap();
    let before = database.dump().await;
    let mut other = execs.clone();
    other.command(&exec(3, "stale"), shell("true"));
    let refused = stale.take(&other.messages[execs.messages.len()..]).await;
    assert!(matches!(refused, Err(WriteError::Moved)), "{refused:?}");
    assert_eq!(database.dump().await, before);
    database.stop().await;
}

#[tokio::test]
async fn a_log_that_was_created_anew_is_read_from_its_beginning() {
    let database = TestDatabase::start().await;
    let (execs, sessions) = eventful();
    project_all(&database, &execs, &sessions).await;
    assert!(database.writing.is_fold_current().await.unwrap());
    let rows = database.dump().await;

    // The same log restored: same messages, another creation time.
    let later = LogState {
        created_at: "2026-02-01T00:00:00Z".parse().unwrap(),
        ..state(&execs)
    };
    let mut store = Store::open(&database.writing, LogStream::Exec, later)
        .await
        .unwrap();
    assert_eq!(store.position(), StreamSeq(0));
    // Rows of what it does not hold may be among them, until all are folded anew.
    assert!(!database.writing.is_fold_current().await.unwrap());
    store.take(&execs.messages).await.unwrap();
    assert!(!database.writing.is_fold_current().await.unwrap());
    let restored = database.dump().await;
    assert_ne!(restored, rows);
    let restored = restored.replace(
        "2026-02-01T00:00:00+00:00",
        "2026-01-01T00:00:00.123456+00:00",
    );
    let unique = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(unique(&restored), unique(&rows));

    // The same life, but shorter: restored from an older copy.
    let shorter = LogState {
        last: StreamSeq(3),
        ..later
    };
    let store = Store::open(&database.writing, LogStream::Exec, shorter)
        .await
        .unwrap();
    assert_eq!(store.position(), StreamSeq(0));
    database.stop().await;
}

#[tokio::test]
async fn messages_that_make_no_rows_are_passed_over() {
    let database = TestDatabase::start().await;
    let execs = Log::new();
    let reached = LogState {
        last: StreamSeq(500),
        ..state(&execs)
    };
    let mut store = Store::open(&database.writing, LogStream::Exec, reached)
        .await
        .unwrap();
    store.pass_over(StreamSeq(500)).await.unwrap();
    store.pass_over(StreamSeq(400)).await.unwrap();
    assert_eq!(store.position(), StreamSeq(500));
    let store = Store::open(&database.writing, LogStream::Exec, reached)
        .await
        .unwrap();
    assert_eq!(store.position(), StreamSeq(500));
    database.stop().await;
}

#[tokio::test]
async fn a_server_that_restarts_loses_nothing() {
    let mut database = TestDatabase::start().await;
    let (execs, sessions) = eventful();
    let mut store = open(&database, LogStream::Exec, &execs).await;
    let (before, after) = execs.messages.split_at(5);
    store.take(before).await.unwrap();
    database.server.kill().await;
    let away = store.take(after).await;
    assert!(matches!(away, Err(WriteError::Unavailable(_))), "{away:?}");
    database.server.restart().await.unwrap();
    database.reconnect().await;
    project_all(&database, &execs, &sessions).await;
    let healed = database.dump().await;

    database.forget_everything().await;
    project_all(&database, &execs, &sessions).await;
    assert_eq!(healed, database.dump().await);
    database.stop().await;
}

#[test]
fn the_eventful_log_has_every_kind() {
    let (execs, _) = eventful();
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_bulk()) {
        let ending = format!(".{kind}");
        assert!(
            execs
                .messages
                .iter()
                .any(|message| message.value.subject.ends_with(&ending))
        );
    }
}
