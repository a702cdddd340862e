//! A log for tests: messages as their writers make them, with their places.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use rdev_bus::Stored;
use rdev_contract::agent::Agent;
use rdev_contract::envelope::{Body, Chain, Head, PAYLOAD_VERSION, Recorded, encode};
use rdev_contract::event::{
    Admitted, AgentLine, Answer, AnsweredBy, ApprovalAnswered, Command, CommandSpec, Complete,
    Decision, Event, EventBatch, Fragment, Kind, Outcome, PodIdentity, Requester, Resumed,
    ResumedFrom, Started, Work,
};
use rdev_contract::id::{AgentSessionId, ClaimId, ExecId, ProjectId, SessionId};
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_contract::session::{
    CodexLinked, Created, Ended, IdleWarning, Linked, PodState, SessionFact, SessionMessage,
    SessionPod,
};
use rdev_contract::subject::Subject;
use serde_json::value::RawValue;
use uuid::Uuid;

pub(crate) const PROJECT: &str = "demo";

pub(crate) fn project() -> ProjectId {
    PROJECT.parse().unwrap()
}

pub(crate) fn session(number: u128) -> SessionId {
    SessionId::new(Uuid::from_u128((0x0192_aaaa << 96) + number))
}

pub(crate) fn exec(session_number: u128, stream: &str) -> ExecId {
    ExecId {
        project: project(),
        session: session(session_number),
        stream: stream.parse().unwrap(),
    }
}

pub(crate) fn claude_session(number: u128) -> AgentSessionId {
    AgentSessionId::new(Uuid::from_u128((0xc1a0_de00 << 96) + number))
}

pub(crate) fn requester() -> Requester {
    Requester {
        key: "key".into(),
        address: "127.0.0.1".into(),
        agent: "curl\0".into(),
    }
}

pub(crate) fn shell(command: &str) -> Work {
    Work::Shell {
        command: command.into(),
    }
}

pub(crate) fn claude(prompt: &str) -> Work {
    Work::Claude {
        prompt: prompt.into(),
        continue_conversation: false,
        conversation_id: None,
    }
}

pub(crate) fn codex(prompt: &str) -> Work {
    Work::Codex {
        prompt: prompt.into(),
        continue_conversation: false,
        conversation_id: None,
    }
}

/// One stream of the log. Messages have gaps between their sequences, as filtered ones have.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) messages: Vec<Recorded<Stored>>,
    at: Timestamp,
    /// How many events each exec has.
    events: BTreeMap<ExecId, u64>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            messages: Vec::new(),
            at: "2026-11-22T06:21:00.123456Z".parse().unwrap(),
            events: BTreeMap::new(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.at
    }

    pub(crate) fn last(&self) -> StreamSeq {
        self.messages
            .last()
            .map_or(StreamSeq(0), |message| message.sequence)
    }

    pub(crate) fn push(&mut self, subject: &str, payload: impl Into<Bytes>) {
        let sequence = StreamSeq(self.last().0 + 3);
        let value = Stored {
            subject: subject.to_owned(),
            payload: payload.into(),
            at: self.at,
            trace: None,
        };
        self.messages.push(Recorded { sequence, value });
        self.at += SignedDuration::from_millis(1500);
    }

    fn head(&self, exec: &ExecId, kind: Kind) -> Head {
        Head {
            v: PAYLOAD_VERSION,
            project: exec.project.clone(),
            session: exec.session,
            stream: exec.stream.clone(),
            kind: kind.token().into(),
            claim: None,
            attempt: 1,
            first: kind
                .is_numbered()
                .then(|| EventNo(self.events.get(exec).map_or(1, |last| last + 1))),
            at: self.at,
            to: None,
            prev: StreamSeq(0),
        }
    }

    pub(crate) fn fact(&mut self, exec: &ExecId, kind: Kind, data: &impl serde::Serialize) {
        let data = RawValue::from_string(serde_json::to_string(data).unwrap()).unwrap();
        let head = self.head(exec, kind);
        let payload = encode(&head, &Body::Data(&data), &Chain::default())
            .unwrap()
            .payload;
        self.push(Subject::exec(exec, kind).as_str(), payload);
    }

    pub(crate) fn events(&mut self, exec: &ExecId, kind: Kind, events: &[Event<'_>]) {
        let mut batch = EventBatch::default();
        for event in events {
            batch.push(event).unwrap();
        }
        let head = self.head(exec, kind);
        let payload = encode(&head, &Body::Events(&batch), &Chain::default())
            .unwrap()
            .payload;
        // All parts of a line are one event.
        let ends =
            |event: &&Event<'_>| !matches!(event, Event::AgentFragment(_, part) if !part.last);
        *self.events.entry(exec.clone()).or_default() += events.iter().filter(ends).count() as u64;
        self.push(Subject::exec(exec, kind).as_str(), payload);
    }

    pub(crate) fn command(&mut self, exec: &ExecId, work: Work) {
        let spec = CommandSpec {
            args: vec!["one".into(), "two\0".into()],
            cwd: Some("/work".into()),
            ..CommandSpec::new(work, 1800)
        };
        let command = Command {
            spec,
            accept_until: self.at,
            awaits_pod: false,
            by: requester(),
        };
        self.fact(exec, Kind::Command, &command);
    }

    /// The turn of an exec whose command is the last message.
    pub(crate) fn admitted(&mut self, exec: &ExecId) {
        let command = self.messages.last().unwrap();
        let admitted = Admitted {
            command_seq: command.sequence,
            scheduler: "executor-1".into(),
        };
        self.fact(exec, Kind::Admitted, &admitted);
    }

    pub(crate) fn started(&mut self, exec: &ExecId) {
        self.started_resuming(exec, Some(claude_session(9)));
    }

    pub(crate) fn started_resuming(&mut self, exec: &ExecId, resume_id: Option<AgentSessionId>) {
        let started = Started {
            claim: ClaimId::new(Uuid::from_u128(1)),
            attempt: 1,
            executor: "executor-1".into(),
            argv: vec!["sh".into(), "-c".into(), "echo\0".into()],
            resume_id,
            pod: pod(),
            shim: "nonce".into(),
        };
        self.fact(exec, Kind::Started, &started);
    }

    pub(crate) fn resumed(&mut self, exec: &ExecId) {
        let resumed = Resumed {
            claim: ClaimId::new(Uuid::from_u128(2)),
            attempt: 2,
            executor: "executor-2".into(),
            pod: pod(),
            shim: "nonce".into(),
            from: ResumedFrom {
                next: EventNo(1),
                offsets: Offsets::default(),
            },
            failed_before: 0,
        };
        self.fact(exec, Kind::Resumed, &resumed);
    }

    /// What a run of the CLI printed, line by line, a few lines a message.
    pub(crate) fn recording(&mut self, exec: &ExecId, text: &str) {
        let lines: Vec<_> = text.lines().collect();
        for some in lines.chunks(3) {
            self.claude_lines(exec, some);
        }
    }

    pub(crate) fn claude_lines(&mut self, exec: &ExecId, lines: &[&str]) {
        self.agent_lines(Agent::Claude, exec, lines);
    }

    pub(crate) fn agent_lines(&mut self, agent: Agent, exec: &ExecId, lines: &[&str]) {
        let events: Vec<_> = lines
            .iter()
            .map(|line| Event::Agent(agent, AgentLine::parse(line.as_bytes(), false).unwrap()))
            .collect();
        self.events(exec, Kind::of(agent), &events);
    }

    /// The line in parts, one a message.
    pub(crate) fn claude_parts(&mut self, exec: &ExecId, line: &str, part_letters: usize) {
        let count = self.parts(line, part_letters).len();
        self.claude_some_parts(exec, line, part_letters, 0..count);
    }

    /// Some of the parts of the line.
    pub(crate) fn claude_some_parts(
        &mut self,
        exec: &ExecId,
        line: &str,
        part_letters: usize,
        sent: std::ops::Range<usize>,
    ) {
        let parts = self.parts(line, part_letters);
        for index in sent {
            let fragment = Fragment {
                index: u32::try_from(index).unwrap(),
                last: index + 1 == parts.len(),
                text: Cow::Borrowed(&parts[index]),
            };
            self.events(
                exec,
                Kind::Claude,
                &[Event::AgentFragment(Agent::Claude, fragment)],
            );
        }
    }

    /// What an agent has asked it does not want to know any more.
    pub(crate) fn question_withdrawn(&mut self, exec: &ExecId) {
        let withdrawn = ApprovalAnswered {
            approval_id: "a".into(),
            answer: Answer::of(Decision::Withdrawn),
            by: AnsweredBy::Agent,
            key: String::new(),
            answered_at: self.at,
            order: None,
            stdin_to: None,
        };
        self.events(exec, Kind::Approval, &[Event::ApprovalAnswered(&withdrawn)]);
    }

    fn parts(&self, line: &str, part_letters: usize) -> Vec<String> {
        let data = AgentLine::parse(line.as_bytes(), false).unwrap().data();
        let letters: Vec<char> = data.chars().collect();
        letters
            .chunks(part_letters)
            .map(|part| part.iter().collect())
            .collect()
    }

    pub(crate) fn complete(&mut self, exec: &ExecId, complete: &Complete) {
        self.events(exec, Kind::Complete, &[Event::Complete(complete)]);
    }

    pub(crate) fn session_fact(&mut self, session: SessionId, fact: SessionFact) {
        let subject = Subject::session(&project(), session, fact.kind());
        let message = SessionMessage {
            v: PAYLOAD_VERSION,
            project: project(),
            session,
            at: self.at,
            fact,
        };
        self.push(subject.as_str(), serde_json::to_vec(&message).unwrap());
    }
}

pub(crate) fn pod() -> PodIdentity {
    PodIdentity {
        namespace: "default".into(),
        name: "pod".into(),
        uid: "uid".into(),
        container: "main".into(),
        container_id: "containerd://1".into(),
        restarts: 0,
    }
}

pub(crate) fn exited(exit_code: i32) -> Complete {
    Complete {
        exit_code,
        duration_ms: 12,
        claude_session_id: String::new(),
        codex_session_id: String::new(),
        conversation_id: String::new(),
        ok: exit_code == 0,
        outcome: Outcome::Exited,
        signal: None,
        stdout_bytes: Some(6),
        stderr_bytes: Some(0),
        stdout_sha256: Some("aa".into()),
        stderr_sha256: Some("bb".into()),
        reason: String::new(),
    }
}

/// The end of a claude exec that yielded this session.
pub(crate) fn yielded(session: SessionId, claude: AgentSessionId) -> Complete {
    Complete {
        claude_session_id: claude.to_string(),
        conversation_id: session.conversation().to_string(),
        ..exited(0)
    }
}

/// The end of an exec of codex that yielded this session.
pub(crate) fn yielded_of_codex(session: SessionId, codex: AgentSessionId) -> Complete {
    Complete {
        codex_session_id: codex.to_string(),
        conversation_id: session.conversation().to_string(),
        ..exited(0)
    }
}

pub(crate) fn created() -> SessionFact {
    SessionFact::Created(Created {
        namespace: Some("team".parse().unwrap()),
        ..Created::of_pod("pod-1".parse().unwrap(), requester())
    })
}

pub(crate) fn created_by_labels() -> SessionFact {
    let label = ("app".to_owned(), "web".to_owned());
    SessionFact::Created(Created {
        pod: None,
        selector: [label].into(),
        idle_timeout_seconds: Some(60),
        expires_at: Some("2027-01-01T00:00:00Z".parse().unwrap()),
        ..Created::of_pod("none".parse().unwrap(), requester())
    })
}

pub(crate) fn session_pod(state: PodState, message: &str, name: Option<&str>) -> SessionFact {
    let pod = name.map(|name| PodIdentity {
        namespace: "team".to_owned(),
        name: name.to_owned(),
        uid: "u".to_owned(),
        container: "main".to_owned(),
        container_id: "c".to_owned(),
        restarts: 0,
    });
    SessionFact::Pod(SessionPod {
        state,
        message: message.to_owned(),
        since: None,
        pod,
    })
}

pub(crate) fn idle_warning() -> SessionFact {
    SessionFact::IdleWarning(IdleWarning {
        ends_at: Some("2026-12-01T00:00:00Z".parse().unwrap()),
    })
}

pub(crate) fn linked(
    session: SessionId,
    claude: AgentSessionId,
    stream: &str,
    command: u64,
) -> SessionFact {
    SessionFact::Linked(Linked {
        claude_session_id: claude,
        conversation_id: session.conversation(),
        stream: stream.parse().unwrap(),
        command_seq: StreamSeq(command),
    })
}

pub(crate) fn codex_linked(session: SessionId, codex: AgentSessionId, command: u64) -> SessionFact {
    SessionFact::CodexLinked(CodexLinked {
        codex_session_id: codex,
        conversation_id: session.conversation(),
        stream: "codex".parse().unwrap(),
        command_seq: StreamSeq(command),
    })
}

pub(crate) fn ended() -> SessionFact {
    SessionFact::Ended(Ended {
        by: requester(),
        cancel: false,
        reason: None,
    })
}

/// A `result` line as the Claude CLI prints it.
pub(crate) fn result_line(text: &str, cost: &str) -> String {
    format!(
        r#"{{"type":"result","subtype":"success","is_error":false,"result":{},"total_cost_usd":{cost},"usage":{{"input_tokens":3,"note":"a\u0000b"}},"modelUsage":{{"m":{{"costUSD":0.1}}}}}}"#,
        serde_json::to_string(text).unwrap()
    )
}
