//! The CLI's way to ask, as the public SDKs have it.

use rdev_contract::agent::Agent;

use super::super::super::{Told, read as read_line};
use super::*;

/// As 2.1.228 printed it, shortened.
const ASKED: &str = r#"{"type":"control_request","request_id":"f8623e93-f574-485d-82a5-6bf16961eac9","request":{"subtype":"can_use_tool","tool_name":"Bash","display_name":"Bash","input":{"command":"ls  \ud83d","n":1.0e2},"permission_suggestions":[{"type":"addRules"}],"tool_use_id":"toolu_1"}}"#;

fn asking(line: &str) -> Option<Asking> {
    let told = read_line(Agent::Claude, line).into_iter();
    let mut asking = told.filter_map(|told| match told {
        Told::Asking(asking) => Some(asking),
        Told::Began { .. } | Told::Session(_) | Told::Answer(_) | Told::Ended(_) => None,
    });
    asking.next()
}

#[test]
fn a_question_is_understood() {
    let Some(Asking::Asked(asked)) = asking(ASKED) else {
        panic!("it is a question");
    };
    assert_eq!(asked.id, "f8623e93-f574-485d-82a5-6bf16961eac9");
    assert_eq!(
        (asked.tool_name.as_str(), asked.tool_use_id.as_str()),
        ("Bash", "toolu_1")
    );
    assert_eq!(asked.input.get(), r#"{"command":"ls  \ud83d","n":1.0e2}"#);
    assert_eq!(asked.suggestions.unwrap().get(), r#"[{"type":"addRules"}]"#);
    let line = r#"{"type":"control_cancel_request","request_id":"a"}"#;
    assert!(matches!(asking(line), Some(Asking::Withdrawn(id)) if id == "a"));
    for line in [
        r#"{"type":"control_request","request_id":"a","request":{"subtype":"hook_callback"}}"#,
        r#"{"type":"control_request","request":{"subtype":"can_use_tool","tool_name":"B","input":{}}}"#,
        r#"{"type":"control_response","response":{"request_id":"a"}}"#,
        r#"{"type":"keep_alive"}"#,
    ] {
        assert!(asking(line).is_none(), "{line}");
    }
    let id = "x".repeat(APPROVAL_ID_MAX_BYTES + 1);
    assert!(asking(&ASKED.replace("f8623e93-f574-485d-82a5-6bf16961eac9", &id)).is_none());
    let name = "x".repeat(NAME_MAX_BYTES + 1);
    assert!(
        asking(&ASKED.replace(r#""tool_name":"Bash""#, &format!(r#""tool_name":"{name}""#)))
            .is_none()
    );
    // What it is for can be answered without the id of its use.
    let Some(Asking::Asked(asked)) = asking(&ASKED.replace("toolu_1", &name)) else {
        panic!("it is a question");
    };
    assert_eq!(asked.tool_use_id, "");
    let longest = &name[1..];
    let Some(Asking::Asked(asked)) = asking(&ASKED.replace("toolu_1", longest)) else {
        panic!("it is a question");
    };
    assert_eq!(asked.tool_use_id, longest);
}

#[test]
fn an_answer_is_what_the_sdks_write() {
    let input = RawValue::from_string(r#"{"b":1.0e2,"a":"\ud83d"}"#.to_owned()).unwrap();
    let line = |answer: &Answer| String::from_utf8(super::answer("q", &input, answer)).unwrap();
    let mut allow = Answer::of(Decision::Allow);
    let begin = r#"{"type":"control_response","response":{"subtype":"success","request_id":"q","response":"#;
    assert_eq!(
        line(&allow),
        format!(
            "{begin}{}\n",
            r#"{"behavior":"allow","updatedInput":{"b":1.0e2,"a":"\ud83d"}}}}"#
        )
    );
    allow.updated_input = serde_json::from_str(r#"{"c":2}"#).unwrap();
    allow.updated_permissions = Some(vec![json!({"type": "addRules"})]);
    assert_eq!(
        line(&allow),
        format!(
            "{begin}{}\n",
            r#"{"behavior":"allow","updatedInput":{"c":2},"updatedPermissions":[{"type":"addRules"}]}}}"#
        )
    );
    let mut deny = Answer::of(Decision::Deny);
    assert_eq!(
        line(&deny),
        format!(
            "{begin}{}\n",
            r#"{"behavior":"deny","message":"The user does not want this."}}}"#
        )
    );
    deny.message = "no\n".to_owned();
    deny.interrupt = true;
    assert_eq!(
        line(&deny),
        format!(
            "{begin}{}\n",
            r#"{"behavior":"deny","message":"no\n","interrupt":true}}}"#
        )
    );
}

#[test]
fn the_prompt_is_one_line_whatever_is_in_it() {
    let line = String::from_utf8(prompt("a\n\"b\" --help")).unwrap();
    assert_eq!(line.matches('\n').count(), 1);
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["type"], "user");
    assert_eq!(
        line["message"],
        json!({"role": "user", "content": "a\n\"b\" --help"})
    );
}
