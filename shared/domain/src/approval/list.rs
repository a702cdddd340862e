//! The questions of execs as the log has them, and whether an answer to one is possible.
//!
//! Invariant: an order to answer leaves the stream of orders only when its answer is in the log. So who
//! reads the orders first and the log after that misses no answer that was given before, and the next
//! order is stored only if there was none since.

use rdev_contract::control::{ControlMessage, Given, Order};
use rdev_contract::envelope::{Message, Recorded};
use rdev_contract::event::{
    Answer, AnsweredBy, Approval, ApprovalAnswered, Decision, RawEvent, event_name,
};
use rdev_contract::http::{AnswerRequest, ApprovalView};
use rdev_contract::id::ExecId;
use serde_json::value::RawValue;

use crate::control::Addition;
use crate::request::RequestError;

/// An answer as JSON: with what stands around it in an order, and once more in an event, it fits a
/// message of the log many times.
pub const ANSWER_MAX_BYTES: usize = 128 * 1024;

/// A question, and its answer.
#[derive(Debug, Clone)]
pub struct Question {
    /// Of which exec.
    pub exec: ExecId,
    /// What is asked.
    pub approval: Approval,
    /// The answer, if there is one.
    pub answered: Option<ApprovalAnswered>,
}

/// Why an answer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerRefused {
    /// There is no such question.
    Unknown,
    /// There is another answer.
    Answered,
    /// The exec is being canceled.
    Canceled,
}

/// Takes in a message of the log; the questions are in the order in which they were asked.
///
/// # Errors
/// When an event is not one.
pub fn take(questions: &mut Vec<Question>, message: &Message<'_>) -> Result<(), serde_json::Error> {
    let exec = message.head.exec();
    for event in &message.events {
        take_event(questions, &exec, event)?;
    }
    Ok(())
}

fn take_event(
    questions: &mut Vec<Question>,
    exec: &ExecId,
    event: &RawEvent<'_>,
) -> Result<(), serde_json::Error> {
    let data = event.data.map_or("null", RawValue::get);
    match &*event.name {
        event_name::APPROVAL => questions.push(Question {
            exec: exec.clone(),
            approval: serde_json::from_str(data)?,
            answered: None,
        }),
        event_name::APPROVAL_ANSWERED => answered(questions, exec, serde_json::from_str(data)?),
        // Of a later build.
        _ => {}
    }
    Ok(())
}

fn answered(questions: &mut [Question], exec: &ExecId, answered: ApprovalAnswered) {
    let found = questions.iter_mut().rev().find(|question| {
        question.exec == *exec && question.approval.approval_id == answered.approval_id
    });
    if let Some(question) = found
        && question.answered.is_none()
    {
        question.answered = Some(answered);
    }
}

/// Takes in orders that are kept for an exec: what the executor has not come to write.
pub fn with_orders(questions: &mut [Question], exec: &ExecId, orders: &[Recorded<ControlMessage>]) {
    for Recorded { sequence, value } in orders {
        if let Order::Answer {
            approval_id,
            answer,
            by,
        } = &value.order
        {
            let event = ApprovalAnswered {
                approval_id: approval_id.clone(),
                answer: answer.clone(),
                by: *by,
                key: value.by.key.clone(),
                answered_at: value.at,
                order: Some(sequence.0),
                stdin_to: None,
            };
            answered(questions, exec, event);
        }
    }
}

/// Answers a question of an exec. `None` when the same was answered before.
///
/// # Errors
/// [`AnswerRefused`] when it cannot be answered so.
pub fn answer(
    questions: &[Question],
    before: &Given,
    approval_id: &str,
    answer: &Answer,
    by: AnsweredBy,
) -> Result<Option<Addition>, AnswerRefused> {
    let question = questions
        .iter()
        .find(|question| question.approval.approval_id == approval_id);
    let question = question.ok_or(AnswerRefused::Unknown)?;
    if let Some(answered) = &question.answered {
        let is_same = answered.by == by && answered.answer == *answer;
        return if is_same {
            Ok(None)
        } else {
            Err(AnswerRefused::Answered)
        };
    }
    if before.canceled {
        return Err(AnswerRefused::Canceled);
    }
    Ok(Some(order(before, approval_id, answer.clone(), by)))
}

/// The order that answers a question.
#[must_use]
pub fn order(before: &Given, approval_id: &str, answer: Answer, by: AnsweredBy) -> Addition {
    Addition {
        order: Order::Answer {
            approval_id: approval_id.to_owned(),
            answer,
            by,
        },
        given: Given {
            number: before.number + 1,
            ..*before
        },
    }
}

/// Whether one of these orders answers the question.
#[must_use]
pub fn is_answered(orders: &[Recorded<ControlMessage>], approval_id: &str) -> bool {
    orders.iter().any(|order| match &order.value.order {
        Order::Answer {
            approval_id: found, ..
        } => found == approval_id,
        Order::Cancel { .. }
        | Order::Signal { .. }
        | Order::Stdin { .. }
        | Order::Resize { .. }
        | Order::Unknown => false,
    })
}

/// Checks an answer.
///
/// # Errors
/// [`RequestError`] `invalid_answer` when it means nothing.
pub fn parse_answer(request: AnswerRequest) -> Result<Answer, RequestError> {
    let refuse = |detail: &str| {
        Err(RequestError {
            code: "invalid_answer",
            detail: detail.to_owned(),
        })
    };
    let decision = match request.decision.as_str() {
        "allow" => Decision::Allow,
        "deny" => Decision::Deny,
        _ => return refuse("decision: give allow or deny"),
    };
    let answer = Answer {
        decision,
        message: request.message.unwrap_or_default(),
        interrupt: request.interrupt.unwrap_or(false),
        updated_input: request.updated_input,
        updated_permissions: request.updated_permissions,
    };
    let has_reason = answer.interrupt || !answer.message.is_empty();
    if decision == Decision::Allow && has_reason {
        return refuse("message and interrupt are for deny");
    }
    let has_update = answer.updated_input.is_some() || answer.updated_permissions.is_some();
    if decision == Decision::Deny && has_update {
        return refuse("updated_input and updated_permissions are for allow");
    }
    let bytes = serde_json::to_vec(&answer).map_or(usize::MAX, |json| json.len());
    if bytes > ANSWER_MAX_BYTES {
        return refuse(&format!(
            "the answer is longer than {ANSWER_MAX_BYTES} bytes: put the data into a file"
        ));
    }
    Ok(answer)
}

/// How a question is shown.
#[must_use]
pub fn view(question: Question, has_ended: bool) -> ApprovalView {
    let status = match question
        .answered
        .as_ref()
        .map(|found| found.answer.decision)
    {
        Some(Decision::Allow) => "allowed",
        Some(Decision::Deny) => "denied",
        Some(Decision::Withdrawn) => "withdrawn",
        None if has_ended => "unanswered",
        None => PENDING,
    };
    let answered = question.answered;
    ApprovalView {
        status: status.to_owned(),
        session_id: question.exec.session.to_string(),
        stream_id: question.exec.stream.to_string(),
        approval: question.approval,
        answered_by: answered.as_ref().map(|answered| answered.by),
        answered_at: answered.as_ref().map(|answered| answered.answered_at),
        answered_key: answered
            .as_ref()
            .map(|answered| answered.key.clone())
            .unwrap_or_default(),
        answer: answered
            .map(|answered| answered.answer)
            .filter(|answer| answer.decision != Decision::Withdrawn),
    }
}

/// The status of a question that the agent waits for.
const PENDING: &str = "pending";
/// All of them.
pub const STATUSES: [&str; 5] = [PENDING, "allowed", "denied", "withdrawn", "unanswered"];

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
