//! The state of a session, folded from the last fact of each kind. Used by the gateway (may a
//! command run, what does the session look like), by executors (what to resume, whether to
//! link) and by the projector.
//!
//! Invariant: of two links the one of the later command is the newer, whatever order they were
//! written in; an end is final.

use jiff::Timestamp;
use rdev_contract::agent::Agent;
use rdev_contract::event::Requester;
use rdev_contract::http::SessionView;
use rdev_contract::id::{AgentSessionId, ProjectId, SessionId, StreamId};
use rdev_contract::position::StreamSeq;
use rdev_contract::session::{CodexLinked, Created, Ended, Linked, SessionFact, SessionMessage};

/// A session as its facts describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionState {
    /// The tenant.
    pub project: ProjectId,
    /// The session.
    pub session: SessionId,
    /// Its pod.
    pub created: Created,
    /// Since when.
    pub created_at: Timestamp,
    /// The claude session it continues with.
    pub linked: Option<Linked>,
    /// The codex session that codex continues with.
    pub codex_linked: Option<CodexLinked>,
    /// Its end.
    pub ended: Option<Ended>,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
}

/// The facts do not make a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionFoldError {
    /// Nothing says that it was created: to its readers it does not exist.
    #[error("no fact says that the session was created")]
    NotCreated,
    /// Facts of two sessions.
    #[error("the facts belong to different sessions")]
    Mixed,
}

/// The session takes no commands any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended: create another one")]
pub struct SessionEnded;

/// The session's state from its facts, in any order.
///
/// # Errors
/// [`SessionFoldError`] when it was not created, or the facts are not of one session.
pub fn fold(facts: &[SessionMessage]) -> Result<SessionState, SessionFoldError> {
    let (first, created, created_at) = facts
        .iter()
        .find_map(|message| match &message.fact {
            SessionFact::Created(created) => Some((message, created, message.at)),
            SessionFact::Linked(_) | SessionFact::CodexLinked(_) | SessionFact::Ended(_) => None,
        })
        .ok_or(SessionFoldError::NotCreated)?;
    let mut state = SessionState {
        project: first.project.clone(),
        session: first.session,
        created: created.clone(),
        created_at,
        linked: None,
        codex_linked: None,
        ended: None,
        ended_at: None,
    };
    for message in facts {
        if message.project != state.project || message.session != state.session {
            return Err(SessionFoldError::Mixed);
        }
        state.apply(message);
    }
    Ok(state)
}

impl SessionState {
    /// Takes one more fact of this session in.
    pub fn apply(&mut self, message: &SessionMessage) {
        match &message.fact {
            SessionFact::Created(_) => {}
            SessionFact::Linked(link) => {
                if self.is_newer_link(link) {
                    self.linked = Some(link.clone());
                }
            }
            SessionFact::CodexLinked(link) => {
                let current = self.codex_linked.as_ref();
                if current.is_none_or(|current| current.command_seq < link.command_seq) {
                    self.codex_linked = Some(link.clone());
                }
            }
            SessionFact::Ended(ended) => {
                if self.ended.is_none() {
                    self.ended = Some(ended.clone());
                    self.ended_at = Some(message.at);
                }
            }
        }
    }

    /// Whether a new command may be accepted.
    ///
    /// # Errors
    /// [`SessionEnded`] when not.
    pub const fn can_exec(&self) -> Result<(), SessionEnded> {
        match self.ended {
            None => Ok(()),
            Some(_) => Err(SessionEnded),
        }
    }

    /// The fact that ends it, or nothing if it has ended already.
    #[must_use]
    pub fn end(&self, by: Requester, cancel: bool) -> Option<SessionFact> {
        match self.ended {
            None => Some(SessionFact::Ended(Ended { by, cancel })),
            Some(_) => None,
        }
    }

    /// The fact that links the claude session which an exec yielded, or nothing if there is a
    /// newer link, or this one, already.
    #[must_use]
    pub fn link(
        &self,
        claude_session_id: AgentSessionId,
        stream: StreamId,
        command_seq: StreamSeq,
    ) -> Option<SessionFact> {
        let link = Linked {
            claude_session_id,
            conversation_id: self.session.conversation(),
            stream,
            command_seq,
        };
        self.is_newer_link(&link)
            .then_some(SessionFact::Linked(link))
    }

    /// The session of this agent that it continues with.
    #[must_use]
    pub fn linked_to(&self, agent: Agent) -> Option<AgentSessionId> {
        match agent {
            Agent::Claude => self.linked.as_ref().map(|link| link.claude_session_id),
            Agent::Codex => {
                let link = self.codex_linked.as_ref();
                link.map(|link| link.codex_session_id)
            }
        }
    }

    fn is_newer_link(&self, link: &Linked) -> bool {
        self.linked
            .as_ref()
            .is_none_or(|current| current.command_seq < link.command_seq)
    }

    /// As the API shows it.
    #[must_use]
    pub fn view(&self) -> SessionView {
        let status = match self.ended {
            None => "active",
            Some(_) => "ended",
        };
        SessionView {
            id: self.session.to_string(),
            project_id: self.project.to_string(),
            status: status.to_owned(),
            pod: self.created.pod.to_string(),
            namespace: self.created.namespace.as_ref().map(ToString::to_string),
            container: self.created.container.as_ref().map(ToString::to_string),
            conversation_id: self.session.conversation().to_string(),
            claude_session_id: self.linked_to(Agent::Claude).map(|id| id.to_string()),
            codex_session_id: self.linked_to(Agent::Codex).map(|id| id.to_string()),
            created_at: self.created_at,
            ended_at: self.ended_at,
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
