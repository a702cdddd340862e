//! The facts of sessions.

use std::collections::BTreeMap;

use rdev_contract::envelope::PAYLOAD_VERSION;
use rdev_contract::event::PodIdentity;
use rdev_contract::position::StreamSeq;
use rdev_contract::session::{
    CodexLinked, Created, EndReason, Ended, IdleWarning, Linked, PodState, SessionFact,
    SessionMessage, SessionPod,
};

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
        pod: Some("pod-1".parse().unwrap()),
        namespace: Some("team".parse().unwrap()),
        container: Some("main".parse().unwrap()),
        template: None,
        selector: BTreeMap::new(),
        idle_timeout_seconds: None,
        expires_at: None,
        by: requester(),
    };
    assert_session_fact(SessionFact::Created(created), golden!("session_created"));
}

#[test]
fn session_created_with_a_pod_of_its_own() {
    let created = Created {
        pod: Some("rdev-1".parse().unwrap()),
        namespace: None,
        container: None,
        template: Some("rust".parse().unwrap()),
        selector: BTreeMap::new(),
        idle_timeout_seconds: Some(600),
        expires_at: Some(at()),
        by: requester(),
    };
    let golden = golden!("session_created_template");
    assert_session_fact(SessionFact::Created(created), golden);
}

#[test]
fn session_created_by_labels() {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let created = Created {
        pod: None,
        namespace: None,
        container: None,
        template: None,
        selector: BTreeMap::from([label("app", "web"), label("tier", "dev")]),
        idle_timeout_seconds: None,
        expires_at: None,
        by: requester(),
    };
    let golden = golden!("session_created_selector");
    assert_session_fact(SessionFact::Created(created), golden);
}

#[test]
fn session_pod() {
    let pod = SessionPod {
        state: PodState::Ready,
        message: String::new(),
        since: None,
        pod: Some(PodIdentity {
            namespace: "team".to_owned(),
            name: "rdev-1".to_owned(),
            uid: "u-1".to_owned(),
            container: "main".to_owned(),
            container_id: "containerd://c-1".to_owned(),
            restarts: 0,
        }),
    };
    assert_session_fact(SessionFact::Pod(pod), golden!("session_pod"));
    let pending = SessionPod {
        state: PodState::Pending,
        message: "its container main is not up ContainerCreating".to_owned(),
        since: Some(at()),
        pod: None,
    };
    assert_session_fact(SessionFact::Pod(pending), golden!("session_pod_pending"));
}

#[test]
fn session_idle_warning() {
    let warning = IdleWarning {
        ends_at: Some(at()),
    };
    assert_session_fact(
        SessionFact::IdleWarning(warning),
        golden!("session_idle_warning"),
    );
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
    let mut ended = Ended {
        by: requester(),
        cancel: true,
        reason: None,
    };
    let before = SessionFact::Ended(ended.clone());
    assert_session_fact(before, golden!("session_ended"));
    ended.reason = Some(EndReason::Expired);
    assert_session_fact(SessionFact::Ended(ended), golden!("session_ended_expired"));
}
