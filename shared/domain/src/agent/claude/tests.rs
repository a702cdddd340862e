//! Every recorded output of the CLI: what a run said, and whether it was a success.

use rdev_contract::agent::Agent;
use rdev_contract::event::{AgentLine, RawEvent};

use super::*;
use crate::agent::{FAILURE_MAX_BYTES, Tally, read};

struct Recording {
    name: &'static str,
    text: &'static str,
    /// As a `complete` counts it.
    exit_code: i32,
    success: bool,
    /// Whether the run yields a session that can be resumed.
    session: bool,
    result: Option<&'static str>,
    failure: &'static str,
}

macro_rules! recording {
    ($name:literal, $exit_code:literal, $success:literal, $session:literal, $result:expr, $failure:literal) => {
        Recording {
            name: $name,
            text: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../tests/fixtures/claude/",
                $name,
                ".jsonl"
            )),
            exit_code: $exit_code,
            success: $success,
            session: $session,
            result: $result,
            failure: $failure,
        }
    };
}

const NO_RESULT: &str = "claude ended without a result";

const SEEN: Option<&str> = Some("Tool result seen.");

const RECORDINGS: [Recording; 28] = [
    recording!("simple", 0, true, true, Some("mock reply: hello world"), ""),
    recording!("tool_allowed", 0, true, true, SEEN, ""),
    recording!("tool_denied_default", 0, true, true, SEEN, ""),
    recording!("tool_multi", 0, true, true, Some("both done"), ""),
    recording!("resume", 0, true, true, Some("mock reply: again"), ""),
    recording!("resume_fork", 0, true, true, Some("mock reply: again3"), ""),
    recording!(
        "resume_unknown_uuid",
        1,
        false,
        false,
        None,
        "No conversation found"
    ),
    recording!(
        "resume_not_uuid",
        1,
        false,
        false,
        None,
        "Error: --resume requires"
    ),
    recording!(
        "err_401",
        1,
        false,
        true,
        Some("Failed to authenticate"),
        "Failed to authenticate"
    ),
    recording!(
        "err_500",
        1,
        false,
        true,
        Some("API Error: 500"),
        "API Error: 500"
    ),
    recording!("err_500_then_ok", 0, true, true, Some(""), ""),
    recording!("err_529_partial", 0, true, true, Some(""), ""),
    recording!("err_midstream", 0, true, true, Some("half an answer"), ""),
    recording!(
        "max_turns",
        1,
        false,
        true,
        None,
        "Reached maximum number of turns (2)"
    ),
    recording!(
        "max_budget",
        1,
        false,
        true,
        None,
        "Reached maximum budget ($0.01)"
    ),
    recording!("sigint_stream", 0, false, true, None, "[ede_diagnostic]"),
    recording!(
        "sigterm_stream",
        143,
        false,
        true,
        None,
        "claude ended without a result"
    ),
    recording!(
        "sigterm_tool",
        143,
        false,
        true,
        None,
        "claude ended without a result"
    ),
    recording!(
        "sigkill_tool",
        137,
        false,
        true,
        None,
        "claude ended without a result"
    ),
    recording!("bg_bash", 0, true, true, Some("bg over"), ""),
    recording!("subagent", 0, true, true, Some("mock: end of script"), ""),
    recording!(
        "partial",
        0,
        true,
        true,
        Some("It printed hi. And some more text"),
        ""
    ),
    recording!(
        "unicode",
        0,
        true,
        true,
        Some("mock reply: héllo 你好 🎉"),
        ""
    ),
    recording!("empty_answer", 0, true, true, Some(""), ""),
    recording!(
        "refusal_stop",
        1,
        false,
        true,
        Some("API Error: Opus"),
        "API Error: Opus"
    ),
    recording!(
        "max_tokens_stop",
        0,
        true,
        true,
        Some("mock reply: Output token limit"),
        ""
    ),
    recording!(
        "stdin_slash",
        0,
        true,
        true,
        Some("/help isn't available"),
        ""
    ),
    recording!(
        "startup_failure_results_root",
        1,
        false,
        false,
        None,
        "--dangerously-skip-permissions"
    ),
];

fn tally_of(text: &str) -> Tally {
    let mut tally = Tally::new(Agent::Claude);
    for line in text.lines() {
        tally.observe(line);
    }
    tally
}

/// The last answer; none if none was told.
fn answer_of(text: &str) -> Option<String> {
    let told = text.lines().flat_map(|line| read(Agent::Claude, line));
    let mut answers = told.filter_map(|told| match told {
        Told::Answer(text) => Some(text),
        Told::Began { .. } | Told::Session(_) | Told::Asking(_) | Told::Ended(_) => None,
    });
    answers.next_back().flatten()
}

#[test]
fn every_recording_is_understood() {
    for recording in RECORDINGS {
        let tally = tally_of(recording.text);
        let name = recording.name;
        assert_eq!(
            tally.is_success(recording.exit_code),
            recording.success,
            "{name}"
        );
        assert_eq!(tally.session_id().is_some(), recording.session, "{name}");
        let text = answer_of(recording.text);
        assert_eq!(text.is_some(), recording.result.is_some(), "{name}");
        let expected = recording.result.unwrap_or_default();
        assert!(text.unwrap_or_default().starts_with(expected), "{name}");
        let failure = tally.failure();
        assert!(failure.starts_with(recording.failure), "{name}: {failure}");
        assert_eq!(failure.is_empty(), recording.failure.is_empty(), "{name}");
    }
}

#[test]
fn every_recording_in_the_directory_is_in_the_list() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/claude");
    let on_disk = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .count();
    assert_eq!(on_disk, RECORDINGS.len());
}

#[test]
fn every_line_of_every_recording_is_carried_unchanged() {
    for recording in RECORDINGS {
        for line in recording.text.lines() {
            let event = AgentLine::parse(line.as_bytes(), false).unwrap();
            assert_eq!(event.text(), line, "{}", recording.name);
            let data = event.data();
            assert_eq!(AgentLine::of_data(&data).unwrap().text(), line);
        }
    }
}

#[test]
fn success_needs_exit_code_zero_and_a_successful_last_result() {
    let tally = tally_of(RECORDINGS[0].text);
    assert!(tally.is_success(0));
    assert!(!tally.is_success(1));
    let mut later_failure = tally.clone();
    later_failure.observe(r#"{"type":"result","subtype":"success","is_error":true}"#);
    assert!(!later_failure.is_success(0));
    assert!(!Tally::new(Agent::Claude).is_success(0));
    assert_eq!(Tally::new(Agent::Claude).failure(), NO_RESULT);
}

#[test]
fn an_id_before_init_is_not_told_and_a_later_one_replaces_it() {
    let first = "11111111-2222-4333-8444-555555555555";
    let second = "21111111-2222-4333-8444-555555555555";
    let mut tally = Tally::new(Agent::Claude);
    tally.observe(&format!(
        r#"{{"type":"result","subtype":"x","session_id":"{first}"}}"#
    ));
    assert_eq!(tally.session_id(), None);
    tally.observe(r#"{"type":"system","subtype":"init"}"#);
    assert_eq!(tally.session_id(), None);
    tally.observe(&format!(r#"{{"session_id":"{first}","type":"assistant"}}"#));
    assert_eq!(tally.session_id().unwrap().to_string(), first);
    tally.observe(&format!(r#"{{"type":"result","session_id":"{second}"}}"#));
    assert_eq!(tally.session_id().unwrap().to_string(), second);
}

#[test]
fn numbers_are_kept_as_they_came() {
    let tally = tally_of(
        r#"{"type":"result","subtype":"success","is_error":false,"total_cost_usd":0.10,"usage":{"a":1e3}}"#,
    );
    let result = tally.result().unwrap();
    assert_eq!(result.total_cost_usd.as_ref().unwrap().get(), "0.10");
    assert_eq!(result.usage.as_ref().unwrap().get(), r#"{"a":1e3}"#);
    assert!(result.model_usage.is_none());
}

#[test]
fn strange_lines_are_passed_over() {
    let mut tally = Tally::new(Agent::Claude);
    for line in [
        "",
        "[]",
        "null",
        "{",
        r#"{"type":7}"#,
        r#"{"type":"result","result":["#,
    ] {
        tally.observe(line);
    }
    assert!(tally.result().is_none());
    // Twice the same key, half a surrogate pair, another type than expected.
    let strange =
        r#"{"type":"x","type":"result","result":"a\ud83d!","errors":[1],"is_error":"no"}"#;
    let text = answer_of(strange).unwrap();
    assert!(text.starts_with('a') && text.ends_with('!') && text.contains('\u{FFFD}'));
}

#[test]
fn a_failure_is_told_in_bounded_length() {
    let long = "é".repeat(FAILURE_MAX_BYTES);
    let tally = tally_of(&format!(
        r#"{{"type":"result","subtype":"success","is_error":true,"result":"{long}"}}"#
    ));
    assert!(tally.failure().len() <= FAILURE_MAX_BYTES + '…'.len_utf8());
    assert!(tally.failure().ends_with("é…"));
}

#[test]
fn a_tally_of_logged_events_is_that_of_the_lines() {
    let line = r#"{"type":"result","subtype":"success","is_error":false,"result":"ok"}"#;
    let data = AgentLine::parse(line.as_bytes(), false).unwrap().data();
    let (begin, end) = data.split_at(20);
    let events = format!(
        r#"[{{"type":"output","data":{{"line":"x"}}}},
            {{"type":"claude_event","fragment":{{"index":0,"last":false,"text":"lost"}}}},
            {{"type":"claude_event","fragment":{{"index":0,"last":false,"text":{}}}}},
            {{"type":"claude_event","fragment":{{"index":1,"last":true,"text":{}}}}}]"#,
        serde_json::to_string(begin).unwrap(),
        serde_json::to_string(end).unwrap(),
    );
    let events: Vec<RawEvent<'_>> = serde_json::from_str(&events).unwrap();
    let mut tally = Tally::new(Agent::Claude);
    tally.observe_events(&events);
    assert!(tally.is_success(0));
}
