//! What every handler is given. Cheap to clone; it holds connections and settings, and nothing
//! that another replica would miss.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use jiff::Timestamp;
use rdev_bus::Bus;
use rdev_contract::envelope::Recorded;
use rdev_contract::id::{ProjectId, SessionId};
use rdev_contract::position::StreamSeq;
use rdev_contract::session::SessionMessage;
use rdev_domain::request::RequestLimits;
use rdev_domain::session::SessionState;
use rdev_readmodel::ReadModel;
use rdev_runtime::Shutdown;
use tokio::sync::Semaphore;

use crate::as_of::Projection;
use crate::cors::CorsOrigins;
use crate::events::{Replays, Tails};
use crate::history::{History, Past};
use crate::known::KnownSessions;
use crate::lives::Lives;
use crate::problem::ApiError;
use crate::provisions::Provisions;
use crate::queue::Line;
use crate::screen::Screens;
use crate::trust::Trust;

/// Connections and settings.
#[derive(Clone)]
pub(crate) struct Gateway {
    /// The log.
    pub(crate) log: Log,
    /// What the log has forgotten.
    pub(crate) past: Past,
    /// Lists and conversations.
    pub(crate) read_model: ReadModel,
    /// How far those are.
    pub(crate) projection: Projection,
    /// Who is let in.
    pub(crate) trust: Trust,
    /// Who may read answers in a browser.
    pub(crate) cors: CorsOrigins,
    /// What an exec request may ask for.
    pub(crate) limits: RequestLimits,
    /// How long a stream of events may be silent.
    pub(crate) heartbeat: Duration,
    /// The present, shared by readers.
    pub(crate) tails: Tails,
    /// What waits.
    pub(crate) line: Line,
    /// How many commands of one project may wait.
    pub(crate) project_queue_max: usize,
    /// The right to read pages of the log.
    pub(crate) replays: Replays,
    /// What a session may ask for.
    pub(crate) provisions: Arc<Provisions>,
    /// What becomes of sessions, as it happens.
    pub(crate) lives: Lives,
    /// Sessions that need not be looked up.
    pub(crate) known_sessions: Arc<KnownSessions>,
    /// What terminals show.
    pub(crate) screens: Screens,
    /// How many streams may be open at a time.
    pub(crate) streams_max: usize,
    /// How many more may be opened.
    pub(crate) streams: Arc<Semaphore>,
    /// The end of the process.
    pub(crate) shutdown: Shutdown,
}

impl Gateway {
    /// The connected log, and the archive behind it.
    pub(crate) fn history(&self) -> Result<History, ApiError> {
        Ok(History::new(self.log.connected()?, &self.past))
    }
}

/// The log, or nothing in tests of what needs none.
#[derive(Clone)]
pub(crate) struct Log(pub(crate) Option<Arc<Bus>>);

impl Log {
    /// The connected log: what cannot be answered soon is refused at once.
    pub(crate) fn connected(&self) -> Result<&Arc<Bus>, ApiError> {
        self.0
            .as_ref()
            .filter(|bus| bus.is_connected())
            .ok_or(ApiError::LogUnavailable)
    }

    /// The session, folded from its own facts: right after it was created, and without PostgreSQL.
    pub(crate) async fn session(
        &self,
        project: &ProjectId,
        session: SessionId,
    ) -> Result<SessionState, ApiError> {
        let (state, _) = self.session_at(project, session).await?;
        Ok(state)
    }

    /// The session, and the place of its last fact.
    pub(crate) async fn session_at(
        &self,
        project: &ProjectId,
        session: SessionId,
    ) -> Result<(SessionState, StreamSeq), ApiError> {
        let facts = self.connected()?.session_facts(project, session).await?;
        let last = facts.last().map_or(StreamSeq(0), |fact| fact.sequence);
        let facts: Vec<SessionMessage> = facts
            .into_iter()
            .map(|Recorded { value, .. }| value)
            .collect();
        let state = rdev_domain::session::fold(&facts).map_err(|error| match error {
            rdev_domain::session::SessionFoldError::NotCreated => ApiError::NotFound("session"),
            rdev_domain::session::SessionFoldError::Mixed => ApiError::internal(error),
        })?;
        Ok((state, last))
    }
}

impl FromRef<Gateway> for Log {
    fn from_ref(gateway: &Gateway) -> Self {
        gateway.log.clone()
    }
}

impl FromRef<Gateway> for Arc<Provisions> {
    fn from_ref(gateway: &Gateway) -> Self {
        Self::clone(&gateway.provisions)
    }
}

impl FromRef<Gateway> for Projection {
    fn from_ref(gateway: &Gateway) -> Self {
        gateway.projection.clone()
    }
}

impl FromRef<Gateway> for ReadModel {
    fn from_ref(gateway: &Gateway) -> Self {
        gateway.read_model.clone()
    }
}

/// Now, to the microsecond: PostgreSQL keeps no more, and rows must equal the log.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}
