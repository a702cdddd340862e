//! Given a message, these changes.

use rdev_bus::Stored;
use rdev_contract::envelope::Recorded;
use serde_json::json;

use super::*;
use crate::log::{self, Log};

fn life() -> LogIdentity {
    LogIdentity::created_at("2026-01-01T00:00:00Z".parse().unwrap())
}

fn entry(stream: LogStream, message: &Recorded<Stored>) -> Entry<'_> {
    Entry {
        stream,
        log: life(),
        sequence: message.sequence,
        subject: &message.value.subject,
        payload: &message.value.payload,
        stored_at: message.value.at,
    }
}

fn steps(stream: LogStream, log: &Log) -> Vec<Step> {
    log.messages
        .iter()
        .flat_map(|message| project(&entry(stream, message)))
        .collect()
}

fn changes(stream: LogStream, log: &Log) -> Vec<Change> {
    let change = |step| match step {
        Step::Change(change) => change,
        Step::Join(line) => panic!("{line:?}"),
    };
    steps(stream, log).into_iter().map(change).collect()
}

fn reason(stream: LogStream, subject: &str, payload: &str) -> String {
    let mut log = Log::new();
    log.push(subject, payload.to_owned());
    let found = changes(stream, &log);
    let [Change::Poisoned(poisoned)] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(poisoned.payload, payload.as_bytes());
    poisoned.reason.clone()
}

#[test]
fn a_command_is_an_exec() {
    let exec = log::exec(1, "s");
    let mut log = Log::new();
    let at = log.now();
    log.command(&exec, log::claude("hello"));
    let found = changes(LogStream::Exec, &log);
    let [Change::Commanded(commanded)] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(
        (commanded.kind, commanded.prompt.as_deref()),
        ("claude", Some("hello"))
    );
    assert_eq!(
        (commanded.at, commanded.sequence, &commanded.exec),
        (at, StreamSeq(3), &exec)
    );
    assert_eq!(commanded.command, None);
}

#[test]
fn the_last_result_of_a_batch_counts() {
    let mut log = Log::new();
    let lines = [
        log::result_line("first", "0.1"),
        log::result_line("second", "0.250"),
    ];
    log.claude_lines(
        &log::exec(1, "s"),
        &[r#"{"type":"assistant"}"#, &lines[0], &lines[1]],
    );
    let found = changes(LogStream::Exec, &log);
    let [
        Change::AgentAnswered(answered),
        Change::AgentResult(result),
        Change::RunCounted(_),
    ] = found.as_slice()
    else {
        panic!("{found:?}");
    };
    assert_eq!(answered.text.as_deref(), Some("second"));
    assert_eq!(result.total_cost_usd.as_deref(), Some("0.250"));
    assert_eq!(
        result.usage,
        Some(json!({"input_tokens": 3, "note": "a\0b"}))
    );
}

#[test]
fn tools_stand_where_their_events_do() {
    let exec = log::exec(1, "s");
    let tool = |id: &str| {
        format!(
            r#"{{"type":"assistant","message":{{"content":[{{"type":"tool_use","id":"{id}","input":{{}}}},{{"type":"tool_use","id":"{id}+","input":{{}}}}]}}}}"#
        )
    };
    let mut log = Log::new();
    log.claude_lines(&exec, &[r#"{"type":"assistant"}"#, &tool("a")]);
    log.claude_parts(&exec, &tool("b"), 30);
    log.claude_lines(&exec, &[&tool("c")]);
    let mut found = Vec::new();
    for step in steps(LogStream::Exec, &log) {
        match step {
            Step::Change(Change::ToolAdded(added)) => found.push((added.tool_use_id, added.step)),
            Step::Join(line) => {
                let data = format!(r#"{{"event":{}}}"#, tool("b"));
                for change in joined(life(), &line, &data) {
                    let Change::ToolAdded(added) = change else {
                        panic!("{change:?}");
                    };
                    found.push((added.tool_use_id, added.step));
                }
            }
            Step::Change(Change::FragmentAdded(_)) => {}
            other @ Step::Change(_) => panic!("{other:?}"),
        }
    }
    let at = |event: u64, block: u64| event * 65_536 + block;
    let expected = [
        ("a", at(2, 0)),
        ("a+", at(2, 1)),
        ("b", at(3, 0)),
        ("b+", at(3, 1)),
        ("c", at(4, 0)),
        ("c+", at(4, 1)),
    ];
    assert_eq!(found, expected.map(|(id, step)| (id.to_owned(), step)));
}

#[test]
fn claude_events_without_a_result_change_nothing() {
    let mut log = Log::new();
    log.claude_lines(
        &log::exec(1, "s"),
        &[r#"{"type":"assistant","result":"no"}"#],
    );
    assert_eq!(steps(LogStream::Exec, &log), []);
}

#[test]
fn what_is_no_amount_is_left_out() {
    for cost in ["\"free\"", "1e999", "null", "[1]"] {
        let mut log = Log::new();
        log.claude_lines(&log::exec(1, "s"), &[&log::result_line("text", cost)]);
        let found = changes(LogStream::Exec, &log);
        let [_, Change::AgentResult(result), Change::RunCounted(_)] = found.as_slice() else {
            panic!("{cost}: {found:?}");
        };
        assert_eq!(result.total_cost_usd, None, "{cost}");
    }
}

#[test]
fn parts_are_kept_and_joined_behind_the_last() {
    let exec = log::exec(1, "s");
    let mut log = Log::new();
    log.claude_some_parts(&exec, r#"{"type":"result"}"#, 10, 0..3);
    let found = steps(LogStream::Exec, &log);
    let [
        Step::Change(Change::FragmentAdded(first)),
        Step::Change(Change::FragmentAdded(_)),
        Step::Change(Change::FragmentAdded(third)),
        Step::Join(line),
    ] = found.as_slice()
    else {
        panic!("{found:?}");
    };
    assert_eq!((first.part, third.part, line.last), (0, 2, 2));
    assert_eq!(line.exec, exec);
    let data = format!(r#"{{"event":{}}}"#, log::result_line("long", "1"));
    assert!(matches!(
        joined(life(), line, &data).as_slice(),
        [
            Change::AgentAnswered(_),
            Change::AgentResult(_),
            Change::RunCounted(_)
        ]
    ));
    assert_eq!(
        joined(life(), line, r#"{"event":{"type":"assistant"}}"#),
        []
    );
}

#[test]
fn an_end_without_a_claude_session_is_no_turn() {
    let exec = log::exec(1, "s");
    let mut log = Log::new();
    log.complete(&exec, &log::exited(3));
    let found = changes(LogStream::Exec, &log);
    assert!(
        matches!(found.as_slice(), [Change::Completed(_)]),
        "{found:?}"
    );
}

#[test]
fn an_end_with_a_claude_session_is_a_turn() {
    let exec = log::exec(1, "s");
    let mut log = Log::new();
    log.complete(&exec, &log::yielded(exec.session, log::claude_session(1)));
    let found = changes(LogStream::Exec, &log);
    let [
        Change::Completed(_),
        Change::ConversationHeld(held),
        Change::UserMessage(user),
        Change::ToolsHeld(_),
        Change::AssistantMessage(assistant),
    ] = found.as_slice()
    else {
        panic!("{found:?}");
    };
    assert_eq!(held.title, "Session 0192aaaa");
    assert_eq!(held.conversation, exec.session.conversation());
    assert_ne!(user.id, assistant.id);
    // The same again: a rebuild gives equal rows.
    assert_eq!(changes(LogStream::Exec, &log), found);
    assert_ne!(
        user.id,
        MessageId(message_id(&log::exec(1, "t"), Role::User))
    );
}

#[test]
fn bulk_output_and_unknown_kinds_change_nothing() {
    let exec = log::exec(1, "s");
    let mut log = Log::new();
    log.push(
        &format!("rdev.exec.demo.{}.s.paused", exec.session),
        "not even JSON",
    );
    log.push(
        &format!("rdev.session.demo.{}.renamed", exec.session),
        "not even JSON",
    );
    assert_eq!(project(&entry(LogStream::Exec, &log.messages[0])), []);
    assert_eq!(project(&entry(LogStream::Session, &log.messages[1])), []);
}

#[test]
fn session_facts() {
    let session = log::session(1);
    let mut log = Log::new();
    log.session_fact(session, log::created());
    log.session_fact(
        session,
        log::linked(session, log::claude_session(1), "s", 5),
    );
    log.session_fact(
        session,
        log::codex_linked(session, log::claude_session(2), 6),
    );
    log.session_fact(session, log::ended());
    let found = changes(LogStream::Session, &log);
    let [
        Change::SessionCreated(created),
        Change::SessionLinked(linked),
        Change::SessionLinked(codex),
        Change::SessionEnded(_),
    ] = found.as_slice()
    else {
        panic!("{found:?}");
    };
    assert_eq!(created.created.pod, Some("pod-1".parse().unwrap()));
    assert_eq!(
        (linked.agent_session, linked.command_seq),
        (log::claude_session(1), StreamSeq(5))
    );
    assert_eq!(
        (codex.agent, codex.agent_session),
        (Agent::Codex, log::claude_session(2))
    );
}

#[test]
fn what_cannot_be_read_is_poison_and_says_why() {
    let session = log::session(1);
    let subject = format!("rdev.exec.demo.{session}.s.command");
    assert!(reason(LogStream::Exec, "rdev.exec.demo", "{}").contains("subject"));
    assert!(reason(LogStream::Exec, &subject, "{").contains("decoded"));
    assert!(reason(LogStream::Exec, &subject, "{}").contains("missing field"));
    let created = format!("rdev.session.demo.{session}.created");
    assert!(reason(LogStream::Session, &created, "[]").contains("decoded"));
}

#[test]
fn a_payload_of_another_exec_kind_or_version_is_poison() {
    let exec = log::exec(1, "s");
    let mut log = Log::new();
    log.command(&exec, log::shell("true"));
    let payload = String::from_utf8(log.messages[0].value.payload.to_vec()).unwrap();
    let own = &log.messages[0].value.subject;
    for subject in [
        own.replace(".demo.", ".other."),
        own.replace(".s.", ".t."),
        own.replace("command", "started"),
    ] {
        assert!(
            reason(LogStream::Exec, &subject, &payload).contains("another exec"),
            "{subject}"
        );
    }
    let newer = payload.replacen("\"v\":1", "\"v\":2", 1);
    assert!(reason(LogStream::Exec, own, &newer).contains("version 2"));
}

#[test]
fn an_end_without_its_event_is_poison() {
    let exec = log::exec(1, "s");
    let mut log = Log::new();
    log.events(&exec, Kind::Complete, &[]);
    let found = changes(LogStream::Exec, &log);
    assert!(
        matches!(found.as_slice(), [Change::Poisoned(_)]),
        "{found:?}"
    );
}
