//! Logs: to standard error, as text for people or JSON for machines. Prompts, output,
//! environment and keys are never logged.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

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

/// Starts logging. The first call in a process wins.
///
/// # Errors
/// When the filter cannot be parsed; the text names the setting.
pub fn init(args: &TelemetryArgs) -> Result<(), String> {
    let filter = EnvFilter::try_new(&args.filter)
        .map_err(|error| format!("RDEV_LOG is not a tracing filter: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Colours are for a screen; in a file they are noise that no search finds its way through.
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    let started = match args.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
    Ok(())
}
