//! What becomes of sessions, as it happens: one follower of their facts for all who watch a session.
//!
//! Invariant: whoever watches, and reads the session's facts then, misses none. Where some may have been
//! missed, the session's facts are read again.

use std::sync::Arc;
use std::time::Duration;

use rdev_bus::{Bus, LogStream, ReadError};
use rdev_contract::envelope::Recorded;
use rdev_contract::id::{ProjectId, SessionId};
use rdev_contract::position::StreamSeq;
use rdev_contract::session::{SessionKind, SessionMessage};
use rdev_contract::sse::SessionNews;
use rdev_contract::subject::Filter;
use rdev_domain::session::SessionState;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::MissedTickBehavior;

use crate::problem::ApiError;
use crate::state::Log;

/// Facts of all sessions that one watcher may be behind.
const BEHIND_MAX: usize = 1_024;
/// How often it is checked that the log is still the one that is followed.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Between two tries to follow a log that does not answer.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Facts as they come; nothing where facts before may have been missed. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Lives(broadcast::Sender<Option<Fact>>);

type Fact = Arc<Recorded<SessionMessage>>;

impl Default for Lives {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND_MAX))
    }
}

impl Lives {
    /// Watches a session from now on.
    pub(crate) async fn watch(
        &self,
        log: &Log,
        project: &ProjectId,
        session: SessionId,
    ) -> Result<Life, ApiError> {
        let facts = self.0.subscribe();
        let (state, last) = log.session_at(project, session).await?;
        // Of one that names its pod there is nothing to tell as long as it is active.
        let told = (!state.is_provided()).then(|| SessionNews {
            status: "active".to_owned(),
            pod_state: None,
            pod_message: String::new(),
            pod: state.pod_name(),
            idle_ends_at: None,
            reason: None,
        });
        Ok(Life {
            log: log.clone(),
            facts,
            is_stale: false,
            state,
            last,
            told,
        })
    }

    /// Follows the facts of all sessions, for ever.
    pub(crate) async fn follow(&self, bus: &Bus) {
        loop {
            if let Err(ReadError(reason)) = self.follow_once(bus).await {
                tracing::debug!(reason, "what becomes of sessions is not known");
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    /// Returns when the log is another one.
    async fn follow_once(&self, bus: &Bus) -> Result<(), ReadError> {
        let begin = bus.identity(LogStream::Session).await?;
        let kinds = [
            SessionKind::Pod,
            SessionKind::IdleWarning,
            SessionKind::Ended,
        ];
        let filters = kinds.map(Filter::session_facts).into();
        let mut facts = bus.follow(LogStream::Session, filters, begin.last).await?;
        // What came since the last time, or since somebody has watched. Nobody may watch.
        let _ = self.0.send(None);
        let mut checks = tokio::time::interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                fact = facts.next() => {
                    if let Ok(value) = serde_json::from_slice(&fact.value.payload) {
                        let sequence = fact.sequence;
                        let _ = self.0.send(Some(Arc::new(Recorded { sequence, value })));
                    }
                }
                _ = checks.tick() => {
                    // One that does not answer is followed all the same.
                    let Ok(now) = bus.identity(LogStream::Session).await else {
                        continue;
                    };
                    if now.created_at != begin.created_at || now.last < facts.position() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// One session, and what its watcher knows of it.
pub(crate) struct Life {
    log: Log,
    facts: broadcast::Receiver<Option<Fact>>,
    /// Facts may have been missed.
    is_stale: bool,
    state: SessionState,
    /// The last fact that is in the state.
    last: StreamSeq,
    told: Option<SessionNews>,
}

impl Life {
    /// Waits until there may be news; false when facts were missed that cannot be read. May be dropped
    /// and called again.
    pub(crate) async fn changed(&mut self) -> bool {
        loop {
            if self.is_stale {
                // Rare, and large: every reader that waits would hold the room for it.
                return Box::pin(self.read()).await;
            }
            let fact = match self.facts.recv().await {
                Ok(Some(fact)) => fact,
                Ok(None) | Err(RecvError::Lagged(_)) => {
                    self.is_stale = true;
                    continue;
                }
                Err(RecvError::Closed) => std::future::pending().await,
            };
            let Recorded { sequence, value } = &*fact;
            let is_ours =
                value.session == self.state.session && value.project == self.state.project;
            if is_ours && *sequence > self.last {
                self.last = *sequence;
                self.state.apply(value);
                return true;
            }
        }
    }

    async fn read(&mut self) -> bool {
        let project = self.state.project.clone();
        let read = self.log.session_at(&project, self.state.session).await;
        let Ok((state, last)) = read else {
            return false;
        };
        (self.state, self.last, self.is_stale) = (state, last, false);
        true
    }

    /// What the watcher does not know yet.
    pub(crate) fn news(&mut self) -> Option<SessionNews> {
        let news = self.state.news();
        let is_news = self.told.as_ref() != Some(&news);
        is_news.then(|| {
            self.told = Some(news.clone());
            news
        })
    }
}
