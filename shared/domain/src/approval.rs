//! The questions of an exec's agent: whether it may use a tool. Used by the executor that follows it;
//! [`list`] shows them and decides about answers, for the gateway.
//!
//! Invariants: an event of a question is written once, whoever follows the exec; an answer is in the
//! log before it is given to the agent. So the log says for each byte of the agent's standard input
//! which answer it is, and a take-over gives the same bytes at the same place.

pub mod list;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use rdev_contract::agent::Agent;
use rdev_contract::control::{ControlMessage, Order};
use rdev_contract::envelope::Recorded;
use rdev_contract::event::{
    Answer, AnsweredBy, Approval, ApprovalAnswered, ApprovalPolicy, Decision, RawEvent, event_name,
};
use rdev_contract::position::{EventNo, StreamSeq};
use serde_json::value::RawValue;

use crate::agent::{self, Asked, Asking};

/// An input up to this length is shown in `approval`; a longer one only in the agent's own event.
pub const INPUT_SHOWN_MAX_BYTES: usize = 64 * 1024;
/// The same of suggestions, which are a few rules.
const SUGGESTIONS_SHOWN_MAX_BYTES: usize = 16 * 1024;
/// What the agent is told when nobody has answered.
pub const NOBODY_ANSWERED: &str = "approval_timeout_seconds is over: nobody answered in that time";

/// What is to be written into the log.
#[derive(Debug, Clone)]
pub enum Say {
    /// A question.
    Approval(Box<Approval>),
    /// Its end.
    Answered(Box<ApprovalAnswered>),
}

/// A piece of the agent's standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPiece {
    /// It is given only when the log has the event of this number.
    pub number: EventNo,
    /// Where in the whole of standard input it is.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Nothing comes after it.
    pub end: bool,
}

/// What an order to answer comes to.
#[derive(Debug)]
pub(crate) struct Answering {
    /// What is to be written, if it is not in the log.
    pub(crate) say: Option<Say>,
    /// Where the answer is in standard input.
    pub(crate) offset: u64,
    /// The answer.
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug)]
struct Pending {
    /// Absent until the line is read again after a take-over.
    input: Option<Box<RawValue>>,
    expires_at: Option<Timestamp>,
    /// It was told that the time is over.
    is_overdue: bool,
}

/// An answer that is in the log and may not have reached the agent.
#[derive(Debug)]
struct Given {
    answer: Answer,
    stdin_to: u64,
    input: Option<Box<RawValue>>,
}

/// The questions of one exec under one claim.
#[derive(Debug)]
pub struct Approvals {
    agent: Agent,
    policy: ApprovalPolicy,
    /// What is asked now is asked at this time.
    now: Timestamp,
    /// Up to where standard input was given, or will be.
    stdin_to: u64,
    /// Answers that came with earlier orders have reached the agent.
    carried_out: StreamSeq,
    pending: BTreeMap<String, Pending>,
    given: BTreeMap<String, Given>,
    answered: BTreeSet<String>,
    unsaid: Vec<Say>,
}

impl Approvals {
    /// Of an agent that was given `stdin_to` bytes at its start.
    #[must_use]
    pub const fn new(agent: Agent, policy: ApprovalPolicy, stdin_to: u64, now: Timestamp) -> Self {
        Self {
            agent,
            policy,
            now,
            stdin_to,
            carried_out: StreamSeq(0),
            pending: BTreeMap::new(),
            given: BTreeMap::new(),
            answered: BTreeSet::new(),
            unsaid: Vec::new(),
        }
    }

    /// After a take-over: orders before `oldest`, the first that is kept, have been carried out.
    #[must_use]
    pub const fn carried_out_before(mut self, oldest: StreamSeq) -> Self {
        self.carried_out = oldest;
        self
    }

    /// After a take-over: what the log has of questions, in order, before any line.
    ///
    /// # Errors
    /// When an event is not one.
    pub fn observe_events(&mut self, events: &[RawEvent<'_>]) -> Result<(), serde_json::Error> {
        for event in events {
            let data = event.data.map_or("null", RawValue::get);
            match &*event.name {
                event_name::APPROVAL => {
                    let asked: Approval = serde_json::from_str(data)?;
                    let pending = Pending {
                        input: None,
                        expires_at: asked.expires_at,
                        is_overdue: false,
                    };
                    self.pending.insert(asked.approval_id, pending);
                }
                event_name::APPROVAL_ANSWERED => self.observe_answered(serde_json::from_str(data)?),
                // Of a later build.
                _ => {}
            }
        }
        Ok(())
    }

    fn observe_answered(&mut self, event: ApprovalAnswered) {
        self.pending.remove(&event.approval_id);
        self.answered.insert(event.approval_id.clone());
        let Some(stdin_to) = event.stdin_to else {
            return;
        };
        self.stdin_to = stdin_to;
        if event.order >= Some(self.carried_out.0) {
            let given = Given {
                answer: event.answer,
                stdin_to,
                input: None,
            };
            self.given.insert(event.approval_id, given);
        }
    }

    /// After a take-over: what the lines in the log say, in order. What follows of it and is not in the
    /// log is said first when the run goes on.
    pub fn observe_lines(&mut self, asking: Vec<Asking>) {
        for asking in asking {
            let say = self.take(asking);
            self.unsaid.extend(say);
        }
    }

    /// What an executor before has not come to write.
    pub(crate) fn unsaid(&mut self) -> Vec<Say> {
        std::mem::take(&mut self.unsaid)
    }

    /// What is asked from here on is asked at this time.
    pub(crate) const fn tell_time(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Takes what a line says; gives what is to be written behind it.
    pub(crate) fn take(&mut self, asking: Asking) -> Option<Say> {
        match asking {
            Asking::Asked(asked) => self.ask(*asked),
            Asking::Withdrawn(id) => {
                self.pending.remove(&id)?;
                self.answered.insert(id.clone());
                Some(Say::Answered(Box::new(ApprovalAnswered {
                    approval_id: id,
                    answer: Answer::of(Decision::Withdrawn),
                    by: AnsweredBy::Agent,
                    key: String::new(),
                    answered_at: self.now,
                    order: None,
                    stdin_to: None,
                })))
            }
        }
    }

    fn ask(&mut self, asked: Asked) -> Option<Say> {
        if self.answered.contains(&asked.id) {
            if let Some(given) = self.given.get_mut(&asked.id) {
                given.input = Some(asked.input);
            }
            return None;
        }
        if let Some(pending) = self.pending.get_mut(&asked.id) {
            pending.input = Some(asked.input);
            return None;
        }
        let timeout = self.policy.timeout_seconds.map(seconds);
        let expires_at = timeout.and_then(|timeout| self.now.checked_add(timeout).ok());
        let shown = |json: &RawValue, max_bytes| {
            let is_short = json.get().len() <= max_bytes;
            is_short.then(|| json.to_owned())
        };
        let list = asked.suggestions.as_deref();
        let say = Say::Approval(Box::new(Approval {
            approval_id: asked.id.clone(),
            tool_name: asked.tool_name,
            tool_use_id: asked.tool_use_id,
            input_bytes: asked.input.get().len() as u64,
            input: shown(&asked.input, INPUT_SHOWN_MAX_BYTES),
            suggestions: list.and_then(|list| shown(list, SUGGESTIONS_SHOWN_MAX_BYTES)),
            asked_at: self.now,
            expires_at,
        }));
        let pending = Pending {
            input: Some(asked.input),
            expires_at,
            is_overdue: false,
        };
        self.pending.insert(asked.id, pending);
        Some(say)
    }

    /// Takes an order to answer. None if it comes to nothing: the agent does not wait for it.
    pub(crate) fn answer(&mut self, order: &Recorded<ControlMessage>) -> Option<Answering> {
        let Recorded { sequence, value } = order;
        let Order::Answer {
            approval_id: id,
            answer,
            by,
        } = &value.order
        else {
            return None;
        };
        let bytes_of = |input: Option<&RawValue>, answer: &Answer| {
            let asker = agent::asker(self.agent)?;
            Some(asker.answer(id, input.unwrap_or(RawValue::NULL), answer))
        };
        if let Some(given) = self.given.get(id) {
            let bytes = bytes_of(given.input.as_deref(), &given.answer)?;
            let offset = given.stdin_to.saturating_sub(bytes.len() as u64);
            self.given.remove(id);
            return Some(Answering {
                say: None,
                offset,
                bytes,
            });
        }
        let bytes = bytes_of(self.pending.get(id)?.input.as_deref(), answer)?;
        self.pending.remove(id);
        self.answered.insert(id.clone());
        let offset = self.stdin_to;
        self.stdin_to += bytes.len() as u64;
        let say = Say::Answered(Box::new(ApprovalAnswered {
            approval_id: id.clone(),
            answer: answer.clone(),
            by: *by,
            key: value.by.key.clone(),
            answered_at: value.at,
            order: Some(sequence.0),
            stdin_to: Some(self.stdin_to),
        }));
        Some(Answering {
            say: Some(say),
            offset,
            bytes,
        })
    }

    /// Up to where standard input was given, or will be.
    pub(crate) const fn stdin_to(&self) -> u64 {
        self.stdin_to
    }

    /// When the time of a question is over, of those of which that was not told.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        let waiting = self.pending.values().filter(|pending| !pending.is_overdue);
        waiting.filter_map(|pending| pending.expires_at).min()
    }

    /// The questions whose time is over, each told once.
    pub(crate) fn take_overdue(&mut self, now: Timestamp) -> Vec<String> {
        let is_over = |pending: &Pending| {
            !pending.is_overdue && pending.expires_at.is_some_and(|expires| expires <= now)
        };
        let mut overdue = Vec::new();
        for (id, pending) in &mut self.pending {
            if is_over(pending) {
                pending.is_overdue = true;
                overdue.push(id.clone());
            }
        }
        overdue
    }
}

fn seconds(seconds: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[path = "approval_tests.rs"]
mod tests;
