//! One exec from its offer to its end: look at the log, decide, claim, run, complete.
//!
//! The decisions are in `rdev_domain::exec`; this executes them. Whatever is refused by the log
//! is looked at anew, never forced.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rdev_bus::append::{AppendError, ExecWriter};
use rdev_bus::{Bus, ReadError, Stored};
use rdev_contract::envelope::{Chain, Message, Recorded};
use rdev_contract::event::{Complete, Outcome};
use rdev_contract::id::ExecId;
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_domain::exec::{self, ExecState, FoldError, Step};
use rdev_runtime::Shutdown;

use crate::claim::{self, Claim};
use crate::config::Config;
use crate::finish;
use crate::lease::{Fenced, Lease, Proof};
use crate::pod::PodError;
use crate::pod::channel::Channels;
use crate::pump;

/// After this another executor (or this one) tries again what failed for a passing reason.
const RETRY_DELAY: Duration = Duration::from_secs(1);

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

/// A command as it was offered.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Its exec.
    pub exec: ExecId,
    /// Its place in the log.
    pub sequence: StreamSeq,
    /// The message.
    pub payload: Bytes,
    /// When the log stored it.
    pub recorded_at: Timestamp,
    /// How often it has been offered, this time included.
    pub deliveries: u64,
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

/// Works on an exec until it is finished, taken over by another, or the process is to end.
pub async fn run(context: &Arc<Context>, offer: Offer, mut lease: Lease, proof: Proof) {
    let exec = &offer.exec;
    let outcome = tokio::select! {
        outcome = Box::pin(drive(context, &offer, &proof)) => outcome,
        Fenced = lease.keep(&context.bus, exec) => Err(Stop::StoodBack),
        // The command goes on in its pod; another executor continues at the exact byte.
        () = context.shutdown.requested() => {
            lease.give_back(Duration::ZERO).await;
            return;
        }
    };
    match outcome {
        Ok(()) => lease.done().await,
        Err(Stop::StoodBack) => {
            tracing::warn!(stream.id = %exec.stream, "another executor has the exec: standing back");
        }
        Err(Stop::Passing(reason)) => {
            tracing::warn!(stream.id = %exec.stream, reason, "the exec will be tried again");
            lease.give_back(RETRY_DELAY).await;
        }
    }
}

async fn drive(context: &Arc<Context>, offer: &Offer, proof: &Proof) -> Result<(), Stop> {
    let mut state = match first_look(context, offer).await? {
        Ok(state) => state,
        Err(error) => return reject_unreadable(context, offer, &error).await,
    };
    loop {
        let claimed = match exec::decide(&state, offer.deliveries, offer.recorded_at) {
            Step::Finished => return Ok(()),
            Step::Reject { reason } => {
                let end = Complete::without_process(Outcome::Rejected, reason);
                claim::end_unclaimed(context, &state, &end).await
            }
            Step::Start => claim::start(context, &state, proof).await,
            Step::Resume => claim::resume(context, &state, proof).await,
        };
        match claimed {
            Ok(Claim::Running(claimed)) => {
                let (running, writer) = *claimed;
                let ended = Box::pin(pump::run(context, running, writer, proof)).await?;
                return finish::run(context, ended).await;
            }
            Ok(Claim::Ended) => return Ok(()),
            // Somebody else wrote first: what they wrote decides.
            Err(Stop::StoodBack) => state = look(context, &offer.exec).await?,
            Err(stop) => return Err(stop),
        }
    }
}

/// At the first offer the command is most likely the whole exec; if not, the claim is refused and
/// the log is read.
async fn first_look(
    context: &Context,
    offer: &Offer,
) -> Result<Result<ExecState, FoldError>, Stop> {
    if offer.deliveries > 1 {
        return Ok(Ok(look(context, &offer.exec).await?));
    }
    let unreadable = |detail: String| FoldError::Unreadable {
        sequence: offer.sequence,
        detail,
    };
    let state = Message::decode(&offer.payload)
        .map_err(|error| unreadable(error.to_string()))
        .and_then(|value| {
            exec::fold(&[Recorded {
                sequence: offer.sequence,
                value,
            }])
        });
    Ok(state)
}

async fn look(context: &Context, exec: &ExecId) -> Result<ExecState, Stop> {
    let stored = context.bus.last_of_each_kind(exec).await?;
    let messages = decode(&stored).map_err(|error| Stop::Passing(error.to_string()))?;
    exec::fold(&messages).map_err(|error| Stop::Passing(error.to_string()))
}

fn decode(stored: &[Recorded<Stored>]) -> Result<Vec<Recorded<Message<'_>>>, serde_json::Error> {
    stored
        .iter()
        .map(|stored| {
            let value = Message::decode(&stored.value.payload)?;
            Ok(Recorded {
                sequence: stored.sequence,
                value,
            })
        })
        .collect()
}

/// A command that cannot be read still gets its one end, so that nobody waits for it for ever.
async fn reject_unreadable(
    context: &Context,
    offer: &Offer,
    error: &FoldError,
) -> Result<(), Stop> {
    tracing::error!(stream.id = %offer.exec.stream, seq = %offer.sequence, %error, "poison");
    let tail = Recorded {
        sequence: offer.sequence,
        value: Chain::default(),
    };
    let writer = ExecWriter::new(context.bus.clone(), offer.exec.clone(), None, 0, tail);
    let end = Complete::without_process(
        Outcome::Rejected,
        format!("the command is damaged: {error}"),
    );
    match finish::append_complete(writer, EventNo::FIRST, Offsets::default(), &end).await {
        // Refused because there is more in the log by now: the next offer looks at it.
        Ok(()) | Err(Stop::StoodBack) => Ok(()),
        Err(stop) => Err(stop),
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
