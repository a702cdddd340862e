//! Where the work on an exec belongs in traces.
//!
//! The trace is that of the request that posted the command; the command's message names the span of
//! it. Each attempt is a `claim` below that, which names itself in `started` or `resumed`, and a `run`
//! below the claim, for as long as the exec is followed. A take-over is a further claim, and links to
//! the one before. A span is only told when it ends: of an executor that is killed the `run` is never
//! told, so nothing stands below it but its end.

use rdev_bus::Stored;
use rdev_contract::envelope::Recorded;
use rdev_contract::event::Kind;
use rdev_contract::id::ExecId;
use rdev_contract::subject;
use rdev_contract::trace::TraceParent;
use rdev_runtime::trace::{self, TARGET, Traced};
use tracing::field::Empty;
use tracing::{Span, error_span};

/// What an exec's messages say of traces.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Places {
    /// The span that the command was stored in.
    pub(crate) command: Option<TraceParent>,
    /// That of the last claim.
    pub(crate) claim: Option<TraceParent>,
}

impl Places {
    /// That of an exec of which there is nothing but its command.
    pub(crate) const fn of_command(command: &Stored) -> Self {
        Self {
            command: command.trace,
            claim: None,
        }
    }

    /// That of messages in the order of the log.
    pub(crate) fn of(messages: &[Recorded<Stored>]) -> Self {
        let last = |kinds: &[Kind]| {
            let mut messages = messages.iter().rev().map(|message| &message.value);
            messages.find_map(|message| {
                let (_, token) = subject::parse_exec(&message.subject).ok()?;
                let kind = token.parse().ok()?;
                kinds.contains(&kind).then_some(message.trace)
            })
        };
        Self {
            command: last(&[Kind::Command]).flatten(),
            claim: last(&[Kind::Started, Kind::Resumed]).flatten(),
        }
    }
}

/// For logs: everything that is said of an exec says which one it is. At the highest level, so that it
/// is there whatever is logged.
pub(crate) fn exec_span(exec: &ExecId) -> Span {
    error_span!(
        "exec",
        project.id = %exec.project,
        session.id = %exec.session,
        stream.id = %exec.stream,
        trace_id = Empty,
    )
}

/// Lets what is said of an exec from here on name its trace. Once: in text a field that is recorded
/// again is there twice.
pub(crate) fn tell(command: Option<TraceParent>) {
    if let Some(command) = command {
        trace::tell(command, &Span::current());
    }
}

/// One claim of an exec.
pub(crate) fn claim(exec: &ExecId, attempt: u32, executor: &str, places: &Places) -> Traced {
    let span = error_span!(
        target: TARGET,
        "claim",
        otel.kind = "consumer",
        messaging.system = "nats",
        project.id = %exec.project,
        session.id = %exec.session,
        stream.id = %exec.stream,
        attempt,
        executor,
    );
    let claim = Traced::new(span, places.command);
    if let Some(before) = places.claim {
        claim.link(before);
    }
    claim
}

/// Reaching the pod, for a claim.
pub(crate) async fn reach<T>(claim: &Traced, reaching: impl Future<Output = T>) -> T {
    let span = error_span!(target: TARGET, "reach the pod");
    let step = Traced::new(span, Some(claim.place()));
    step.of(reaching).await
}

/// Following an exec under a claim, to its end or until it is another's.
pub(crate) fn run(exec: &ExecId, attempt: u32, claim: &Traced) -> Traced {
    let span = error_span!(
        target: TARGET,
        "run",
        project.id = %exec.project,
        session.id = %exec.session,
        stream.id = %exec.stream,
        attempt,
    );
    Traced::new(span, Some(claim.place()))
}

/// Writing an end.
pub(crate) fn complete(
    exec: &ExecId,
    outcome: &'static str,
    parent: Option<TraceParent>,
) -> Traced {
    let span = error_span!(
        target: TARGET,
        "complete",
        otel.kind = "producer",
        messaging.system = "nats",
        stream.id = %exec.stream,
        outcome,
    );
    Traced::new(span, parent)
}
