//! Where things are in the API, from its root. What is answered there is for the gateway's own list
//! of routes to say.

use rdev_contract::id::{ExecId, ProjectId, SessionId};

/// Whether it can work.
pub(crate) const READY: &str = "readyz";

fn project(project: &ProjectId) -> String {
    format!("projects/{project}")
}

/// The sessions of a project.
pub(crate) fn sessions(of: &ProjectId) -> String {
    format!("{}/sessions", project(of))
}

/// A session.
pub(crate) fn session(of: &ProjectId, session: SessionId) -> String {
    format!("{}/{session}", sessions(of))
}

/// Where commands are posted.
pub(crate) fn exec(of: &ProjectId, of_session: SessionId) -> String {
    format!("{}/exec", session(of, of_session))
}

/// The events of all execs of a session.
pub(crate) fn feed(of: &ProjectId, of_session: SessionId) -> String {
    format!("{}/events", session(of, of_session))
}

/// The execs of a session, or of the whole project.
pub(crate) fn execs(of: &ProjectId, of_session: Option<SessionId>) -> String {
    match of_session {
        Some(of_session) => format!("{}/execs", session(of, of_session)),
        None => format!("{}/execs", project(of)),
    }
}

/// An exec.
pub(crate) fn one(exec: &ExecId) -> String {
    format!(
        "{}/{}",
        execs(&exec.project, Some(exec.session)),
        exec.stream
    )
}

/// What belongs to an exec: `events`, `cancel`, `stdin`, `resize`, `screen`, `approvals`.
pub(crate) fn of_exec(exec: &ExecId, what: &str) -> String {
    format!("{}/{what}", one(exec))
}

/// Where a question of an agent is answered.
pub(crate) fn approval(exec: &ExecId, approval: &str) -> String {
    // An agent's own name of its question may have any character.
    let encoded: String = approval.bytes().map(encode).collect();
    format!("{}/{encoded}", of_exec(exec, "approvals"))
}

/// The conversations of a project.
pub(crate) fn conversations(of: &ProjectId) -> String {
    format!("{}/conversations", project(of))
}

/// What was said in one of them.
pub(crate) fn messages(of: &ProjectId, conversation: &str) -> String {
    format!("{}/{conversation}/messages", conversations(of))
}

fn encode(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}
