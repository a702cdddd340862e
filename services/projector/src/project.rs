//! What a message of the log means for the tables. Pure: a message in, changes out.
//!
//! Invariant: every message ends in changes, in a poison row that says why not, or in nothing
//! because its kind is not known here. None is refused for what it holds.

use jiff::Timestamp;
use rdev_bus::LogStream;
use rdev_contract::agent::Agent;
use rdev_contract::envelope::{Message, PAYLOAD_VERSION};
use rdev_contract::event::{Command, Complete, Kind, RawEvent, Resumed, Started, Work, event_name};
use rdev_contract::id::{AgentSessionId, ExecId};
use rdev_contract::position::{EventNo, StreamSeq};
use rdev_contract::session::{SessionFact, SessionMessage};
use rdev_contract::subject::{self, Subject};
use rdev_domain::conversation::{Role, message_id, title};
use rdev_readmodel::{
    AssistantMessage, Change, Commanded, Completed, ConversationHeld, LogIdentity, MessageId,
    Poisoned, SessionCreated, SessionEnded, SessionLinked, SessionPodTold, SessionWarned,
    ToolsHeld, UserMessage,
};

use crate::agent::Source;
pub use crate::agent::joined;

/// A message with its place in the log.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Which stream.
    pub stream: LogStream,
    /// Which life of it.
    pub log: LogIdentity,
    /// Where in it.
    pub sequence: StreamSeq,
    /// Where it was published to.
    pub subject: &'a str,
    /// What it holds.
    pub payload: &'a [u8],
    /// When the server stored it.
    pub stored_at: Timestamp,
}

/// One thing to be done for a message, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Change a row.
    Change(Change),
    /// Join the parts of an agent's line: its last one is here.
    Join(Line),
}

/// A line of an agent's whose last part is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The exec that printed it.
    pub exec: ExecId,
    /// Whose line it is.
    pub agent: Agent,
    /// Index of the last part.
    pub last: u32,
    /// The event that the line is.
    pub event: EventNo,
    /// When its message was written.
    pub at: Timestamp,
}

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Its subject names no exec or session.
    #[error("the subject is not one of this stream")]
    Subject,
    /// It is not JSON, or lacks something, or an id in it is not one.
    #[error("the payload cannot be decoded: {0}")]
    Payload(#[from] serde_json::Error),
    /// Made by a newer build.
    #[error("the payload has version {0}; this build reads version {PAYLOAD_VERSION}")]
    Version(u32),
    /// What it says about itself is not what its subject says: subjects are what permissions
    /// are given for, so it may be somebody else's.
    #[error("the payload names another exec, session or kind than the subject")]
    Mismatch,
    /// The end without its event.
    #[error("the message holds no complete event")]
    NoComplete,
}

/// What is to be done for a message.
#[must_use]
pub fn project(entry: &Entry<'_>) -> Vec<Step> {
    let steps = match entry.stream {
        LogStream::Exec => project_exec(entry),
        LogStream::Session => project_session(entry),
    };
    steps.unwrap_or_else(|reason| vec![Step::Change(poison(entry, &reason.to_string()))])
}

/// The message as one that could not be read.
#[must_use]
pub fn poison(entry: &Entry<'_>, reason: &str) -> Change {
    Change::Poisoned(Box::new(Poisoned {
        stream: entry.stream.name(),
        log: entry.log,
        sequence: entry.sequence,
        subject: entry.subject.to_owned(),
        payload: entry.payload.to_vec(),
        stored_at: entry.stored_at,
        reason: reason.to_owned(),
    }))
}

fn project_session(entry: &Entry<'_>) -> Result<Vec<Step>, Unreadable> {
    let known = entry
        .subject
        .rsplit('.')
        .next()
        .is_some_and(is_session_kind);
    if !known {
        return Ok(Vec::new());
    }
    let message: SessionMessage = serde_json::from_slice(entry.payload)?;
    check_version(message.v)?;
    let subject = Subject::session(&message.project, message.session, message.fact.kind());
    if subject.as_str() != entry.subject {
        return Err(Unreadable::Mismatch);
    }
    let (project, session, at) = (message.project, message.session, message.at);
    let change = match message.fact {
        SessionFact::Created(created) => Change::SessionCreated(SessionCreated {
            project,
            session,
            created,
            at,
        }),
        SessionFact::Pod(pod) => Change::SessionPodTold(SessionPodTold {
            project,
            session,
            state: pod.state,
            message: pod.message,
            pod: pod.pod.map(|pod| pod.name),
        }),
        SessionFact::IdleWarning(warning) => Change::SessionWarned(SessionWarned {
            project,
            session,
            ends_at: warning.ends_at,
        }),
        SessionFact::Linked(linked) => Change::SessionLinked(SessionLinked {
            project,
            session,
            agent: Agent::Claude,
            agent_session: linked.claude_session_id,
            stream: linked.stream,
            command_seq: linked.command_seq,
        }),
        SessionFact::CodexLinked(linked) => Change::SessionLinked(SessionLinked {
            project,
            session,
            agent: Agent::Codex,
            agent_session: linked.codex_session_id,
            stream: linked.stream,
            command_seq: linked.command_seq,
        }),
        SessionFact::Ended(ended) => Change::SessionEnded(SessionEnded {
            project,
            session,
            by: ended.by,
            reason: ended.reason,
            at,
        }),
    };
    Ok(vec![Step::Change(change)])
}

fn is_session_kind(token: &str) -> bool {
    token.parse::<rdev_contract::session::SessionKind>().is_ok()
}

const fn check_version(version: u32) -> Result<(), Unreadable> {
    if version == PAYLOAD_VERSION {
        Ok(())
    } else {
        Err(Unreadable::Version(version))
    }
}

fn project_exec(entry: &Entry<'_>) -> Result<Vec<Step>, Unreadable> {
    let (exec, token) = subject::parse_exec(entry.subject).map_err(|_| Unreadable::Subject)?;
    let Ok(kind) = token.parse::<Kind>() else {
        return Ok(Vec::new());
    };
    let message = Message::decode(entry.payload)?;
    check_version(message.head.v)?;
    if message.head.exec() != exec || message.head.kind != token {
        return Err(Unreadable::Mismatch);
    }
    let at = message.head.at;
    match kind {
        Kind::Command => Ok(vec![Step::Change(commanded(
            entry,
            exec,
            message.fact()?,
            at,
        ))]),
        Kind::Started => Ok(vec![Step::Change(started(
            entry,
            exec,
            message.fact()?,
            at,
        ))]),
        Kind::Resumed => {
            let resumed: Resumed = message.fact()?;
            Ok(vec![Step::Change(Change::Resumed(
                rdev_readmodel::Resumed {
                    exec,
                    log: entry.log,
                    attempt: resumed.attempt,
                    executor: resumed.executor,
                    at,
                },
            ))])
        }
        Kind::Output | Kind::Admitted | Kind::Approval => Ok(Vec::new()),
        Kind::Claude => Ok(said(entry, &exec, Agent::Claude, &message)),
        Kind::Codex => Ok(said(entry, &exec, Agent::Codex, &message)),
        Kind::Complete => completed(entry, exec, &message.events, at),
    }
}

/// What an agent said.
fn said(entry: &Entry<'_>, exec: &ExecId, agent: Agent, message: &Message<'_>) -> Vec<Step> {
    let source = Source {
        log: entry.log,
        exec,
        agent,
        at: message.head.at,
    };
    let first = message.head.first.unwrap_or(EventNo::FIRST);
    crate::agent::said(&source, first, &message.events)
}

fn commanded(entry: &Entry<'_>, exec: ExecId, command: Command, at: Timestamp) -> Change {
    let spec = command.spec;
    let kind = spec.work.type_name();
    let (command_text, prompt) = match spec.work {
        Work::Shell { command } | Work::Git { command } => (Some(command), None),
        Work::Claude { prompt, .. } | Work::Codex { prompt, .. } => (None, Some(prompt)),
    };
    Change::Commanded(Box::new(Commanded {
        exec,
        kind,
        command: command_text,
        prompt,
        args: spec.args,
        cwd: spec.cwd,
        timeout_seconds: spec.timeout_seconds,
        by: command.by,
        log: entry.log,
        sequence: entry.sequence,
        at,
    }))
}

fn started(entry: &Entry<'_>, exec: ExecId, started: Started, at: Timestamp) -> Change {
    Change::Started(Box::new(rdev_readmodel::Started {
        exec,
        log: entry.log,
        attempt: started.attempt,
        executor: started.executor,
        argv: started.argv,
        resume_id: started.resume_id,
        pod: started.pod,
        at,
    }))
}

fn completed(
    entry: &Entry<'_>,
    exec: ExecId,
    events: &[RawEvent<'_>],
    at: Timestamp,
) -> Result<Vec<Step>, Unreadable> {
    let data = events
        .iter()
        .find(|event| event.name == event_name::COMPLETE)
        .and_then(|event| event.data)
        .ok_or(Unreadable::NoComplete)?;
    let complete: Complete = serde_json::from_str(data.get())?;
    let yielded = yielded(&complete);
    let mut steps = vec![Step::Change(Change::Completed(Box::new(Completed {
        exec: exec.clone(),
        log: entry.log,
        sequence: entry.sequence,
        complete,
        at,
    })))];
    if let Some((agent, session)) = yielded {
        steps.extend(turn(exec, agent, session, at).map(Step::Change));
    }
    Ok(steps)
}

/// The agent's session that the exec yielded.
fn yielded(complete: &Complete) -> Option<(Agent, AgentSessionId)> {
    let ids = [
        (Agent::Claude, &complete.claude_session_id),
        (Agent::Codex, &complete.codex_session_id),
    ];
    ids.into_iter()
        .find_map(|(agent, id)| Some((agent, id.parse().ok()?)))
}

/// The turn that an exec adds to its session's conversation. Prompt, result and tools are in their
/// rows by now, so the statements take them from there.
fn turn(exec: ExecId, agent: Agent, agent_session: AgentSessionId, at: Timestamp) -> [Change; 4] {
    let conversation = exec.session.conversation();
    [
        Change::ConversationHeld(ConversationHeld {
            exec: exec.clone(),
            conversation,
            title: title(exec.session),
            agent,
            agent_session,
            at,
        }),
        Change::UserMessage(UserMessage {
            id: MessageId(message_id(&exec, Role::User)),
            exec: exec.clone(),
            conversation,
        }),
        Change::ToolsHeld(ToolsHeld {
            exec: exec.clone(),
            conversation,
        }),
        Change::AssistantMessage(AssistantMessage {
            id: MessageId(message_id(&exec, Role::Assistant)),
            exec,
            conversation,
            at,
        }),
    ]
}

#[cfg(test)]
#[path = "project_tests.rs"]
mod tests;
