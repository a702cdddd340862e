//! Every recorded output of the CLI: what a run said, and whether it was a success.

use rdev_contract::agent::Agent;
use rdev_contract::event::AgentLine;

use super::*;
use crate::agent::{Tally, read, tools};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/codex/",
            $name,
            ".jsonl"
        ))
    };
}

const HELLO: &str = fixture!("hello");
const TOOLS: &str = fixture!("tools");
const RESUMED: &str = fixture!("resumed");
const WARNED: &str = fixture!("warned");
const FAILED: &str = fixture!("failed");
const SIGINT_ALONE: &str = fixture!("sigint");
const RESUME_UNKNOWN: &str = fixture!("resume_unknown");
const MADE_BY_HAND: &str = fixture!("made_by_hand");

fn tally_of(text: &str) -> Tally {
    let mut tally = Tally::new(Agent::Codex);
    for line in text.lines() {
        tally.observe(line);
    }
    tally
}

fn answer_of(text: &str) -> Option<String> {
    let told = text.lines().flat_map(|line| read(Agent::Codex, line));
    let mut answers = told.filter_map(|told| match told {
        Told::Answer(text) => Some(text),
        Told::Began { .. } | Told::Session(_) | Told::Asking(_) | Told::Ended(_) => None,
    });
    answers.next_back().flatten()
}

/// Side, tool, whether it is an error, text.
type Shown<'a> = (&'a str, &'a str, Option<bool>, &'a str);

fn shown(messages: &[ToolMessage]) -> Vec<Shown<'_>> {
    let shown = messages.iter().map(|message| {
        (
            message.side.name(),
            message.tool_name.as_deref().unwrap_or_default(),
            message.is_error,
            message.text.as_str(),
        )
    });
    shown.collect()
}

fn tools_of(text: &str) -> Vec<ToolMessage> {
    let lines = text.lines();
    lines.flat_map(|line| tools(Agent::Codex, line)).collect()
}

#[test]
fn every_recording_is_understood() {
    let hello = "Hello from the stand-in.";
    let none = "codex ended without a result";
    let recordings = [
        (HELLO, 0, true, true, Some(hello), ""),
        (RESUMED, 0, true, true, Some(hello), ""),
        (WARNED, 0, true, true, Some(hello), ""),
        (MADE_BY_HAND, 0, true, true, Some("done"), ""),
        (TOOLS, 0, true, true, Some("Done: \u{2028} <b>ok</b>"), ""),
        (FAILED, 1, false, true, None, "The model does not exist."),
        (SIGINT_ALONE, 1, false, true, None, none),
        (RESUME_UNKNOWN, 1, false, false, None, none),
    ];
    for (text, exit_code, is_success, has_session, answer, failure) in recordings {
        let tally = tally_of(text);
        assert_eq!(tally.is_success(exit_code), is_success, "{text}");
        assert!(!tally.is_success(1), "{text}");
        assert_eq!(tally.session_id().is_some(), has_session, "{text}");
        assert_eq!(answer_of(text).as_deref(), answer, "{text}");
        assert_eq!(tally.failure(), failure, "{text}");
        for line in text.lines() {
            let event = AgentLine::parse(line.as_bytes(), false).unwrap();
            assert_eq!(event.text(), line);
        }
    }
    // A resumed run goes on with the thread that it was told of.
    assert_eq!(tally_of(RESUMED).session_id(), tally_of(TOOLS).session_id());
}

#[test]
fn tools_are_asked_and_answer() {
    let command = |command: &str| format!("{{\"command\":\"{command}\"}}");
    let (first, second) = (
        command("/bin/bash -lc 'echo a; echo b >&2; exit 3'"),
        command("/bin/bash -lc ls"),
    );
    let change = |status| {
        format!(
            "{{\"id\":\"item_4\",\"type\":\"file_change\",\"changes\":[{{\"path\":\"/pod/new.txt\",\
             \"kind\":\"add\"}}],\"status\":\"{status}\"}}"
        )
    };
    let (begun, done) = (change("in_progress"), change("completed"));
    let found = tools_of(TOOLS);
    assert_eq!(
        shown(&found),
        [
            ("tool_use", "command_execution", None, first.as_str()),
            ("tool_result", "command_execution", Some(true), "a\nb\n"),
            ("tool_use", "command_execution", None, second.as_str()),
            ("tool_result", "command_execution", Some(false), ""),
            ("tool_use", "file_change", None, begun.as_str()),
            ("tool_result", "file_change", Some(false), done.as_str()),
        ]
    );
    assert_eq!(found[0].tool_use_id, found[1].tool_use_id);
}

#[test]
fn tools_that_are_not_known_are_shown_as_they_are() {
    let found = tools_of(MADE_BY_HAND);
    let search = r#"{"id":"item_3","type":"web_search","query":"rust","action":{"type":"search"}}"#;
    let unknown = r#"{"id":"item_4","type":"declined_by_hand","status":"declined"}"#;
    assert_eq!(
        shown(&found),
        [
            ("tool_use", "docs.search", None, r#"{"q":"nul \u0000"}"#),
            ("tool_result", "docs.search", Some(false), "found\n[image]"),
            ("tool_result", "docs.search", Some(true), "no such tool"),
            ("tool_result", "web_search", None, search),
            ("tool_result", "declined_by_hand", Some(true), unknown),
        ]
    );
}

#[test]
fn tokens_are_those_of_the_thread_and_the_cost_is_not_known() {
    let total = |text: &str| {
        let tally = tally_of(text);
        let amounts = tally.result().unwrap().amounts;
        assert_eq!(amounts.alone, None);
        amounts.total.unwrap()
    };
    let expected = |input, cache_read, output| Amount {
        tokens: Tokens {
            input,
            output,
            cache_read,
            cache_write: 0,
        },
        cost_usd: None,
    };
    assert_eq!(total(HELLO), expected(200, 1000, 7));
    assert_eq!(total(TOOLS), expected(1620, 4000, 87));
    // 1,200 and 7 more than the run before it.
    assert_eq!(total(RESUMED), expected(1820, 5000, 94));
    assert_eq!(total(MADE_BY_HAND), expected(7, 3, 2));
}

#[test]
fn what_cannot_be_right_says_nothing() {
    for line in [
        "",
        "[]",
        "{",
        r#"{"type":7}"#,
        r#"{"type":"item.completed"}"#,
        r#"{"type":"item.completed","item":{"type":"command_execution"}}"#,
        r#"{"type":"error","message":"Reconnecting... 1/5"}"#,
    ] {
        assert!(read(Agent::Codex, line).is_empty(), "{line}");
        assert!(tools(Agent::Codex, line).is_empty(), "{line}");
    }
    let tally = tally_of(r#"{"type":"thread.started","thread_id":"--help"}"#);
    assert_eq!(tally.session_id(), None);
    for usage in [
        "null",
        r#"{"input_tokens":1,"cached_input_tokens":2,"output_tokens":1}"#,
        r#"{"input_tokens":-1,"cached_input_tokens":0,"output_tokens":1}"#,
    ] {
        let tally = tally_of(&format!(r#"{{"type":"turn.completed","usage":{usage}}}"#));
        assert!(tally.is_success(0));
        assert_eq!(tally.result().unwrap().amounts.total, None, "{usage}");
    }
    let tally = tally_of(r#"{"type":"turn.failed"}"#);
    assert_eq!(tally.failure(), "turn.failed");
    let long = "é".repeat(2000);
    let failed = format!(r#"{{"type":"turn.failed","error":{{"message":"{long}"}}}}"#);
    assert!(tally_of(&failed).failure().ends_with("é…"));
}
