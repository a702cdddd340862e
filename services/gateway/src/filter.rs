//! Which items of a list a client wants, from the query: checked, and refused with what would be
//! right.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use rdev_contract::id::SessionId;
use rdev_readmodel::{
    ConversationFilter, ExecFilter, ExecStatus, InvalidFilter, SessionFilter, SessionStatus,
    TimeRange, parse_outcome,
};
use serde::Deserialize;

use crate::problem::ApiError;
use crate::request::Options;

/// `status`, `outcome`, `session`, `since` and `until`, of any list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    status: Option<String>,
    outcome: Option<String>,
    session: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Options::from_request_parts(parts, state)
            .await
            .map(|Options(wanted)| wanted)
    }
}

impl From<InvalidFilter> for ApiError {
    fn from(error: InvalidFilter) -> Self {
        Self::invalid("invalid_filter", error.to_string())
    }
}

impl Wanted {
    /// `since` and `until`.
    pub(crate) fn range(&self) -> Result<TimeRange, ApiError> {
        Ok(TimeRange::parse(
            self.since.as_deref(),
            self.until.as_deref(),
        )?)
    }

    fn session(&self) -> Result<Option<SessionId>, ApiError> {
        let parsed = self.session.as_deref().map(str::parse).transpose();
        parsed.map_err(|_| ApiError::invalid("invalid_filter", "session must be a session's id"))
    }

    /// Of execs.
    pub(crate) fn execs(&self) -> Result<ExecFilter, ApiError> {
        let status = self.status.as_deref().map(ExecStatus::parse).transpose()?;
        let outcome = self.outcome.as_deref().map(parse_outcome).transpose()?;
        let filter = ExecFilter::new(status, outcome, self.range()?)?;
        Ok(match self.session()? {
            Some(session) => filter.of_session(session),
            None => filter,
        })
    }

    /// Of sessions.
    pub(crate) fn sessions(&self) -> Result<SessionFilter, ApiError> {
        Ok(SessionFilter {
            status: self
                .status
                .as_deref()
                .map(SessionStatus::parse)
                .transpose()?,
            range: self.range()?,
        })
    }

    /// Of conversations.
    pub(crate) fn conversations(&self) -> Result<ConversationFilter, ApiError> {
        Ok(ConversationFilter {
            session: self.session()?,
            range: self.range()?,
        })
    }
}
