//! What every log must satisfy.

use std::time::Duration;

use rdev_contract::envelope::{Chain, Message, verify_chain};
use rdev_contract::event::{Kind, Outcome, OutputStream, Text, event_name};
use rdev_contract::id::ClaimId;
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_contract::subject::Subject;
use rdev_domain::audit::{ExecAudit, Held, Retention};
use rdev_domain::exec::FAILED_CLAIMS_MAX_COUNT;

use crate::Violation;
use crate::log::{Log, Stored, state_of};
use crate::pod::Pod;
use crate::world::World;

/// For the test of the test.
pub(crate) struct Seen {
    pub(crate) outcome: &'static str,
    pub(crate) claims: u64,
}

fn require(holds: bool, violation: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(violation()) }
}

pub(crate) fn check(world: &World) -> Result<Seen, Violation> {
    let log = &world.log;
    one_beginning_and_one_end(log, &world.pod)?;
    links(log)?;
    let claims = claims(log)?;
    let bytes = events(log)?;
    let outcome = end(log, &world.pod, &bytes, claims)?;
    require(!world.is_late || outcome == Outcome::Rejected, || {
        "a command that came too late was started".to_owned()
    })?;
    audited(log)?;
    if log.messages.iter().all(|stored| !stored.expired) {
        let (sparse, whole) = (log.look()?, state_of(log.messages.iter())?);
        require(sparse == whole, || {
            format!("folded from a part {sparse:?}, from all {whole:?}")
        })?;
    }
    Ok(Seen {
        outcome: outcome.name(),
        claims,
    })
}

fn one_beginning_and_one_end(log: &Log, pod: &Pod) -> Result<(), Violation> {
    let count = |kind: Kind| log.messages.iter().filter(|one| one.kind == kind).count();
    let is_at = |stored: Option<&Stored>, kind| stored.is_some_and(|one| one.kind == kind);
    require(
        count(Kind::Command) == 1 && is_at(log.messages.first(), Kind::Command),
        || "not exactly one command at the beginning".to_owned(),
    )?;
    require(
        count(Kind::Admitted) == 1 && is_at(log.messages.get(1), Kind::Admitted),
        || "not admitted exactly once, behind the command".to_owned(),
    )?;
    require(
        count(Kind::Complete) == 1 && is_at(log.messages.last(), Kind::Complete),
        || "not exactly one complete at the end".to_owned(),
    )?;
    require(pod.launches <= 1, || format!("{} launches", pod.launches))?;
    let started = count(Kind::Started);
    require(started <= 1 && pod.launches as usize <= started, || {
        format!("{started} started for {} launches", pod.launches)
    })
}

fn links(log: &Log) -> Result<(), Violation> {
    for stored in &log.messages {
        let message = stored.message();
        let before = stored.behind.map(|index| &log.messages[index]);
        let prev = before.map_or(StreamSeq(0), |before| before.sequence);
        let chain = before.map_or_else(Chain::default, |before| before.message().chain);
        require(message.head.prev == prev, || {
            format!(
                "{} names {} as its previous",
                stored.sequence, message.head.prev
            )
        })?;
        require(verify_chain(&stored.payload, &chain), || {
            format!("{} is not chained to {prev}", stored.sequence)
        })?;
    }
    Ok(())
}

/// Claims follow each other, each with a higher attempt, and none writes after the next has begun.
fn claims(log: &Log) -> Result<u64, Violation> {
    let mut last: (Option<ClaimId>, u32) = (None, 0);
    let mut claims = 0;
    for stored in &log.messages {
        let Message { head, .. } = stored.message();
        if (head.claim, head.attempt) == last {
            continue;
        }
        let begins = matches!(stored.kind, Kind::Started | Kind::Resumed | Kind::Complete);
        require(begins, || {
            format!(
                "{} is of a claim that does not hold the exec",
                stored.sequence
            )
        })?;
        require(head.attempt > last.1, || {
            format!(
                "{} has attempt {} after {}",
                stored.sequence, head.attempt, last.1
            )
        })?;
        last = (head.claim, head.attempt);
        claims += 1;
    }
    Ok(claims)
}

/// An auditor, who sees only what has not expired, finds nothing wrong; and everything that is
/// there, unless something has.
fn audited(log: &Log) -> Result<(), Violation> {
    let state = log.first_look()?;
    // The model has no clock: whatever is bulk may have expired, and nothing else.
    let retention = Retention {
        now: state.asked_at,
        output_ttl: Duration::ZERO,
        facts_ttl: Duration::from_secs(1),
    };
    let mut audit = ExecAudit::new(state.exec.clone(), retention);
    for stored in log.messages.iter().filter(|stored| !stored.expired) {
        audit.take(Held {
            sequence: stored.sequence,
            stored_at: state.asked_at,
            subject: Subject::exec(&state.exec, stored.kind).as_str().to_owned(),
            payload: stored.payload.to_vec(),
        });
    }
    let report = audit.finish();
    require(report.differences.is_empty(), || {
        format!("an auditor finds {:?}", report.differences)
    })?;
    let is_whole = log.messages.iter().all(|stored| !stored.expired);
    require(!is_whole || report.expired.is_empty(), || {
        format!("an auditor misses {:?}", report.expired)
    })?;
    require(!is_whole || report.chained == report.messages, || {
        "an auditor cannot follow the chain".to_owned()
    })
}

/// The numbers have no gaps, and `to` says exactly what is there. Gives the joined bytes.
fn events(log: &Log) -> Result<[Vec<u8>; 2], Violation> {
    let mut next = EventNo::FIRST;
    let mut joined = [Vec::new(), Vec::new()];
    for stored in &log.messages {
        let message = stored.message();
        let Some(first) = message.head.first else {
            continue;
        };
        require(first == next, || {
            format!("{} begins with event {first}, not {next}", stored.sequence)
        })?;
        next = next.plus(message.events.len() as u64);
        for event in message
            .events
            .iter()
            .filter(|event| event.name == event_name::OUTPUT)
        {
            let data = event.data.ok_or("an event without data")?;
            let text: Text<'_> =
                serde_json::from_str(data.get()).map_err(|error| error.to_string())?;
            let bytes = text.bytes().map_err(|error| error.to_string())?;
            joined[usize::from(text.stream == Some(OutputStream::Stderr))].extend(bytes);
        }
        let there = Offsets::new(joined[0].len() as u64, joined[1].len() as u64);
        require(message.head.to == Some(there), || {
            format!(
                "{} says {:?}, but {there:?} is there",
                stored.sequence, message.head.to
            )
        })?;
    }
    Ok(joined)
}

fn end(log: &Log, pod: &Pod, joined: &[Vec<u8>; 2], claims: u64) -> Result<Outcome, Violation> {
    let end = state_of(log.messages.iter())?.complete.ok_or("no end")?;
    let printed = [OutputStream::Stdout, OutputStream::Stderr].map(|stream| pod.bytes(stream));
    match end.outcome {
        Outcome::Exited => {
            require(*joined == printed, || {
                format!("{printed:?} became {joined:?}")
            })?;
            require(end.exit_code == 7 && !end.ok, || format!("{end:?}"))?;
        }
        Outcome::Lost => {
            let has_cause =
                pod.is_gone || pod.was_wiped || claims > u64::from(FAILED_CLAIMS_MAX_COUNT);
            require(has_cause, || {
                format!("lost without a cause: {}", end.reason)
            })?;
            let is_part = printed
                .iter()
                .zip(joined)
                .all(|(all, part)| all.starts_with(part));
            require(is_part, || format!("{printed:?} became {joined:?}"))?;
        }
        Outcome::Rejected => require(pod.launches == 0 && claims == 0, || {
            "rejected after it was started".to_owned()
        })?,
        other @ (Outcome::Signaled | Outcome::TimedOut | Outcome::Canceled) => {
            return Err(format!("{} was told by nobody", other.name()));
        }
    }
    Ok(end.outcome)
}
