//! What the stations share: the surroundings of all execs, and the ways in which work stops.

use jiff::{Timestamp, Unit};
use rdev_bus::append::AppendError;
use rdev_bus::{Bus, ReadError};
use rdev_runtime::Shutdown;

use crate::config::Config;
use crate::pod::PodError;
use crate::pod::channel::Channels;

/// What every exec of this executor shares.
pub struct Context {
    /// The log.
    pub bus: Bus,
    /// The ways into pods.
    pub channels: Channels,
    /// Settings.
    pub config: Config,
    /// Name of this executor, for people.
    pub name: String,
    /// The end of the process.
    pub shutdown: Shutdown,
}

/// Why the work on an exec ended without its end being in the log.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// Another claim is behind ours.
    #[error("another executor has the exec")]
    StoodBack,
    /// It cannot go on now; whoever gets it next tries again.
    #[error("{0}")]
    Passing(String),
    /// It could not be started for a reason that may pass.
    #[error("{0}")]
    Unstarted(String),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Passing(error.to_string())
    }
}

impl From<AppendError> for Stop {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Fenced { .. } | AppendError::Vanished => Self::StoodBack,
            AppendError::Encoding(reason) => Self::Passing(reason),
        }
    }
}

/// What a pod's error means for an exec: its reason if it is final.
#[must_use]
pub fn final_reason(error: &PodError) -> Option<String> {
    match error {
        PodError::NotFound(reason)
        | PodError::Refused(reason)
        | PodError::Replaced(reason)
        | PodError::NoShim(reason) => Some(reason.clone()),
        PodError::NotRunning(_) | PodError::Unavailable(_) => None,
    }
}

/// Now, as precise as the log has it.
#[must_use]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Microsecond).unwrap_or(now)
}
