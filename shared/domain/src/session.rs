//! The state of a session, folded from the last fact of each kind. Used by the gateway (may a
//! command run, what does the session look like), by executors (what to resume, whether to
//! link, which pod is meant, what is due: [`crate::life`]) and by the projector.
//!
//! Invariant: of two links the one of the later command is the newer, whatever order they were
//! written in; an end is final.

use jiff::Timestamp;
use rdev_contract::agent::Agent;
use rdev_contract::event::Requester;
use rdev_contract::http::SessionView;
use rdev_contract::id::{AgentSessionId, PodName, ProjectId, SessionId, StreamId};
use rdev_contract::position::StreamSeq;
use rdev_contract::session::{
    CodexLinked, Created, EndReason, Ended, Linked, PodState, SessionFact, SessionMessage,
    SessionPod,
};
use rdev_contract::sse::SessionNews;

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
    /// What has become of the pod that is made or chosen for it.
    pub pod: Option<SessionPod>,
    /// When it ends unless something happens in it: it was warned.
    pub idle_ends_at: Option<Timestamp>,
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

/// The session's state from its facts, in any order.
///
/// # Errors
/// [`SessionFoldError`] when it was not created, or the facts are not of one session.
pub fn fold(facts: &[SessionMessage]) -> Result<SessionState, SessionFoldError> {
    let (first, created, created_at) = facts
        .iter()
        .find_map(|message| match &message.fact {
            SessionFact::Created(created) => Some((message, created, message.at)),
            SessionFact::Linked(_)
            | SessionFact::CodexLinked(_)
            | SessionFact::Pod(_)
            | SessionFact::IdleWarning(_)
            | SessionFact::Ended(_) => None,
        })
        .ok_or(SessionFoldError::NotCreated)?;
    let mut state = SessionState {
        project: first.project.clone(),
        session: first.session,
        created: created.clone(),
        created_at,
        linked: None,
        codex_linked: None,
        pod: None,
        idle_ends_at: None,
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
            SessionFact::Pod(pod) => self.pod = Some(pod.clone()),
            SessionFact::IdleWarning(warning) => self.idle_ends_at = warning.ends_at,
            SessionFact::Ended(ended) => {
                if self.ended.is_none() {
                    self.ended = Some(ended.clone());
                    self.ended_at = Some(message.at);
                }
            }
        }
    }

    /// The fact that ends it, or nothing if it has ended already.
    #[must_use]
    pub fn end(&self, by: Requester, cancel: bool, reason: EndReason) -> Option<SessionFact> {
        match self.ended {
            None => Some(SessionFact::Ended(Ended {
                by,
                cancel,
                reason: Some(reason),
            })),
            Some(_) => None,
        }
    }

    /// Whether its pod is made or chosen for it, and not one that it names.
    #[must_use]
    pub fn is_provided(&self) -> bool {
        self.created.template.is_some() || !self.created.selector.is_empty()
    }

    /// How far the pod is that is made or chosen for it.
    #[must_use]
    pub fn pod_state(&self) -> Option<PodState> {
        let told = self.pod.as_ref().map(|pod| pod.state);
        self.is_provided()
            .then(|| told.unwrap_or(PodState::Pending))
    }

    /// Whether commands have to wait for its pod. Whoever waits for one of an ended session waits no
    /// more: there is none to come.
    #[must_use]
    pub fn awaits_pod(&self) -> bool {
        self.pod_state() == Some(PodState::Pending) && self.ended.is_none()
    }

    /// Why it takes no command any more, in words; none while it does.
    #[must_use]
    pub fn end_in_words(&self) -> Option<String> {
        let ended = self.ended.as_ref()?;
        let why = match ended.reason {
            None | Some(EndReason::Deleted) => return Some("the session has ended".to_owned()),
            Some(EndReason::Idle) => "it was idle".to_owned(),
            Some(EndReason::Expired) => "it had lived as long as it may".to_owned(),
            Some(EndReason::Failed) => {
                let pod = self.pod.as_ref();
                pod.map(|pod| pod.message.clone()).unwrap_or_default()
            }
        };
        Some(format!("the session has ended: {why}"))
    }

    /// The pod, once it is known.
    #[must_use]
    pub fn pod_name(&self) -> Option<PodName> {
        let chosen = self.pod.as_ref().and_then(|pod| pod.pod.as_ref());
        let chosen = chosen.and_then(|pod| pod.name.parse().ok());
        self.created.pod.clone().or(chosen)
    }

    /// What readers of its feed are told.
    #[must_use]
    pub fn news(&self) -> SessionNews {
        let ended = self.ended.as_ref();
        SessionNews {
            status: self.status().to_owned(),
            pod_state: self.pod_state(),
            pod_message: self.pod_message().unwrap_or_default().to_owned(),
            pod: self.pod_name(),
            idle_ends_at: self.idle_ends_at.filter(|_| ended.is_none()),
            reason: ended.map(|ended| ended.reason.unwrap_or(EndReason::Deleted)),
        }
    }

    const fn status(&self) -> &'static str {
        match self.ended {
            None => "active",
            Some(_) => "ended",
        }
    }

    fn pod_message(&self) -> Option<&str> {
        let message = self.pod.as_ref().map(|pod| pod.message.as_str());
        message.filter(|message| !message.is_empty())
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
        let created = &self.created;
        let ended_reason = self.ended.as_ref().and_then(|ended| ended.reason);
        let idle_ends_at = self.idle_ends_at.filter(|_| self.ended.is_none());
        SessionView {
            id: self.session.to_string(),
            project_id: self.project.to_string(),
            status: self.status().to_owned(),
            pod: self.pod_name().map(|name| name.to_string()),
            namespace: created.namespace.as_ref().map(ToString::to_string),
            container: created.container.as_ref().map(ToString::to_string),
            template: created.template.as_ref().map(ToString::to_string),
            selector: created.selector.clone(),
            pod_state: self.pod_state().map(|state| state.name().to_owned()),
            pod_message: self.pod_message().map(str::to_owned),
            conversation_id: self.session.conversation().to_string(),
            claude_session_id: self.linked_to(Agent::Claude).map(|id| id.to_string()),
            codex_session_id: self.linked_to(Agent::Codex).map(|id| id.to_string()),
            created_at: self.created_at,
            idle_timeout_seconds: created.idle_timeout_seconds,
            idle_ends_at,
            expires_at: created.expires_at,
            ended_at: self.ended_at,
            ended_reason: ended_reason.map(|reason| reason.name().to_owned()),
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
