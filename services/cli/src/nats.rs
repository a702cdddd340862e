//! `rdev nats-config` and `rdev nats-copies`: who may do what on a nats-server, as files for it and
//! for the services; and the streams that consumers of one project read.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use rdev_bus::access::{Access, AccessError, CopyError, Role};
use rdev_bus::{Bus, BusConfig, ConnectError};
use rdev_contract::id::ProjectId;
use rdev_runtime::Shutdown;
use rdev_runtime::telemetry::TelemetryArgs;

/// Settings of `rdev nats-config`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ConfigOptions {
    /// Directory of the keys; what is missing in it is made, what is there stays.
    directory: PathBuf,
    /// A project whose log somebody else is to read, and nothing else. May be given several times;
    /// those of earlier times stay.
    #[arg(long = "project", value_name = "PROJECT")]
    projects: Vec<ProjectId>,
    /// Logging.
    #[command(flatten)]
    pub(crate) telemetry: TelemetryArgs,
}

/// Settings of `rdev nats-copies`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CopiesOptions {
    /// The log, as its operator reaches it.
    #[command(flatten)]
    bus: BusConfig,
    /// Projects with consumers that the nats-server knows.
    #[arg(required = true, value_name = "PROJECT")]
    projects: Vec<ProjectId>,
    /// Logging.
    #[command(flatten)]
    pub(crate) telemetry: TelemetryArgs,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Keys cannot be read or written.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The log cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server does not do it.
    #[error(
        "{0}; does nats-server know the project (rdev nats-config --project, then reload), and is \
         this its operator (RDEV_NATS_CREDS)?"
    )]
    Copy(#[from] CopyError),
    /// Nobody reads what it prints.
    #[error("what was made cannot be told: {0}")]
    Told(#[from] std::io::Error),
    /// It was told to end.
    #[error("stopped before it was done")]
    Stopped,
}

/// Makes keys and configuration, and says where they are.
pub(crate) fn config(options: ConfigOptions) -> Result<(), Failure> {
    let mut access = Access::kept_in(&options.directory)?;
    for project in options.projects {
        access.add_consumer(project)?;
    }
    let included = access.write_configuration()?;
    let mut lines = vec![line(&included, "for nats-server: include it, and reload")];
    for role in Role::ALL {
        lines.push(line(
            &access.seed_of(role),
            match role {
                Role::Gateway => "RDEV_NATS_CREDS of the gateways",
                Role::Executor => "RDEV_NATS_CREDS of the executors",
                Role::Projector => "RDEV_NATS_CREDS of the projectors",
                Role::Auditor => "RDEV_NATS_CREDS of rdev audit",
                Role::Operator => "of people, and RDEV_NATS_CREDS of rdev keys: may do everything",
            },
        ));
    }
    for project in access.projects() {
        let what = format!("of who reads {project}, and nothing else");
        lines.push(line(&access.seed_of_consumer(project), &what));
    }
    std::io::stdout().write_all(lines.concat().as_bytes())?;
    Ok(())
}

fn line(path: &Path, what: &str) -> String {
    format!("{}  {what}\n", path.display())
}

/// Makes the streams that consumers of projects read.
pub(crate) async fn copies(options: CopiesOptions, shutdown: Shutdown) -> Result<(), Failure> {
    let copying = async {
        let bus = Bus::connect(options.bus, "rdev-copies").await?;
        for project in &options.projects {
            bus.copy_for(project).await?;
        }
        Ok(())
    };
    tokio::select! {
        copied = Box::pin(copying) => copied,
        () = shutdown.requested() => Err(Failure::Stopped),
    }
}
