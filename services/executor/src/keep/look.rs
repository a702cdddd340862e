//! One step for one session: what is due is done, and said in the log.
//!
//! Invariant: a step may be done twice, and by two at a time. Pods are made and removed by name and
//! labels, ends and pods are decided once by the log, and a warning says the same whoever gives it.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use rdev_bus::control::OrderError;
use rdev_bus::session::SessionError;
use rdev_contract::control::ControlMessage;
use rdev_contract::envelope::{Message, PAYLOAD_VERSION, Recorded};
use rdev_contract::event::Requester;
use rdev_contract::id::{DnsLabel, ExecId};
use rdev_contract::position::StreamSeq;
use rdev_contract::session::{
    EndReason, IdleWarning, PodState, SessionFact, SessionMessage, SessionPod,
};
use rdev_domain::life::{self, Duty, Idle};
use rdev_domain::session::{SessionState, fold};
use rdev_domain::{control, exec};

use super::{Keep, Key, LOOK_INTERVAL, Look, Looked};
use crate::context::now;
use crate::pod::PodError;
use crate::pod::provide::{Choice, Owned, Provided};

/// How often it is looked whether a session that was warned is idle still.
const WARNED_LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// What is due of a session.
pub(super) struct Step {
    pub(super) keep: Arc<Keep>,
    pub(super) state: SessionState,
    pub(super) log: String,
    /// Its execs that have not ended, if they are to be canceled.
    pub(super) open: Vec<ExecId>,
}

/// Looks whether the commands of a session have to wait for its pod.
pub(super) fn waits(keep: Arc<Keep>, key: Key) -> Look {
    async move {
        let facts = loop {
            match keep.bus.session_facts(&key.0, key.1).await {
                Ok(facts) => break facts,
                Err(error) => tracing::debug!(session.id = %key.1, %error, "session not read"),
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        };
        let facts: Vec<_> = facts.into_iter().map(|fact| fact.value).collect();
        // Of a session that does not exist, executors reject every command.
        let waits = fold(&facts).is_ok_and(|state| state.awaits_pod());
        Looked::Waits(key, waits)
    }
    .boxed()
}

impl Step {
    /// Does what is due. Gives when it may be idle, as far as is known by now.
    pub(super) fn look(self, duty: Duty) -> Look {
        async move {
            let key = (self.state.project.clone(), self.state.session);
            let done = match duty {
                Duty::Wait(_) | Duty::Over => Ok(()),
                Duty::Provide => self.provide().await,
                Duty::LookIdle(timeout) => {
                    return Looked::Session(key, self.look_idle(timeout).await);
                }
                Duty::Withdraw => self.warn(None).await,
                Duty::End(reason) => self.end(reason).await,
                Duty::Cancel => self.cancel().await,
                Duty::Discard => self.discard().await,
            };
            Looked::Session(key, done.map(|()| Timestamp::MIN))
        }
        .boxed()
    }

    async fn provide(&self) -> Result<(), String> {
        let provided = match self.provided().await {
            Ok(provided) => provided,
            Err(error) => {
                tracing::warn!(session.id = %self.state.session, %error, "its pod cannot be looked at");
                Provided::Pending(error.to_string())
            }
        };
        let now = now();
        let told = self.state.pod.as_ref();
        let since = told.and_then(|pod| pod.since).unwrap_or(now);
        let timeout = self.keep.settings.provision_timeout;
        let (state, message, pod) = match provided {
            Provided::Ready(pod) => (PodState::Ready, String::new(), Some(pod)),
            Provided::Failed(reason) => (PodState::Failed, reason, None),
            Provided::Pending(reason) if life::plus(since, timeout) <= now => {
                let seconds = timeout.as_secs();
                let reason = format!("there was no pod within {seconds} s: {reason}");
                (PodState::Failed, reason, None)
            }
            Provided::Pending(reason) => (PodState::Pending, reason, None),
        };
        let since = (state == PodState::Pending).then_some(since);
        let pod = SessionPod {
            state,
            message,
            since,
            pod,
        };
        self.tell_pod(pod).await
    }

    async fn provided(&self) -> Result<Provided, PodError> {
        let Some(name) = &self.state.created.template else {
            return self.keep.backend.choose(&self.choice()).await;
        };
        let templates = &self.keep.settings.templates;
        let Some(template) = templates.get(name.as_str()) else {
            let names = templates.names();
            let why = format!("the executors have no template {name}; {names}");
            return Ok(Provided::Failed(why));
        };
        self.keep.backend.provide(&self.owned(), template).await
    }

    /// What is known of the pod; what was decided stays.
    async fn tell_pod(&self, pod: SessionPod) -> Result<(), String> {
        if self.state.pod.as_ref() == Some(&pod) {
            return Ok(());
        }
        if pod.state != PodState::Pending {
            tracing::info!(session.id = %self.state.session, state = pod.state.name(), pod.message,
                "the pod of a session");
        }
        let rank = |state: PodState| match state {
            PodState::Pending => 0,
            PodState::Ready | PodState::Failed => 1,
            PodState::Deleted => 2,
        };
        let new = rank(pod.state);
        let keep = |found: &SessionFact| match found {
            SessionFact::Pod(found) => rank(found.state) >= new.max(1),
            SessionFact::Created(_)
            | SessionFact::Linked(_)
            | SessionFact::CodexLinked(_)
            | SessionFact::IdleWarning(_)
            | SessionFact::Ended(_) => false,
        };
        let message = self.message(SessionFact::Pod(pod));
        let replaced = self.keep.bus.replace_session_fact(&message, keep).await;
        replaced.map_err(|error| error.to_string())
    }

    async fn look_idle(&self, timeout: Duration) -> Result<Timestamp, String> {
        let state = &self.state;
        let last = self.keep.bus.last_activity(&state.project, state.session);
        let last = last.await.map_err(|error| error.0)?;
        let since = last.map_or(state.created_at, |at| at.max(state.created_at));
        let warning = self.keep.settings.idle_warning;
        match life::idle(state.idle_ends_at, since, timeout, warning, now()) {
            // Whoever comes now is to see the warning taken back.
            Idle::Wait(at) if state.idle_ends_at.is_some() => {
                return Ok(at.min(life::plus(now(), WARNED_LOOK_INTERVAL)));
            }
            Idle::Wait(at) => return Ok(at),
            Idle::Warn(at) => self.warn(Some(at)).await?,
            Idle::Withdraw => self.warn(None).await?,
            Idle::End => self.end(EndReason::Idle).await?,
        }
        Ok(Timestamp::MIN)
    }

    async fn warn(&self, ends_at: Option<Timestamp>) -> Result<(), String> {
        let message = self.message(SessionFact::IdleWarning(IdleWarning { ends_at }));
        let replaced = self
            .keep
            .bus
            .replace_session_fact(&message, |_| false)
            .await;
        replaced.map_err(|error| error.to_string())
    }

    async fn end(&self, reason: EndReason) -> Result<(), String> {
        // What came at the last moment to an idle session may go on.
        let cancel = reason == EndReason::Expired;
        let Some(fact) = self.state.end(self.by(), cancel, reason) else {
            return Ok(());
        };
        match self.keep.bus.append_session_once(&self.message(fact)).await {
            Ok(_) => {
                let session = self.state.session;
                tracing::info!(session.id = %session, reason = reason.name(), "session ended");
                Ok(())
            }
            // Somebody else ended it at the same moment.
            Err(SessionError::Exists) => Ok(()),
            Err(error @ SessionError::Unavailable(_)) => Err(error.to_string()),
        }
    }

    async fn cancel(&self) -> Result<(), String> {
        let reason = self.state.end_in_words().unwrap_or_default();
        let mut done = Ok(());
        for exec in &self.open {
            done = done.and(self.cancel_exec(exec, &reason).await);
        }
        done
    }

    /// Orders that a command be canceled which runs. One that does not is rejected when its turn
    /// comes. Whoever orders something at the same moment is followed by the next step.
    async fn cancel_exec(&self, exec: &ExecId, reason: &str) -> Result<(), String> {
        let bus = &self.keep.bus;
        let stored = bus.last_of_each_kind(exec).await.map_err(|error| error.0)?;
        let mut messages = Vec::with_capacity(stored.len());
        for Recorded { sequence, value } in &stored {
            let value = Message::decode(&value.payload).map_err(|error| error.to_string())?;
            messages.push(Recorded {
                sequence: *sequence,
                value,
            });
        }
        let Ok(state) = exec::fold(&messages) else {
            return Ok(());
        };
        if state.claim.is_none() || state.complete.is_some() {
            return Ok(());
        }
        let last = bus.last_order(exec).await.map_err(|error| error.0)?;
        let (after, before) = match last {
            Some(last) => (last.sequence, last.value.given),
            None => (StreamSeq(0), control::given_with(&state.command.spec)),
        };
        let Some(addition) = control::cancel(&before, reason) else {
            return Ok(());
        };
        let control::Addition { order, given } = addition;
        let message = ControlMessage::new(exec, now(), self.by(), given, order);
        match bus.give(exec, &message, after).await {
            Ok(_) | Err(OrderError::Raced) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn discard(&self) -> Result<(), String> {
        let discarded = self.keep.backend.discard(&self.owned()).await;
        if !discarded.map_err(|error| error.to_string())? {
            return Ok(());
        }
        let message = self.state.pod.as_ref().map(|pod| pod.message.clone());
        self.tell_pod(SessionPod {
            state: PodState::Deleted,
            message: message.unwrap_or_default(),
            since: None,
            pod: self.state.pod.as_ref().and_then(|pod| pod.pod.clone()),
        })
        .await
    }

    fn owned(&self) -> Owned {
        let (created, session) = (&self.state.created, self.state.session);
        let name = created.pod.as_ref().map(ToString::to_string);
        Owned {
            project: self.state.project.clone(),
            session,
            namespace: text(created.namespace.as_ref()),
            // The claim of a sandbox is named as a pod would be that is made.
            name: name.unwrap_or_else(|| format!("rdev-{session}")),
            is_claim: created.template.is_some() && created.pod.is_none(),
            container: text(created.container.as_ref()),
            log: self.log.clone(),
        }
    }

    fn choice(&self) -> Choice {
        let created = &self.state.created;
        Choice {
            project: self.state.project.clone(),
            namespace: text(created.namespace.as_ref()),
            container: text(created.container.as_ref()),
            labels: created.selector.clone(),
        }
    }

    fn message(&self, fact: SessionFact) -> SessionMessage {
        SessionMessage {
            v: PAYLOAD_VERSION,
            project: self.state.project.clone(),
            session: self.state.session,
            at: now(),
            fact,
        }
    }

    fn by(&self) -> Requester {
        Requester {
            agent: format!("rdev-executor {}", self.keep.name),
            ..Requester::default()
        }
    }
}

fn text(label: Option<&DnsLabel>) -> String {
    label.map(ToString::to_string).unwrap_or_default()
}
