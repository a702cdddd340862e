//! What schedulers share: a term, admissions, snapshots, slots, and the end of the former queue.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::consumer::{self, pull};
use rdev_bus::LogStream;
use rdev_bus::admit::Admitting;
use rdev_bus::append::AppendError;
use rdev_bus::term::{CERTAIN_FOR, Candidate, LAPSED_AFTER, Term};
use rdev_bus::waiting::{QueueLog, Waiting};
use rdev_contract::event::Kind;
use rdev_contract::position::StreamSeq;
use rdev_contract::queue::{QueueLimits, QueueSnapshot, SchedulerStatus, SlotsAnnounced};
use rdev_contract::subject::{self, Filter};
use tokio::time::Instant;

use crate::{Log, claim, complete, now, output, stored, tail_of, within, writer};

fn status(scheduler: &str) -> SchedulerStatus {
    SchedulerStatus {
        scheduler: scheduler.to_owned(),
        term: format!("term of {scheduler}"),
        slots: 7,
        limits: QueueLimits {
            session_running_max: 1,
            project_running_max: 2,
            weights: BTreeMap::new(),
        },
    }
}

impl Log {
    async fn candidate(&self, name: &str) -> Candidate {
        let term = status(name).term;
        let candidate = self.bus.candidate(term).await;
        candidate.expect("a candidate")
    }
}

async fn stand(candidate: &mut Candidate, name: &str) -> Option<Term> {
    candidate.stand(&status(name)).await.expect("an answer")
}

async fn until_elected(candidate: &mut Candidate, name: &str) -> Term {
    let elected = async {
        loop {
            if let Some(term) = stand(candidate, name).await {
                return term;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(elected).await
}

#[tokio::test]
async fn one_schedules_until_it_resigns() {
    let log = Log::start().await;
    let (mut one, mut two) = (log.candidate("one").await, log.candidate("two").await);
    let term = stand(&mut one, "one").await.expect("nobody held it");
    assert!(term.certainty().lasts());
    assert!(stand(&mut two, "two").await.is_none());
    let said = log.bus.scheduler_status().await.expect("an answer");
    assert_eq!(said.expect("a status").1, status("one"));
    term.resign(status("one")).await;
    assert!(stand(&mut two, "two").await.is_some());
    assert!(stand(&mut one, "one").await.is_none());
}

#[tokio::test]
async fn a_term_that_is_kept_is_nobody_elses() {
    let log = Log::start().await;
    let (mut one, mut two) = (log.candidate("one").await, log.candidate("two").await);
    let mut term = stand(&mut one, "one").await.expect("nobody held it");
    let certainty = term.certainty();
    let kept = LAPSED_AFTER + Duration::from_secs(1);
    tokio::select! {
        () = term.keep(|| status("one")) => panic!("it was kept"),
        _ = until_elected(&mut two, "two") => panic!("it was another's"),
        () = tokio::time::sleep(kept) => {}
    }
    let since = Instant::now();
    until_elected(&mut two, "two").await;
    assert!(since.elapsed() > LAPSED_AFTER - Duration::from_millis(1_500));
    assert!(!certainty.lasts(), "it ended before another began");
    // Who had it sees that it is another's.
    within(term.keep(|| status("one"))).await;
}

/// Whoever resigns in the middle of a renewal resigns all the same.
#[tokio::test]
async fn a_renewal_under_way_does_not_outlive_its_term() {
    let log = Log::start().await;
    for round in 0..20 {
        let (mut one, mut two) = (log.candidate("one").await, log.candidate("two").await);
        let mut term = until_elected(&mut one, "one").await;
        let pause = Duration::from_micros(50 * round);
        tokio::select! {
            () = term.keep(|| status("one")) => panic!("it was kept"),
            () = tokio::time::sleep(pause) => {}
        }
        term.resign(status("one")).await;
        let next = stand(&mut two, "two").await;
        next.expect("resigned").resign(status("two")).await;
    }
}

/// A process that was away for a moment goes on with what it had.
#[tokio::test]
async fn a_term_is_taken_up_again_by_its_holder() {
    let log = Log::start().await;
    let mut one = log.candidate("one").await;
    drop(stand(&mut one, "one").await.expect("nobody held it"));
    assert!(stand(&mut one, "one").await.is_some());
}

#[tokio::test]
async fn a_term_without_a_server_is_uncertain() {
    let mut log = Log::start().await;
    let mut one = log.candidate("one").await;
    let mut term = stand(&mut one, "one").await.expect("nobody held it");
    let mut certainty = term.certainty();
    let keeping = tokio::spawn(async move { term.keep(|| status("one")).await });
    within(certainty.renewed()).await;
    log.server.kill().await;
    let since = Instant::now();
    while certainty.lasts() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(since.elapsed() <= CERTAIN_FOR + Duration::from_secs(1));
    log.server.restart().await.expect("a server");
    // Nobody else took it meanwhile.
    within(certainty.renewed()).await;
    assert!(certainty.lasts() && !keeping.is_finished());
}

#[tokio::test]
async fn an_exec_is_admitted_once() {
    let log = Log::start().await;
    let (exec, command) = log.exec().await;
    let admit = async |scheduler| {
        let admitting = log.bus.admit(&exec, command.clone(), scheduler, now());
        within(admitting).await
    };
    assert_eq!(admit("one").await, Admitting::Stored);
    assert_eq!(admit("two").await, Admitting::Settled);
    assert_eq!(stored(&log.bus, &exec).await.len(), 2);
}

#[tokio::test]
async fn what_has_ended_or_is_gone_is_not_admitted() {
    let log = Log::start().await;
    let (exec, command) = log.exec().await;
    let mut ending = writer(&log.bus, &exec, claim(), command.clone());
    complete(&mut ending, 1).await.expect("stored");
    let admitting = log.bus.admit(&exec, command, "one", now());
    assert_eq!(within(admitting).await, Admitting::Settled);

    let (exec, command) = log.exec().await;
    let raw = log.raw().await;
    let stream = raw.get_stream(subject::EXEC_STREAM).await;
    let stream = stream.expect("a stream");
    let purge = stream.purge().filter(Filter::exec(&exec).as_str());
    purge.await.expect("purged");
    let admitting = log.bus.admit(&exec, command, "one", now());
    assert_eq!(within(admitting).await, Admitting::Gone);
}

/// A version without a scheduler runs it: its executor is fenced, and another goes on.
#[tokio::test]
async fn what_runs_unadmitted_is_taken_from_its_executor() {
    let log = Log::start().await;
    let (exec, command) = log.exec().await;
    let mut former = writer(&log.bus, &exec, claim(), command.clone());
    output(&mut former, 1, "one", now()).await.expect("stored");
    let admitting = log.bus.admit(&exec, command, "one", now());
    assert_eq!(within(admitting).await, Admitting::Stored);
    let fenced = output(&mut former, 2, "two", now()).await;
    assert!(matches!(fenced, Err(AppendError::Fenced { .. })));
    let last = stored(&log.bus, &exec).await.pop().expect("a message");
    assert!(last.value.subject.ends_with(".admitted"));
}

/// What there is to take in, up to the present.
async fn all(mut log: QueueLog) -> Vec<(u64, &'static str)> {
    let mut seen = Vec::new();
    while !log.is_replayed() {
        match within(log.next()).await {
            Waiting::Admitted(sequence) => seen.push((sequence.0, "restored")),
            Waiting::Message(message) => {
                let kind = message.value.subject.rsplit('.').next();
                let kind = kind.and_then(|kind| kind.parse::<Kind>().ok());
                seen.push((message.sequence.0, kind.map_or("", Kind::token)));
            }
        }
    }
    seen
}

#[tokio::test]
async fn a_queue_is_followed_from_a_snapshot() {
    let log = Log::start().await;
    let bus = &log.bus;
    // 1: ends; 2: waits; 3, admitted at 4: runs; 5: waits. Then 6: output, 7: the end of 1.
    let (first, command) = log.exec().await;
    log.exec().await;
    assert_eq!(log.admitted().await, StreamSeq(4));
    log.exec().await;
    let mut running = writer(bus, &first, claim(), command);
    output(&mut running, 1, "line", now())
        .await
        .expect("stored");
    let follow = async || all(bus.follow_queue().await.expect("a queue")).await;
    let commands = [(1, "command"), (2, "command"), (3, "command")];
    let rest = [(4, "admitted"), (5, "command")];
    assert_eq!(follow().await, [&commands[..], &rest].concat());

    let identity = bus.identity(LogStream::Exec).await.expect("an identity");
    let waiting = [1, 2, 5, 900].map(StreamSeq);
    let snapshot = QueueSnapshot::new(
        identity.created_at,
        StreamSeq(5),
        &waiting[..3],
        &[StreamSeq(3)],
    );
    bus.store_snapshot(&snapshot).await.expect("stored");
    complete(&mut running, 2).await.expect("stored");
    let restored = [(5, "command"), (3, "restored")];
    let expected = [&commands[..], &restored, &[(7, "complete")]].concat();
    assert_eq!(follow().await, expected);

    // What the log does not have is left out; a snapshot of another log counts for nothing.
    let snapshot = QueueSnapshot::new(identity.created_at, StreamSeq(5), &waiting, &[]);
    bus.store_snapshot(&snapshot).await.expect("stored");
    let left = [
        (1, "command"),
        (2, "command"),
        (5, "command"),
        (7, "complete"),
    ];
    assert_eq!(follow().await, left);
    let another = QueueSnapshot::new(now(), StreamSeq(5), &waiting, &[]);
    bus.store_snapshot(&another).await.expect("stored");
    assert_eq!(follow().await.len(), 6);
}

#[tokio::test]
async fn executors_are_heard() {
    let log = Log::start().await;
    let mut heard = log.bus.announcements().await.expect("a subscription");
    for slots in [64, 0] {
        let executor = "one".to_owned();
        let announced = SlotsAnnounced { executor, slots };
        log.bus.announce_slots(&announced).await.expect("sent");
        assert_eq!(within(heard.next()).await, Some(announced));
    }
}

#[tokio::test]
async fn the_former_work_queue_hands_out_nothing_any_more() {
    let log = Log::start().await;
    log.exec().await;
    let raw = log.raw().await;
    let stream = raw.get_stream(subject::EXEC_STREAM).await;
    let stream = stream.expect("a stream");
    // A log that never had it does not get it.
    let retire = async || log.bus.retire_former_work_queue().await.expect("done");
    retire().await;
    let name = subject::FORMER_CONSUMER;
    assert!(stream.consumer_info(name).await.is_err());
    let former = pull::Config {
        durable_name: Some(name.to_owned()),
        filter_subject: Filter::kind(Kind::Command).as_str().to_owned(),
        ack_policy: consumer::AckPolicy::Explicit,
        ..Default::default()
    };
    stream.create_consumer(former).await.expect("a consumer");
    for _ in 0..2 {
        retire().await;
        let info = stream.consumer_info(name).await.expect("a consumer");
        assert_eq!(info.config.filter_subject, Filter::nothing().as_str());
        assert_eq!((info.num_pending, info.num_ack_pending), (0, 0));
    }
    // Nothing that is published is on that subject.
    let (exec, command) = log.exec().await;
    let mut any = writer(&log.bus, &exec, claim(), command);
    complete(&mut any, 1).await.expect("stored");
    assert_eq!(tail_of(&log.bus, &exec).await.sequence, StreamSeq(3));
    let info = stream.consumer_info(name).await.expect("a consumer");
    assert_eq!(info.num_pending, 0);
}
