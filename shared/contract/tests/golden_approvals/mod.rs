//! What agents ask and are answered: golden payloads.

use rdev_contract::control::Order;
use rdev_contract::event::{
    Answer, AnsweredBy, Approval, ApprovalAnswered, ApprovalPolicy, Decision, Event, Kind,
    OnTimeout, Work,
};
use serde_json::json;

use super::{assert_batch, assert_fact, at, command};

pub(super) fn answer() -> Answer {
    Answer {
        updated_input: json!({"command": "ls"}).as_object().cloned(),
        updated_permissions: Some(vec![json!({"type": "addRules"})]),
        ..Answer::of(Decision::Allow)
    }
}

#[test]
fn command_that_asks() {
    let mut command = command(Work::Claude {
        prompt: "tidy up".to_owned(),
        continue_conversation: false,
        conversation_id: None,
    });
    command.spec.approvals = Some(ApprovalPolicy {
        timeout_seconds: Some(300),
        on_timeout: OnTimeout::Cancel,
    });
    assert_fact(Kind::Command, &command, golden!("command_asking"));
}

#[test]
fn approval() {
    // Not what a tree of values would make of it.
    let input = r#"{"b":1.0e2, "a":"\ud83d"}"#;
    let approval = Approval {
        approval_id: "f8623e93-f574-485d-82a5-6bf16961eac9".to_owned(),
        tool_name: "Bash".to_owned(),
        tool_use_id: "toolu_1".to_owned(),
        input: serde_json::from_str(input).unwrap(),
        input_bytes: input.len() as u64,
        suggestions: serde_json::from_str(r#"[{"type":"addRules"}]"#).unwrap(),
        asked_at: at(),
        expires_at: Some(at()),
    };
    let read = assert_batch(
        Kind::Approval,
        &[Event::Approval(&approval)],
        golden!("approval"),
    );
    assert_eq!(read[0].0, "approval");
    let data: Approval = serde_json::from_str(read[0].1.as_deref().unwrap()).unwrap();
    assert_eq!(data.input.unwrap().get(), input);
}

#[test]
fn approval_answered() {
    let answered = ApprovalAnswered {
        approval_id: "q".to_owned(),
        answer: answer(),
        by: AnsweredBy::Client,
        key: "key-1".to_owned(),
        answered_at: at(),
        order: Some(7),
        stdin_to: Some(4096),
    };
    let withdrawn = ApprovalAnswered {
        answer: Answer::of(Decision::Withdrawn),
        by: AnsweredBy::Agent,
        key: String::new(),
        order: None,
        stdin_to: None,
        ..answered.clone()
    };
    let events = [
        Event::ApprovalAnswered(&answered),
        Event::ApprovalAnswered(&withdrawn),
    ];
    let read = assert_batch(Kind::Approval, &events, golden!("approval_answered"));
    for ((name, data), answered) in read.iter().zip([answered, withdrawn]) {
        assert_eq!(name, "approval_answered");
        let data: ApprovalAnswered = serde_json::from_str(data.as_deref().unwrap()).unwrap();
        assert_eq!(data, answered);
    }
}

#[test]
fn order() {
    let order = Order::Answer {
        approval_id: "q".to_owned(),
        answer: answer(),
        by: AnsweredBy::Client,
    };
    super::golden_orders::assert_order(order, golden!("order_answer"));
    let answer = Answer {
        message: "no".to_owned(),
        interrupt: true,
        ..Answer::of(Decision::Deny)
    };
    let order = Order::Answer {
        approval_id: "q".to_owned(),
        answer,
        by: AnsweredBy::Timeout,
    };
    super::golden_orders::assert_order(order, golden!("order_answer_deny"));
}
