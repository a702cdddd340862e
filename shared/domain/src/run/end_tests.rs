//! Ends: given what the supervisor's end frame says, then the `complete`.

use std::time::Duration;

use rdev_contract::event::OutputStream;
use rdev_contract::position::EventNo;
use uuid::Uuid;

use rdev_contract::agent::Agent;

use super::*;
use crate::run::{Format, Run};

const CLAUDE: Format = Format::Agent(Agent::Claude);

const NO_TIME: Duration = Duration::ZERO;
const LINES: Format = Format::Lines { merge: false };

fn run_of(format: Format) -> Run {
    Run::new(format, Offsets::default(), EventNo::FIRST)
}

fn process_end(exit: Exit) -> ProcessEnd {
    ProcessEnd {
        exit,
        timed_out: None,
        canceled: false,
        spawn_error: None,
        error: None,
        has_survivors: false,
        totals: Offsets::new(6, 0),
        stdout_sha256: "aa".to_owned(),
        stderr_sha256: "bb".to_owned(),
        duration_ms: 12,
    }
}

fn complete_of(run: &Run, end: &ProcessEnd) -> Complete {
    run.complete(end, ConversationId::new(Uuid::nil()))
}

#[test]
fn ends_of_processes() {
    let run = run_of(LINES);
    let end = process_end(Exit::Code(0));
    let cases = [
        (end.clone(), Outcome::Exited, 0, true, None),
        (process_end(Exit::Code(7)), Outcome::Exited, 7, false, None),
        (
            process_end(Exit::Signal(9)),
            Outcome::Signaled,
            137,
            false,
            Some(9),
        ),
        (
            ProcessEnd {
                timed_out: Some(TimeOut::Run),
                ..end.clone()
            },
            Outcome::TimedOut,
            -1,
            false,
            None,
        ),
        (
            ProcessEnd {
                timed_out: Some(TimeOut::Idle),
                ..process_end(Exit::Signal(9))
            },
            Outcome::TimedOut,
            -1,
            false,
            Some(9),
        ),
        (
            ProcessEnd {
                canceled: true,
                timed_out: Some(TimeOut::Run),
                ..process_end(Exit::Signal(15))
            },
            Outcome::Canceled,
            -1,
            false,
            Some(15),
        ),
    ];
    for (end, outcome, exit_code, ok, signal) in cases {
        let complete = complete_of(&run, &end);
        assert_eq!(complete.outcome, outcome);
        assert_eq!(complete.exit_code, exit_code);
        assert_eq!(complete.ok, ok);
        assert_eq!(complete.signal, signal);
        assert_eq!(complete.stdout_bytes, Some(6));
        assert_eq!(complete.stdout_sha256.as_deref(), Some("aa"));
        let reason = match (outcome, end.timed_out) {
            (Outcome::TimedOut, Some(TimeOut::Run)) => "timeout_seconds is over",
            (Outcome::TimedOut, _) => "idle_timeout_seconds is over",
            _ => "",
        };
        assert_eq!(complete.reason.split(':').next(), Some(reason));
        assert_eq!(complete.claude_session_id, "");
    }
}

#[test]
fn errors_of_the_supervisor_are_no_success_and_say_why() {
    let run = run_of(LINES);
    let disk_full = ProcessEnd {
        error: Some("disk full".to_owned()),
        ..process_end(Exit::Code(0))
    };
    let complete = complete_of(&run, &disk_full);
    assert_eq!(
        (complete.ok, complete.reason.as_str()),
        (false, "disk full")
    );
    let missing = ProcessEnd {
        spawn_error: Some("no such file".to_owned()),
        ..process_end(Exit::Code(127))
    };
    let complete = complete_of(&run, &missing);
    assert_eq!(
        (complete.exit_code, complete.outcome),
        (127, Outcome::Exited)
    );
    assert_eq!(complete.reason, "no such file");
}

#[test]
fn what_still_runs_is_not_canceled() {
    let end = ProcessEnd {
        canceled: true,
        has_survivors: true,
        error: Some("two processes survived SIGKILL".to_owned()),
        ..process_end(Exit::Signal(9))
    };
    let complete = complete_of(&run_of(LINES), &end);
    assert_eq!((complete.outcome, complete.exit_code), (Outcome::Lost, -1));
    assert_eq!(complete.reason, "two processes survived SIGKILL");
}

#[test]
fn ends_of_claude() {
    const ID: &str = "11111111-2222-4333-8444-555555555555";
    let init = format!("{{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"{ID}\"}}\n");
    let result = "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false}\n";
    let mut run = run_of(CLAUDE);
    run.feed(OutputStream::Stdout, 0, init.as_bytes(), NO_TIME)
        .unwrap();
    let cut_off = complete_of(&run, &process_end(Exit::Code(0)));
    assert!(!cut_off.ok, "exit code 0 without a result is no success");
    assert_eq!(cut_off.reason, "claude ended without a result");
    assert_eq!(cut_off.claude_session_id, ID);

    // A take-over: the first lines are in the log only.
    let after = Offsets::new(init.len() as u64, 0);
    let mut tally = Tally::new(Agent::Claude);
    tally.observe(&init);
    let mut run = Run::new(CLAUDE, after, EventNo(2)).with_tally(tally);
    run.feed(
        OutputStream::Stdout,
        after.stdout,
        result.as_bytes(),
        NO_TIME,
    )
    .unwrap();
    let complete = complete_of(&run, &process_end(Exit::Code(0)));
    assert!(complete.ok);
    assert_eq!(complete.claude_session_id, ID);
    assert_eq!(complete.conversation_id, Uuid::nil().to_string());
    assert!(!complete_of(&run, &process_end(Exit::Signal(9))).ok);
    let canceled = ProcessEnd {
        canceled: true,
        ..process_end(Exit::Code(0))
    };
    assert!(!complete_of(&run, &canceled).ok);
}
