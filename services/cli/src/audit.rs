//! `rdev audit`: do log and archive hold what their writers wrote, and do the tables hold what they
//! say. Reads both; the tables that are in use are only read, but for `--rebuild`.
//!
//! It ends with 0 (equal), 1 (different) or 2 (it could not find out), and prints one report, for
//! people or as JSON.

mod exec;
mod execs;
mod messages;
mod report;
mod tables;
mod trail;

use std::io::Write;
use std::process::ExitCode;

use jiff::Timestamp;
use rdev_archive::{Archive, ArchiveArgs, ArchiveError, InvalidArchiveUrl};
use rdev_bus::{Bus, BusConfig, ConnectError, ReadError};
use rdev_contract::id::{ExecId, ProjectId, SessionId, StreamId};
use rdev_projector::rebuild::RebuildError;
use rdev_readmodel::{PostgresUrl, ScratchError};
use rdev_runtime::Shutdown;
use rdev_runtime::telemetry::{self, LogFormat, TelemetryArgs};
use serde::Serialize;

use report::Told;

/// Something differs from what it should be.
const DIFFERENT: u8 = 1;
/// Nobody knows.
const UNKNOWN: u8 = 2;

/// Settings of `rdev audit`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The log. Its TTLs must be those of the services: they tell what may have expired.
    #[command(flatten)]
    bus: BusConfig,
    /// Where execs are kept beyond the log.
    #[command(flatten)]
    archive: ArchiveArgs,
    /// The database of the read model.
    #[arg(
        long,
        env = "RDEV_POSTGRES_URL",
        value_name = "RDEV_POSTGRES_URL",
        hide_env_values = true,
        default_value = "postgres://rdev@127.0.0.1:5432/rdev"
    )]
    postgres_url: PostgresUrl,
    /// Fold log and archive into new tables and put them in the place of the old ones, at once. The
    /// services go on meanwhile. Indexes, triggers and views of your own on them are gone.
    #[arg(long, conflicts_with_all = ["exec", "execs", "project"])]
    rebuild: bool,
    /// Verify the messages of all execs of log and archive.
    #[arg(long, conflicts_with_all = ["exec", "project"])]
    execs: bool,
    /// Verify the messages of this exec: PROJECT/SESSION/STREAM. Without it, the tables of the
    /// read model are compared with the log, row by row.
    #[arg(long, value_name = "PROJECT/SESSION/STREAM", value_parser = exec_id)]
    exec: Option<ExecId>,
    /// The exec's project, in place of --exec.
    #[arg(long, requires_all = ["session", "stream"], conflicts_with = "exec")]
    project: Option<ProjectId>,
    /// The exec's session.
    #[arg(long, requires = "project")]
    session: Option<SessionId>,
    /// The exec's stream id.
    #[arg(long, requires = "project")]
    stream: Option<StreamId>,
    /// Show who did what, when and from where.
    #[arg(long, conflicts_with_all = ["exec", "execs", "project", "rebuild"])]
    trail: bool,
    /// Of the trail, what was done from this time on, as in 2026-11-22T06:21:00Z.
    #[arg(long, requires = "trail")]
    since: Option<Timestamp>,
    /// Of the trail, what was done before this time.
    #[arg(long, requires = "trail")]
    until: Option<Timestamp>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// What is logged, to standard error, as a tracing filter.
    #[arg(
        long = "log",
        env = "RDEV_LOG",
        value_name = "RDEV_LOG",
        default_value = "warn,rdev_bus::connect=error"
    )]
    filter: String,
}

impl Options {
    fn exec(&self) -> Option<ExecId> {
        let of_parts = || {
            Some(ExecId {
                project: self.project.clone()?,
                session: self.session?,
                stream: self.stream.clone()?,
            })
        };
        self.exec.clone().or_else(of_parts)
    }
}

fn exec_id(text: &str) -> Result<ExecId, String> {
    let [project, session, stream] = text.split('/').collect::<Vec<_>>()[..] else {
        return Err("expected PROJECT/SESSION/STREAM".to_owned());
    };
    Ok(ExecId {
        project: project.parse().map_err(|error| format!("{error}"))?,
        session: session.parse().map_err(|error| format!("{error}"))?,
        stream: stream.parse().map_err(|error| format!("{error}"))?,
    })
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The log cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The log does not answer.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The archive does not answer.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// There can be no archive at that place.
    #[error("RDEV_ARCHIVE_URL: {0}")]
    ArchiveUrl(#[from] InvalidArchiveUrl),
    /// The log cannot be folded, or the tables not be swapped.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The tables cannot be compared.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The tables are between two builds.
    #[error(
        "the tables hold rows that an older build made, or that are of another log: the active \
         projector of this build folds them anew, so audit again when it has; or use --rebuild"
    )]
    Outdated,
    /// There is nothing to verify.
    #[error(
        "log and archive hold no message of {0}: retention removed them, or there never was one"
    )]
    Nothing(ExecId),
    /// It was told to end.
    #[error("stopped before it was done")]
    Stopped,
    /// Logging, signals or the report.
    #[error("{0}")]
    Process(String),
}

/// Audits as the command line says.
pub(crate) fn main(options: &Options) -> ExitCode {
    match run(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(DIFFERENT),
        Err(error) => refuse(&error),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of a process that cannot go on"
)]
fn refuse(error: &Failure) -> ExitCode {
    eprintln!("rdev audit: {error}");
    ExitCode::from(UNKNOWN)
}

/// Says whether everything is equal.
fn run(options: &Options) -> Result<bool, Failure> {
    let failed = |error: std::io::Error| Failure::Process(error.to_string());
    telemetry::init_logs(&TelemetryArgs {
        filter: options.filter.clone(),
        format: LogFormat::Text,
    })
    .map_err(Failure::Process)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(async {
        let shutdown = Shutdown::on_signals().map_err(failed)?;
        tokio::select! {
            outcome = Box::pin(audit(options)) => outcome,
            () = shutdown.requested() => Err(Failure::Stopped),
        }
    })
}

async fn audit(options: &Options) -> Result<bool, Failure> {
    let sources = Sources {
        bus: Bus::connect(options.bus.clone(), "rdev-audit").await?,
        archive: Archive::open_existing(&options.archive.archive_url)?,
        config: options.bus.clone(),
    };
    if let Some(exec) = options.exec() {
        return told(&exec::audit(&sources, exec).await?, options.json);
    }
    if options.trail {
        let trail = trail::trail(&sources.bus, options.since, options.until);
        return told(&trail.await?, options.json);
    }
    if options.execs {
        return told(&execs::audit(&sources).await?, options.json);
    }
    let report = if options.rebuild {
        tables::rebuild(&sources, &options.postgres_url).await?
    } else {
        tables::audit(&sources, &options.postgres_url).await?
    };
    told(&report, options.json)
}

/// What is audited.
struct Sources {
    bus: Bus,
    /// What the log has forgotten.
    archive: Option<Archive>,
    /// How long the log keeps what.
    config: BusConfig,
}

/// Prints the report, and says whether everything is equal.
fn told<R: Told + Serialize>(report: &R, as_json: bool) -> Result<bool, Failure> {
    let text = if as_json {
        serde_json::to_string_pretty(report).map_err(|error| Failure::Process(error.to_string()))?
    } else {
        report.text()
    };
    let mut out = std::io::stdout();
    writeln!(out, "{}", text.trim_end())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::Process(format!("the report cannot be written: {error}")))?;
    Ok(report.is_equal())
}

#[cfg(test)]
mod tests {
    use super::exec_id;

    #[test]
    fn an_exec_is_named_by_its_three_ids() {
        let name = "demo/01930000-0000-7000-8000-000000000001/s-1";
        assert_eq!(exec_id(name).unwrap().to_string(), name);
        for wrong in ["demo/s-1", "demo/x/s-1", "a/b/c/d", "../../.."] {
            assert!(exec_id(wrong).is_err(), "{wrong}");
        }
    }
}
