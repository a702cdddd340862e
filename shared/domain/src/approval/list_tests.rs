//! Answers one after the other, as clients send and repeat them.

use jiff::Timestamp;
use rdev_contract::event::Requester;
use serde_json::{Value, json};

use super::*;

fn parse(body: Value) -> Result<Answer, RequestError> {
    parse_answer(serde_json::from_value(body).unwrap())
}

fn exec() -> ExecId {
    ExecId {
        project: "demo".parse().unwrap(),
        session: "01930000-0000-7000-8000-000000000001".parse().unwrap(),
        stream: "s".parse().unwrap(),
    }
}

fn asked(id: &str) -> Question {
    let approval = json!({"approval_id": id, "tool_name": "Bash", "input": {"command": "ls"},
        "input_bytes": 16, "asked_at": "2026-11-22T06:21:00Z"});
    Question {
        exec: exec(),
        approval: serde_json::from_str(&approval.to_string()).unwrap(),
        answered: None,
    }
}

fn stored(sequence: u64, addition: Addition) -> Recorded<ControlMessage> {
    let (at, by) = (Timestamp::UNIX_EPOCH, Requester::default());
    Recorded {
        sequence: rdev_contract::position::StreamSeq(sequence),
        value: ControlMessage::new(&exec(), at, by, addition.given, addition.order),
    }
}

#[test]
fn what_an_answer_may_be() {
    let code = |body: Value| parse(body).expect_err("refused").code;
    assert_eq!(
        parse(json!({"decision": "allow"})).unwrap(),
        Answer::of(Decision::Allow)
    );
    let answer = parse(json!({"decision": "deny", "message": "no", "interrupt": true})).unwrap();
    assert_eq!((answer.message.as_str(), answer.interrupt), ("no", true));
    for body in [
        json!({"decision": "perhaps"}),
        json!({"decision": "withdrawn"}),
        json!({"decision": "allow", "message": "yes"}),
        json!({"decision": "allow", "interrupt": true}),
        json!({"decision": "deny", "updated_input": {}}),
        json!({"decision": "deny", "updated_permissions": []}),
    ] {
        assert_eq!(code(body), "invalid_answer");
    }
    let frame = r#"{"decision":"deny","message":""}"#.len();
    let long = |bytes: usize| json!({"decision": "deny", "message": "x".repeat(bytes - frame)});
    assert!(parse(long(ANSWER_MAX_BYTES)).is_ok());
    assert_eq!(code(long(ANSWER_MAX_BYTES + 1)), "invalid_answer");
}

#[test]
fn the_first_answer_stands() {
    let (allow, deny) = (Answer::of(Decision::Allow), Answer::of(Decision::Deny));
    let before = Given {
        number: 4,
        ..Given::default()
    };
    let mut questions = vec![asked("a"), asked("b")];
    let client = AnsweredBy::Client;
    let refused = answer(&questions, &before, "c", &allow, client);
    assert_eq!(refused, Err(AnswerRefused::Unknown));
    let given = answer(&questions, &before, "a", &allow, client)
        .unwrap()
        .unwrap();
    assert_eq!(given.given.number, 5);
    with_orders(&mut questions, &exec(), &[stored(7, given)]);
    assert_eq!(answer(&questions, &before, "a", &allow, client), Ok(None));
    let refused = answer(&questions, &before, "a", &deny, client);
    assert_eq!(refused, Err(AnswerRefused::Answered));
    // What a time-out has denied, a client cannot deny once more.
    let over = order(&before, "b", deny.clone(), AnsweredBy::Timeout);
    with_orders(&mut questions, &exec(), &[stored(8, over)]);
    let refused = answer(&questions, &before, "b", &deny, client);
    assert_eq!(refused, Err(AnswerRefused::Answered));
    let views: Vec<_> = questions
        .into_iter()
        .map(|question| view(question, true))
        .collect();
    assert_eq!(
        (views[0].status.as_str(), views[1].status.as_str()),
        ("allowed", "denied")
    );
    assert_eq!(views[1].answered_by, Some(AnsweredBy::Timeout));
}

#[test]
fn nothing_is_answered_in_what_is_canceled_or_over() {
    let canceled = Given {
        canceled: true,
        ..Given::default()
    };
    let allow = Answer::of(Decision::Allow);
    let refused = answer(&[asked("a")], &canceled, "a", &allow, AnsweredBy::Client);
    assert_eq!(refused, Err(AnswerRefused::Canceled));
    assert_eq!(view(asked("a"), false).status, PENDING);
    assert_eq!(view(asked("a"), true).status, "unanswered");
}
