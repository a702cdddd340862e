//! What an SSE reader is sent: event names, and the data of the events that are not in the log.
//! The numbered events of the log keep their names and data ([`crate::event::event_name`]).

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::PodName;
use crate::session::{EndReason, PodState};

/// Event names of frames that the gateway makes.
pub mod frame_name {
    /// The first frame of every connection.
    pub const CONNECTED: &str = "connected";
    /// The replay has reached the present.
    pub const CAUGHT_UP: &str = "caught_up";
    /// Sent while nothing else is.
    pub const HEARTBEAT: &str = "heartbeat";
    /// Retention removed what the cursor asked for.
    pub const GAP: &str = "gap";
    /// The exec waits for its turn; its data is [`crate::queue::QueuePlace`].
    pub const QUEUED: &str = "queued";
    /// What has become of the session, in the feed of a whole one.
    pub const SESSION: &str = "session";
    /// The server ends this connection; come again.
    pub const RECONNECT: &str = "reconnect";
}

/// Data of `connected`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connected {
    /// The session.
    pub session_id: String,
    /// The exec; empty for the feed of a whole session.
    pub stream_id: String,
    /// The request carried a cursor.
    pub reconnecting: bool,
}

/// Data of `heartbeat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// The gateway's clock.
    pub timestamp: Timestamp,
}

/// Data of `gap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// The exec, in the feed of a whole session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
    /// The number of the event that should have come next; null in the feed of a whole session
    /// that began in the middle of the exec.
    pub requested: Option<u64>,
    /// The number of the first event that is left; null if none is.
    pub first_available: Option<u64>,
    /// Why, in one word: `expired`, `unreadable`.
    pub reason: String,
}

/// Data of `reconnect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reconnect {
    /// Why, in one word: `draining`, `overloaded`, `not_started`, `log_unavailable`, `lifetime`.
    pub reason: String,
}

/// Data of `session`: as things stand, whenever that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionNews {
    /// `active` or `ended`.
    pub status: String,
    /// What has become of its pod, if it is made or chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_state: Option<PodState>,
    /// What is waited for, or why there is no pod.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod_message: String,
    /// The pod, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodName>,
    /// When the session ends unless something happens in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ends_at: Option<Timestamp>,
    /// Why it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
}
