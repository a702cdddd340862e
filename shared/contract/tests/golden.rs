//! What is in the log stays readable and is written the same way: for every kind of message and
//! every session fact, a golden payload in both directions. Fields are only ever added.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use rdev_contract::agent::Agent;
use rdev_contract::control::{ControlMessage, Order};
use rdev_contract::envelope::{Body, Chain, Head, Message, PAYLOAD_VERSION, encode, verify_chain};
use rdev_contract::event::{
    Admitted, AgentLine, Command, CommandSpec, Complete, Event, EventBatch, Fragment, Kind,
    Outcome, OutputStream, PodIdentity, Requester, Resumed, ResumedFrom, SecretRef, Started, Text,
    Work,
};
use rdev_contract::id::{AgentSessionId, ClaimId, SessionId};
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_contract::session::SessionMessage;
use serde::Serialize;
use serde::de::DeserializeOwned;

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/golden/",
            $name,
            ".json"
        ))
        .trim_end()
    };
}

mod golden_approvals;
mod golden_orders;
mod golden_terminal;
#[path = "facts/session.rs"]
mod session_facts;

fn session() -> SessionId {
    "01935bd0-7a3c-7000-8000-5f1e2d3c4b5a".parse().unwrap()
}

fn claim() -> ClaimId {
    "6c1d5f0e-8f0a-4a53-9d0e-2f6b7a1c9e10".parse().unwrap()
}

fn claude_session() -> AgentSessionId {
    "f1f4509e-1d42-4e14-a6d2-37bbe0556b4b".parse().unwrap()
}

fn at() -> Timestamp {
    "2026-11-22T06:21:00.123456Z".parse().unwrap()
}

fn requester() -> Requester {
    Requester {
        key: "key-1".to_owned(),
        address: "192.0.2.7".to_owned(),
        agent: "curl/8.5".to_owned(),
    }
}

fn pod() -> PodIdentity {
    PodIdentity {
        namespace: "team".to_owned(),
        name: "pod-1".to_owned(),
        uid: "3b0c".to_owned(),
        container: "main".to_owned(),
        container_id: "containerd://9f".to_owned(),
        restarts: 2,
    }
}

/// A head as its writer makes it; before the first claim there is none.
fn head(kind: Kind) -> Head {
    let is_command = kind == Kind::Command;
    let is_unclaimed = matches!(kind, Kind::Command | Kind::Admitted);
    Head {
        v: PAYLOAD_VERSION,
        project: "demo".parse().unwrap(),
        session: session(),
        stream: "session-1".parse().unwrap(),
        kind: kind.to_string(),
        claim: (!is_unclaimed).then(claim),
        attempt: match kind {
            Kind::Command | Kind::Admitted => 0,
            Kind::Resumed => 2,
            Kind::Started
            | Kind::Output
            | Kind::Claude
            | Kind::Codex
            | Kind::Approval
            | Kind::Complete => 1,
        },
        first: kind.is_numbered().then_some(EventNo(17)),
        at: at(),
        to: kind.is_numbered().then_some(Offsets::new(4096, 7)),
        prev: StreamSeq(if is_command { 0 } else { 48190 }),
    }
}

/// The data as the fact's own payload, both ways.
fn assert_fact<T>(kind: Kind, fact: &T, golden: &str)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let data = serde_json::value::to_raw_value(fact).unwrap();
    let head = head(kind);
    let encoded = encode(&head, &Body::Data(&data), &Chain::default()).unwrap();
    assert_eq!(String::from_utf8(encoded.payload).unwrap(), golden);
    let message = Message::decode(golden.as_bytes()).unwrap();
    assert_eq!(message.head, head);
    assert_eq!(message.chain, encoded.chain);
    assert_eq!(message.head.known_kind(), Some(kind));
    assert_eq!(&message.fact::<T>().unwrap(), fact);
    assert!(verify_chain(golden.as_bytes(), &Chain::default()));
}

/// A batch of events, both ways; gives the data of each event as it stands in the golden payload.
fn assert_batch(kind: Kind, events: &[Event<'_>], golden: &str) -> Vec<(String, Option<String>)> {
    assert_batch_with(&head(kind), events, golden)
}

fn assert_batch_with(
    head: &Head,
    events: &[Event<'_>],
    golden: &str,
) -> Vec<(String, Option<String>)> {
    let mut batch = EventBatch::default();
    for event in events {
        batch.push(event).unwrap();
    }
    assert_eq!(batch.count(), events.len() as u64);
    let encoded = encode(head, &Body::Events(&batch), &Chain::default()).unwrap();
    assert_eq!(String::from_utf8(encoded.payload).unwrap(), golden);
    let message = Message::decode(golden.as_bytes()).unwrap();
    assert_eq!(&message.head, head);
    message
        .events
        .iter()
        .map(|event| {
            (
                event.name.to_string(),
                event.data.map(|data| data.get().to_owned()),
            )
        })
        .collect()
}

fn command(work: Work) -> Command {
    Command {
        spec: CommandSpec::new(work, 1800),
        accept_until: "2026-11-22T06:31:00Z".parse().unwrap(),
        awaits_pod: false,
        by: requester(),
    }
}

#[test]
fn command_of_shell_with_everything() {
    let mut command = command(Work::Shell {
        command: "echo \"$1\"".to_owned(),
    });
    command.spec.args = vec!["a b".to_owned(), String::new()];
    command.spec.env = BTreeMap::from([("KEY".to_owned(), "välue".to_owned())]);
    let reference = SecretRef {
        name: "forge".parse().unwrap(),
        key: "token".parse().unwrap(),
    };
    command.spec.secret_env = BTreeMap::from([("TOKEN".to_owned(), reference)]);
    command.spec.cwd = Some("/work".to_owned());
    command.spec.stdin = Some("in\0\n".to_owned());
    command.spec.merge = true;
    assert_fact(Kind::Command, &command, golden!("command_shell"));
}

#[test]
fn command_with_limits_and_open_input() {
    let mut command = command(Work::Shell {
        command: "cat".to_owned(),
    });
    command.spec.idle_timeout_seconds = Some(60);
    command.spec.queue_timeout_seconds = Some(5);
    command.spec.stdin_open = true;
    assert_fact(Kind::Command, &command, golden!("command_limits"));
}

#[test]
fn command_of_git_with_nothing() {
    let work = Work::Git {
        command: "status".to_owned(),
    };
    assert_fact(Kind::Command, &command(work), golden!("command_git"));
}

#[test]
fn command_of_claude() {
    let work = Work::Claude {
        prompt: "--help\r\n".to_owned(),
        continue_conversation: true,
        conversation_id: Some(claude_session().to_string()),
    };
    assert_fact(Kind::Command, &command(work), golden!("command_claude"));
}

#[test]
fn admitted() {
    let admitted = Admitted {
        command_seq: StreamSeq(48190),
        scheduler: "executor-0".to_owned(),
    };
    assert_fact(Kind::Admitted, &admitted, golden!("admitted"));
}

#[test]
fn started() {
    let started = Started {
        claim: claim(),
        attempt: 1,
        executor: "executor-0".to_owned(),
        argv: vec!["sh".to_owned(), "-c".to_owned(), "true".to_owned()],
        resume_id: Some(claude_session()),
        pod: pod(),
        shim: "nonce".to_owned(),
    };
    assert_fact(Kind::Started, &started, golden!("started"));
}

#[test]
fn resumed() {
    let resumed = Resumed {
        claim: claim(),
        attempt: 2,
        executor: "executor-1".to_owned(),
        pod: pod(),
        shim: "nonce".to_owned(),
        from: ResumedFrom {
            next: EventNo(17),
            offsets: Offsets::new(4096, 7),
        },
        failed_before: 0,
    };
    assert_fact(Kind::Resumed, &resumed, golden!("resumed"));
}

#[test]
fn output() {
    let stdout = Some(OutputStream::Stdout);
    let stderr = Some(OutputStream::Stderr);
    let pieces: [(&[u8], _, _); 4] = [
        (b"hello \"you\"\t50%\r60%", stdout, false),
        (b"\0\xff", stderr, false),
        ("é🎉 data: x".as_bytes(), stdout, true),
        (b"", stdout, false),
    ];
    let events: Vec<_> = pieces
        .iter()
        .map(|(bytes, stream, partial)| Event::Output(Text::of(bytes, *stream, *partial)))
        .collect();
    let read = assert_batch(Kind::Output, &events, golden!("output"));
    for ((name, data), (bytes, stream, partial)) in read.iter().zip(pieces) {
        assert_eq!(name, "output");
        let text: Text<'_> = serde_json::from_str(data.as_deref().unwrap()).unwrap();
        assert_eq!(text, Text::of(bytes, stream, partial));
        let newline: &[u8] = if partial { b"" } else { b"\n" };
        assert_eq!(text.bytes().unwrap(), [bytes, newline].concat());
    }
}

#[test]
fn claude() {
    let lines: [(&[u8], bool); 3] = [
        (
            br#"{"type":"assistant","n":1.0e2,"text":"\u0000\ud83d\/"}"#,
            false,
        ),
        (b" {\"b\":1,\r\"a\":2}\t", false),
        (b"{}", true),
    ];
    let mut events: Vec<_> = lines
        .iter()
        .map(|(line, partial)| {
            Event::Agent(Agent::Claude, AgentLine::parse(line, *partial).unwrap())
        })
        .collect();
    events.push(Event::Error(Text::of(b"oops", None, false)));
    let read = assert_batch(Kind::Claude, &events, golden!("claude"));
    for ((name, data), (line, partial)) in read.iter().zip(lines) {
        assert_eq!(name, "claude_event");
        let data = data.as_deref().unwrap();
        assert_eq!(AgentLine::of_data(data), AgentLine::parse(line, partial));
    }
    let (name, data) = &read[3];
    assert_eq!(
        (name.as_str(), data.as_deref()),
        ("error", Some(r#"{"line":"oops"}"#))
    );
}

#[test]
fn codex() {
    let line = br#"{"type":"thread.started","thread_id":"x"}"#;
    let fragment = Fragment {
        index: 0,
        last: false,
        text: "{\"event\":".into(),
    };
    let events = [
        Event::Agent(Agent::Codex, AgentLine::parse(line, false).unwrap()),
        Event::AgentFragment(Agent::Codex, fragment),
    ];
    let read = assert_batch(Kind::Codex, &events, golden!("codex"));
    assert!(read.iter().all(|(name, _)| name == "codex_event"));
    assert_eq!(Agent::of_event("codex_event"), Some(Agent::Codex));
    assert_eq!(Agent::of_event("output"), None);
}

#[test]
fn command_of_codex() {
    let work = Work::Codex {
        prompt: "explain".to_owned(),
        continue_conversation: true,
        conversation_id: None,
    };
    assert_fact(Kind::Command, &command(work), golden!("command_codex"));
}

/// Of codex alone: what claude's clients read is as it was.
#[test]
fn complete_of_codex() {
    let complete = Complete {
        codex_session_id: claude_session().to_string(),
        conversation_id: session().conversation().to_string(),
        ..Complete::without_process(Outcome::Exited, "")
    };
    let events = [Event::Complete(&complete)];
    assert_batch(Kind::Complete, &events, golden!("complete_codex"));
}

#[test]
fn what_is_no_line_of_an_agent() {
    let lines: [&[u8]; 9] = [
        b"",
        b"[{}]",
        b"null",
        b"text",
        b"{",
        b"{}{}",
        b"{\"a\":\n1}",
        b"{\"\xff\":1}",
        b"{\"a\":\"\r\"}",
    ];
    for line in lines {
        assert_eq!(
            AgentLine::parse(line, false),
            None,
            "{}",
            line.escape_ascii()
        );
    }
    for data in ["{}", "{\"line\":\"x\"}", "{\"event\":{"] {
        assert_eq!(
            AgentLine::of_data(data).map(|line| line.bytes()),
            None,
            "{data}"
        );
    }
}

#[test]
fn claude_fragment() {
    let fragment = Fragment {
        index: 1,
        last: true,
        text: "\"x\\n\"}}".into(),
    };
    let golden = golden!("claude_fragment");
    let read = assert_batch(
        Kind::Claude,
        &[Event::AgentFragment(Agent::Claude, fragment.clone())],
        golden,
    );
    assert_eq!(read, [("claude_event".to_owned(), None)]);
    let message = Message::decode(golden.as_bytes()).unwrap();
    assert_eq!(message.events[0].fragment, Some(fragment));
}

#[test]
fn complete() {
    let complete = Complete {
        exit_code: 137,
        duration_ms: 12,
        claude_session_id: claude_session().to_string(),
        codex_session_id: String::new(),
        conversation_id: session().conversation().to_string(),
        ok: false,
        outcome: Outcome::Signaled,
        signal: Some(9),
        stdout_bytes: Some(4096),
        stderr_bytes: Some(7),
        stdout_sha256: Some("ab".repeat(32)),
        stderr_sha256: Some("cd".repeat(32)),
        reason: String::new(),
    };
    let read = assert_batch(
        Kind::Complete,
        &[Event::Complete(&complete)],
        golden!("complete"),
    );
    assert_eq!(read[0].0, "complete");
    let data = read[0].1.as_deref().unwrap();
    assert_eq!(serde_json::from_str::<Complete>(data).unwrap(), complete);
}

#[test]
fn complete_without_a_process() {
    let complete = Complete::without_process(Outcome::Lost, "the pod is gone");
    let golden = golden!("complete_lost");
    let read = assert_batch(Kind::Complete, &[Event::Complete(&complete)], golden);
    let data = read[0].1.as_deref().unwrap();
    assert_eq!(serde_json::from_str::<Complete>(data).unwrap(), complete);
}

#[test]
fn fields_and_kinds_of_the_future_are_passed_over() {
    let golden = golden!("output")
        .replace("\"v\":1,", "\"v\":1,\"region\":{\"x\":[1]},")
        .replace("\"kind\":\"output\"", "\"kind\":\"video\"")
        .replace("\"type\":\"output\"", "\"type\":\"frame\",\"size\":2");
    let message = Message::decode(golden.as_bytes()).unwrap();
    assert_eq!(message.head.known_kind(), None);
    assert_eq!(message.events[0].name, "frame");
    let linked = golden!("session_linked").replace("\"v\":1,", "\"v\":1,\"more\":null,");
    serde_json::from_str::<SessionMessage>(&linked).unwrap();
    let order = golden!("order_signal")
        .replace("\"type\":\"signal\"", "\"type\":\"freeze\"")
        .replace("\"number\":3,", "\"number\":3,\"more\":null,");
    let message: ControlMessage = serde_json::from_str(&order).unwrap();
    assert_eq!(message.order, Order::Unknown);
}

#[test]
fn every_golden_file_is_used() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let source = concat!(
        include_str!("facts/session.rs"),
        include_str!("golden.rs"),
        include_str!("golden_approvals/mod.rs"),
        include_str!("golden_orders/mod.rs"),
        include_str!("golden_terminal/mod.rs")
    );
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(source.contains(&format!("golden!(\"{name}\")")), "{name}");
    }
}
