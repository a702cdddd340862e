//! Where what is projected belongs in traces: each message that begins something and names its span gets
//! one below that, which links to the transaction that it was a part of.

use rdev_bus::Stored;
use rdev_contract::envelope::Recorded;
use rdev_contract::event::Kind;
use rdev_contract::id::ExecId;
use rdev_contract::subject;
use rdev_contract::trace::TraceParent;
use rdev_runtime::trace::{TARGET, Traced};
use tracing::error_span;

/// The spans of one transaction; they end when this is dropped.
pub(crate) fn batch(messages: &[Recorded<Stored>]) -> Vec<Traced> {
    let collected = messages.iter().filter_map(|message| {
        let place = message.value.trace.filter(|place| place.is_sampled())?;
        let (exec, kind) = subject::parse_exec(&message.value.subject).ok()?;
        let kind: Kind = kind.parse().ok()?;
        kind.begins_span().then_some((message, exec, kind, place))
    });
    let mut spans = Vec::new();
    let mut transaction = None;
    for (message, exec, kind, place) in collected {
        let count = messages.len();
        let transaction = transaction.get_or_insert_with(|| {
            let span = error_span!(target: TARGET, parent: None, "project batch", messages = count);
            Traced::new(span, None)
        });
        let project = project(message, &exec, kind, place);
        project.link(transaction.place());
        spans.push(project);
    }
    spans.extend(transaction);
    spans
}

fn project(message: &Recorded<Stored>, exec: &ExecId, kind: Kind, place: TraceParent) -> Traced {
    let span = error_span!(
        target: TARGET,
        parent: None,
        "project",
        otel.name = %format_args!("project {kind}"),
        otel.kind = "consumer",
        messaging.system = "nats",
        project.id = %exec.project,
        session.id = %exec.session,
        stream.id = %exec.stream,
        seq = message.sequence.0,
    );
    Traced::new(span, Some(place))
}
