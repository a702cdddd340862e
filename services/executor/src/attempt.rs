//! One attempt at an exec: a claim, and if it holds, the command followed to its end. Counted, and told
//! to whoever collects traces; what is done is in `claim`, `pump` and `finish`.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use rdev_bus::append::ExecWriter;
use rdev_contract::event::Complete;
use rdev_domain::exec::ExecState;
use rdev_runtime::trace::Traced;

use crate::claim::{self, Claim, Running};
use crate::context::{Context, Stop, now};
use crate::finish;
use crate::lease::Proof;
use crate::metrics::METRICS;
use crate::pump;
use crate::traces::{self, Places};

/// A claim that holds.
pub(crate) struct Following {
    claimed: Box<(Running, ExecWriter)>,
    claim: Traced,
    attempt: u32,
    /// The type of the command.
    kind: &'static str,
}

/// Ends an exec that does not run here.
///
/// # Errors
/// [`Stop`] when the log has gone on.
pub(crate) async fn end(
    context: &Context,
    state: &ExecState,
    end: &Complete,
    places: &Places,
) -> Result<Option<Following>, Stop> {
    finish::end_unclaimed(context, state, end, places.command).await?;
    Ok(None)
}

/// The first attempt at a command that the log stored at `recorded_at`; none if that ended it.
///
/// # Errors
/// [`Stop`] when the claim does not hold, or cannot be made for the moment.
pub(crate) async fn start(
    context: &Arc<Context>,
    state: &ExecState,
    recorded_at: Timestamp,
    places: &Places,
    proof: &Proof,
) -> Result<Option<Following>, Stop> {
    let began = Instant::now();
    let claim = traces::claim(&state.exec, state.next_attempt(), &context.name, places);
    let claimed = claim
        .of(Box::pin(claim::start(context, state, proof, &claim)))
        .await;
    let following = following(state, claimed, claim)?;
    if following.is_some() {
        METRICS.starts.inc();
        let waited = now().duration_since(recorded_at).as_secs_f64();
        METRICS.start_delay.observe(waited.max(0.0));
        let seconds = began.elapsed().as_secs_f64();
        METRICS.claim_seconds.of(["start"]).observe(seconds);
    }
    Ok(following)
}

/// A further attempt at a command that another claim has started; none if that ended it.
///
/// # Errors
/// As [`start`].
pub(crate) async fn take_over(
    context: &Arc<Context>,
    state: &ExecState,
    failed_before: u32,
    places: &Places,
    proof: &Proof,
) -> Result<Option<Following>, Stop> {
    let began = Instant::now();
    let claim = traces::claim(&state.exec, state.next_attempt(), &context.name, places);
    let resuming = Box::pin(claim::resume(context, state, failed_before, proof, &claim));
    let claimed = claim.of(resuming).await;
    let following = following(state, claimed, claim)?;
    if following.is_some() {
        METRICS.takeovers.inc();
        let seconds = began.elapsed().as_secs_f64();
        METRICS.claim_seconds.of(["takeover"]).observe(seconds);
    }
    Ok(following)
}

fn following(
    state: &ExecState,
    claimed: Result<Claim, Stop>,
    claim: Traced,
) -> Result<Option<Following>, Stop> {
    match claimed {
        Ok(Claim::Running(claimed)) => Ok(Some(Following {
            claimed,
            claim,
            attempt: state.next_attempt(),
            kind: state.command.spec.work.type_name(),
        })),
        Ok(Claim::Ended) => Ok(None),
        Err(stop) => {
            claim.failed(&stop);
            Err(stop)
        }
    }
}

impl Following {
    /// Follows the command until its end is in the log.
    ///
    /// # Errors
    /// [`Stop`] when the exec is another's by now, or cannot be followed for the moment.
    pub(crate) async fn follow(self, context: &Arc<Context>, proof: &Proof) -> Result<(), Stop> {
        let (running, writer) = *self.claimed;
        let exec = running.exec.clone();
        let run = traces::run(&exec, self.attempt, &self.claim);
        // It is over: whoever looks at the trace sees it now, and not when the command has ended.
        drop(self.claim);
        let pumping = Box::pin(pump::run(context, running, writer, proof));
        let ended = run.of(pumping).await.inspect_err(|stop| run.failed(stop));
        let mut ended = ended?;
        let outcome = ended.complete.outcome.name();
        let complete = traces::complete(&exec, outcome, Some(run.place()));
        ended.writer.set_trace(Some(complete.place()));
        complete.of(finish::run(context, self.kind, ended)).await
    }
}
