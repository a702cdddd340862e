//! What the log has of an agent's run: its session and results, and what it has asked. Read at a
//! take-over, before the run goes on.

use rdev_bus::{LogStream, Pace};
use rdev_contract::agent::Agent;
use rdev_contract::envelope::{Message, Recorded};
use rdev_contract::event::Kind;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Subject;
use rdev_domain::agent::Tally;
use rdev_domain::approval::Approvals;
use rdev_domain::exec::ExecState;

use crate::context::{Context, Stop, now};

/// What was asked of an agent that was given `stdin_to` bytes at its start; none if it does not ask.
///
/// # Errors
/// [`Stop`] when the log does not answer.
pub(crate) async fn approvals(
    context: &Context,
    state: &ExecState,
    agent: Agent,
    stdin_to: u64,
) -> Result<Option<Approvals>, Stop> {
    let Some(policy) = state.command.spec.approvals else {
        return Ok(None);
    };
    // The oldest one first: what is removed before that has been carried out.
    let oldest = context.bus.oldest_order(&state.exec).await?;
    let oldest = oldest.map_or(StreamSeq(u64::MAX), |oldest| oldest.sequence);
    let approvals = Approvals::new(agent, policy, stdin_to, now());
    let mut approvals = approvals.carried_out_before(oldest);
    each_of_kind(context, state, Kind::Approval, |message| {
        approvals
            .observe_events(&message.events)
            .map_err(|error| Stop::Passing(error.to_string()))
    })
    .await?;
    Ok(Some(approvals))
}

/// What the agent has said up to the take-over: its session id and results are in there.
///
/// # Errors
/// [`Stop`] when the log does not answer.
pub(crate) async fn tally(
    context: &Context,
    state: &ExecState,
    agent: Agent,
    approvals: Option<&mut Approvals>,
) -> Result<Tally, Stop> {
    let (mut tally, mut approvals) = (Tally::new(agent), approvals);
    each_of_kind(context, state, Kind::of(agent), |message| {
        let asking = tally.observe_events(&message.events);
        if let Some(approvals) = &mut approvals {
            approvals.observe_lines(asking);
        }
        Ok(())
    })
    .await?;
    Ok(tally)
}

/// Shows all messages of one kind, in order.
async fn each_of_kind(
    context: &Context,
    state: &ExecState,
    kind: Kind,
    mut take: impl FnMut(&Message<'_>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let filter = Subject::exec(&state.exec, kind).into();
    let Some(last) = context.bus.last_at_leader(LogStream::Exec, &filter).await? else {
        return Ok(());
    };
    let (mut after, end, mut pace) = (state.command_seq, last.sequence, Pace::default());
    while after < end {
        let log = LogStream::Exec;
        let messages = context
            .bus
            .read_paced(log, &filter, after, end, &mut pace)
            .await?;
        for Recorded { sequence, value } in &messages {
            let message = Message::decode(&value.payload)
                .map_err(|error| Stop::Passing(error.to_string()))?;
            take(&message)?;
            after = *sequence;
        }
        if messages.is_empty() {
            return Err(Stop::Passing("a replica lags behind the log".to_owned()));
        }
    }
    Ok(())
}
