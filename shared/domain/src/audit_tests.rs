//! Logs that were tampered with: given the messages, then what is found, and where.

use std::borrow::Cow;

use proptest::prelude::*;
use rdev_contract::envelope::{Body, Chain, Head, encode};
use rdev_contract::event::{
    AgentLine, CommandSpec, Complete, Event, EventBatch, Fragment, Outcome, OutputStream,
    PodIdentity, Requester, Resumed, ResumedFrom, Started, Text,
};
use rdev_contract::id::ClaimId;
use rdev_contract::subject::Subject;
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use rdev_contract::agent::Agent;
use rdev_contract::event::Work;

use super::*;

#[path = "audit/admitted_tests.rs"]
mod admitted;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn exec() -> ExecId {
    ExecId {
        project: "demo".parse().unwrap(),
        session: "01930000-0000-7000-8000-000000000001".parse().unwrap(),
        stream: "s-1".parse().unwrap(),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// An exec's log as its writers make it. Sequences have gaps: other execs write too.
#[derive(Clone)]
struct Log {
    held: Vec<Held>,
    chain: Chain,
    claim: Option<ClaimId>,
    attempt: u32,
    next: EventNo,
    printed: [Vec<u8>; 2],
}

impl Log {
    fn new(work: Work) -> Self {
        let mut log = Self {
            held: Vec::new(),
            chain: Chain::default(),
            claim: None,
            attempt: 0,
            next: EventNo::FIRST,
            printed: [Vec::new(), Vec::new()],
        };
        let spec = CommandSpec::new(work, 60);
        let command = Command {
            spec,
            accept_until: at(100),
            awaits_pod: false,
            by: Requester::default(),
        };
        log.fact(Kind::Command, &command);
        log
    }

    fn shell() -> Self {
        let command = "seq 9".to_owned();
        Self::new(Work::Shell { command })
    }

    fn to(&self) -> Offsets {
        Offsets::new(self.printed[0].len() as u64, self.printed[1].len() as u64)
    }

    fn push(&mut self, kind: Kind, body: &Body<'_>, first: Option<EventNo>, to: Option<Offsets>) {
        let second = i64::try_from(self.held.len()).unwrap();
        let head = Head {
            v: PAYLOAD_VERSION,
            project: exec().project,
            session: exec().session,
            stream: exec().stream,
            kind: kind.token().to_owned(),
            claim: self.claim,
            attempt: self.attempt,
            first,
            at: at(second),
            to,
            prev: self.held.last().map_or(StreamSeq(0), |last| last.sequence),
        };
        let encoded = encode(&head, body, &self.chain).unwrap();
        self.chain = encoded.chain;
        self.held.push(Held {
            sequence: StreamSeq(u64::try_from(3 * second + 5).unwrap()),
            stored_at: at(second),
            subject: Subject::exec(&exec(), kind).as_str().to_owned(),
            payload: encoded.payload,
        });
    }

    fn fact(&mut self, kind: Kind, fact: &impl Serialize) {
        let data: Box<RawValue> = to_raw_value(fact).unwrap();
        self.push(kind, &Body::Data(&data), None, None);
    }

    fn claim(&mut self) {
        self.attempt += 1;
        let claim = ClaimId::new(Uuid::from_u128(u128::from(self.attempt)));
        self.claim = Some(claim);
        let pod = PodIdentity {
            namespace: "n".to_owned(),
            name: "p".to_owned(),
            uid: "u".to_owned(),
            container: "c".to_owned(),
            container_id: "i".to_owned(),
            restarts: 0,
        };
        if self.attempt == 1 {
            self.fact(
                Kind::Started,
                &Started {
                    claim,
                    attempt: 1,
                    executor: "e".to_owned(),
                    argv: Vec::new(),
                    resume_id: None,
                    pod,
                    shim: "nonce".to_owned(),
                },
            );
            return;
        }
        let from = ResumedFrom {
            next: self.next,
            offsets: self.to(),
        };
        self.fact(
            Kind::Resumed,
            &Resumed {
                claim,
                attempt: self.attempt,
                executor: "e".to_owned(),
                pod,
                shim: "nonce".to_owned(),
                from,
                failed_before: 0,
            },
        );
    }

    fn print(&mut self, lines: &[(&str, OutputStream)]) {
        let mut events = EventBatch::default();
        for (line, stream) in lines {
            let text = Text::of(line.as_bytes(), Some(*stream), false);
            let index = usize::from(*stream == OutputStream::Stderr);
            self.printed[index].extend(text.bytes().unwrap());
            events.push(&Event::Output(text)).unwrap();
        }
        self.events(Kind::Output, &events, lines.len() as u64);
    }

    fn events(&mut self, kind: Kind, events: &EventBatch, count: u64) {
        let (first, to) = (self.next, self.to());
        self.next = self.next.plus(count);
        self.push(kind, &Body::Events(events), Some(first), Some(to));
    }

    fn end(&mut self) {
        let hash = |bytes: &Vec<u8>| {
            let sum = Sha256::digest(bytes);
            Some(sum.iter().map(|byte| format!("{byte:02x}")).collect())
        };
        let complete = Complete {
            outcome: Outcome::Exited,
            exit_code: 0,
            ok: true,
            stdout_bytes: Some(self.to().stdout),
            stderr_bytes: Some(self.to().stderr),
            stdout_sha256: hash(&self.printed[0]),
            stderr_sha256: hash(&self.printed[1]),
            ..Complete::without_process(Outcome::Exited, "")
        };
        self.end_with(&complete);
    }

    fn end_with(&mut self, complete: &Complete) {
        let mut events = EventBatch::default();
        events.push(&Event::Complete(complete)).unwrap();
        self.events(Kind::Complete, &events, 1);
    }

    fn audit(&self) -> Report {
        audit_at(&self.held, at(60))
    }
}

fn audit_at(held: &[Held], now: Timestamp) -> Report {
    let retention = Retention {
        now,
        output_ttl: 7 * DAY,
        facts_ttl: 90 * DAY,
    };
    let mut audit = ExecAudit::new(exec(), retention);
    for message in held {
        audit.take(message.clone());
    }
    audit.finish()
}

/// Command, claim, output, take-over, output, end.
fn eventful() -> Log {
    let mut log = Log::shell();
    log.claim();
    log.print(&[("one", OutputStream::Stdout), ("two", OutputStream::Stderr)]);
    log.print(&[("three", OutputStream::Stdout)]);
    log.claim();
    log.print(&[
        ("four", OutputStream::Stdout),
        ("five", OutputStream::Stdout),
    ]);
    log.print(&[("six", OutputStream::Stderr)]);
    log.end();
    log
}

fn first(report: &Report) -> (Problem, StreamSeq) {
    let found = report.differences.first().expect("something is found");
    (found.problem, found.sequence)
}

#[test]
fn what_writers_write_is_equal() {
    let report = eventful().audit();
    assert_eq!(report.differences, []);
    assert_eq!(report.expired, []);
    assert_eq!((report.messages, report.chained), (8, 8));
    assert_eq!((report.events, report.attempts), (7, 2));
    assert!(report.hashed);
    assert_eq!(report.outcome.as_deref(), Some("exited"));
    assert_eq!(report.chain.len(), 64);
}

#[test]
fn an_exec_that_runs_or_never_ran_is_equal() {
    let mut running = Log::shell();
    running.claim();
    running.print(&[("one", OutputStream::Stdout)]);
    let report = running.audit();
    assert_eq!((report.differences.len(), report.outcome), (0, None));

    for outcome in [Outcome::Rejected, Outcome::Canceled, Outcome::TimedOut] {
        let mut unstarted = Log::shell();
        unstarted.end_with(&Complete::without_process(outcome, "why"));
        assert_eq!(unstarted.audit().differences, []);
    }
    let mut vanished = Log::shell();
    vanished.end_with(&Complete::without_process(Outcome::Lost, "what"));
    assert_eq!(first(&vanished.audit()).0, Problem::Claim);

    let mut lost = running.clone();
    lost.attempt += 1;
    lost.claim = Some(ClaimId::new(Uuid::from_u128(99)));
    lost.end_with(&Complete::without_process(Outcome::Lost, "no pod"));
    assert_eq!(lost.audit().differences, []);

    let mut relaunched = running;
    relaunched.end_with(&Complete::without_process(Outcome::Rejected, "what"));
    assert_eq!(first(&relaunched.audit()).0, Problem::Claim);
}

#[test]
fn parts_of_a_long_claude_line_are_one_event() {
    let prompt = "hi".to_owned();
    let mut log = Log::new(Work::Claude {
        prompt,
        continue_conversation: false,
        conversation_id: None,
    });
    log.claim();
    let line = r#"{"type":"assistant","text":"so long a line"}"#;
    let data = AgentLine::parse(line.as_bytes(), false).unwrap().data();
    let (head, tail) = data.split_at(20);
    let part = |log: &mut Log, index, text, last| {
        let mut events = EventBatch::default();
        let text = Cow::Borrowed(text);
        events
            .push(&Event::AgentFragment(
                Agent::Claude,
                Fragment { index, last, text },
            ))
            .unwrap();
        log.events(Kind::Claude, &events, u64::from(last));
    };
    part(&mut log, 0, head, false);
    // A take-over in the middle repeats the line.
    log.claim();
    part(&mut log, 0, head, false);
    log.printed[0] = format!("{line}\n").into_bytes();
    part(&mut log, 1, tail, true);
    log.end();
    let report = log.audit();
    assert_eq!(report.differences, []);
    assert!(report.hashed);
    assert_eq!(report.events, 2);
}

#[test]
fn a_byte_of_an_event_is_named() {
    let mut log = eventful();
    let text = String::from_utf8(log.held[3].payload.clone()).unwrap();
    log.held[3].payload = text.replace("three", "thref").into_bytes();
    let report = log.audit();
    assert_eq!(first(&report), (Problem::Changed, log.held[3].sequence));
    let events = (
        report.differences[0].first_event,
        report.differences[0].last_event,
    );
    assert_eq!(events, (Some(EventNo(3)), Some(EventNo(3))));
    // The sums at the end agree that something is wrong.
    assert_eq!(report.differences[1].problem, Problem::Totals);
}

/// Whoever changes an event and makes the chain anew is told on by the hashes at the end.
#[test]
fn a_forged_chain_does_not_hide_other_bytes() {
    let mut log = eventful();
    let mut chain = Chain::default();
    for held in &mut log.held {
        let text = String::from_utf8(held.payload.clone()).unwrap();
        let text = text.replace("\"four\"", "\"f0ur\"");
        let message = Message::decode(text.as_bytes()).unwrap();
        let data = text
            .find(",\"data\":")
            .or(text.find(",\"events\":"))
            .unwrap();
        let hollow = text.replace(message.chain.as_str(), "");
        let mut sum = Sha256::new();
        sum.update(chain.as_str());
        sum.update(&hollow);
        let value: String = sum
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        held.payload = text.replace(message.chain.as_str(), &value).into_bytes();
        assert!(data > 0);
        chain = Message::decode(&held.payload).unwrap().chain;
    }
    let report = log.audit();
    assert_eq!(report.chained, 8);
    assert_eq!(first(&report).0, Problem::Totals);
    assert!(report.differences[0].detail.contains("SHA-256 of stdout"));
}

#[test]
fn a_missing_message_is_told_by_the_one_behind_it() {
    let whole = eventful();
    for index in 0..whole.held.len() - 1 {
        let mut log = whole.clone();
        log.held.remove(index);
        let report = log.audit();
        let expected = (Problem::Missing, whole.held[index + 1].sequence);
        assert_eq!(first(&report), expected, "without message {index}");
        assert_eq!(report.differences.len(), 1, "{:?}", report.differences);
    }
}

#[test]
fn an_added_message_is_named() {
    let whole = eventful();
    let mut log = whole.clone();
    let mut added = log.held[5].clone();
    added.sequence = StreamSeq(added.sequence.0 - 1);
    let text = String::from_utf8(added.payload).unwrap();
    added.payload = text.replace("four", "FOUR").into_bytes();
    log.held.insert(5, added.clone());
    let report = log.audit();
    assert_eq!(first(&report), (Problem::Added, added.sequence));
    assert_eq!(report.differences.len(), 1, "{:?}", report.differences);

    // A copy of a message, and something behind the end.
    for index in [3, 7] {
        let mut log = whole.clone();
        let mut copy = log.held[index].clone();
        copy.sequence = StreamSeq(1000);
        log.held.push(copy);
        assert_eq!(first(&log.audit()), (Problem::Added, StreamSeq(1000)));
    }
}

#[test]
fn exchanged_messages_are_found() {
    let whole = eventful();
    for index in 1..whole.held.len() - 1 {
        let mut log = whole.clone();
        let (left, right) = (log.held[index].clone(), log.held[index + 1].clone());
        log.held[index] = Held {
            sequence: left.sequence,
            ..right.clone()
        };
        log.held[index + 1] = Held {
            sequence: right.sequence,
            ..left
        };
        let report = log.audit();
        let place = first(&report).1;
        assert_eq!(place, log.held[index].sequence, "{:?}", report.differences);
    }
}

#[test]
fn what_retention_removed_is_expired() {
    let whole = eventful();
    let week = at(8 * 24 * 3600);
    let facts: Vec<_> = whole
        .held
        .iter()
        .filter(|held| !held.subject.ends_with("output"))
        .cloned()
        .collect();
    let report = audit_at(&facts, week);
    assert_eq!(report.differences, []);
    assert_eq!(report.expired.len(), 2, "{:?}", report.expired);
    assert!(!report.hashed);

    // Whatever of an exec is left after a quarter of a year.
    let later = at(100 * 24 * 3600);
    for from in 1..whole.held.len() {
        let report = audit_at(&whole.held[from..], later);
        assert_eq!(report.differences, [], "from {from}");
        assert_eq!(report.expired.len(), 1);
    }
    // A fact does not expire with the output.
    let mut without_claim = whole.held.clone();
    without_claim.remove(4);
    let report = audit_at(&without_claim, week);
    assert_eq!(first(&report).0, Problem::Claim);
}

/// A writer whose own last message had expired goes on behind an earlier one.
#[test]
fn a_tail_that_expired_before_the_next_message_leaves_no_hole() {
    let mut log = Log::shell();
    log.claim();
    let before = log.clone();
    log.print(&[("gone", OutputStream::Stdout)]);
    let mut left = before;
    (left.next, left.printed) = (log.next, log.printed);
    left.print(&[("late", OutputStream::Stdout)]);
    left.end();
    let soon = left.audit();
    assert_eq!(first(&soon).0, Problem::Numbers);
    for held in &mut left.held[2..] {
        held.stored_at = at(8 * 24 * 3600);
    }
    let report = audit_at(&left.held, at(8 * 24 * 3600 + 1));
    assert_eq!(report.differences, []);
    assert_eq!(report.expired.len(), 1);
}

#[test]
fn output_without_a_claim_is_refused() {
    let mut log = Log::shell();
    log.print(&[("one", OutputStream::Stdout)]);
    assert_eq!(first(&log.audit()).0, Problem::Claim);

    // The former claim writes on behind the take-over.
    let mut log = Log::shell();
    log.claim();
    let former = (log.claim, log.attempt);
    log.claim();
    (log.claim, log.attempt) = former;
    log.print(&[("one", OutputStream::Stdout)]);
    assert_eq!(first(&log.audit()).0, Problem::Claim);
}

proptest! {
    /// Any byte of any message.
    #[test]
    fn a_changed_byte_names_its_message(which in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(), mask in 1_u8..) {
        let mut log = eventful();
        let index = which.index(log.held.len());
        let payload = &mut log.held[index].payload;
        let byte = place.index(payload.len());
        payload[byte] ^= mask;
        let report = log.audit();
        prop_assert_eq!(first(&report).1, log.held[index].sequence);
    }
}
