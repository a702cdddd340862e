//! Logs, to standard error, as text for people or JSON for machines; and spans, to a collector of
//! OpenTelemetry where one is set. Prompts, output, environment and keys are in neither.

mod export;
mod json;

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use crate::trace;

/// Settings of the logs.
#[derive(Debug, Clone, clap::Args)]
pub struct TelemetryArgs {
    /// What is logged, as a tracing filter: `info`, `rdev_gateway=debug,info` …
    #[arg(
        long = "log",
        env = "RDEV_LOG",
        value_name = "RDEV_LOG",
        default_value = "info,async_nats=warn"
    )]
    pub filter: String,
    /// How it is written.
    #[arg(
        long = "log-format",
        env = "RDEV_LOG_FORMAT",
        value_name = "RDEV_LOG_FORMAT",
        value_enum,
        default_value = "text"
    )]
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where spans go, for as long as the process lives.
static EXPORT: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Whether spans go anywhere.
pub(crate) fn is_exporting() -> bool {
    EXPORT.get().is_some()
}

/// Starts logging alone: for programs that look at something and end.
///
/// # Errors
/// When the filter cannot be parsed; the text names the setting.
pub fn init_logs(args: &TelemetryArgs) -> Result<(), String> {
    start(args, None)
}

/// Starts logging, and the export of spans if the variables of OpenTelemetry name a collector. The
/// first call in a process wins. Needs an async runtime that lives as long as the process.
///
/// # Errors
/// When the filter cannot be parsed, or the collector not be spoken to; the text names the setting.
pub fn init(name: &'static str, args: &TelemetryArgs) -> Result<(), String> {
    start(args, export::provider(name)?)
}

fn start(args: &TelemetryArgs, provider: Option<SdkTracerProvider>) -> Result<(), String> {
    let wrong =
        |error: &dyn std::fmt::Display| format!("RDEV_LOG is not a tracing filter: {error}");
    let filter = EnvFilter::try_new(&args.filter).map_err(|error| wrong(&error))?;
    let not_shown = format!("{}=off", trace::TARGET).parse();
    let filter = filter.add_directive(not_shown.map_err(|error| wrong(&error))?);
    let spans = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("rdev"))
            // Where in the code it was made says little, and polls are not what takes the time.
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(trace::TARGET, tracing::Level::TRACE))
    });
    let started = Registry::default()
        .with(lines(args.format).with_filter(filter))
        .with(spans)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started before");
    } else if let Some(provider) = provider {
        let _ = EXPORT.set(provider);
        tracing::info!("spans are exported");
    }
    Ok(())
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match format {
        // Colours are for a screen; in a file they are noise that no search finds its way through.
        LogFormat::Text => layer.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer
            .fmt_fields(JsonFields::new())
            .event_format(json::Flat)
            .boxed(),
    }
}

/// Sends what has not been sent yet; for the end of a process. Waits for some seconds at most.
pub fn end() {
    if let Some(provider) = EXPORT.get()
        && let Err(error) = provider.shutdown()
    {
        tracing::warn!(%error, "the last spans were not exported");
    }
}
