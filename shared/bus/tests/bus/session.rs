//! Session facts.

use rdev_bus::session::SessionError;
use rdev_contract::envelope::PAYLOAD_VERSION;
use rdev_contract::event::Requester;
use rdev_contract::id::{AgentSessionId, ProjectId, SessionId};
use rdev_contract::position::StreamSeq;
use rdev_contract::session::{Created, Ended, Linked, SessionFact, SessionMessage};
use uuid::Uuid;

use crate::{Log, now};

fn project() -> ProjectId {
    "demo".parse().expect("a project id")
}

fn message(session: SessionId, fact: SessionFact) -> SessionMessage {
    SessionMessage {
        v: PAYLOAD_VERSION,
        project: project(),
        session,
        at: now(),
        fact,
    }
}

fn created(session: SessionId) -> SessionMessage {
    let created = Created::of_pod("box".parse().expect("a pod name"), Requester::default());
    message(session, SessionFact::Created(created))
}

fn linked(session: SessionId, command_seq: u64) -> SessionMessage {
    let linked = Linked {
        claude_session_id: AgentSessionId::new(Uuid::new_v4()),
        conversation_id: session.conversation(),
        stream: "exec".parse().expect("a stream id"),
        command_seq: StreamSeq(command_seq),
    };
    message(session, SessionFact::Linked(linked))
}

/// Keeps the link of a later command.
fn is_newer_than(command_seq: u64) -> impl Fn(&SessionFact) -> bool {
    move |found| matches!(found, SessionFact::Linked(link) if link.command_seq.0 > command_seq)
}

async fn facts(log: &Log, session: SessionId) -> Vec<SessionFact> {
    let facts = log.bus.session_facts(&project(), session).await;
    let facts = facts.expect("an answer").into_iter();
    facts.map(|fact| fact.value.fact).collect()
}

#[tokio::test]
async fn a_session_is_created_and_ended_once() {
    let log = Log::start().await;
    let session = SessionId::new(Uuid::now_v7());
    assert!(facts(&log, session).await.is_empty());
    let first = created(session);
    let stored = log.bus.append_session_once(&first).await.expect("stored");
    let same = log.bus.append_session_once(&first).await;
    assert_eq!(same.expect("stored already"), stored);
    let again = log.bus.append_session_once(&created(session)).await;
    assert!(matches!(again, Err(SessionError::Exists)), "{again:?}");
    assert_eq!(
        facts(&log, session).await,
        std::slice::from_ref(&first.fact)
    );
    let ended = message(
        session,
        SessionFact::Ended(Ended {
            by: Requester::default(),
            cancel: false,
            reason: None,
        }),
    );
    log.bus.append_session_once(&ended).await.expect("stored");
    assert_eq!(facts(&log, session).await, [first.fact, ended.fact]);
}

#[tokio::test]
async fn another_project_does_not_see_it() {
    let log = Log::start().await;
    let session = SessionId::new(Uuid::now_v7());
    let stored = log.bus.append_session_once(&created(session)).await;
    stored.expect("stored");
    let other: ProjectId = "other".parse().expect("a project id");
    let facts = log.bus.session_facts(&other, session).await;
    assert!(facts.expect("an answer").is_empty());
}

#[tokio::test]
async fn a_newer_link_is_left_alone() {
    let log = Log::start().await;
    let session = SessionId::new(Uuid::now_v7());
    for (command_seq, expected) in [(5, 5), (9, 9), (7, 9)] {
        let link = linked(session, command_seq);
        let replaced = log
            .bus
            .replace_session_fact(&link, is_newer_than(command_seq));
        replaced.await.expect("stored");
        let facts = facts(&log, session).await;
        let [SessionFact::Linked(found)] = facts.as_slice() else {
            panic!("{facts:?}");
        };
        assert_eq!(found.command_seq, StreamSeq(expected));
    }
}

/// However many there were; and those who link at once all get through.
#[tokio::test]
async fn the_last_of_many_links_counts() {
    const LINKS: u64 = 300;
    let log = Log::start().await;
    let session = SessionId::new(Uuid::now_v7());
    let first = created(session);
    log.bus.append_session_once(&first).await.expect("stored");
    for command_seq in 1..LINKS {
        let link = linked(session, command_seq);
        let replaced = log
            .bus
            .replace_session_fact(&link, is_newer_than(command_seq));
        replaced.await.expect("stored");
    }
    let racing: Vec<_> = (LINKS..LINKS + 4)
        .map(|seq| (seq, linked(session, seq)))
        .collect();
    let replacing = racing
        .iter()
        .map(|(seq, link)| log.bus.replace_session_fact(link, is_newer_than(*seq)));
    for replaced in futures::future::join_all(replacing).await {
        replaced.expect("stored or left alone");
    }
    let facts = facts(&log, session).await;
    let [known, SessionFact::Linked(link)] = facts.as_slice() else {
        panic!("{facts:?}");
    };
    assert_eq!(*known, first.fact);
    assert_eq!(link.command_seq, StreamSeq(LINKS + 3));
}
