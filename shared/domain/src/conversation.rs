//! How a session's execs are kept as a conversation. Used by the projector and by whoever
//! rebuilds or audits the read model, which must come to equal rows.
//!
//! Invariant: names and ids are derived from the exec alone, so the same log gives the same rows,
//! also when it was restored under other sequences.

use rdev_contract::id::{ExecId, SessionId};
use rdev_contract::position::EventNo;
use uuid::Uuid;

/// Blocks have numbers of 16 bits.
const STEPS_PER_EVENT: u64 = 1 << 16;

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The client: the prompt.
    User,
    /// The agent: its answer.
    Assistant,
}

impl Role {
    /// As in the API and in the read model.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// The title of a session's conversation: `Session {first 8 of the session id}`.
#[must_use]
pub fn title(session: SessionId) -> String {
    let text = session.to_string();
    let short = text.get(..8).unwrap_or(&text);
    format!("Session {short}")
}

/// The id of the message that an exec adds to its conversation in this role.
#[must_use]
pub fn message_id(exec: &ExecId, role: Role) -> Uuid {
    let name = format!("message/{}/{}/{}", exec.project, exec.stream, role.name());
    Uuid::new_v5(&exec.session.uuid(), name.as_bytes())
}

/// Where a tool message stands in its exec: the number of the event that holds it, then its block.
#[must_use]
pub fn step(event: EventNo, block: u16) -> u64 {
    event.0.saturating_mul(STEPS_PER_EVENT) + u64::from(block)
}

/// The id of the tool message at this step of an exec.
#[must_use]
pub fn tool_message_id(exec: &ExecId, step: u64) -> Uuid {
    let name = format!("message/{}/{}/{step}", exec.project, exec.stream);
    Uuid::new_v5(&exec.session.uuid(), name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_by_exec_and_role_and_stay_the_same() {
        let exec = |stream: &str| ExecId {
            project: "demo".parse().unwrap(),
            session: "01930000-0000-7000-8000-000000000001".parse().unwrap(),
            stream: stream.parse().unwrap(),
        };
        let ids = [
            message_id(&exec("a"), Role::User),
            message_id(&exec("a"), Role::Assistant),
            message_id(&exec("b"), Role::User),
        ];
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
        // Rows of earlier versions carry it.
        assert_eq!(ids[0].to_string(), "5fad1256-445a-56bb-852e-0a78a7b4274f");
        assert_eq!(title(exec("a").session), "Session 01930000");
    }
}
