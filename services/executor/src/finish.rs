//! The end of an exec: the agent's session is linked, `complete` is appended, the shim may forget.

use std::sync::Arc;

use rdev_bus::append::ExecWriter;
use rdev_contract::envelope::PAYLOAD_VERSION;
use rdev_contract::event::{Complete, PodIdentity};
use rdev_contract::id::{ClaimId, ExecId};
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_contract::session::{CodexLinked, Linked, SessionFact, SessionMessage};
use rdev_contract::trace::TraceParent;
use rdev_domain::exec::ExecState;
use uuid::Uuid;

use crate::claim::{self, Claim};
use crate::context::{Context, Stop, now};
use crate::metrics::METRICS;
use crate::traces;

/// An exec of which everything but its end is in the log.
pub struct Ended {
    /// Which exec.
    pub exec: ExecId,
    /// Sequence of its command.
    pub command_seq: StreamSeq,
    /// Writes its last message.
    pub writer: ExecWriter,
    /// The number of `complete`.
    pub next: EventNo,
    /// All of its output.
    pub to: Offsets,
    /// The end.
    pub complete: Complete,
    /// Orders were given.
    pub has_orders: bool,
    /// The container it ran in.
    pub pod: PodIdentity,
    /// Its key in the shim.
    pub key: String,
}

/// Ends the exec of a command of type `kind`.
///
/// # Errors
/// [`Stop`] when the exec is another's by now, or the session cannot be linked for the moment.
pub async fn run(context: &Arc<Context>, kind: &'static str, ended: Ended) -> Result<(), Stop> {
    link(context, &ended).await?;
    tracing::info!(
        stream.id = %ended.exec.stream,
        outcome = ended.complete.outcome.name(),
        exit_code = ended.complete.exit_code,
        duration_ms = ended.complete.duration_ms,
        "exec complete"
    );
    append_complete(ended.writer, ended.next, ended.to, &ended.complete).await?;
    METRICS.completed(kind, &ended.complete);
    if ended.has_orders {
        remove_orders(context, &ended.exec).await?;
    }
    // Only a channel that is open anyway: a journal that stays costs a little disk, no more.
    if let Ok(channel) = context.channels.get(&ended.pod).await {
        channel.collect(ended.key).await;
    }
    Ok(())
}

/// Removes the orders of an exec that has ended. If that fails its command is offered again, and they
/// are removed then.
///
/// # Errors
/// [`Stop`] when the log does not answer.
pub async fn remove_orders(context: &Context, exec: &ExecId) -> Result<(), Stop> {
    Ok(context.bus.remove_orders(exec, None).await?)
}

/// Appends `complete` as the exec's last event.
///
/// # Errors
/// [`Stop`] when the log has gone on without this writer.
pub async fn append_complete(
    mut writer: ExecWriter,
    number: EventNo,
    to: Offsets,
    complete: &Complete,
) -> Result<(), Stop> {
    writer.append_end(number, to, complete, now()).await?;
    Ok(())
}

/// Writes the end of an exec that is not running here: rejected, or lost.
pub async fn end_unclaimed(
    context: &Context,
    state: &ExecState,
    end: &Complete,
    parent: Option<TraceParent>,
) -> Result<Claim, Stop> {
    // An end is a claim of its own: it fences whoever still writes.
    let before = state.claim.as_ref();
    let claim = before.map(|_| ClaimId::new(Uuid::new_v4()));
    let complete = traces::complete(&state.exec, end.outcome.name(), parent);
    let writer = claim::writer(context, state, claim, Some(complete.place()));
    tracing::info!(stream.id = %state.exec.stream, outcome = end.outcome.name(), reason = end.reason,
        "exec ended without a process");
    let appending = append_complete(writer, state.next, state.to, end);
    complete.of(appending).await?;
    METRICS.ended(state.command.spec.work.type_name(), end.outcome);
    Ok(Claim::Ended)
}

/// What the next exec of the session continues with. A newer command's link is left alone.
async fn link(context: &Context, ended: &Ended) -> Result<(), Stop> {
    let Some(fact) = linked(ended) else {
        return Ok(());
    };
    let message = SessionMessage {
        v: PAYLOAD_VERSION,
        project: ended.exec.project.clone(),
        session: ended.exec.session,
        at: now(),
        fact,
    };
    let is_newer = |found: &SessionFact| {
        let command_seq = match found {
            SessionFact::Linked(found) => Some(found.command_seq),
            SessionFact::CodexLinked(found) => Some(found.command_seq),
            SessionFact::Created(_)
            | SessionFact::Pod(_)
            | SessionFact::IdleWarning(_)
            | SessionFact::Ended(_) => None,
        };
        command_seq.is_some_and(|found| found > ended.command_seq)
    };
    context
        .bus
        .replace_session_fact(&message, is_newer)
        .await
        .map_err(|error| Stop::Passing(error.to_string()))
}

/// The fact of the agent's session that the exec yielded, if it did.
fn linked(ended: &Ended) -> Option<SessionFact> {
    let conversation_id = ended.exec.session.conversation();
    let (stream, command_seq) = (ended.exec.stream.clone(), ended.command_seq);
    if let Ok(claude_session_id) = ended.complete.claude_session_id.parse() {
        return Some(SessionFact::Linked(Linked {
            claude_session_id,
            conversation_id,
            stream,
            command_seq,
        }));
    }
    let codex_session_id = ended.complete.codex_session_id.parse().ok()?;
    Some(SessionFact::CodexLinked(CodexLinked {
        codex_session_id,
        conversation_id,
        stream,
        command_seq,
    }))
}
