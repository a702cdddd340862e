//! Spans of one trace across services, whether anybody collects them or not.
//!
//! A request begins a trace, or goes on with its caller's; each message of the log that begins
//! something says to which span of it that belongs ([`TraceParent`]). Where spans are exported
//! ([`crate::telemetry`]) each [`Traced`] is a span of its own. Elsewhere it is only a place in the trace
//! of its parent, so that logs of all services can be searched for one trace.
//!
//! Invariants: a span says what was done, when and to which exec, and never what with: no arguments,
//! prompts, output, environment, keys or query strings. Nothing is decided by a trace.

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, KeyValue};
use rand::Rng as _;
use rdev_contract::trace::TraceParent;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::telemetry;

/// The target of spans that are exported, and not shown in logs. All others are there for logs alone.
pub const TARGET: &str = "rdev::trace";

/// The field of a span for logs that names the trace.
const TRACE_ID: &str = "trace_id";

/// A span, and its place in a trace.
#[derive(Debug, Clone)]
pub struct Traced {
    span: Span,
    place: TraceParent,
}

impl Traced {
    /// Makes `span` the child of `parent`, or the first one of a new trace.
    #[must_use]
    pub fn new(span: Span, parent: Option<TraceParent>) -> Self {
        if let Some(parent) = parent {
            // Refused where the span is not collected, and then it does not matter.
            let _ = span.set_parent(Context::new().with_remote_span_context(context_of(parent)));
        }
        let place = place_of(&span).or(parent).unwrap_or_else(unrecorded);
        Self { span, place }
    }

    /// The same as the function [`tell`], of this span's trace.
    pub fn tell(&self, span: &Span) {
        tell(self.place, span);
    }

    /// What follows from this is to say that it belongs here.
    #[must_use]
    pub const fn place(&self) -> TraceParent {
        self.place
    }

    /// The span.
    #[must_use]
    pub const fn span(&self) -> &Span {
        &self.span
    }

    /// It has to do with that span, and is not its child.
    pub fn link(&self, other: TraceParent) {
        if telemetry::is_exporting() {
            self.span.add_link(context_of(other));
        }
    }

    /// Says something of the span that is known only now, where it is collected. `name` needs no
    /// declaration.
    pub fn note(&self, name: &'static str, value: impl Into<opentelemetry::Value>) {
        if self.is_collected() {
            let KeyValue { key, value, .. } = KeyValue::new(name, value);
            self.span.set_attribute(key, value);
        }
    }

    /// What was done has failed, for this reason.
    pub fn failed(&self, reason: impl std::fmt::Display) {
        if self.is_collected() {
            let reason = reason.to_string();
            self.span
                .set_status(opentelemetry::trace::Status::error(reason));
        }
    }

    /// Whether somebody will look at it.
    #[must_use]
    pub fn is_collected(&self) -> bool {
        telemetry::is_exporting() && self.place.is_sampled()
    }

    /// Does this as what the span is about.
    pub fn of<F: Future>(&self, work: F) -> tracing::instrument::Instrumented<F> {
        work.instrument(self.span.clone())
    }
}

/// Lets log lines within `span` name the trace of `place`. The field must be declared: `trace_id = Empty`.
pub fn tell(place: TraceParent, span: &Span) {
    span.record(TRACE_ID, tracing::field::display(place.trace_id()));
}

fn context_of(place: TraceParent) -> SpanContext {
    let flags = if place.is_sampled() {
        TraceFlags::SAMPLED
    } else {
        TraceFlags::default()
    };
    let trace = TraceId::from(place.trace());
    let span = SpanId::from(place.span());
    SpanContext::new(trace, span, flags, true, TraceState::default())
}

/// None where nobody collects it.
fn place_of(span: &Span) -> Option<TraceParent> {
    if !telemetry::is_exporting() {
        return None;
    }
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    let trace = u128::from_be_bytes(context.trace_id().to_bytes());
    let id = u64::from_be_bytes(context.span_id().to_bytes());
    TraceParent::new(trace, id, context.is_sampled())
}

/// The first place of a trace that nobody here collects.
fn unrecorded() -> TraceParent {
    let mut random = rand::rng();
    loop {
        if let Some(place) = TraceParent::new(random.random(), random.random(), false) {
            return place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_collector_a_trace_goes_on_as_it_came() {
        let parent: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            .parse()
            .unwrap();
        let traced = Traced::new(Span::none(), Some(parent));
        assert_eq!(traced.place(), parent);
        assert!(!traced.is_collected());
        let (one, other) = (
            Traced::new(Span::none(), None),
            Traced::new(Span::none(), None),
        );
        assert_ne!(one.place().trace_id(), other.place().trace_id());
        assert!(!one.place().is_sampled());
    }

    #[test]
    fn places_are_the_same_for_opentelemetry() {
        let place = TraceParent::new(0x0af7, 0xb7ad, true).unwrap();
        let context = context_of(place);
        assert_eq!(context.trace_id().to_string(), place.trace_id());
        assert_eq!(
            context.span_id().to_string(),
            format!("{:016x}", place.span())
        );
        assert!(context.is_sampled() && context.is_remote());
    }
}
