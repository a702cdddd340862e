//! Whether the messages of one exec are what its writers wrote: all of them, in their order,
//! unchanged. Used by `rdev audit --exec`, and by the tests that play the adversary.
//!
//! Messages go in one by one in the order of the log, so an exec of any length takes the memory of
//! a few messages. Every message is held until the next one is here: two that name the same
//! predecessor tell which of them does not belong.
//!
//! Invariant: what retention may have removed is `expired`, never `different`. After a hole the
//! checks begin anew with what is there, so that one fault is not told again by every message
//! behind it.
//!
//! What it cannot see: the chain has no key. Who rewrites a whole exec, its hashes included, is
//! only found by a chain value that was noted elsewhere; [`Report::chain`] is there to be noted.

mod claims;
mod content;
mod link;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rdev_contract::envelope::{Message, PAYLOAD_VERSION};
use rdev_contract::event::{Command, Kind};
use rdev_contract::id::ExecId;
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_contract::subject;
use serde::Serialize;

use crate::exec::next_after;
use claims::Claims;
use content::Content;
use link::{Link, Linked};

/// A report is read by people: behind so many findings the rest says nothing new.
pub const FINDINGS_MAX_COUNT: usize = 100;

/// How long the log keeps what, and what time it is: tells what may be gone.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Now, by the clock of the log's server.
    pub now: Timestamp,
    /// Life of `output` messages.
    pub output_ttl: Duration,
    /// Life of all others.
    pub facts_ttl: Duration,
}

impl Retention {
    fn is_over(at: Timestamp, ttl: Duration, by: Timestamp) -> bool {
        SignedDuration::try_from(ttl)
            .ok()
            .and_then(|ttl| at.checked_add(ttl).ok())
            .is_some_and(|end| end <= by)
    }
}

/// A message as the log holds it.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its place.
    pub sequence: StreamSeq,
    /// When the server stored it.
    pub stored_at: Timestamp,
    /// Where it was published to.
    pub subject: String,
    /// What it holds.
    pub payload: Vec<u8>,
}

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// The payload has no readable shape.
    Unreadable,
    /// It was changed after it was written: its chain value is not that of its bytes.
    Changed,
    /// One or more messages before it are gone, too young for retention.
    Missing,
    /// It does not belong: nobody names it as a predecessor.
    Added,
    /// It stands under another subject, or is of another exec.
    Foreign,
    /// Kinds in an order that no writer makes.
    Order,
    /// A claim that does not follow from the one before, or a message of a claim that is over.
    Claim,
    /// Event numbers with a gap or a repeat.
    Numbers,
    /// `to` is not where the bytes of the events end.
    Offsets,
    /// The end does not say what was printed.
    Totals,
}

/// The first thing wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The message.
    pub sequence: StreamSeq,
    /// Number of the first event in it, as far as it can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_event: Option<EventNo>,
    /// Number of the last event in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event: Option<EventNo>,
    /// What kind of thing.
    pub problem: Problem,
    /// What was expected and what is there.
    pub detail: String,
}

/// Messages that retention has removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expired {
    /// They came before this message.
    pub before: StreamSeq,
    /// What is known of them.
    pub detail: String,
}

/// What was found out about an exec.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Messages that were read.
    pub messages: u64,
    /// How many of them the chain vouches for. Not those behind something expired.
    pub chained: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes of their output.
    pub bytes: Offsets,
    /// Number of the last claim.
    pub attempts: u32,
    /// How it ended; absent while it has not.
    pub outcome: Option<String>,
    /// Whether both streams were compared with the hashes in `complete`.
    pub hashed: bool,
    /// Chain value of the last message: noted elsewhere, it vouches for everything up to there.
    pub chain: String,
    /// What is wrong, in the order of the log; the first is the one to look at.
    pub differences: Vec<Finding>,
    /// What is gone as it should be.
    pub expired: Vec<Expired>,
}

/// Reads the messages of one exec.
#[derive(Debug)]
pub struct ExecAudit {
    exec: ExecId,
    retention: Retention,
    waiting: Option<Held>,
    link: Link,
    claims: Claims,
    content: Content,
    next: EventNo,
    is_agent: Option<bool>,
    is_ended: bool,
    report: Report,
}

/// What a message is known to be while its checks run.
struct Place {
    sequence: StreamSeq,
    first: Option<EventNo>,
    last: Option<EventNo>,
}

impl ExecAudit {
    /// Nothing was read yet.
    #[must_use]
    pub fn new(exec: ExecId, retention: Retention) -> Self {
        Self {
            exec,
            retention,
            waiting: None,
            link: Link::default(),
            claims: Claims::default(),
            content: Content::default(),
            next: EventNo::FIRST,
            is_agent: None,
            is_ended: false,
            report: Report {
                messages: 0,
                chained: 0,
                events: 0,
                bytes: Offsets::default(),
                attempts: 0,
                outcome: None,
                hashed: false,
                chain: String::new(),
                differences: Vec::new(),
                expired: Vec::new(),
            },
        }
    }

    /// Takes the next message of the exec, in the order of the log.
    pub fn take(&mut self, held: Held) {
        self.report.messages += 1;
        let Some(before) = self.waiting.replace(held) else {
            return;
        };
        let is_bypassed = self
            .waiting
            .as_ref()
            .is_some_and(|next| self.link.bypasses(next, &before));
        if is_bypassed {
            let place = Place::of(&before);
            let detail = "the message behind it follows the one before it: nobody names this one \
                          as a predecessor";
            self.find(&place, Problem::Added, detail.to_owned());
        } else {
            self.check(&before);
        }
    }

    /// There are no more messages.
    #[must_use]
    pub fn finish(mut self) -> Report {
        if let Some(last) = self.waiting.take() {
            self.check(&last);
        }
        self.report.bytes = self.content.offsets();
        self.report.attempts = self.claims.attempts();
        self.report.chain = self.link.chain();
        self.report
    }

    fn find(&mut self, place: &Place, problem: Problem, detail: String) {
        if self.report.differences.len() < FINDINGS_MAX_COUNT {
            self.report.differences.push(Finding {
                sequence: place.sequence,
                first_event: place.first,
                last_event: place.last,
                problem,
                detail,
            });
        }
    }

    fn expire(&mut self, before: StreamSeq, detail: String) {
        self.report.expired.push(Expired { before, detail });
    }

    fn check(&mut self, held: &Held) {
        let message = match Message::decode(&held.payload) {
            Ok(message) => message,
            Err(error) => {
                self.find(&Place::of(held), Problem::Unreadable, error.to_string());
                self.link.lose(held);
                self.claims.lose();
                self.content.lose();
                return;
            }
        };
        let place = Place::of_message(held, &message);
        self.check_subject(&place, held, &message);
        let has_hole = self.check_link(&place, held, &message);
        if self.is_ended {
            let detail = "it comes behind the end of the exec".to_owned();
            self.find(&place, Problem::Order, detail);
        }
        let Some(kind) = message.head.known_kind() else {
            self.check_later(&place, held, &message, has_hole);
            return;
        };
        if let Err(detail) = self.claims.check(kind, &message) {
            self.find(&place, Problem::Claim, detail);
        }
        self.check_order(&place, kind, &message);
        self.check_numbers(&place, held, &message, has_hole);
        if kind.is_numbered() {
            self.check_content(&place, kind, &message);
        }
    }

    /// Of a kind that only later builds know: what has numbers takes part in the numbering.
    fn check_later(&mut self, place: &Place, held: &Held, message: &Message<'_>, has_hole: bool) {
        if message.head.first.is_none() {
            return;
        }
        self.check_numbers(place, held, message, has_hole);
        if let Err((problem, detail)) = self.content.take(message) {
            self.find(place, problem, detail);
        }
    }

    fn check_subject(&mut self, place: &Place, held: &Held, message: &Message<'_>) {
        let head = &message.head;
        let is_own = subject::parse_exec(&held.subject)
            .is_ok_and(|(exec, kind)| exec == self.exec && kind == head.kind);
        if !is_own || head.exec() != self.exec {
            let detail = format!(
                "it says it is {} of {}, and stands at {}",
                head.kind,
                head.exec(),
                held.subject
            );
            self.find(place, Problem::Foreign, detail);
        } else if head.v != PAYLOAD_VERSION {
            let detail = format!("version {}, expected {PAYLOAD_VERSION}", head.v);
            self.find(place, Problem::Unreadable, detail);
        }
    }

    /// Says whether something before it is not there.
    fn check_link(&mut self, place: &Place, held: &Held, message: &Message<'_>) -> bool {
        let linked = self.link.follow(held, message);
        match linked {
            Linked::Chained => {
                self.report.chained += 1;
                false
            }
            Linked::Unchained => false,
            Linked::Changed => {
                let detail = "its bytes are not those that its chain value was made of".to_owned();
                self.find(place, Problem::Changed, detail);
                false
            }
            Linked::Bypassing(last) => {
                let detail = format!(
                    "it follows message {}, but message {last} stands between them",
                    message.head.prev
                );
                self.find(place, Problem::Added, detail);
                self.content.lose();
                true
            }
            Linked::Hole { since } => {
                let detail = format!("it follows message {}", message.head.prev);
                self.miss(place, held, since, &detail);
                true
            }
        }
    }

    /// Something is gone that came behind `since`: retention's work, or somebody else's.
    fn miss(&mut self, place: &Place, held: &Held, since: Option<Timestamp>, detail: &str) {
        let Retention {
            now,
            output_ttl,
            facts_ttl,
        } = self.retention;
        // An exec begins with facts, and all of an agent's are.
        let may_be_bulk = since.is_some() && self.is_agent != Some(true);
        // What began the exec is older than what is left of it, by nobody knows how much.
        let since = since.unwrap_or_else(|| link::earliest_beginning(held.stored_at));
        let are_facts_over = Retention::is_over(since, facts_ttl, now);
        let is_bulk_over = may_be_bulk && Retention::is_over(since, output_ttl, now);
        self.content.lose();
        if are_facts_over || is_bulk_over {
            if are_facts_over {
                self.claims.lose();
            }
            self.expire(held.sequence, format!("{detail}, which has expired"));
            return;
        }
        self.claims.lose();
        let detail = format!("{detail}, which the log does not hold, too young to have expired");
        self.find(place, Problem::Missing, detail);
    }

    fn check_order(&mut self, place: &Place, kind: Kind, message: &Message<'_>) {
        if kind == Kind::Command {
            match message.fact::<Command>() {
                Ok(command) => {
                    self.is_agent = Some(command.spec.work.agent().is_some());
                }
                Err(error) => self.find(place, Problem::Unreadable, error.to_string()),
            }
        }
        let has_first = message.head.first.is_some();
        if has_first != kind.is_numbered() || kind.is_numbered() == message.events.is_empty() {
            let detail = format!(
                "a {kind} message with {} events and {}",
                message.events.len(),
                if has_first { "a number" } else { "no number" }
            );
            self.find(place, Problem::Order, detail);
        }
    }

    fn check_numbers(&mut self, place: &Place, held: &Held, message: &Message<'_>, has_hole: bool) {
        let begins = match message.head.first {
            Some(first) => first,
            None => match claims::resumed_from(message) {
                Some(from) => from.next,
                None => return,
            },
        };
        if begins > self.next && !has_hole && !self.content.is_lost() {
            // The writer's own last bulk message had expired when it wrote this one.
            let since = self.link.before().unwrap_or(held.stored_at);
            let by = held.stored_at;
            let is_over = Retention::is_over(since, self.retention.output_ttl, by);
            let detail = format!("events {} up to {begins}, that one left out", self.next);
            self.content.lose();
            if is_over && self.is_agent != Some(true) {
                self.expire(held.sequence, format!("{detail}, have expired"));
            } else {
                let detail = format!("its first event is {begins}, expected {}", self.next);
                self.find(place, Problem::Numbers, detail);
            }
        } else if begins < self.next {
            let detail = format!("its first event is {begins}, expected {}", self.next);
            self.find(place, Problem::Numbers, detail);
        }
        self.next = next_after(message).unwrap_or(begins);
        self.report.events += self.next.0.saturating_sub(begins.0);
    }

    fn check_content(&mut self, place: &Place, kind: Kind, message: &Message<'_>) {
        if let Err((problem, detail)) = self.content.take(message) {
            self.find(place, problem, detail);
        }
        if kind != Kind::Complete {
            return;
        }
        self.is_ended = true;
        match self.content.end(message, self.is_agent) {
            Ok(ended) => {
                self.report.outcome = Some(ended.outcome.name().to_owned());
                self.report.hashed = ended.is_hashed;
                if let Err(detail) = self.claims.check_end(ended.outcome) {
                    self.find(place, Problem::Claim, detail);
                }
            }
            Err((problem, detail)) => self.find(place, problem, detail),
        }
    }
}

impl Place {
    fn of(held: &Held) -> Self {
        match Message::decode(&held.payload) {
            Ok(message) => Self::of_message(held, &message),
            Err(_) => Self {
                sequence: held.sequence,
                first: None,
                last: None,
            },
        }
    }

    fn of_message(held: &Held, message: &Message<'_>) -> Self {
        let first = message.head.first;
        // A part of a long line is a part of the event that begins here.
        let next = next_after(message).map(|next| EventNo(next.0.saturating_sub(1)));
        Self {
            sequence: held.sequence,
            first,
            last: next.max(first),
        }
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
