//! The conversation: given a completed exec, then the rows that it adds.

use std::collections::BTreeMap;

use rdev_contract::envelope::Chain;
use rdev_contract::event::{Command, CommandSpec, Outcome, Requester};
use rdev_contract::id::ExecId;
use rdev_contract::position::{EventNo, Offsets, StreamSeq};

use super::*;

const CLAUDE_SESSION: &str = "f1f4509e-1d42-4e14-a6d2-37bbe0556b4b";

fn exec(work: Work, claude_session_id: &str) -> ExecState {
    let spec = CommandSpec {
        work,
        args: Vec::new(),
        env: BTreeMap::new(),
        cwd: None,
        timeout_seconds: 60,
        stdin: None,
        merge: false,
    };
    let complete = Complete {
        claude_session_id: claude_session_id.to_owned(),
        ..Complete::without_process(Outcome::Exited, "")
    };
    ExecState {
        exec: ExecId {
            project: "demo".parse().unwrap(),
            session: "01930000-0000-7000-8000-000000000001".parse().unwrap(),
            stream: "s-1".parse().unwrap(),
        },
        command_seq: StreamSeq(10),
        command: Command {
            spec,
            accept_until: Timestamp::UNIX_EPOCH,
            by: Requester::default(),
        },
        asked_at: Timestamp::from_second(10).unwrap(),
        claim: None,
        started: None,
        started_at: None,
        next: EventNo(3),
        to: Offsets::default(),
        tail: StreamSeq(12),
        chain: Chain::default(),
        complete: Some(complete),
        completed_at: Some(Timestamp::from_second(20).unwrap()),
        progressed: true,
    }
}

fn claude(prompt: &str) -> Work {
    Work::Claude {
        prompt: prompt.to_owned(),
        continue_conversation: false,
        conversation_id: None,
    }
}

fn tally(result: &str) -> ClaudeTally {
    let mut tally = ClaudeTally::default();
    tally.observe(&format!(
        r#"{{"type":"result","subtype":"success","result":"{result}"}}"#
    ));
    tally
}

#[test]
fn a_claude_exec_adds_prompt_and_result() {
    let exec = exec(claude("what is 1+1?"), CLAUDE_SESSION);
    let turn = turn(&exec, &tally("2")).unwrap();
    assert_eq!(turn.conversation.title, "Session 01930000");
    assert_eq!(turn.conversation.id, exec.exec.session.conversation());
    assert_eq!(
        turn.conversation.claude_session_id.to_string(),
        CLAUDE_SESSION
    );
    assert_eq!(turn.user.content, "what is 1+1?");
    assert_eq!(turn.user.role.name(), "user");
    assert_eq!(Some(turn.user.created_at), Timestamp::from_second(10).ok());
    let assistant = turn.assistant.unwrap();
    assert_eq!(assistant.content, "2");
    assert_eq!(assistant.role.name(), "assistant");
    assert_eq!(Some(assistant.created_at), exec.completed_at);
    assert_ne!(assistant.id, turn.user.id);
}

#[test]
fn the_same_exec_gives_the_same_rows() {
    let exec = exec(claude("hi"), CLAUDE_SESSION);
    assert_eq!(turn(&exec, &tally("a")), turn(&exec, &tally("a")));
}

#[test]
fn nul_characters_become_storable() {
    let exec = exec(claude("a\0b"), CLAUDE_SESSION);
    let turn = turn(&exec, &tally(r"c\u0000d")).unwrap();
    assert_eq!(turn.user.content, "a\u{FFFD}b");
    assert_eq!(turn.assistant.unwrap().content, "c\u{FFFD}d");
}

#[test]
fn a_run_without_an_answer_keeps_the_prompt() {
    let exec = exec(claude("hi"), CLAUDE_SESSION);
    let turn = turn(&exec, &ClaudeTally::default()).unwrap();
    assert_eq!((turn.user.content.as_str(), turn.assistant), ("hi", None));
}

#[test]
fn other_execs_add_nothing() {
    let shell = Work::Shell {
        command: "true".to_owned(),
    };
    assert_eq!(turn(&exec(shell, CLAUDE_SESSION), &tally("x")), None);
    assert_eq!(turn(&exec(claude("hi"), ""), &tally("x")), None);
    let mut running = exec(claude("hi"), CLAUDE_SESSION);
    running.complete = None;
    running.completed_at = None;
    assert_eq!(turn(&running, &tally("x")), None);
}
