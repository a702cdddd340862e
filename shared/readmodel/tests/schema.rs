//! Migrations and the lock of the active projector, on a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

mod server;

use jiff::Timestamp;
use rdev_contract::position::StreamSeq;
use rdev_readmodel::{
    Database, Leadership, LogIdentity, MigrateError, Place, PostgresUrl, StandBy, WriteError,
    migrate,
};
use server::TestServer;
use tokio_postgres::NoTls;

#[tokio::test]
async fn migrations_are_applied_once_whoever_starts() {
    let server = TestServer::start().await;
    let starts = tokio::join!(
        migrate(&server.url),
        migrate(&server.url),
        migrate(&server.url)
    );
    let mut applied = [starts.0.unwrap(), starts.1.unwrap(), starts.2.unwrap()];
    applied.sort_unstable();
    assert_eq!(applied[..2], [0, 0]);
    assert!(applied[2] > 0);
    assert_eq!(migrate(&server.url).await.unwrap(), 0);
    server.stop().await;
}

#[tokio::test]
async fn migrations_tell_an_absent_server_from_a_foreign_database() {
    let mut server = TestServer::start().await;
    let foreign = server.server.url_of("template1");
    let (client, connection) = tokio_postgres::connect(&foreign, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
        .batch_execute("CREATE TABLE sessions (somebody_elses int)")
        .await
        .unwrap();
    let refused = migrate(&foreign.parse().unwrap()).await;
    let Err(MigrateError::Failed(reason)) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("already exists"), "{reason}");

    server.server.kill().await;
    let away = migrate(&server.url).await;
    assert!(
        matches!(away, Err(MigrateError::Unavailable(_))),
        "{away:?}"
    );
}

async fn lead(url: &PostgresUrl) -> Result<Leadership, StandBy> {
    StandBy::connect(url)
        .await
        .unwrap()
        .try_lead()
        .await
        .unwrap()
}

#[tokio::test]
async fn only_one_leads_and_the_next_one_takes_over() {
    let mut server = TestServer::start().await;
    let first = lead(&server.url).await.ok().unwrap();
    let second = lead(&server.url).await.err().unwrap();
    first.resign().await;
    let second = second.try_lead().await.unwrap().ok().unwrap();
    assert!(lead(&server.url).await.is_err());

    // A server that ends takes the lock with it, and the holder learns of it.
    server.server.kill().await;
    second.lost().await;
    server.server.restart().await.unwrap();
    assert!(lead(&server.url).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn positions_move_only_from_where_they_are() {
    let server = TestServer::start().await;
    migrate(&server.url).await.unwrap();
    let database = Database::for_writing(&server.url);
    let place = |second: i64, sequence: u64| Place {
        log: LogIdentity::created_at(Timestamp::from_second(second).unwrap()),
        sequence: StreamSeq(sequence),
    };
    assert_eq!(database.position("one").await.unwrap(), None);
    database.begin_position("one", place(1, 5)).await.unwrap();
    let again = database.begin_position("one", place(1, 0)).await;
    assert!(matches!(again, Err(WriteError::Moved)), "{again:?}");
    for elsewhere in [place(1, 4), place(1, 6), place(2, 5)] {
        let refused = database.move_position("one", elsewhere, place(1, 9)).await;
        assert!(matches!(refused, Err(WriteError::Moved)), "{elsewhere:?}");
    }
    database
        .move_position("one", place(1, 5), place(2, 0))
        .await
        .unwrap();
    assert_eq!(database.position("one").await.unwrap(), Some(place(2, 0)));

    // A transaction that is not committed did not happen.
    let mut connection = database.writing().await.unwrap();
    drop(
        connection
            .begin("one", place(2, 0), place(2, 8))
            .await
            .unwrap(),
    );
    assert_eq!(database.position("one").await.unwrap(), Some(place(2, 0)));
    server.stop().await;
}
