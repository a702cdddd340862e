//! Tickets: what a browser's `EventSource`, which can send no header, has in the place of a key. A
//! ticket is in an address, and addresses are written down in many places; so it opens one stream of
//! events, for a short time, and nothing else.
//!
//! It says itself what it opens and is signed, with a secret that all gateways have from the bucket of
//! keys: any of them takes it, and none has to remember it. Whoever asked for it must still have the
//! right when it is used, and while it is.

use std::time::Duration;

use axum::extract::Query;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use rdev_contract::id::{ProjectId, SessionId, StreamId};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{Caller, Ids, Refusal};
use crate::problem::ApiError;
use crate::routes::parameter;

/// A stream of events is to be begun so soon after a ticket for it was made.
pub(crate) const START_WITHIN: Duration = Duration::from_secs(60);
/// Bytes of the secret that tickets are signed with.
pub(super) const SECRET_BYTES: usize = 32;
/// What tells a reader that comes back from one that begins.
const LAST_EVENT_ID: &str = "last-event-id";

/// A stream of events: of an exec, or of a whole session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FeedOf {
    pub(crate) project: ProjectId,
    pub(crate) session: SessionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<StreamId>,
}

/// What a ticket says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ticket {
    /// What it opens.
    #[serde(flatten)]
    pub(crate) feed: FeedOf,
    /// Who asked for it.
    pub(crate) by: String,
    /// Which secret of their key they had.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) secret: String,
    /// When the rights of whoever asked for it end, if they had no key that can be looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rights_until: Option<Timestamp>,
    /// A stream can be begun with it before this.
    pub(crate) start_by: Timestamp,
    /// And gone on with before this, by a reader that was there already.
    pub(crate) resume_until: Timestamp,
}

impl Ticket {
    /// For this stream, from now on.
    pub(crate) fn new(
        feed: FeedOf,
        caller: &Caller,
        now: Timestamp,
        resume_within: Duration,
    ) -> Self {
        let after = |duration: Duration| {
            let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
            now.saturating_add(duration).unwrap_or(Timestamp::MAX)
        };
        Self {
            feed,
            by: caller.name.clone(),
            secret: caller.secret.clone(),
            rights_until: caller.end,
            start_by: after(START_WITHIN),
            resume_until: after(resume_within),
        }
    }

    /// As it is put into an address.
    pub(super) fn sign(&self, secret: &[u8]) -> Result<String, ApiError> {
        let claims = serde_json::to_vec(self).map_err(ApiError::internal)?;
        let claims = URL_SAFE_NO_PAD.encode(claims);
        let mut mac = signer(secret)?;
        mac.update(claims.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        Ok(format!("{claims}.{signature}"))
    }

    /// Reads what was signed with this secret, and nothing else.
    pub(super) fn verify(text: &str, secret: &[u8]) -> Result<Self, ApiError> {
        let invalid = || Refusal::Invalid("this is no ticket".to_owned());
        let (claims, signature) = text.split_once('.').ok_or_else(invalid)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| invalid())?;
        let mut mac = signer(secret)?;
        mac.update(claims.as_bytes());
        // In constant time.
        mac.verify_slice(&signature).map_err(|_| invalid())?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| invalid())?;
        Ok(serde_json::from_slice(&claims).map_err(|_| invalid())?)
    }

    /// Whether it opens what is asked for.
    pub(super) fn check(&self, asked: &Asked, now: Timestamp) -> Result<(), Refusal> {
        let refused = |reason: &str| Err(Refusal::Invalid(reason.to_owned()));
        if self.feed != asked.feed {
            return refused("this ticket is for another stream of events");
        }
        if asked.is_resumed && now >= self.resume_until {
            return refused("this ticket is too old to go on with: get another");
        }
        if !asked.is_resumed && now >= self.start_by {
            return refused("this ticket is too old to begin with: get another");
        }
        Ok(())
    }
}

fn signer(secret: &[u8]) -> Result<Hmac<Sha256>, ApiError> {
    Hmac::new_from_slice(secret).map_err(ApiError::internal)
}

/// A request for events that brings a ticket.
pub(super) struct Asked {
    pub(super) ticket: String,
    feed: FeedOf,
    /// By a reader that has seen something already.
    is_resumed: bool,
}

#[derive(Deserialize)]
struct AskedOptions {
    ticket: Option<String>,
    stream_id: Option<String>,
    last_event_id: Option<String>,
}

/// The ticket in an address, if there is one.
pub(super) fn ticket_in(parts: &Parts) -> Option<String> {
    let query = Query::<AskedOptions>::try_from_uri(&parts.uri).ok()?;
    query.0.ticket
}

impl Asked {
    /// What a request for events asks for.
    pub(super) async fn of(parts: &mut Parts, ticket: String) -> Result<Self, ApiError> {
        let Query(options) = Query::<AskedOptions>::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::invalid("invalid_query", error.body_text()))?;
        let ids = Ids::of(parts).await?;
        let stream = ids.text(parameter::STREAM).map(ToOwned::to_owned);
        let stream = stream.or(options.stream_id);
        let stream = stream.map(|text| text.parse()).transpose();
        let header = parts.headers.get(LAST_EVENT_ID);
        let is_resumed = header.is_some_and(|id| !id.is_empty())
            || options.last_event_id.is_some_and(|id| !id.is_empty());
        Ok(Self {
            ticket,
            feed: FeedOf {
                project: ids.project()?,
                session: ids.get(parameter::SESSION, "session")?,
                stream: stream.map_err(|error| {
                    ApiError::invalid("invalid_stream_id", format!("stream_id: {error}"))
                })?,
            },
            is_resumed,
        })
    }
}

#[cfg(test)]
#[path = "ticket_tests.rs"]
mod tests;
