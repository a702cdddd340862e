//! Whose turn it is, rule by rule; [`model`] has all of them at once.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use rdev_contract::id::SessionId;

use super::*;

#[path = "queue/model.rs"]
mod model;

fn project(index: usize) -> ProjectId {
    ["a", "b", "c"][index].parse().unwrap()
}

/// Sessions of different projects differ.
fn session(project: usize, index: usize) -> SessionId {
    SessionId::new(Uuid::from_u128(1 + project as u128 * 100 + index as u128))
}

fn exec(project_index: usize, session_index: usize, sequence: u64) -> ExecId {
    ExecId {
        project: project(project_index),
        session: session(project_index, session_index),
        stream: format!("s-{sequence}").parse().unwrap(),
    }
}

fn limits(session_running_max: u32, project_running_max: u32) -> QueueLimits {
    QueueLimits {
        session_running_max,
        project_running_max,
        weights: BTreeMap::new(),
    }
}

/// When the log stored a message: a second for each.
fn stored(sequence: u64) -> Timestamp {
    Timestamp::from_second(i64::try_from(sequence).unwrap()).unwrap()
}

fn command(queue: &mut Queue, sequence: u64, exec: ExecId, turn: Turn) {
    let command = Commanded {
        exec,
        turn,
        chain: Chain::default(),
        recorded_at: stored(sequence),
        start_by: None,
        awaits_pod: false,
    };
    queue.apply(StreamSeq(sequence), Fact::Commanded(command));
}

fn queue_of(slots: u32, limits: QueueLimits) -> Queue {
    let mut queue = Queue::new(limits);
    queue.set_slots(slots);
    queue
}

/// Everything that may be admitted now.
fn admit_all(queue: &mut Queue) -> Vec<u64> {
    std::iter::from_fn(|| queue.admit())
        .map(|admission| admission.command_seq.0)
        .collect()
}

fn complete(queue: &mut Queue, exec: ExecId) {
    queue.apply(StreamSeq(u64::MAX), Fact::Completed(exec));
}

/// A flood of one project's, and one command of another's behind it.
fn flooded(slots: u32, flood: u64) -> Queue {
    let mut queue = queue_of(slots, limits(1_000, 1_000));
    for sequence in 1..=flood {
        command(&mut queue, sequence, exec(0, 0, sequence), Turn::Any);
    }
    queue
}

#[test]
fn one_at_a_time_is_in_order() {
    let mut queue = queue_of(64, limits(1, 1_000));
    for sequence in 1..=5 {
        command(&mut queue, sequence, exec(0, 0, sequence), Turn::Any);
    }
    for sequence in 1..=5 {
        assert_eq!(admit_all(&mut queue), [sequence]);
        let place = queue.place(&exec(0, 0, 5));
        let expected = (sequence < 5).then(|| QueuePlace {
            position: 5 - sequence,
            ahead_in_session: 4 - sequence,
            reason: Some(WaitReason::SessionLimit),
        });
        assert_eq!(place, expected);
        complete(&mut queue, exec(0, 0, sequence));
    }
    assert_eq!(admit_all(&mut queue), [0; 0]);
    assert_eq!(queue.unfinished(), (vec![], vec![]));
    assert!(queue.execs.is_empty() && queue.sequences.is_empty());
}

#[test]
fn limits_hold_at_them_and_not_below() {
    let mut queue = queue_of(64, limits(3, 4));
    for sequence in 1..=4 {
        command(&mut queue, sequence, exec(0, 0, sequence), Turn::Any);
        command(&mut queue, sequence + 10, exec(0, 1, sequence), Turn::Any);
    }
    // Three of the first session, and one of the second: four of the project.
    assert_eq!(admit_all(&mut queue), [1, 2, 3, 11]);
    let reason = |queue: &Queue, exec| queue.place(&exec).unwrap().reason;
    assert_eq!(
        reason(&queue, exec(0, 0, 4)),
        Some(WaitReason::SessionLimit)
    );
    assert_eq!(
        reason(&queue, exec(0, 1, 4)),
        Some(WaitReason::ProjectLimit)
    );
    complete(&mut queue, exec(0, 1, 1));
    assert_eq!(admit_all(&mut queue), [12]);
    complete(&mut queue, exec(0, 0, 2));
    assert_eq!(admit_all(&mut queue), [4]);
}

#[test]
fn who_resumes_waits_for_every_earlier_exec_of_its_agent() {
    let mut queue = queue_of(64, limits(10, 10));
    let turns = [
        Turn::Begins(Agent::Claude),
        Turn::Resumes(Agent::Claude),
        Turn::Any,
        Turn::Begins(Agent::Claude),
        Turn::Resumes(Agent::Claude),
    ];
    for (sequence, turn) in (1..).zip(turns) {
        command(&mut queue, sequence, exec(0, 0, sequence), turn);
    }
    // Another session has nothing to do with it, nor another agent.
    command(&mut queue, 6, exec(0, 1, 6), Turn::Resumes(Agent::Claude));
    command(&mut queue, 7, exec(0, 0, 7), Turn::Resumes(Agent::Codex));
    assert_eq!(admit_all(&mut queue), [1, 3, 4, 6, 7]);
    let place = queue.place(&exec(0, 0, 2)).unwrap();
    assert_eq!(place.reason, Some(WaitReason::AgentSession));
    complete(&mut queue, exec(0, 0, 1));
    assert_eq!(admit_all(&mut queue), [2]);
    complete(&mut queue, exec(0, 0, 2));
    assert_eq!(admit_all(&mut queue), [0; 0]);
    complete(&mut queue, exec(0, 0, 4));
    assert_eq!(admit_all(&mut queue), [5]);
}

/// One that waits and is canceled holds up nobody.
#[test]
fn an_end_without_a_start_is_an_end() {
    let mut queue = queue_of(64, limits(1, 10));
    for sequence in 1..=4 {
        command(
            &mut queue,
            sequence,
            exec(0, 0, sequence),
            Turn::Resumes(Agent::Claude),
        );
    }
    assert_eq!(admit_all(&mut queue), [1]);
    complete(&mut queue, exec(0, 0, 2));
    assert_eq!(queue.place(&exec(0, 0, 4)).unwrap().position, 2);
    complete(&mut queue, exec(0, 0, 1));
    assert_eq!(admit_all(&mut queue), [3]);
}

#[test]
fn sums_are_of_all_projects() {
    let mut queue = queue_of(64, limits(1, 10));
    assert_eq!(queue.waiting_since(), None);
    for (sequence, project) in [(3, 0), (4, 0), (5, 1), (6, 1)] {
        command(&mut queue, sequence, exec(project, 0, sequence), Turn::Any);
    }
    assert_eq!(queue.waiting_by_reason(), HashMap::from([(None, 4)]));
    assert_eq!(queue.all_running(), 0);
    assert_eq!(queue.waiting_since(), Some(stored(3)));
    assert_eq!(admit_all(&mut queue).len(), 2);
    let held = HashMap::from([(Some(WaitReason::SessionLimit), 2)]);
    assert_eq!(queue.waiting_by_reason(), held);
    assert_eq!(queue.all_running(), 2);
    assert_eq!(queue.waiting_since(), Some(stored(4)));
    queue.forget(&exec(0, 0, 4));
    assert_eq!(queue.waiting_since(), Some(stored(6)));
}

#[test]
fn who_waits_for_too_long_is_told_once() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let mut queue = queue_of(64, limits(1, 10));
    for (sequence, start_by) in [(1, 50), (2, 30), (3, 20), (4, 40)] {
        let command = Commanded {
            exec: exec(0, 0, sequence),
            turn: Turn::Any,
            chain: Chain::default(),
            recorded_at: stored(sequence),
            start_by: Some(at(start_by)),
            awaits_pod: false,
        };
        queue.apply(StreamSeq(sequence), Fact::Commanded(command));
    }
    assert_eq!(admit_all(&mut queue), [1]);
    let overdue =
        |queue: &mut Queue, second| queue.overdue(at(second)).map(|one| one.command_seq.0);
    assert_eq!(overdue(&mut queue, 20), None);
    assert_eq!(overdue(&mut queue, 21), Some(3));
    assert_eq!(overdue(&mut queue, 21), None);
    // It waits until its end is in the log; one that has ended or begun is not told of.
    assert_eq!(queue.waiting(&project(0)), 3);
    complete(&mut queue, exec(0, 0, 3));
    complete(&mut queue, exec(0, 0, 2));
    complete(&mut queue, exec(0, 0, 1));
    assert_eq!(admit_all(&mut queue), [4]);
    assert_eq!(overdue(&mut queue, 60), None);
}

#[test]
fn a_session_that_is_held_waits() {
    let mut queue = queue_of(64, limits(10, 10));
    queue.hold(&project(0), session(0, 0));
    command(&mut queue, 1, exec(0, 0, 1), Turn::Any);
    command(&mut queue, 2, exec(0, 1, 2), Turn::Any);
    assert_eq!(admit_all(&mut queue), [2]);
    let place = queue.place(&exec(0, 0, 1)).unwrap();
    assert_eq!(place.reason, Some(WaitReason::SessionNotReady));
    queue.release(&project(0), session(0, 0));
    assert_eq!(admit_all(&mut queue), [1]);
}

/// A command that awaits the pod of its session holds all of that session, also once it is known that
/// some of it runs.
#[test]
fn a_command_that_awaits_its_pod_holds_its_session() {
    let mut queue = queue_of(64, limits(10, 10));
    command(&mut queue, 1, exec(0, 0, 1), Turn::Any);
    assert_eq!(admit_all(&mut queue), [1]);
    let awaiting = Commanded {
        exec: exec(0, 0, 2),
        turn: Turn::Any,
        chain: Chain::default(),
        recorded_at: stored(2),
        start_by: None,
        awaits_pod: true,
    };
    queue.apply(StreamSeq(2), Fact::Commanded(awaiting));
    command(&mut queue, 3, exec(0, 0, 3), Turn::Any);
    assert_eq!(admit_all(&mut queue), [0; 0]);
    let mut open = queue.of_session(&project(0), session(0, 0));
    open.sort_by_key(|exec| exec.stream.clone());
    assert_eq!(open, [exec(0, 0, 1), exec(0, 0, 2), exec(0, 0, 3)]);
    assert_eq!(queue.exec_of(StreamSeq(2)), Some(&exec(0, 0, 2)));
    queue.release(&project(0), session(0, 0));
    assert_eq!(admit_all(&mut queue), [2, 3]);
    for sequence in 1..=3 {
        assert!(queue.is_busy(&project(0), session(0, 0)));
        complete(&mut queue, exec(0, 0, sequence));
    }
    assert!(!queue.is_busy(&project(0), session(0, 0)));
}

#[test]
fn without_executors_nothing_is_admitted() {
    let mut queue = queue_of(0, limits(10, 10));
    command(&mut queue, 1, exec(0, 0, 1), Turn::Any);
    assert_eq!(admit_all(&mut queue), [0; 0]);
    let place = queue.place(&exec(0, 0, 1)).unwrap();
    assert_eq!(place.reason, Some(WaitReason::NoExecutor));
    queue.set_slots(1);
    assert_eq!(admit_all(&mut queue), [1]);
    // Fewer slots than run already: nobody is sent away, and nobody comes.
    command(&mut queue, 2, exec(0, 0, 2), Turn::Any);
    queue.set_slots(0);
    assert_eq!(admit_all(&mut queue), [0; 0]);
}

#[test]
fn a_flood_leaves_slots_for_others() {
    for (slots, alone) in [(1, 1), (2, 2), (8, 8), (9, 8), (64, 57), (640, 569)] {
        let mut queue = flooded(slots, 1_000);
        assert_eq!(admit_all(&mut queue).len(), alone, "of {slots} slots");
        let place = queue.place(&exec(0, 0, 1_000)).unwrap();
        assert_eq!(place.reason, Some(WaitReason::Slots));
        command(&mut queue, 2_000, exec(1, 0, 2_000), Turn::Any);
        let at_once = if slots > 8 { vec![2_000] } else { vec![] };
        assert_eq!(admit_all(&mut queue), at_once, "of {slots} slots");
        if slots <= 8 {
            // With so few, the first that is free is the other's.
            complete(&mut queue, exec(0, 0, 1));
            assert_eq!(admit_all(&mut queue), [2_000], "of {slots} slots");
        }
    }
}

/// However long its execs run, a flood gives half of the slots to another.
#[test]
fn two_floods_share_the_slots() {
    let mut queue = flooded(64, 1_000);
    let mut running = admit_all(&mut queue);
    for sequence in 1_001..=2_000 {
        command(&mut queue, sequence, exec(1, 0, sequence), Turn::Any);
    }
    for _ in 0..200 {
        running.extend(admit_all(&mut queue));
        let ended = running.remove(0);
        complete(&mut queue, exec(usize::from(ended > 1_000), 0, ended));
    }
    let others = running.iter().filter(|sequence| **sequence > 1_000).count();
    assert!((28..=32).contains(&others), "{others} of 64 slots");
}

#[test]
fn turns_go_by_weight() {
    let mut limits = limits(1_000, 1_000);
    limits.weights.insert(project(1), 3);
    let mut queue = queue_of(1, limits);
    for sequence in 1..=400 {
        command(&mut queue, sequence, exec(0, 0, sequence), Turn::Any);
    }
    for sequence in 401..=800 {
        command(&mut queue, sequence, exec(1, 0, sequence), Turn::Any);
    }
    let mut others = 0;
    for turn in 1..=400_u64 {
        let [sequence] = admit_all(&mut queue)[..] else {
            panic!("one at a time");
        };
        others += u64::from(sequence > 400);
        let due = turn * 3 / 4;
        assert!(
            others.abs_diff(due) <= 3,
            "{others} of {turn}, {due} are due"
        );
        complete(&mut queue, exec(usize::from(sequence > 400), 0, sequence));
    }
}

/// Who was away has no claim to the turns that it did not want.
#[test]
fn who_comes_late_begins_at_the_present() {
    let mut queue = flooded(1, 500);
    for sequence in 1..=300 {
        assert_eq!(admit_all(&mut queue), [sequence]);
        complete(&mut queue, exec(0, 0, sequence));
    }
    for sequence in 1_001..=1_100 {
        command(&mut queue, sequence, exec(1, 0, sequence), Turn::Any);
    }
    let mut others = 0;
    for _ in 0..100 {
        let sequence = admit_all(&mut queue)[0];
        others += u32::from(sequence > 1_000);
        complete(&mut queue, exec(usize::from(sequence > 1_000), 0, sequence));
    }
    assert!((49..=51).contains(&others), "{others} of 100");
}

#[test]
fn projects_that_have_nothing_to_do_are_forgotten() {
    let mut queue = queue_of(64, limits(10, 10));
    for sequence in 1..=10_000 {
        let mut exec = exec(0, 0, sequence);
        exec.project = format!("p-{sequence}").parse().unwrap();
        command(&mut queue, sequence, exec.clone(), Turn::Any);
        assert_eq!(admit_all(&mut queue), [sequence]);
        complete(&mut queue, exec);
    }
    assert!(queue.projects.len() <= 2 * PROJECTS_MIN);
}

#[test]
fn what_is_known_already_changes_nothing() {
    let mut queue = queue_of(64, limits(1, 10));
    command(&mut queue, 1, exec(0, 0, 1), Turn::Any);
    command(&mut queue, 2, exec(0, 0, 2), Turn::Any);
    command(&mut queue, 1, exec(0, 0, 1), Turn::Any);
    assert_eq!(admit_all(&mut queue), [1]);
    queue.apply(StreamSeq(3), Fact::Admitted(exec(0, 0, 1)));
    queue.apply(StreamSeq(4), Fact::Admitted(exec(0, 0, 9)));
    complete(&mut queue, exec(0, 0, 9));
    assert_eq!(queue.waiting(&project(0)), 1);
    complete(&mut queue, exec(0, 0, 1));
    complete(&mut queue, exec(0, 0, 1));
    assert_eq!(admit_all(&mut queue), [2]);
    assert_eq!(queue.running, 1);
}

#[test]
fn other_limits_count_at_once() {
    let mut queue = queue_of(64, limits(1, 10));
    for sequence in 1..=4 {
        command(&mut queue, sequence, exec(0, 0, sequence), Turn::Any);
    }
    assert_eq!(admit_all(&mut queue), [1]);
    queue.set_limits(limits(3, 10));
    assert_eq!(admit_all(&mut queue), [2, 3]);
    queue.set_limits(limits(1, 10));
    complete(&mut queue, exec(0, 0, 1));
    assert_eq!(admit_all(&mut queue), [0; 0]);
}

#[test]
fn facts_are_read_from_messages() {
    let golden = |name: &str| {
        let path = format!("../contract/tests/golden/{name}.json");
        std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
    };
    let subject = |kind: &str| {
        format!("rdev.exec.demo.01935bd0-7a3c-7000-8000-5f1e2d3c4b5a.session-1.{kind}")
    };
    let at = Timestamp::UNIX_EPOCH;
    let fact = |kind: &str, payload: &[u8]| Fact::of(&subject(kind), payload, at);
    let turn = |payload: &[u8]| match fact("command", payload) {
        Some(Fact::Commanded(command)) => (command.turn, !command.chain.as_str().is_empty()),
        other => panic!("{other:?}"),
    };
    assert_eq!(turn(&golden("command_shell")), (Turn::Any, true));
    let resumes = Turn::Resumes(Agent::Claude);
    assert_eq!(turn(&golden("command_claude")), (resumes, true));
    assert_eq!(turn(b"not JSON"), (Turn::Any, false));
    assert!(matches!(fact("admitted", b""), Some(Fact::Admitted(_))));
    assert!(matches!(fact("complete", b""), Some(Fact::Completed(_))));
    for subject in [
        subject("started"),
        subject("unknown"),
        "rdev.exec.x".to_owned(),
    ] {
        assert_eq!(Fact::of(&subject, b"", at), None);
    }
}

proptest! {
    /// With one slot and execs that all end, nobody waits for more turns of another than its weight
    /// gives that one for each of its own, and one more.
    #[test]
    fn nobody_waits_for_more_than_the_others_shares(
        weights in proptest::collection::vec(1..5_u32, 3),
        lengths in proptest::collection::vec(1..30_u64, 3),
    ) {
        let mut limits = limits(100, 100);
        for (index, weight) in weights.iter().enumerate() {
            limits.weights.insert(project(index), *weight);
        }
        let mut queue = queue_of(1, limits);
        let mut left = lengths.clone();
        for (index, length) in lengths.iter().enumerate() {
            for number in 0..*length {
                let sequence = index as u64 * 1_000 + number + 1;
                command(&mut queue, sequence, exec(index, 0, sequence), Turn::Any);
            }
        }
        let mut since = [[0_u32; 3]; 3];
        while let Some(admission) = queue.admit() {
            let index = (0..3).find(|index| project(*index) == admission.exec.project).unwrap();
            for (waits, turns) in since.iter_mut().enumerate() {
                turns[index] += 1;
                let fair = weights[index].div_ceil(weights[waits]) + 1;
                prop_assert!(left[waits] == 0 || waits == index || turns[index] <= fair);
            }
            since[index] = [0; 3];
            left[index] -= 1;
            complete(&mut queue, admission.exec);
        }
        prop_assert_eq!(left, vec![0; 3]);
    }
}
