//! Every NATS name: streams, subjects, consumers, buckets. Nobody spells one elsewhere.
//!
//! A [`Subject`] can be published to; a [`Filter`] may hold wildcards and can only be read from.

use std::fmt;

use crate::event::Kind;
use crate::id::{ExecId, KeyId, ProjectId, SessionId};
use crate::session::SessionKind;

/// The stream of all execs: commands, output and ends.
pub const EXEC_STREAM: &str = "RDEV_EXEC";
/// The stream of session facts.
pub const SESSION_STREAM: &str = "RDEV_SESSION";
/// The stream of orders for execs that are queued or run.
pub const CONTROL_STREAM: &str = "RDEV_CONTROL";
/// The stream of who gave which orders, which stays when they are gone.
pub const TRAIL_STREAM: &str = "RDEV_TRAIL";
/// Last activity of each session.
pub const ACTIVITY_BUCKET: &str = "RDEV_ACTIVITY";
/// API keys, hashed.
pub const KEYS_BUCKET: &str = "RDEV_KEYS";
/// The stream below that bucket.
pub const KEYS_STREAM: &str = "KV_RDEV_KEYS";
/// Who schedules, and what a scheduler leaves for the next one.
pub const SCHEDULER_BUCKET: &str = "RDEV_SCHEDULER";
/// The key of the scheduler's term in its bucket.
pub const SCHEDULER_TERM_KEY: &str = "term";
/// The key of the queue's snapshot in the scheduler's bucket.
pub const QUEUE_SNAPSHOT_KEY: &str = "snapshot";
/// The durable pull consumer that is the work queue of all executors: what was admitted.
pub const ADMITTED_CONSUMER: &str = "admitted";
/// The work queue of versions without a scheduler, which took commands in the order of the log.
pub const FORMER_CONSUMER: &str = "executors";
/// Where executors say how many execs they can run.
pub const SLOTS_ANNOUNCED: &str = "rdev.slots";

/// What the exec stream stores.
pub const EXEC_SUBJECTS: &str = "rdev.exec.*.*.*.*";
/// Where the exec stream republishes to after storage: the rest of the subject is the same.
pub const LIVE_SOURCE: &str = "rdev.exec.>";
/// The destination of the republish; see [`LIVE_SOURCE`].
pub const LIVE_DESTINATION: &str = "rdev.live.>";
/// What the session stream stores.
pub const SESSION_SUBJECTS: &str = "rdev.session.*.*.*";
/// What the control stream stores.
pub const CONTROL_SUBJECTS: &str = "rdev.control.*.*.*";
/// What the trail stores.
pub const TRAIL_SUBJECTS: &str = "rdev.trail.*.*.*";
/// What the control stream republishes after storage, without its payload: word that there is an
/// order, for the executor that has the exec.
pub const CONTROL_SOURCE: &str = "rdev.control.>";
/// The destination of the republish; see [`CONTROL_SOURCE`].
pub const CONTROL_DESTINATION: &str = "rdev.ordered.>";

/// Where the copies that consumers of one project read get their messages: below it, by project.
pub const COPIED: &str = "rdev.copied";

const KEYS_PREFIX: &str = "$KV.RDEV_KEYS.";

/// An entry of the bucket of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyEntry {
    /// A [`crate::key::KeyRecord`].
    Key(KeyId),
    /// A [`crate::key::KeyUse`].
    Use(KeyId),
    /// What tickets are signed with: 64 lower-case hex digits.
    TicketSecret,
}

impl KeyEntry {
    /// What is stored at this subject; none of what later versions may have put there.
    #[must_use]
    pub fn at(subject: &str) -> Option<Self> {
        let entry = subject.strip_prefix(KEYS_PREFIX)?;
        match entry.split_once('.') {
            Some(("key", id)) => id.parse().ok().map(Self::Key),
            Some(("used", id)) => id.parse().ok().map(Self::Use),
            None if entry == "ticket" => Some(Self::TicketSecret),
            Some(_) | None => None,
        }
    }
}

/// A subject without wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject(String);

/// A subject, possibly with wildcards: to subscribe, filter or fence with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter(String);

impl Subject {
    /// Where a message of this kind of this exec is stored.
    #[must_use]
    pub fn exec(exec: &ExecId, kind: Kind) -> Self {
        Self(format!(
            "rdev.exec.{}.{}.{}.{kind}",
            exec.project, exec.session, exec.stream
        ))
    }

    /// Where a fact of this kind of this session is stored.
    #[must_use]
    pub fn session(project: &ProjectId, session: SessionId, kind: SessionKind) -> Self {
        Self(format!("rdev.session.{project}.{session}.{kind}"))
    }

    /// Where orders for this exec are stored.
    #[must_use]
    pub fn control(exec: &ExecId) -> Self {
        Self(format!(
            "rdev.control.{}.{}.{}",
            exec.project, exec.session, exec.stream
        ))
    }

    /// Where it is noted that an order for this exec is about to be given.
    #[must_use]
    pub fn trail(exec: &ExecId) -> Self {
        Self(format!(
            "rdev.trail.{}.{}.{}",
            exec.project, exec.session, exec.stream
        ))
    }

    /// Where an entry of the bucket of keys is stored.
    #[must_use]
    pub fn key(entry: &KeyEntry) -> Self {
        Self(match entry {
            KeyEntry::Key(id) => format!("{KEYS_PREFIX}key.{id}"),
            KeyEntry::Use(id) => format!("{KEYS_PREFIX}used.{id}"),
            KeyEntry::TicketSecret => format!("{KEYS_PREFIX}ticket"),
        })
    }

    /// The subject as NATS takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Filter {
    /// All stored messages of one exec; also what its writers fence with.
    #[must_use]
    pub fn exec(exec: &ExecId) -> Self {
        Self(format!(
            "rdev.exec.{}.{}.{}.>",
            exec.project, exec.session, exec.stream
        ))
    }

    /// Subjects that nobody publishes to: what a work queue hands out that is no longer one.
    #[must_use]
    pub fn nothing() -> Self {
        Self("rdev.exec.*.*.*.retired".to_owned())
    }

    /// All messages of every exec.
    #[must_use]
    pub fn execs() -> Self {
        Self(EXEC_SUBJECTS.to_owned())
    }

    /// All messages of one kind, of every exec.
    #[must_use]
    pub fn kind(kind: Kind) -> Self {
        Self(format!("rdev.exec.*.*.*.{kind}"))
    }

    /// All entries of a bucket.
    #[must_use]
    pub fn bucket(bucket: &str) -> Self {
        Self(format!("$KV.{bucket}.>"))
    }

    /// All messages of one project's execs.
    #[must_use]
    pub fn project_execs(project: &ProjectId) -> Self {
        Self(format!("rdev.exec.{project}.>"))
    }

    /// All facts of one project's sessions.
    #[must_use]
    pub fn project_sessions(project: &ProjectId) -> Self {
        Self(format!("rdev.session.{project}.>"))
    }

    /// All stored messages of one project's execs as they arrive, after storage.
    #[must_use]
    pub fn live_project(project: &ProjectId) -> Self {
        Self(format!("rdev.live.{project}.>"))
    }

    /// All stored messages of one exec as they arrive, after storage.
    #[must_use]
    pub fn live_exec(exec: &ExecId) -> Self {
        Self(format!(
            "rdev.live.{}.{}.{}.>",
            exec.project, exec.session, exec.stream
        ))
    }

    /// All stored messages of one session's execs as they arrive, after storage.
    #[must_use]
    pub fn live_session(project: &ProjectId, session: SessionId) -> Self {
        Self(format!("rdev.live.{project}.{session}.>"))
    }

    /// All execs of one session.
    #[must_use]
    pub fn session_execs(project: &ProjectId, session: SessionId) -> Self {
        Self(format!("rdev.exec.{project}.{session}.>"))
    }

    /// All messages of one kind, of the execs of one session.
    #[must_use]
    pub fn session_kind(project: &ProjectId, session: SessionId, kind: Kind) -> Self {
        Self(format!("rdev.exec.{project}.{session}.*.{kind}"))
    }

    /// Word of orders for one exec, after storage.
    #[must_use]
    pub fn ordered(exec: &ExecId) -> Self {
        Self(format!(
            "rdev.ordered.{}.{}.{}",
            exec.project, exec.session, exec.stream
        ))
    }

    /// All of the trail.
    #[must_use]
    pub fn trail() -> Self {
        Self(TRAIL_SUBJECTS.to_owned())
    }

    /// Everything in the bucket of keys.
    #[must_use]
    pub fn keys() -> Self {
        Self(format!("{KEYS_PREFIX}>"))
    }

    /// All facts of one session.
    #[must_use]
    pub fn session(project: &ProjectId, session: SessionId) -> Self {
        Self(format!("rdev.session.{project}.{session}.>"))
    }

    /// All session facts of one kind.
    #[must_use]
    pub fn session_facts(kind: SessionKind) -> Self {
        Self(format!("rdev.session.*.*.{kind}"))
    }

    /// All session facts there are.
    #[must_use]
    pub fn sessions() -> Self {
        Self("rdev.session.>".to_owned())
    }

    /// The filter as NATS takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Subject> for Filter {
    fn from(subject: Subject) -> Self {
        Self(subject.0)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What the subject of a stored or live exec message says: whose it is, and its kind.
///
/// # Errors
/// [`NotAnExecSubject`] when it is none, or an id in it is not one.
pub fn parse_exec(subject: &str) -> Result<(ExecId, &str), NotAnExecSubject> {
    let rest = subject
        .strip_prefix("rdev.exec.")
        .or_else(|| subject.strip_prefix("rdev.live."))
        .ok_or(NotAnExecSubject)?;
    let mut tokens = rest.split('.');
    let (Some(project), Some(session), Some(stream), Some(kind), None) = (
        tokens.next(),
        tokens.next(),
        tokens.next(),
        tokens.next(),
        tokens.next(),
    ) else {
        return Err(NotAnExecSubject);
    };
    let exec = ExecId {
        project: project.parse().map_err(|_| NotAnExecSubject)?,
        session: session.parse().map_err(|_| NotAnExecSubject)?,
        stream: stream.parse().map_err(|_| NotAnExecSubject)?,
    };
    Ok((exec, kind))
}

/// The subject is not that of an exec message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the subject of an exec message")]
pub struct NotAnExecSubject;
