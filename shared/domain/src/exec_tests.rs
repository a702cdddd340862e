//! Execs: given what the log holds, then the state and the next step.

use proptest::prelude::*;
use rdev_contract::envelope::{self, Body, Head};
use rdev_contract::event::{
    AgentLine, CommandSpec, Event, EventBatch, Fragment, Outcome, OutputStream, Requester,
    ResumedFrom, Text, Work,
};
use serde_json::value::RawValue;
use uuid::Uuid;

use rdev_contract::agent::Agent;

use super::*;

/// A log of one exec, as its writers make it.
#[derive(Debug, Default, Clone)]
struct Log {
    payloads: Vec<(StreamSeq, Vec<u8>)>,
    chain: Chain,
}

enum Contents<'a> {
    Data(Box<RawValue>),
    Events(u64, &'a EventBatch, Offsets),
}

fn claim_id(number: u128) -> ClaimId {
    ClaimId::new(Uuid::from_u128(number))
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pod() -> PodIdentity {
    PodIdentity {
        namespace: "team".to_owned(),
        name: "pod-1".to_owned(),
        uid: "u".to_owned(),
        container: "main".to_owned(),
        container_id: "c".to_owned(),
        restarts: 0,
    }
}

fn raw(value: &impl serde::Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

impl Log {
    fn push(&mut self, sequence: u64, kind: &str, claim: u128, contents: &Contents<'_>) {
        let (first, to) = match contents {
            Contents::Data(_) => (None, None),
            Contents::Events(first, _, to) => (Some(EventNo(*first)), Some(*to)),
        };
        let prev = self.payloads.last().map_or(StreamSeq(0), |(prev, _)| *prev);
        let head = Head {
            v: envelope::PAYLOAD_VERSION,
            project: "demo".parse().unwrap(),
            session: "01930000-0000-7000-8000-000000000001".parse().unwrap(),
            stream: "s-1".parse().unwrap(),
            kind: kind.to_owned(),
            claim: (claim != 0).then(|| claim_id(claim)),
            attempt: 1,
            first,
            at: time(i64::try_from(sequence).unwrap()),
            to,
            prev,
        };
        let body = match contents {
            Contents::Data(data) => Body::Data(data),
            Contents::Events(_, events, _) => Body::Events(events),
        };
        let encoded = envelope::encode(&head, &body, &self.chain).unwrap();
        self.chain = encoded.chain;
        self.payloads.push((StreamSeq(sequence), encoded.payload));
    }

    fn command() -> Self {
        let mut log = Self::default();
        let command = Command {
            spec: CommandSpec::new(
                Work::Shell {
                    command: "true".to_owned(),
                },
                60,
            ),
            accept_until: time(100),
            awaits_pod: false,
            by: Requester::default(),
        };
        log.push(10, "command", 0, &Contents::Data(raw(&command)));
        log
    }

    fn started(mut self, sequence: u64, claim: u128) -> Self {
        let started = Started {
            claim: claim_id(claim),
            attempt: 1,
            executor: "e-1".to_owned(),
            argv: vec!["true".to_owned()],
            resume_id: None,
            pod: pod(),
            shim: "nonce".to_owned(),
        };
        self.push(sequence, "started", claim, &Contents::Data(raw(&started)));
        self
    }

    fn resumed(mut self, sequence: u64, claim: u128, next: u64, stdout: u64) -> Self {
        let resumed = Resumed {
            claim: claim_id(claim),
            attempt: 2,
            executor: "e-2".to_owned(),
            pod: pod(),
            shim: "nonce".to_owned(),
            from: ResumedFrom {
                next: EventNo(next),
                offsets: Offsets::new(stdout, 0),
            },
            failed_before: 0,
        };
        self.push(sequence, "resumed", claim, &Contents::Data(raw(&resumed)));
        self
    }

    fn output(mut self, sequence: u64, claim: u128, first: u64, lines: u64, stdout: u64) -> Self {
        let mut events = EventBatch::default();
        for _ in 0..lines {
            let text = Text::of(b"x", Some(OutputStream::Stdout), false);
            events.push(&Event::Output(text)).unwrap();
        }
        let to = Offsets::new(stdout, 0);
        self.push(
            sequence,
            "output",
            claim,
            &Contents::Events(first, &events, to),
        );
        self
    }

    fn part(mut self, sequence: u64, first: u64, index: u32, last: bool, stdout: u64) -> Self {
        let mut events = EventBatch::default();
        let text = "{".into();
        let fragment = Fragment { index, last, text };
        events
            .push(&Event::AgentFragment(Agent::Claude, fragment))
            .unwrap();
        let to = Offsets::new(stdout, 0);
        self.push(sequence, "claude", 1, &Contents::Events(first, &events, to));
        self
    }

    fn complete(mut self, sequence: u64, first: u64) -> Self {
        let complete = Complete::without_process(Outcome::Lost, "pod gone");
        let mut events = EventBatch::default();
        events.push(&Event::Complete(&complete)).unwrap();
        let to = Offsets::default();
        self.push(
            sequence,
            "complete",
            1,
            &Contents::Events(first, &events, to),
        );
        self
    }

    fn messages(&self) -> Vec<Recorded<Message<'_>>> {
        self.payloads
            .iter()
            .map(|(sequence, payload)| Recorded {
                sequence: *sequence,
                value: Message::decode(payload).unwrap(),
            })
            .collect()
    }

    /// What a batched read of the last message of each kind gives.
    fn last_of_each_kind(&self) -> Vec<Recorded<Message<'_>>> {
        let mut last = std::collections::BTreeMap::new();
        for message in self.messages() {
            last.insert(message.value.head.kind.clone(), message);
        }
        last.into_values().collect()
    }

    fn fold(&self) -> ExecState {
        let sparse = fold(&self.last_of_each_kind()).unwrap();
        assert_eq!(
            sparse,
            fold(&self.messages()).unwrap(),
            "the sparse fold is the full one"
        );
        sparse
    }
}

fn assert_rejects(step: &Step) {
    assert!(
        matches!(step, Step::Reject { reason } if !reason.is_empty()),
        "{step:?}"
    );
}

#[test]
fn a_new_command_is_started() {
    let state = Log::command().fold();
    assert_eq!(state.command_seq, StreamSeq(10));
    assert_eq!((state.next, state.to), (EventNo(1), Offsets::default()));
    assert_eq!((state.tail, state.progressed), (StreamSeq(10), false));
    assert_eq!(decide(&state, 1, time(50), time(50)), Step::Start);
    assert_eq!(
        decide(&state, 1, time(100), time(100)),
        Step::Start,
        "until is inclusive"
    );
    assert_eq!(
        decide(
            &state,
            DELIVERIES_BEFORE_START_MAX_COUNT,
            time(50),
            time(50)
        ),
        Step::Start
    );
}

#[test]
fn a_command_that_nobody_could_start_is_rejected() {
    let state = Log::command().fold();
    assert_rejects(&decide(&state, 1, time(101), time(101)));
    assert_rejects(&decide(
        &state,
        DELIVERIES_BEFORE_START_MAX_COUNT + 1,
        time(50),
        time(50),
    ));
}

#[test]
fn a_claimed_command_is_only_ever_resumed() {
    let state = Log::command().started(11, 1).fold();
    assert_eq!(
        decide(&state, 99, time(5000), time(5000)),
        Step::Resume { failed_before: 0 }
    );
    let claim = state.claim.unwrap();
    assert_eq!((claim.claim, claim.attempt), (claim_id(1), 1));
    assert_eq!(claim.pod, pod());
    assert_eq!(state.started_at, Some(time(11)));
}

#[test]
fn a_command_that_waited_for_too_long_is_never_started() {
    let mut state = Log::command().fold();
    state.command.spec.queue_timeout_seconds = Some(30);
    let step = |second| decide(&state, 1, time(50), time(second));
    assert_eq!(step(79), Step::Start);
    assert_eq!(step(80), Step::Start, "the last moment counts");
    assert!(matches!(step(81), Step::TimeOut { reason } if reason.contains("queue_timeout")));
    // What was started has not waited, however late it is.
    let mut state = Log::command().started(11, 1).fold();
    state.command.spec.queue_timeout_seconds = Some(30);
    let step = decide(&state, 1, time(50), time(5000));
    assert!(matches!(step, Step::Resume { .. }), "{step:?}");
}

#[test]
fn a_command_that_waited_long_in_the_queue_is_started() {
    let state = Log::command().fold();
    assert_eq!(decide(&state, 1, time(50), time(50_000)), Step::Start);
}

#[test]
fn claims_that_fail_soon_and_in_a_row_end_in_lost() {
    let mut state = Log::command().started(11, 1).fold();
    let claimed = |failed_before| Claimed {
        failed_before,
        at: time(100),
        ..state.claim.clone().unwrap()
    };
    let (first, last) = (claimed(0), claimed(FAILED_CLAIMS_MAX_COUNT));
    let decide_at = |state: &ExecState, second| decide(state, 1, time(50), time(second));
    state.claim = Some(first);
    assert_eq!(decide_at(&state, 105), Step::Resume { failed_before: 1 });
    state.claim = Some(last);
    assert!(matches!(decide_at(&state, 105), Step::Lose { reason } if !reason.is_empty()));
    // A silent command whose executors lived a while is followed on.
    assert_eq!(decide_at(&state, 131), Step::Resume { failed_before: 0 });
    state.progressed = true;
    assert_eq!(decide_at(&state, 105), Step::Resume { failed_before: 0 });
}

#[test]
fn a_take_over_continues_behind_what_is_logged() {
    let log = Log::command()
        .started(11, 1)
        .output(12, 1, 1, 3, 6)
        .output(15, 1, 4, 2, 10);
    let state = log.fold();
    assert_eq!((state.next, state.to.stdout), (EventNo(6), 10));
    assert_eq!((state.tail, state.progressed), (StreamSeq(15), true));
    let state = log.clone().resumed(20, 2, 6, 10).fold();
    assert_eq!((state.next, state.to.stdout), (EventNo(6), 10));
    assert_eq!(state.claim.as_ref().unwrap().claim, claim_id(2));
    assert_eq!(state.started.as_ref().unwrap().claim, claim_id(1));
    assert!(!state.progressed, "nothing since the last claim");
    let state = log.resumed(20, 2, 6, 10).output(21, 2, 6, 1, 12).fold();
    assert_eq!(
        (state.next, state.to.stdout, state.progressed),
        (EventNo(7), 12, true)
    );
}

#[test]
fn a_take_over_knows_the_place_when_the_output_has_expired() {
    let state = Log::command()
        .started(11, 1)
        .resumed(20, 2, 600, 9000)
        .fold();
    assert_eq!((state.next, state.to.stdout), (EventNo(600), 9000));
}

#[test]
fn what_the_shim_was_told_counts_when_it_is_more() {
    let mut state = Log::command().started(11, 1).output(12, 1, 1, 3, 6).fold();
    let to = |stdout, stderr| Offsets::new(stdout, stderr);
    // A shim that was told nothing, and one that lags behind the log.
    state.raise(EventNo(0), to(0, 0));
    state.raise(EventNo(3), to(4, 0));
    assert_eq!((state.next, state.to), (EventNo(4), to(6, 0)));
    state.raise(EventNo(9), to(6, 20));
    assert_eq!((state.next, state.to), (EventNo(9), to(6, 20)));
}

#[test]
fn each_claim_is_one_attempt_more() {
    let log = Log::command();
    assert_eq!(log.fold().next_attempt(), 1);
    let log = log.started(11, 1);
    assert_eq!(log.fold().next_attempt(), 2);
    assert_eq!(log.resumed(20, 2, 1, 0).fold().next_attempt(), 3);
}

#[test]
fn only_what_has_shown_nothing_may_be_launched() {
    let log = Log::command().started(11, 1);
    assert!(
        log.fold().may_launch(),
        "it may have ended before its launch"
    );
    assert!(log.clone().resumed(20, 2, 1, 0).fold().may_launch());
    assert!(!log.clone().output(12, 1, 1, 1, 2).fold().may_launch());
    assert!(!log.resumed(20, 2, 6, 10).fold().may_launch());
}

#[test]
fn a_line_without_its_last_part_is_repeated() {
    let log = Log::command().started(11, 1).part(12, 1, 0, false, 0);
    assert_eq!(log.fold().next, EventNo(1));
    let log = log.part(13, 1, 1, false, 0);
    assert_eq!(log.fold().next, EventNo(1));
    let state = log.part(14, 1, 2, true, 900).fold();
    assert_eq!((state.next, state.to.stdout), (EventNo(2), 900));
}

#[test]
fn a_completed_exec_is_finished_whatever_else_is_there() {
    let state = Log::command()
        .started(11, 1)
        .output(12, 1, 1, 3, 6)
        .complete(13, 4)
        .fold();
    assert_eq!(decide(&state, 99, time(5000), time(5000)), Step::Finished);
    assert_eq!(state.complete.as_ref().unwrap().outcome, Outcome::Lost);
    assert_eq!((state.next, state.to.stdout), (EventNo(5), 6));
    assert_eq!(state.completed_at, Some(time(13)));
}

#[test]
fn kinds_of_the_future_move_only_the_tail() {
    let mut log = Log::command();
    log.push(11, "paused", 1, &Contents::Data(raw(&1)));
    let state = log.fold();
    assert_eq!((state.tail, &state.chain), (StreamSeq(11), &log.chain));
    assert_eq!(decide(&state, 1, time(50), time(50)), Step::Start);
}

#[test]
fn what_is_no_exec_is_refused() {
    assert_eq!(fold(&[]), Err(FoldError::NoCommand));
    let log = Log::command().started(11, 1);
    assert_eq!(fold(&log.messages()[1..]), Err(FoldError::NoCommand));
    let mut mixed = log.messages();
    mixed[1].value.head.stream = "s-2".parse().unwrap();
    assert_eq!(
        fold(&mixed),
        Err(FoldError::Mixed {
            sequence: StreamSeq(11)
        })
    );
    let mut log = Log::command();
    log.push(11, "started", 1, &Contents::Data(raw(&"x")));
    assert!(matches!(
        fold(&log.messages()),
        Err(FoldError::Unreadable {
            sequence: StreamSeq(11),
            ..
        })
    ));
}

#[test]
fn a_claude_line_counts_as_one_event() {
    let mut events = EventBatch::default();
    let line = AgentLine::parse(b"{}", false).unwrap();
    events.push(&Event::Agent(Agent::Claude, line)).unwrap();
    let mut log = Log::command().started(11, 1);
    log.push(
        12,
        "claude",
        1,
        &Contents::Events(1, &events, Offsets::default()),
    );
    assert_eq!(log.fold().next, EventNo(2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever happened after a claim, the command is never started a second time.
    #[test]
    fn no_history_with_a_claim_starts_again(
        steps in prop::collection::vec((any::<bool>(), 1_u64..5), 0..12),
        deliveries in 1_u64..20,
        second in 0_i64..10_000,
    ) {
        let mut log = Log::command().started(11, 1);
        let (mut claim, mut next, mut stdout) = (1, 1, 0);
        for (index, (is_take_over, lines)) in steps.into_iter().enumerate() {
            let sequence = 12 + index as u64;
            if is_take_over {
                claim += 1;
                log = log.resumed(sequence, claim, next, stdout);
            } else {
                stdout += 2 * lines;
                log = log.output(sequence, claim, next, lines, stdout);
                next += lines;
            }
        }
        let state = log.fold();
        prop_assert_eq!((state.next, state.to.stdout), (EventNo(next), stdout));
        let step = decide(&state, deliveries, time(second), time(second));
        let resumes = matches!(step, Step::Resume { .. });
        prop_assert!(resumes, "{step:?}");
    }
}
