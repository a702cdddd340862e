//! Rows to be listed, and how a list is walked.

#![allow(dead_code, reason = "each test file uses a part of it")]

use jiff::{SignedDuration, Timestamp};
use rdev_contract::agent::Agent;
use rdev_contract::event::Requester;
use rdev_contract::http::Page;
use rdev_contract::id::{AgentSessionId, ExecId, ProjectId, SessionId};
use rdev_contract::position::StreamSeq;
use rdev_contract::session::Created;
use rdev_readmodel::{
    AgentAnswered, AssistantMessage, Change, Commanded, ConversationHeld, Database, LogIdentity,
    MessageId, PageLimit, PageRequest, Place, ReadError, SessionCreated, UserMessage,
};
use uuid::Uuid;

use crate::server::TestServer;

pub(crate) const LOG: &str = "RDEV_EXEC";

pub(crate) fn life() -> LogIdentity {
    LogIdentity::created_at(Timestamp::UNIX_EPOCH)
}

pub(crate) fn project(name: &str) -> ProjectId {
    name.parse().unwrap()
}

pub(crate) fn session(number: u128) -> SessionId {
    SessionId::new(Uuid::from_u128(number))
}

/// Several of a list share a time, so that the second part of its key matters.
pub(crate) fn at(number: u128) -> Timestamp {
    let hours = i64::try_from(number / 3).unwrap();
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours) + SignedDuration::from_micros(hours)
}

pub(crate) fn created(project_name: &str, number: u128) -> Change {
    Change::SessionCreated(SessionCreated {
        project: project(project_name),
        session: session(number),
        created: Created::of_pod("pod".parse().unwrap(), Requester::default()),
        at: at(number),
    })
}

/// An exec with all that makes it a turn of its session's conversation.
pub(crate) fn turn(
    project_name: &str,
    session_number: u128,
    stream: &str,
    when: Timestamp,
) -> Vec<Change> {
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
    vec![
        Change::Commanded(Box::new(Commanded {
            exec: exec.clone(),
            kind: "claude",
            command: None,
            prompt: Some(format!("prompt of {stream}")),
            args: Vec::new(),
            cwd: None,
            timeout_seconds: 5,
            by: Requester::default(),
            log: life(),
            sequence: StreamSeq(1),
            at: when,
        })),
        Change::AgentAnswered(AgentAnswered {
            exec: exec.clone(),
            log: life(),
            text: Some(format!("answer of {stream}")),
            at: when,
        }),
        Change::ConversationHeld(ConversationHeld {
            exec: exec.clone(),
            conversation,
            title: "Session".to_owned(),
            agent: Agent::Claude,
            agent_session: AgentSessionId::new(Uuid::from_u128(1)),
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

pub(crate) async fn write(server: &TestServer, changes: &[Change]) {
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

pub(crate) fn request(limit: u32, cursor: Option<String>) -> PageRequest {
    PageRequest {
        limit: PageLimit::try_from(limit).unwrap(),
        cursor,
    }
}

/// All items of a list, read in pages of this many.
pub(crate) async fn walk<T>(
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
