//! Recorded outputs of the CLI, and lines that it could print.

use super::*;
use crate::agent::TOOL_TEXT_MAX_BYTES;

fn recorded(text: &str) -> Vec<ToolMessage> {
    text.lines().flat_map(tool_messages).collect()
}

fn shown(messages: &[ToolMessage]) -> Vec<(&str, &str, Option<&str>)> {
    messages
        .iter()
        .map(|message| {
            (
                message.side.name(),
                message.text.as_str(),
                message.tool_name.as_deref(),
            )
        })
        .collect()
}

#[test]
fn uses_and_answers_come_in_order_and_belong_together() {
    let found = recorded(include_str!(
        "../../../../../tests/fixtures/claude/tool_multi.jsonl"
    ));
    assert_eq!(
        shown(&found),
        [
            (
                "tool_use",
                r#"{"command":"echo a","description":"a"}"#,
                Some("Bash")
            ),
            (
                "tool_use",
                r#"{"command":"echo b","description":"b"}"#,
                Some("Bash")
            ),
            ("tool_result", "a", None),
            ("tool_result", "b", None),
        ]
    );
    assert_eq!(found[0].tool_use_id, found[2].tool_use_id);
    assert_eq!(found[1].tool_use_id, found[3].tool_use_id);
    assert_ne!(found[0].tool_use_id, found[1].tool_use_id);
    assert_eq!(found[2].is_error, Some(false));
    assert_eq!(found[0].is_error, None);
}

#[test]
fn a_refused_tool_answers_with_an_error() {
    let found = recorded(include_str!(
        "../../../../../tests/fixtures/claude/tool_denied_default.jsonl"
    ));
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].is_error, Some(true));
    assert!(found[1].text.contains("needs approval"), "{found:?}");
}

#[test]
fn blocks_of_text_are_joined_and_others_named() {
    let found = recorded(include_str!(
        "../../../../../tests/fixtures/claude/subagent.jsonl"
    ));
    assert!(found[1].text.starts_with("Async agent"), "{found:?}");
    let line = r#"{"type":"user","parent_tool_use_id":"up","message":{"content":[
        {"type":"text","text":"not this"},
        {"type":"tool_result","tool_use_id":"t","content":[
            {"type":"text","text":"one\u0000"},{"type":"image","source":{}},{"type":"text","text":"two"}]},
        {"type":"tool_result","tool_use_id":"u"},
        {"type":"tool_result"},
        7]}}"#;
    let found = tool_messages(line);
    assert_eq!(
        shown(&found),
        [
            ("tool_result", "one\0\n[image]\ntwo", None),
            ("tool_result", "", None)
        ]
    );
    assert_eq!((found[0].block, found[1].block), (1, 2));
    assert_eq!(found[0].parent_tool_use_id.as_deref(), Some("up"));
}

#[test]
fn what_is_no_tool_message_is_passed_over() {
    for line in [
        "",
        "no JSON \"tool_use\"",
        r#"{"type":"assistant","message":{"content":"\"tool_use\""}}"#,
        r#"{"type":"assistant","message":{"content":[{"type":"tool_result","tool_use_id":"t"}]}}"#,
        r#"{"type":"stream_event","message":{"content":[{"type":"tool_use","id":"t"}]}}"#,
        r#"{"type":"assistant","note":"tool_use","\"tool_":1}"#,
    ] {
        assert_eq!(tool_messages(line), [], "{line}");
    }
    let half = r#"{"type":"assistant","message":{"content":[{"type":"tool_use","id":"t","name":"\ud800","input":"\ud800"}]}}"#;
    assert_eq!(tool_messages(half)[0].text, r#""\ud800""#);
}

#[test]
fn long_texts_are_cut_at_a_letter() {
    let line = |letters: usize| {
        let text = "ä".repeat(letters);
        format!(
            r#"{{"type":"user","message":{{"content":[{{"type":"tool_result","tool_use_id":"t","content":"{text}"}}]}}}}"#
        )
    };
    let found = &tool_messages(&line(TOOL_TEXT_MAX_BYTES / 2))[0];
    assert_eq!(
        (found.text.len(), found.truncated),
        (TOOL_TEXT_MAX_BYTES, false)
    );
    let found = &tool_messages(&line(TOOL_TEXT_MAX_BYTES / 2 + 1))[0];
    assert_eq!(
        (found.text.len(), found.truncated),
        (TOOL_TEXT_MAX_BYTES, true)
    );
}
