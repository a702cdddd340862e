//! The life of a session: given its facts, then what is due.

use rdev_contract::event::Requester;
use rdev_contract::session::{
    Created, Ended, IdleWarning, SessionFact, SessionMessage, SessionPod,
};

use super::*;
use crate::session::fold;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn created(change: impl FnOnce(&mut Created)) -> SessionFact {
    let mut created = Created::of_pod("rdev-1".parse().unwrap(), Requester::default());
    change(&mut created);
    SessionFact::Created(created)
}

fn made(created: &mut Created) {
    created.template = Some("rust".parse().unwrap());
}

fn pod(state: PodState) -> SessionFact {
    SessionFact::Pod(SessionPod {
        state,
        message: String::new(),
        since: None,
        pod: None,
    })
}

fn ended(cancel: bool) -> SessionFact {
    SessionFact::Ended(Ended {
        by: Requester::default(),
        cancel,
        reason: None,
    })
}

/// What is due at second 100 of a session whose facts are all of second 0.
fn due(is_busy: bool, facts: Vec<SessionFact>) -> Duty {
    due_at(100, is_busy, facts)
}

fn due_at(second: i64, is_busy: bool, facts: Vec<SessionFact>) -> Duty {
    let message = |fact| SessionMessage {
        v: 1,
        project: "demo".parse().unwrap(),
        session: "01930000-0000-7000-8000-000000000001".parse().unwrap(),
        at: at(0),
        fact,
    };
    let facts: Vec<_> = facts.into_iter().map(message).collect();
    duty(&fold(&facts).unwrap(), is_busy, at(second))
}

#[test]
fn a_pod_is_made_or_chosen_and_looked_at_until_it_is_ready() {
    let select = |created: &mut Created| {
        created.pod = None;
        created.selector.insert("app".to_owned(), "web".to_owned());
    };
    assert_eq!(due(true, vec![created(made)]), Duty::Provide);
    assert_eq!(due(true, vec![created(select)]), Duty::Provide);
    let pending = vec![created(made), pod(PodState::Pending)];
    assert_eq!(due(true, pending), Duty::Provide);
    let ready = vec![created(made), pod(PodState::Ready)];
    assert_eq!(due(true, ready), Duty::Wait(None));
    let failed = vec![created(made), pod(PodState::Failed)];
    assert_eq!(due(true, failed), Duty::End(EndReason::Failed));
    assert_eq!(due(true, vec![created(|_| {})]), Duty::Wait(None));
}

#[test]
fn an_expiry_ends_it_whatever_runs() {
    let expires = |second| move |created: &mut Created| created.expires_at = Some(at(second));
    let ends = Duty::End(EndReason::Expired);
    assert_eq!(due(true, vec![created(expires(100))]), ends);
    let later = Duty::Wait(Some(at(101)));
    assert_eq!(due(true, vec![created(expires(101))]), later);
}

#[test]
fn what_runs_keeps_it_from_being_idle() {
    let idle = |created: &mut Created| created.idle_timeout_seconds = Some(5);
    let warned = SessionFact::IdleWarning(IdleWarning {
        ends_at: Some(at(104)),
    });
    let look = Duty::LookIdle(Duration::from_secs(5));
    assert_eq!(due(false, vec![created(idle)]), look);
    assert_eq!(due(true, vec![created(idle)]), Duty::Wait(None));
    let both = vec![created(idle), warned];
    assert_eq!(due(true, both), Duty::Withdraw);
}

#[test]
fn its_pod_is_removed_when_nothing_runs_any_more() {
    let facts = |state, cancel| vec![created(made), pod(state), ended(cancel)];
    assert_eq!(due(false, facts(PodState::Ready, false)), Duty::Discard);
    assert_eq!(due(false, facts(PodState::Pending, false)), Duty::Discard);
    assert_eq!(due(true, facts(PodState::Ready, false)), Duty::Wait(None));
    // What is to stop has a while, and no more.
    let stopping = |second| due_at(second, true, facts(PodState::Ready, true));
    assert_eq!(stopping(59), Duty::Cancel);
    assert_eq!(stopping(60), Duty::Discard);
    assert_eq!(due(false, facts(PodState::Deleted, false)), Duty::Over);
    // A pod that is not the session's own is left alone; what is to stop in it is, however late.
    let named = |cancel| vec![created(|_| {}), ended(cancel)];
    assert_eq!(due_at(600, true, named(true)), Duty::Cancel);
    assert_eq!(due_at(600, false, named(true)), Duty::Over);
    assert_eq!(due(true, named(false)), Duty::Over);
    assert_eq!(due(false, vec![created(|_| {}), ended(false)]), Duty::Over);
}

#[test]
fn nothing_ends_idle_without_a_warning_that_said_when() {
    let idle = |warned: Option<i64>, now| {
        let (timeout, warning) = (Duration::from_secs(60), Duration::from_secs(10));
        idle(warned.map(at), at(100), timeout, warning, at(now))
    };
    assert_eq!(idle(None, 100), Idle::Wait(at(150)));
    assert_eq!(idle(None, 149), Idle::Wait(at(150)));
    assert_eq!(idle(None, 150), Idle::Warn(at(160)));
    assert_eq!(idle(Some(160), 159), Idle::Wait(at(160)));
    assert_eq!(idle(Some(160), 160), Idle::End);
    // Nobody was there to warn: it has its time all the same.
    assert_eq!(idle(None, 500), Idle::Warn(at(510)));
    assert_eq!(idle(Some(510), 509), Idle::Wait(at(510)));
    assert_eq!(idle(Some(510), 510), Idle::End);
    // Something has happened since.
    assert_eq!(idle(Some(155), 120), Idle::Withdraw);
    assert_eq!(idle(Some(155), 150), Idle::Warn(at(160)));
}

#[test]
fn a_warning_is_not_longer_than_the_wait() {
    let (timeout, warning) = (Duration::from_secs(5), Duration::from_secs(60));
    let look = |warned: Option<i64>, now| idle(warned.map(at), at(100), timeout, warning, at(now));
    assert_eq!(look(None, 100), Idle::Warn(at(105)));
    assert_eq!(look(Some(105), 105), Idle::End);
}
