//! Settings of the projector.

use rdev_archive::ArchiveArgs;
use rdev_bus::BusConfig;
use rdev_readmodel::PostgresUrl;
use rdev_runtime::health::HealthArgs;
use rdev_runtime::telemetry::TelemetryArgs;

/// Follows the log and writes the read model.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "rdev-projector", version)]
pub struct Arguments {
    /// What it works with.
    #[command(flatten)]
    pub config: Config,
    /// Logging.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// Ask a running projector's /readyz and exit with 0 if it is ready.
    #[arg(long)]
    pub check_health: bool,
}

/// What the projector works with.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// The log.
    #[command(flatten)]
    pub bus: BusConfig,
    /// The database of the read model: postgres://user:password@host:5432/database.
    #[arg(
        long,
        env = "RDEV_POSTGRES_URL",
        value_name = "RDEV_POSTGRES_URL",
        hide_env_values = true,
        default_value = "postgres://rdev@127.0.0.1:5432/rdev"
    )]
    pub postgres_url: PostgresUrl,
    /// Where execs are kept beyond the log.
    #[command(flatten)]
    pub archive: ArchiveArgs,
    /// Probes.
    #[command(flatten)]
    pub health: HealthArgs,
}
