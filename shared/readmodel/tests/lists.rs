//! The gateway's queries on a real PostgreSQL: every list, page by page, and nobody else's rows.

#![expect(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

mod rows;
mod server;

use std::time::Duration;

use rdev_contract::id::ExecId;
use rdev_readmodel::{
    ConversationFilter, ExecFilter, PageRequest, ReadError, ReadModel, SessionFilter, migrate,
};
use rows::{at, created, project, request, session, turn, walk, write};
use server::TestServer;
use tokio_postgres::NoTls;

/// Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn of_session(number: u128) -> ExecFilter {
    ExecFilter::default().of_session(session(number))
}

fn all() -> SessionFilter {
    SessionFilter::default()
}

#[tokio::test]
async fn every_list_is_complete_and_in_order_whatever_the_page() {
    let server = TestServer::start().await;
    migrate(&server.url).await.unwrap();
    let mut changes: Vec<_> = (1..=7).map(|number| created("demo", number)).collect();
    for (number, stream) in ["B", "a", "_", "-", "c", "10", "9"].into_iter().enumerate() {
        changes.extend(turn("demo", 1, stream, at(number as u128)));
    }
    changes.extend(turn("demo", 2, "a", at(0)));
    write(&server, &changes).await;
    let model = ReadModel::new(&server.url);
    let demo = project("demo");

    for limit in [1, 2, 3, 6, 7, 8, 200] {
        let sessions = walk(limit, async |page| {
            model.sessions(&demo, &all(), &page).await
        })
        .await;
        let ids: Vec<_> = sessions.into_iter().map(|view| view.id).collect();
        let newest_first: Vec<_> = (1..=7)
            .rev()
            .map(|number| session(number).to_string())
            .collect();
        assert_eq!(ids, newest_first, "pages of {limit}");

        let execs = walk(limit, async |page| {
            model.execs(&demo, &of_session(1), &page).await
        })
        .await;
        let ids: Vec<_> = execs.iter().map(|view| view.id.as_str()).collect();
        // Bytes decide among those of one time.
        assert_eq!(
            ids,
            ["9", "c", "10", "-", "a", "_", "B"],
            "pages of {limit}"
        );

        let conversation = session(1).conversation();
        let messages = walk(limit, async |page| {
            model.messages(&demo, conversation, &page).await
        });
        let messages = messages.await;
        let texts: Vec<_> = messages.iter().map(|view| view.content.as_str()).collect();
        let expected: Vec<_> = ["B", "_", "a", "-", "10", "c", "9"]
            .into_iter()
            .flat_map(|stream| [format!("prompt of {stream}"), format!("answer of {stream}")])
            .collect();
        assert_eq!(texts, expected, "pages of {limit}");

        let every = ConversationFilter::default();
        let held = walk(limit, async |page| {
            model.conversations(&demo, &every, &page).await
        })
        .await;
        assert_eq!(held.len(), 2, "pages of {limit}");
    }
    server.stop().await;
}

#[tokio::test]
async fn another_projects_rows_are_never_seen() {
    let server = TestServer::start().await;
    migrate(&server.url).await.unwrap();
    let mut changes = vec![created("mine", 1), created("other", 2)];
    // The same ids in both: only the project tells them apart.
    changes.extend(turn("mine", 1, "a", at(0)));
    changes.extend(turn("other", 2, "b", at(0)));
    write(&server, &changes).await;
    let model = ReadModel::new(&server.url);
    let (mine, first) = (project("mine"), PageRequest::default());

    let sessions = model.sessions(&mine, &all(), &first).await.unwrap().items;
    assert_eq!(
        sessions
            .iter()
            .map(|view| view.id.clone())
            .collect::<Vec<_>>(),
        [session(1).to_string()]
    );
    assert_eq!(
        model
            .execs(&mine, &of_session(2), &first)
            .await
            .unwrap()
            .items,
        []
    );
    let foreign = ExecId {
        project: mine.clone(),
        session: session(2),
        stream: "b".parse().unwrap(),
    };
    assert_eq!(model.exec(&foreign).await.unwrap(), None);
    let conversation = session(2).conversation();
    assert_eq!(model.conversation(&mine, conversation).await.unwrap(), None);
    assert_eq!(
        model
            .messages(&mine, conversation, &first)
            .await
            .unwrap()
            .items,
        []
    );
    assert_eq!(
        model
            .conversations(&mine, &ConversationFilter::default(), &first)
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    server.stop().await;
}

async fn signal(pid: i32, signal: &str) {
    let done = tokio::process::Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .status()
        .await
        .unwrap();
    assert!(done.success());
}

/// A server that is frozen ends no statement: whoever asks is told all the same, and the next one
/// gets another connection.
#[tokio::test]
async fn a_server_that_is_frozen_is_not_waited_for_for_ever() {
    let server = TestServer::start().await;
    migrate(&server.url).await.unwrap();
    let model = ReadModel::new(&server.url);
    model.check().await.unwrap();
    let (client, connection) = tokio_postgres::connect(&server.server.url(), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let of_model = "SELECT pid FROM pg_stat_activity WHERE application_name = 'rdev-gateway'";
    let pid: i32 = client.query_one(of_model, &[]).await.unwrap().get(0);
    signal(pid, "STOP").await;
    let (demo, first) = (project("demo"), PageRequest::default());
    let list = async || {
        tokio::time::timeout(PATIENCE, model.sessions(&demo, &all(), &first))
            .await
            .unwrap()
    };
    let frozen = list().await;
    assert!(
        matches!(frozen, Err(ReadError::Unavailable(_))),
        "{frozen:?}"
    );
    assert_eq!(list().await.unwrap().items, []);
    signal(pid, "CONT").await;
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn bad_cursors_and_absent_servers_are_told_apart() {
    let mut server = TestServer::start().await;
    let model = ReadModel::new(&server.url);
    let demo = project("demo");
    let before_migrations = model.sessions(&demo, &all(), &PageRequest::default()).await;
    assert!(
        matches!(before_migrations, Err(ReadError::Unavailable(_))),
        "{before_migrations:?}"
    );
    migrate(&server.url).await.unwrap();
    model.check().await.unwrap();
    let refused = model
        .sessions(&demo, &all(), &request(5, Some("nonsense".to_owned())))
        .await;
    assert!(
        matches!(refused, Err(ReadError::InvalidCursor(_))),
        "{refused:?}"
    );

    server.server.kill().await;
    // A backend outlives its killed postmaster for a moment, and may answer once more.
    let refused = async {
        loop {
            let answer = model.sessions(&demo, &all(), &PageRequest::default()).await;
            if answer.is_err() {
                break answer;
            }
        }
    };
    let away = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert!(matches!(away, Err(ReadError::Unavailable(_))), "{away:?}");
    server.server.restart().await.unwrap();
    assert_eq!(
        model
            .sessions(&demo, &all(), &PageRequest::default())
            .await
            .unwrap()
            .items,
        []
    );
    server.stop().await;
}
