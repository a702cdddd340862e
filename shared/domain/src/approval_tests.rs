//! Questions and answers while executors come and go: whatever happens when, the log has each once, and
//! the agent is given each answer of the log once, in the same bytes.

use std::time::Duration;

use proptest::prelude::*;
use rdev_contract::control::Given;
use rdev_contract::envelope::{self, Body, Chain, Head, Message};
use rdev_contract::event::{Kind, OutputStream, Requester};
use rdev_contract::id::{ExecId, SessionId};
use rdev_contract::position::Offsets;
use serde_json::{Value, json};
use uuid::Uuid;

use super::list::Question;
use super::*;
use crate::agent::Tally;
use crate::exec::next_after;
use crate::run::{Batch, Format, Run};

const PROMPT_BYTES: u64 = 100;
const POLICY: ApprovalPolicy = ApprovalPolicy {
    timeout_seconds: Some(60),
    on_timeout: rdev_contract::event::OnTimeout::Deny,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn exec() -> ExecId {
    ExecId {
        project: "demo".parse().unwrap(),
        session: SessionId::new(Uuid::nil()),
        stream: "s".parse().unwrap(),
    }
}

fn question(id: &str, input: &Value) -> String {
    let line = json!({"type": "control_request", "request_id": id, "request": {
        "subtype": "can_use_tool", "tool_name": "Bash", "input": input, "tool_use_id": id}});
    format!("{line}\n")
}

fn withdrawal(id: &str) -> String {
    let line = json!({"type": "control_cancel_request", "request_id": id});
    format!("{line}\n")
}

const RESULT: &str = "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false}\n";

/// What there is beside executors: what the agent prints, the log, the orders and the shim.
struct World {
    printed: Vec<u8>,
    log: Vec<(Batch, Vec<u8>)>,
    /// Those that are kept, and how many there were.
    orders: Vec<Recorded<ControlMessage>>,
    ordered: u64,
    stdin: Vec<u8>,
    is_stdin_ended: bool,
}

/// One executor, with what dies with it.
struct Executor {
    run: Run,
    logged: EventNo,
    held: Vec<(StreamSeq, InputPiece)>,
    /// The last order that it has looked at.
    seen: StreamSeq,
}

impl World {
    fn new(printed: String) -> Self {
        Self {
            printed: printed.into_bytes(),
            log: Vec::new(),
            orders: Vec::new(),
            ordered: 0,
            stdin: vec![b'p'; usize::try_from(PROMPT_BYTES).unwrap()],
            is_stdin_ended: false,
        }
    }

    fn messages(&self, kind: Kind) -> impl Iterator<Item = Message<'_>> {
        let of_kind = self.log.iter().filter(move |(batch, _)| batch.kind == kind);
        of_kind.map(|(_, payload)| Message::decode(payload).unwrap())
    }

    /// As a take-over does it.
    fn executor(&self) -> Executor {
        let last = self.log.last();
        let (next, to) = last.map_or((EventNo::FIRST, Offsets::default()), |(batch, payload)| {
            let message = Message::decode(payload).unwrap();
            (next_after(&message).unwrap(), batch.to)
        });
        let oldest = self
            .orders
            .first()
            .map_or(u64::MAX, |order| order.sequence.0);
        let mut approvals = Approvals::new(Agent::Claude, POLICY, PROMPT_BYTES, at(0))
            .carried_out_before(StreamSeq(oldest));
        let mut tally = Tally::new(Agent::Claude);
        for message in self.messages(Kind::Approval) {
            approvals.observe_events(&message.events).unwrap();
        }
        for message in self.messages(Kind::Claude) {
            approvals.observe_lines(tally.observe_events(&message.events));
        }
        let run = Run::new(Format::Agent(Agent::Claude), to, next);
        Executor {
            run: run.with_tally(tally).with_approvals(approvals),
            logged: EventNo::FIRST,
            held: Vec::new(),
            seen: StreamSeq(0),
        }
    }

    fn questions(&self) -> Vec<Question> {
        let mut questions = Vec::new();
        for message in self.messages(Kind::Approval) {
            list::take(&mut questions, &message).unwrap();
        }
        list::with_orders(&mut questions, &exec(), &self.orders);
        questions
    }

    /// A client answers a question, or tries to.
    fn answer(&mut self, choice: usize, allow: bool) {
        let questions = self.questions();
        if questions.is_empty() {
            return;
        }
        let id = &questions[choice % questions.len()].approval.approval_id;
        let decision = if allow {
            Decision::Allow
        } else {
            Decision::Deny
        };
        let before = Given {
            number: self.ordered,
            ..Given::default()
        };
        let answer = Answer::of(decision);
        let client = AnsweredBy::Client;
        if let Ok(Some(addition)) = list::answer(&questions, &before, id, &answer, client) {
            self.ordered += 1;
            let by = Requester::default();
            let value = ControlMessage::new(&exec(), at(1), by, addition.given, addition.order);
            // Other execs have orders, too.
            let sequence = StreamSeq(self.ordered * 3);
            self.orders.push(Recorded { sequence, value });
        }
    }
}

impl Executor {
    fn feed(&mut self, world: &World, bytes: usize) {
        let from = self.run.received().stdout;
        let rest = &world.printed[usize::try_from(from).unwrap()..];
        let bytes = &rest[..bytes.min(rest.len())];
        self.run.tell_time(at(0));
        self.run
            .feed(OutputStream::Stdout, from, bytes, Duration::ZERO)
            .unwrap();
        self.hold(StreamSeq(u64::MAX));
    }

    fn hold(&mut self, order: StreamSeq) {
        let pieces = self.run.take_input().into_iter();
        self.held.extend(pieces.map(|piece| (order, piece)));
    }

    fn order(&mut self, world: &World) {
        let next = world.orders.iter().find(|order| order.sequence > self.seen);
        if let Some(order) = next {
            self.seen = order.sequence;
            self.run.answer(order);
            self.hold(order.sequence);
        }
    }

    fn append(&mut self, world: &mut World) {
        if let Some(batch) = self.run.take_batch() {
            let payload = payload_of(&batch);
            self.logged = batch.next;
            world.log.push((batch, payload));
        }
    }

    /// The shim takes a piece that the log allows; what was carried out is removed, but for the last.
    fn give(&mut self, world: &mut World) {
        let logged = self.logged;
        let may = |(_, piece): &(StreamSeq, InputPiece)| piece.number < logged;
        // By offset, as the feed does it.
        let allowed = self.held.iter().take_while(|held| may(held)).count();
        let first = (0..allowed).min_by_key(|index| self.held[*index].1.offset);
        if let Some(index) = first {
            let taken = world.stdin.len() as u64;
            let piece = &self.held[index].1;
            if piece.offset > taken {
                // What is before it comes with an order that is still to be looked at.
                return;
            }
            let known = usize::try_from(taken - piece.offset).unwrap();
            if !world.is_stdin_ended && known <= piece.bytes.len() {
                let given = &world.stdin[usize::try_from(piece.offset).unwrap()..];
                assert!(piece.bytes.starts_with(given), "the same bytes again");
                world.stdin.extend(&piece.bytes[known..]);
                world.is_stdin_ended = piece.end;
            }
            self.held.remove(index);
        }
        let needed = self.held.iter().map(|(order, _)| *order).min();
        let needed = needed.unwrap_or(self.seen).min(self.seen);
        world.orders.retain(|order| order.sequence >= needed);
    }

    fn step(&mut self, world: &mut World, dice: u8, choice: usize) {
        match dice {
            0..=2 => self.feed(world, choice % 90),
            3..=5 => self.append(world),
            6 => world.answer(choice, !choice.is_multiple_of(3)),
            7 => self.order(world),
            8 => self.give(world),
            _ => *self = world.executor(),
        }
    }
}

fn payload_of(batch: &Batch) -> Vec<u8> {
    let id = exec();
    let head = Head {
        v: envelope::PAYLOAD_VERSION,
        project: id.project,
        session: id.session,
        stream: id.stream,
        kind: batch.kind.to_string(),
        claim: None,
        attempt: 1,
        first: Some(batch.first),
        at: at(0),
        to: Some(batch.to),
        prev: StreamSeq(1),
    };
    envelope::encode(&head, &Body::Events(&batch.events), &Chain::default())
        .unwrap()
        .payload
}

/// The answers in the log, each for one question, in the bytes that the agent was given.
fn check(world: &World, asked: usize) {
    let (mut questions, mut answered, mut stdin) = (Vec::new(), Vec::new(), PROMPT_BYTES);
    let mut expected = world.stdin[..usize::try_from(PROMPT_BYTES).unwrap()].to_vec();
    for message in world.messages(Kind::Approval) {
        for event in &message.events {
            let data = event.data.unwrap().get();
            if event.name == event_name::APPROVAL {
                let approval: Approval = serde_json::from_str(data).unwrap();
                assert_eq!(approval.expires_at, Some(at(60)));
                questions.push(approval);
                continue;
            }
            let answer: ApprovalAnswered = serde_json::from_str(data).unwrap();
            let about = questions
                .iter()
                .find(|asked| asked.approval_id == answer.approval_id);
            let input = about.expect("asked before").input.as_deref().unwrap();
            if let Some(stdin_to) = answer.stdin_to {
                let asker = agent::asker(Agent::Claude).unwrap();
                let bytes = asker.answer(&answer.approval_id, input, &answer.answer);
                stdin += bytes.len() as u64;
                assert_eq!(stdin_to, stdin);
                expected.extend(bytes);
            }
            answered.push(answer.approval_id);
        }
    }
    let ids: BTreeSet<_> = questions.iter().map(|asked| &asked.approval_id).collect();
    assert_eq!((ids.len(), questions.len()), (asked, asked));
    let ids: BTreeSet<_> = answered.iter().collect();
    assert_eq!(ids.len(), answered.len(), "answered once");
    // What was answered behind the result may not have been given.
    assert!(expected.starts_with(&world.stdin));
    assert!(world.is_stdin_ended);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_answer_of_the_log_is_given_once(
        withdrawn in 0_usize..6,
        steps in proptest::collection::vec((0_u8..10, any::<u16>()), 0..120),
    ) {
        const ASKED: usize = 6;
        let ask = |index: usize| question(&format!("q{index}"), &json!({"command": "x".repeat(index * 30)}));
        let mut printed: String = (0..ASKED).map(ask).collect();
        if withdrawn < ASKED {
            printed.push_str(&withdrawal(&format!("q{withdrawn}")));
        }
        printed.push_str(RESULT);
        let mut world = World::new(printed);
        let mut executor = world.executor();
        for (dice, choice) in steps {
            executor.step(&mut world, dice, choice.into());
        }
        for _ in 0..200 {
            executor.feed(&world, usize::MAX);
            executor.append(&mut world);
            executor.order(&world);
            executor.give(&mut world);
        }
        check(&world, ASKED);
    }
}

fn asked(approvals: &mut Approvals, line: &str) -> Option<Say> {
    let asking = Tally::new(Agent::Claude).observe(line.trim_end());
    approvals.take(asking.unwrap())
}

#[test]
fn a_long_input_stays_in_its_line() {
    let mut approvals = Approvals::new(Agent::Claude, POLICY, 0, at(5));
    for (bytes, is_shown) in [
        (INPUT_SHOWN_MAX_BYTES, true),
        (INPUT_SHOWN_MAX_BYTES + 1, false),
    ] {
        let frame = r#"{"content":""}"#.len();
        let input = json!({"content": "x".repeat(bytes - frame)});
        let line = question(&bytes.to_string(), &input);
        let Some(Say::Approval(approval)) = asked(&mut approvals, &line) else {
            panic!("nothing is said");
        };
        assert_eq!(approval.input.is_some(), is_shown);
        assert_eq!(approval.input_bytes, bytes as u64);
        assert_eq!(
            (approval.asked_at, approval.expires_at),
            (at(5), Some(at(65)))
        );
    }
}

#[test]
fn a_time_is_over_once() {
    let mut approvals = Approvals::new(Agent::Claude, POLICY, 0, at(0));
    asked(&mut approvals, &question("a", &json!({})));
    approvals.tell_time(at(10));
    asked(&mut approvals, &question("b", &json!({})));
    assert_eq!(approvals.due(), Some(at(60)));
    assert!(approvals.take_overdue(at(59)).is_empty());
    assert_eq!(approvals.take_overdue(at(60)), ["a"]);
    assert_eq!(approvals.due(), Some(at(70)));
    assert!(approvals.take_overdue(at(69)).is_empty());
    asked(&mut approvals, &withdrawal("b"));
    assert_eq!(approvals.due(), None);
}

#[test]
fn what_is_taken_back_needs_no_answer() {
    let mut approvals = Approvals::new(Agent::Claude, POLICY, 0, at(0));
    assert!(
        asked(&mut approvals, &withdrawal("a")).is_none(),
        "never asked"
    );
    asked(&mut approvals, &question("a", &json!({})));
    assert!(
        asked(&mut approvals, &question("a", &json!({}))).is_none(),
        "asked before"
    );
    let Some(Say::Answered(answered)) = asked(&mut approvals, &withdrawal("a")) else {
        panic!("nothing is said");
    };
    assert_eq!(answered.answer.decision, Decision::Withdrawn);
    assert!(asked(&mut approvals, &withdrawal("a")).is_none());
    let order = list::order(
        &Given::default(),
        "a",
        Answer::of(Decision::Allow),
        AnsweredBy::Client,
    );
    let by = Requester::default();
    let value = ControlMessage::new(&exec(), at(1), by, order.given, order.order);
    let sequence = StreamSeq(1);
    assert!(approvals.answer(&Recorded { sequence, value }).is_none());
    assert_eq!(approvals.stdin_to(), 0);
}
