//! The gateway's queries on a real PostgreSQL: every list, page by page, and nobody else's rows.

#![expect(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

mod server;

use jiff::{SignedDuration, Timestamp};
use rdev_contract::event::{Requester, Work};
use rdev_contract::http::Page;
use rdev_contract::id::{ClaudeSessionId, ExecId, ProjectId, SessionId};
use rdev_contract::position::StreamSeq;
use rdev_readmodel::{
    AssistantMessage, Change, ClaudeResult, Commanded, ConversationHeld, Database, LogIdentity,
    MessageId, PageLimit, PageRequest, Place, ReadError, ReadModel, SessionCreated, UserMessage,
    migrate,
};
use server::TestServer;
use uuid::Uuid;

const LOG: &str = "RDEV_EXEC";

fn life() -> LogIdentity {
    LogIdentity::created_at(Timestamp::UNIX_EPOCH)
}

fn project(name: &str) -> ProjectId {
    name.parse().unwrap()
}

fn session(number: u128) -> SessionId {
    SessionId::new(Uuid::from_u128(number))
}

/// Several of a list share a time, so that the second part of its key matters.
fn at(number: u128) -> Timestamp {
    let hours = i64::try_from(number / 3).unwrap();
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours) + SignedDuration::from_micros(hours)
}

fn created(project_name: &str, number: u128) -> Change {
    Change::SessionCreated(SessionCreated {
        project: project(project_name),
        session: session(number),
        pod: "pod".parse().unwrap(),
        namespace: None,
        container: None,
        by: Requester::default(),
        at: at(number),
    })
}

/// An exec with all that makes it a turn of its session's conversation.
fn turn(project_name: &str, session_number: u128, stream: &str, when: Timestamp) -> Vec<Change> {
    let exec = ExecId {
        project: project(project_name),
        session: session(session_number),
        stream: stream.parse().unwrap(),
    };
    let conversation = exec.session.conversation();
    let id = |role: &str| {
        let name = format!("{}/{stream}/{role}", exec.project);
        MessageId(Uuid::new_v5(&exec.session.uuid(), name.as_bytes()))
    };
    let work = Work::Claude {
        prompt: format!("prompt of {stream}"),
        continue_conversation: false,
        conversation_id: None,
    };
    let Work::Claude { prompt, .. } = work else {
        unreachable!()
    };
    vec![
        Change::Commanded(Box::new(Commanded {
            exec: exec.clone(),
            kind: "claude",
            command: None,
            prompt: Some(prompt),
            args: Vec::new(),
            cwd: None,
            timeout_seconds: 5,
            by: Requester::default(),
            log: life(),
            sequence: StreamSeq(1),
            at: when,
        })),
        Change::ClaudeResult(Box::new(ClaudeResult {
            exec: exec.clone(),
            log: life(),
            text: Some(format!("answer of {stream}")),
            subtype: "success".to_owned(),
            is_error: false,
            total_cost_usd: None,
            usage: None,
            model_usage: None,
            at: when,
        })),
        Change::ConversationHeld(ConversationHeld {
            exec: exec.clone(),
            conversation,
            title: "Session".to_owned(),
            claude_session: ClaudeSessionId::new(Uuid::from_u128(1)),
            at: when,
        }),
        Change::UserMessage(UserMessage {
            exec: exec.clone(),
            conversation,
            id: id("user"),
        }),
        Change::AssistantMessage(AssistantMessage {
            id: id("assistant"),
            exec,
            conversation,
            at: when,
        }),
    ]
}

async fn write(server: &TestServer, changes: &[Change]) {
    let database = Database::for_writing(&server.url);
    let from = Place {
        log: life(),
        sequence: StreamSeq(0),
    };
    let to = Place {
        log: life(),
        sequence: StreamSeq(7),
    };
    database.begin_position(LOG, from).await.unwrap();
    let mut connection = database.writing().await.unwrap();
    let writer = connection.begin(LOG, from, to).await.unwrap();
    writer.apply(changes).await.unwrap();
    writer.commit().await.unwrap();
}

fn request(limit: u32, cursor: Option<String>) -> PageRequest {
    PageRequest {
        limit: PageLimit::try_from(limit).unwrap(),
        cursor,
    }
}

/// All items of a list, read in pages of this many.
async fn walk<T>(
    limit: u32,
    mut page_of: impl AsyncFnMut(PageRequest) -> Result<Page<T>, ReadError>,
) -> Vec<T> {
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let page = page_of(request(limit, cursor)).await.unwrap();
        let full = page.items.len() == limit as usize;
        items.extend(page.items);
        match page.next_cursor {
            None => return items,
            next => cursor = next,
        }
        assert!(full, "only the last page may be short");
    }
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
        let sessions = walk(limit, async |page| model.sessions(&demo, &page).await).await;
        let ids: Vec<_> = sessions.into_iter().map(|view| view.id).collect();
        let newest_first: Vec<_> = (1..=7)
            .rev()
            .map(|number| session(number).to_string())
            .collect();
        assert_eq!(ids, newest_first, "pages of {limit}");

        let execs = walk(limit, async |page| {
            model.execs(&demo, session(1), &page).await
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

        let held = walk(limit, async |page| model.conversations(&demo, &page).await).await;
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

    let sessions = model.sessions(&mine, &first).await.unwrap().items;
    assert_eq!(
        sessions
            .iter()
            .map(|view| view.id.clone())
            .collect::<Vec<_>>(),
        [session(1).to_string()]
    );
    assert_eq!(
        model.execs(&mine, session(2), &first).await.unwrap().items,
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
            .conversations(&mine, &first)
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    server.stop().await;
}

#[tokio::test]
async fn bad_cursors_and_absent_servers_are_told_apart() {
    let mut server = TestServer::start().await;
    let model = ReadModel::new(&server.url);
    let demo = project("demo");
    let before_migrations = model.sessions(&demo, &PageRequest::default()).await;
    assert!(
        matches!(before_migrations, Err(ReadError::Unavailable(_))),
        "{before_migrations:?}"
    );
    migrate(&server.url).await.unwrap();
    model.check().await.unwrap();
    let refused = model
        .sessions(&demo, &request(5, Some("nonsense".to_owned())))
        .await;
    assert!(
        matches!(refused, Err(ReadError::InvalidCursor(_))),
        "{refused:?}"
    );

    server.server.kill().await;
    // A backend outlives its killed postmaster for a moment, and may answer once more.
    let refused = async {
        loop {
            let answer = model.sessions(&demo, &PageRequest::default()).await;
            if answer.is_err() {
                break answer;
            }
        }
    };
    let away = tokio::time::timeout(std::time::Duration::from_secs(30), refused)
        .await
        .unwrap();
    assert!(matches!(away, Err(ReadError::Unavailable(_))), "{away:?}");
    server.server.restart().await.unwrap();
    assert_eq!(
        model
            .sessions(&demo, &PageRequest::default())
            .await
            .unwrap()
            .items,
        []
    );
    server.stop().await;
}
