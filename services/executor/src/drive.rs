//! One exec from its offer to its end: look at the log, decide, claim, run, complete.
//!
//! The decisions are in `rdev_domain::exec`; this executes them. Whatever is refused by the log
//! is looked at anew, never forced.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rdev_bus::append::ExecWriter;
use rdev_bus::{LogStream, Stored};
use rdev_contract::envelope::{Message, Recorded};
use rdev_contract::event::{Complete, Kind, Outcome};
use rdev_contract::id::ExecId;
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_contract::subject::Subject;
use rdev_domain::exec::{self, ExecState, FoldError, Step};

use crate::attempt;
use crate::context::{Context, Stop, now};
use crate::finish;
use crate::lease::{Fenced, Lease, Proof};
use crate::metrics::{METRICS, UNKNOWN};
use crate::traces::{self, Places};

/// After this another executor (or this one) tries again what failed for a passing reason. Before
/// the start it doubles with each try, so that the tries outlast the restart of an API server.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// When this executor ends, its commands are offered again after this: by then the log knows that
/// it asks for none any more, and does not offer them to it.
const HAND_OVER_DELAY: Duration = Duration::from_millis(100);

/// An exec as it was offered.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Which.
    pub exec: ExecId,
    /// The place of its `admitted` in the log.
    pub sequence: StreamSeq,
    /// That message.
    pub payload: Bytes,
    /// How often it has been offered, this time included.
    pub deliveries: u64,
}

/// Works on an exec until it is finished, taken over by another, or the process is to end.
pub async fn run(context: &Arc<Context>, offer: Offer, mut lease: Lease, proof: Proof) {
    let exec = &offer.exec;
    let outcome = tokio::select! {
        outcome = Box::pin(drive(context, &offer, &proof)) => outcome,
        Fenced = lease.keep(&context.bus, exec) => Err(Stop::StoodBack),
        // The command goes on in its pod; another executor continues at the exact byte.
        () = context.shutdown.requested(), if !context.config.cancel_on_shutdown => {
            METRICS.stopped_for("handed_over");
            lease.give_back(HAND_OVER_DELAY).await;
            return;
        }
    };
    if let Err(stop) = &outcome {
        METRICS.stopped(stop);
    }
    match outcome {
        Ok(()) => lease.done().await,
        Err(Stop::StoodBack) => {
            tracing::warn!(stream.id = %exec.stream, "another executor has the exec: standing back");
        }
        Err(Stop::Passing(reason)) => {
            tracing::warn!(stream.id = %exec.stream, reason, "the exec will be tried again");
            lease.give_back(RETRY_DELAY).await;
        }
        Err(Stop::Unstarted(reason)) => {
            tracing::warn!(stream.id = %exec.stream, reason, "the start will be tried again");
            lease.give_back(start_retry_delay(offer.deliveries)).await;
        }
    }
}

async fn drive(context: &Arc<Context>, offer: &Offer, proof: &Proof) -> Result<(), Stop> {
    let Look {
        mut state,
        recorded_at,
        mut places,
    } = match first_look(context, offer).await? {
        Ok(look) => look,
        Err(error) => return reject_unreadable(context, offer, &error).await,
    };
    traces::tell(places.command);
    loop {
        let ended = |outcome, reason: String| Complete::without_process(outcome, reason);
        let attempted = match exec::decide(&state, offer.deliveries, recorded_at, now()) {
            Step::Finished => return finish::remove_orders(context, &offer.exec).await,
            Step::Reject { reason } => {
                let end = ended(Outcome::Rejected, reason);
                attempt::end(context, &state, &end, &places).await
            }
            Step::TimeOut { reason } => {
                let end = ended(Outcome::TimedOut, reason);
                attempt::end(context, &state, &end, &places).await
            }
            Step::Lose { reason } => {
                let end = ended(Outcome::Lost, reason);
                attempt::end(context, &state, &end, &places).await
            }
            Step::Start => attempt::start(context, &state, recorded_at, &places, proof).await,
            Step::Resume { failed_before } => {
                attempt::take_over(context, &state, failed_before, &places, proof).await
            }
        };
        match attempted {
            Ok(Some(following)) => return following.follow(context, proof).await,
            Ok(None) => return finish::remove_orders(context, &offer.exec).await,
            // Somebody else wrote first: what they wrote decides.
            Err(Stop::StoodBack) => {
                Look { state, places, .. } = look(context, &offer.exec).await?;
            }
            Err(Stop::Passing(reason)) if state.claim.is_none() => {
                if offer.deliveries < exec::DELIVERIES_BEFORE_START_MAX_COUNT {
                    return Err(Stop::Unstarted(reason));
                }
                // The last try: the end says what the tries have failed of.
                let end = ended(Outcome::Rejected, reason);
                attempt::end(context, &state, &end, &places).await?;
                return finish::remove_orders(context, &offer.exec).await;
            }
            Err(stop) => return Err(stop),
        }
    }
}

/// 1, 2, 4, 8 seconds: there are only as many tries as the domain allows.
fn start_retry_delay(deliveries: u64) -> Duration {
    let last = exec::DELIVERIES_BEFORE_START_MAX_COUNT - 1;
    let doublings = u32::try_from(deliveries.clamp(1, last) - 1).unwrap_or(0);
    RETRY_DELAY.saturating_mul(2_u32.saturating_pow(doublings))
}

/// An exec as the log has it.
struct Look {
    state: ExecState,
    /// When the log stored its command.
    recorded_at: Timestamp,
    /// What it says of traces.
    places: Places,
}

/// At the first offer command and admission are most likely the whole exec; if not, the claim is
/// refused and the log is read.
async fn first_look(context: &Context, offer: &Offer) -> Result<Result<Look, FoldError>, Stop> {
    let admitted = match Message::decode(&offer.payload) {
        Ok(message) if offer.deliveries == 1 => message,
        Ok(_) | Err(_) => return Ok(Ok(look(context, &offer.exec).await?)),
    };
    let subject = Subject::exec(&offer.exec, Kind::Command);
    let prev = admitted.head.prev;
    let before = context.bus.message_at(LogStream::Exec, prev).await?;
    let command = before.filter(|before| before.value.subject == subject.as_str());
    let Some(command) = command else {
        return Ok(Ok(look(context, &offer.exec).await?));
    };
    let unreadable = |error: serde_json::Error| FoldError::Unreadable {
        sequence: command.sequence,
        detail: error.to_string(),
    };
    let admitted = Recorded {
        sequence: offer.sequence,
        value: admitted,
    };
    let state = Message::decode(&command.value.payload)
        .map_err(unreadable)
        .and_then(|value| {
            let command = Recorded {
                sequence: command.sequence,
                value,
            };
            exec::fold(&[command, admitted])
        });
    Ok(state.map(|state| Look {
        state,
        recorded_at: command.value.at,
        places: Places::of_command(&command.value),
    }))
}

async fn look(context: &Context, exec: &ExecId) -> Result<Look, Stop> {
    let stored = context.bus.last_of_each_kind(exec).await?;
    let messages = decode(&stored).map_err(|error| Stop::Passing(error.to_string()))?;
    let state = exec::fold(&messages).map_err(|error| Stop::Passing(error.to_string()))?;
    let command = stored
        .iter()
        .find(|message| message.sequence == state.command_seq);
    let command = command.ok_or_else(|| Stop::Passing("the command is gone".to_owned()))?;
    Ok(Look {
        state,
        recorded_at: command.value.at,
        places: Places::of(&stored),
    })
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
    let admitted = Message::decode(&offer.payload);
    let tail = Recorded {
        sequence: offer.sequence,
        value: admitted.map(|message| message.chain).unwrap_or_default(),
    };
    let writer = ExecWriter::new(context.bus.clone(), offer.exec.clone(), None, 0, tail);
    let end = Complete::without_process(
        Outcome::Rejected,
        format!("the command is damaged: {error}"),
    );
    match finish::append_complete(writer, EventNo::FIRST, Offsets::default(), &end).await {
        Ok(()) => {
            METRICS.ended(UNKNOWN, end.outcome);
            Ok(())
        }
        // Refused because there is more in the log by now: the next offer looks at it.
        Err(Stop::StoodBack) => Ok(()),
        Err(stop) => Err(stop),
    }
}
