//! Sessions: given facts, then the state, and which facts may follow.

use super::*;

const ONE: &str = "f1f4509e-1d42-4e14-a6d2-37bbe0556b4b";
const TWO: &str = "0ddba11e-1d42-4e14-a6d2-37bbe0556b4b";

fn message(second: i64, fact: SessionFact) -> SessionMessage {
    SessionMessage {
        v: 1,
        project: "demo".parse().unwrap(),
        session: "01930000-0000-7000-8000-000000000001".parse().unwrap(),
        at: Timestamp::from_second(second).unwrap(),
        fact,
    }
}

fn created() -> SessionMessage {
    let fact = SessionFact::Created(Created {
        namespace: Some("team".parse().unwrap()),
        ..Created::of_pod("pod-1".parse().unwrap(), Requester::default())
    });
    message(10, fact)
}

fn linked(id: &str, command_seq: u64) -> SessionMessage {
    let fact = SessionFact::Linked(Linked {
        claude_session_id: id.parse().unwrap(),
        conversation_id: created().session.conversation(),
        stream: "s-1".parse().unwrap(),
        command_seq: StreamSeq(command_seq),
    });
    message(20, fact)
}

fn ended(second: i64) -> SessionMessage {
    let by = Requester::default();
    let ended = Ended {
        by,
        cancel: false,
        reason: None,
    };
    message(second, SessionFact::Ended(ended))
}

fn claude_session(state: &SessionState) -> String {
    state.linked.as_ref().unwrap().claude_session_id.to_string()
}

#[test]
fn a_session_begins_with_created() {
    assert_eq!(fold(&[]), Err(SessionFoldError::NotCreated));
    assert_eq!(fold(&[linked(ONE, 1)]), Err(SessionFoldError::NotCreated));
    let state = fold(&[created()]).unwrap();
    assert_eq!(state.end_in_words(), None);
    let view = state.view();
    assert_eq!(
        (view.status.as_str(), view.pod.as_deref()),
        ("active", Some("pod-1"))
    );
    assert_eq!(view.namespace.as_deref(), Some("team"));
    assert_eq!(view.created_at, Timestamp::from_second(10).unwrap());
    assert_eq!(
        view.conversation_id,
        state.session.conversation().to_string()
    );
    assert_eq!((view.claude_session_id, view.ended_at), (None, None));
}

#[test]
fn facts_of_two_sessions_do_not_mix() {
    let mut other = linked(ONE, 1);
    other.session = "01930000-0000-7000-8000-000000000002".parse().unwrap();
    assert_eq!(fold(&[created(), other]), Err(SessionFoldError::Mixed));
}

#[test]
fn the_link_of_the_later_command_wins_in_any_order() {
    for facts in [
        [created(), linked(ONE, 5), linked(TWO, 9)],
        [created(), linked(TWO, 9), linked(ONE, 5)],
    ] {
        assert_eq!(claude_session(&fold(&facts).unwrap()), TWO);
    }
    let state = fold(&[created(), linked(TWO, 9)]).unwrap();
    let link = |seq| state.link(ONE.parse().unwrap(), "s-2".parse().unwrap(), StreamSeq(seq));
    assert_eq!(link(5), None, "a newer link is left alone");
    assert_eq!(link(9), None, "once is enough");
    assert!(matches!(link(10), Some(SessionFact::Linked(_))));
}

#[test]
fn an_end_is_final_and_happens_once() {
    let state = fold(&[created()]).unwrap();
    let end = state.end(Requester::default(), true, EndReason::Deleted);
    assert!(matches!(
        end,
        Some(SessionFact::Ended(Ended { cancel: true, .. }))
    ));
    let state = fold(&[ended(30), created(), linked(ONE, 1)]).unwrap();
    assert_eq!(
        state.end_in_words().as_deref(),
        Some("the session has ended")
    );
    assert_eq!(
        state.end(Requester::default(), false, EndReason::Deleted),
        None
    );
    assert_eq!(state.view().status, "ended");
    assert_eq!(
        state.view().ended_at,
        Some(Timestamp::from_second(30).unwrap())
    );
    assert_eq!(state.view().claude_session_id.as_deref(), Some(ONE));
}

#[test]
fn a_later_end_changes_nothing() {
    let mut state = fold(&[created(), ended(30)]).unwrap();
    state.apply(&ended(40));
    assert_eq!(state.ended_at, Some(Timestamp::from_second(30).unwrap()));
}

fn pod(state: PodState, text: &str, name: Option<&str>) -> SessionMessage {
    let pod = name.map(|name| rdev_contract::event::PodIdentity {
        namespace: "team".to_owned(),
        name: name.to_owned(),
        uid: "u".to_owned(),
        container: "main".to_owned(),
        container_id: "c".to_owned(),
        restarts: 0,
    });
    let fact = SessionFact::Pod(SessionPod {
        state,
        message: text.to_owned(),
        since: None,
        pod,
    });
    message(15, fact)
}

/// As `created`, but its pod is chosen.
fn chosen() -> SessionMessage {
    let mut message = created();
    if let SessionFact::Created(created) = &mut message.fact {
        created.pod = None;
        created.selector.insert("app".to_owned(), "web".to_owned());
    }
    message
}

#[test]
fn commands_wait_for_a_pod_that_is_made_or_chosen() {
    let named = fold(&[created()]).unwrap();
    assert!(!named.awaits_pod() && named.pod_state().is_none());
    let state = fold(&[chosen()]).unwrap();
    assert!(state.awaits_pod() && state.pod_name().is_none());
    let state = fold(&[chosen(), pod(PodState::Pending, "none yet", None)]).unwrap();
    assert!(state.awaits_pod());
    assert_eq!(state.news().pod_message, "none yet");
    let ready = pod(PodState::Ready, "", Some("web-1"));
    let state = fold(&[chosen(), ready]).unwrap();
    assert!(!state.awaits_pod());
    assert_eq!(state.view().pod.as_deref(), Some("web-1"));
    let failed = fold(&[chosen(), pod(PodState::Failed, "no room", None), ended(30)]);
    assert!(!failed.unwrap().awaits_pod());
    let ended = fold(&[chosen(), ended(30)]).unwrap();
    assert!(!ended.awaits_pod(), "nothing comes any more");
}

#[test]
fn an_end_says_why() {
    let because = |reason| {
        let mut end = ended(30);
        if let SessionFact::Ended(ended) = &mut end.fact {
            ended.reason = Some(reason);
        }
        let state = fold(&[chosen(), pod(PodState::Failed, "no room", None), end]);
        state.unwrap().end_in_words().unwrap()
    };
    assert_eq!(because(EndReason::Deleted), "the session has ended");
    assert_eq!(
        because(EndReason::Idle),
        "the session has ended: it was idle"
    );
    assert_eq!(because(EndReason::Failed), "the session has ended: no room");
}
