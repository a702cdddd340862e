//! The facts of sessions.

use rdev_contract::envelope::PAYLOAD_VERSION;
use rdev_contract::position::StreamSeq;
use rdev_contract::session::{CodexLinked, Created, Ended, Linked, SessionFact, SessionMessage};

use super::{at, claude_session, requester, session};

fn assert_session_fact(fact: SessionFact, golden: &str) {
    let message = SessionMessage {
        v: PAYLOAD_VERSION,
        project: "demo".parse().unwrap(),
        session: session(),
        at: at(),
        fact,
    };
    assert_eq!(serde_json::to_string(&message).unwrap(), golden);
    assert_eq!(
        serde_json::from_str::<SessionMessage>(golden).unwrap(),
        message
    );
}

#[test]
fn session_created() {
    let created = Created {
        pod: "pod-1".parse().unwrap(),
        namespace: Some("team".parse().unwrap()),
        container: Some("main".parse().unwrap()),
        by: requester(),
    };
    assert_session_fact(SessionFact::Created(created), golden!("session_created"));
}

#[test]
fn session_linked() {
    let linked = Linked {
        claude_session_id: claude_session(),
        conversation_id: session().conversation(),
        stream: "session-1".parse().unwrap(),
        command_seq: StreamSeq(48189),
    };
    assert_session_fact(SessionFact::Linked(linked), golden!("session_linked"));
}

#[test]
fn session_codex_linked() {
    let linked = CodexLinked {
        codex_session_id: claude_session(),
        conversation_id: session().conversation(),
        stream: "session-1".parse().unwrap(),
        command_seq: StreamSeq(48189),
    };
    assert_session_fact(
        SessionFact::CodexLinked(linked),
        golden!("session_codex_linked"),
    );
}

#[test]
fn session_ended() {
    let ended = Ended {
        by: requester(),
        cancel: true,
    };
    assert_session_fact(SessionFact::Ended(ended), golden!("session_ended"));
}
