//! A log that holds everything a log can hold, and the ways to bring it into the tables.

#![allow(dead_code, reason = "each test file uses a part of it")]

use rdev_bus::{LogStream, Stored};
use rdev_contract::agent::Agent;
use rdev_contract::envelope::Recorded;
use rdev_contract::event::{Complete, Outcome};
use rdev_contract::position::StreamSeq;
use rdev_contract::session::PodState;
use rdev_projector::store::{LogState, Store};

use crate::database::TestDatabase;
use crate::log::{
    self, Log, claude, claude_session, codex, exec, exited, result_line, session, shell, yielded,
    yielded_of_codex,
};

/// With NUL wherever it can be.
const TOOL_USE: &str = r#"{"type":"assistant","message":{"content":[{"type":"text","text":"x"},{"type":"tool_use","id":"t\u0000","name":"n\u0000","input":{"a":"\u0000"}}]}}"#;
const TOOL_RESULT: &str = r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t\u0000","content":"b\u0000"}]}}"#;

pub(crate) const CREATED: &str = "2026-01-01T00:00:00.123456789Z";

pub(crate) fn state(log: &Log) -> LogState {
    LogState {
        created_at: CREATED.parse().unwrap(),
        first: StreamSeq(1),
        last: log.last(),
    }
}

pub(crate) async fn open(database: &TestDatabase, stream: LogStream, log: &Log) -> Store {
    Store::open(&database.writing, stream, state(log))
        .await
        .unwrap()
}

/// What a new projector does: begins where the tables are, takes what is behind that.
pub(crate) async fn resume(
    database: &TestDatabase,
    stream: LogStream,
    log: &Log,
    up_to: usize,
    batch: usize,
) {
    let mut store = open(database, stream, log).await;
    let position = store.position();
    let left: Vec<Recorded<Stored>> = log.messages[..up_to]
        .iter()
        .filter(|message| message.sequence > position)
        .cloned()
        .collect();
    for messages in left.chunks(batch) {
        store.take(messages).await.unwrap();
    }
}

pub(crate) async fn project_all(database: &TestDatabase, exec_log: &Log, session_log: &Log) {
    resume(
        database,
        LogStream::Session,
        session_log,
        session_log.messages.len(),
        100,
    )
    .await;
    resume(
        database,
        LogStream::Exec,
        exec_log,
        exec_log.messages.len(),
        100,
    )
    .await;
}

/// Everything that a log can hold: two turns of a conversation (the later command ends first),
/// shell, rejected, lost, parts of long lines (also begun anew, and cut off), poison of both kinds.
pub(crate) fn eventful() -> (Log, Log) {
    let mut sessions = Log::new();
    sessions.session_fact(session(1), log::created());
    sessions.session_fact(session(2), log::created());
    sessions.session_fact(
        session(1),
        log::linked(session(1), claude_session(2), "b", 9),
    );
    sessions.session_fact(
        session(1),
        log::linked(session(1), claude_session(1), "a", 3),
    );
    sessions.push(&format!("rdev.session.demo.{}.created", session(3)), "{}");
    sessions.session_fact(session(2), log::ended());
    sessions.session_fact(session(2), log::ended());
    sessions.session_fact(
        session(2),
        log::codex_linked(session(2), claude_session(3), 7),
    );

    provided(&mut sessions);
    let mut execs = Log::new();
    let [first, second] = [exec(1, "a"), exec(1, "b")];
    execs.command(&first, claude("first \0 prompt"));
    execs.started(&first);
    execs.command(&second, claude("second prompt"));
    let long = result_line(&"long \0 answer ".repeat(20), "0.125");
    execs.claude_some_parts(&first, &long, 40, 0..3);
    execs.resumed(&first);
    execs.claude_parts(&first, &long, 50);
    execs.claude_lines(&first, &[TOOL_USE]);
    execs.claude_parts(&first, TOOL_RESULT, 20);
    execs.started(&second);
    execs.claude_lines(
        &second,
        &[
            r#"{"type":"system","subtype":"init","claude_code_version":"2.1.1\u0000"}"#,
            TOOL_USE,
            &result_line("second answer", "1e-7"),
        ],
    );
    execs.complete(&second, &yielded(second.session, claude_session(2)));
    execs.complete(&first, &yielded(first.session, claude_session(1)));

    let [plain, refused, lost] = [exec(2, "c"), exec(2, "d"), exec(2, "e")];
    execs.command(&plain, shell("echo \0 hello"));
    execs.admitted(&plain);
    execs.started(&plain);
    execs.complete(&plain, &exited(7));
    execs.command(&refused, claude("never"));
    execs.complete(
        &refused,
        &Complete::without_process(Outcome::Rejected, "too \0 late"),
    );
    execs.push(
        &format!("rdev.exec.demo.{}.c.started", session(2)),
        "no JSON",
    );
    execs.command(&lost, claude("cut off"));
    execs.started(&lost);
    execs.question_withdrawn(&lost);
    execs.claude_some_parts(&lost, &long, 40, 0..4);
    execs.complete(
        &lost,
        &Complete::without_process(Outcome::Lost, "the pod is gone"),
    );
    thoughtful(&mut execs);
    execs.command(&exec(2, "waiting"), shell("sleep 9"));
    execs.claude_some_parts(&exec(1, "broken"), &long, 400, 1..2);
    (execs, sessions)
}

/// A session whose pod was chosen.
fn provided(sessions: &mut Log) {
    sessions.session_fact(session(4), log::created_by_labels());
    sessions.session_fact(
        session(4),
        log::session_pod(PodState::Pending, "none \0 yet", None),
    );
    sessions.session_fact(
        session(4),
        log::session_pod(PodState::Ready, "", Some("web-1")),
    );
    sessions.session_fact(session(4), log::idle_warning());
}

/// A run of codex.
fn thoughtful(execs: &mut Log) {
    let thought = exec(2, "codex");
    execs.command(&thought, codex("think \0"));
    execs.started(&thought);
    for line in include_str!("../../../../tests/fixtures/codex/made_by_hand.jsonl").lines() {
        execs.agent_lines(Agent::Codex, &thought, &[line]);
    }
    execs.complete(
        &thought,
        &yielded_of_codex(thought.session, claude_session(3)),
    );
}
