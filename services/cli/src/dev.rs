//! `rdev dev`: the whole product on one machine. It starts a real nats-server and a real
//! PostgreSQL below its data directory, the three services as processes of their own, and makes
//! a session to try things with. What dies is started again; when it ends, everything ends.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use rdev_embedded::{
    DeathSignal, NatsOptions, NatsServer, Postgres, PostgresOptions, Program, StartError,
};
use rdev_runtime::Shutdown;
use rdev_runtime::telemetry::TelemetryArgs;

use crate::demo;
use crate::supervise::keep_running;

/// Says that a directory is ours, so that `--fresh` deletes nothing else.
const MARKER_FILE: &str = "rdev-data";

/// Settings of `rdev dev`. Everything else has the services' variables and defaults.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Address of the HTTP API; port 0 takes a free one.
    #[arg(
        long,
        env = "RDEV_LISTEN",
        value_name = "RDEV_LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    listen: SocketAddr,
    /// Where all data is kept.
    #[arg(
        long,
        env = "RDEV_DATA_DIR",
        value_name = "RDEV_DATA_DIR",
        default_value = ".rdev"
    )]
    data_dir: PathBuf,
    /// Delete the data of earlier runs first.
    #[arg(long)]
    fresh: bool,
    /// Logging of this process; the services log to files in the data directory.
    #[command(flatten)]
    pub(crate) telemetry: TelemetryArgs,
}

/// Why there is nothing to use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevError {
    /// The data directory cannot be used.
    #[error("{path}: {reason}")]
    DataDir {
        /// Which.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The address cannot be used.
    #[error("--listen {address}: {error}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// A server does not start.
    #[error(transparent)]
    Server(#[from] StartError),
    /// The services do not get ready.
    #[error("{reason}; the services' logs are in {logs}")]
    NotReady {
        /// What is missing.
        reason: String,
        /// Where to look.
        logs: String,
    },
}

/// Runs everything until shutdown.
pub(crate) async fn run(options: Options, shutdown: Shutdown) -> Result<(), DevError> {
    let data_dir = prepare(&options)?;
    let listen = free_address(options.listen)?;
    let mut nats_options = NatsOptions::new(data_dir.join("nats"));
    nats_options.needs_password = true;
    let (nats, postgres) = tokio::try_join!(
        NatsServer::start(nats_options),
        Postgres::start(PostgresOptions::new(data_dir.join("postgres"))),
    )?;
    let settings = Settings {
        data_dir,
        listen,
        nats: nats.url(),
        postgres: postgres.url(),
    };
    // The servers end after the services, which drain into them.
    let servers = Shutdown::new();
    let nats = tokio::spawn(keep_nats(nats, servers.clone()));
    let postgres = tokio::spawn(keep_postgres(postgres, servers.clone()));
    let result = with_services(&settings, &shutdown).await;
    servers.request();
    let _ = tokio::join!(nats, postgres);
    result
}

struct Settings {
    data_dir: PathBuf,
    listen: SocketAddr,
    nats: String,
    postgres: String,
}

impl Settings {
    fn logs(&self) -> PathBuf {
        self.data_dir.join("logs")
    }

    fn service(&self, name: &str) -> Result<Program, DevError> {
        // By path: the link in /proc would lead to the launcher that sets the death signal.
        let program =
            std::env::current_exe().map_err(|error| data_dir_error(&self.data_dir, &error))?;
        let program = Program::new(program)
            .argument(name)
            .variable("RDEV_NATS_URL", &self.nats)
            .variable("RDEV_POSTGRES_URL", &self.postgres)
            .variable("RDEV_LISTEN", self.listen.to_string())
            .variable("RDEV_BACKEND", "local")
            .variable("RDEV_LOCAL_ROOT", self.data_dir.join("pods"))
            .log(self.logs().join(format!("{name}.log")))
            // Draining would wait for servers that are gone as well.
            .death_signal(DeathSignal::Kill);
        Ok(program)
    }
}

async fn with_services(settings: &Settings, shutdown: &Shutdown) -> Result<(), DevError> {
    let services = Shutdown::new();
    let mut tasks = Vec::new();
    for name in ["projector", "executor", "gateway"] {
        let program = settings.service(name)?;
        tasks.push(tokio::spawn(keep_running(name, program, services.clone())));
    }
    let used = tokio::select! {
        used = be_used(settings) => used,
        () = shutdown.requested() => Ok(()),
    };
    if used.is_ok() {
        shutdown.requested().await;
    }
    services.request();
    for task in tasks {
        let _ = task.await;
    }
    used
}

#[expect(
    clippy::print_stdout,
    reason = "these lines are what the command is for"
)]
async fn be_used(settings: &Settings) -> Result<(), DevError> {
    let base = format!("http://{}", settings.listen);
    let not_ready = |reason| DevError::NotReady {
        reason,
        logs: settings.logs().display().to_string(),
    };
    demo::wait_until_ready(&base).await.map_err(not_ready)?;
    let session = demo::session(&base, &settings.data_dir)
        .await
        .map_err(not_ready)?;
    println!("ready: {base}");
    println!("{}", demo::walk_through(&base, &session));
    println!("  NATS, for consumers:    {}", settings.nats);
    println!("  logs and data:          {}", settings.data_dir.display());
    Ok(())
}

async fn keep_nats(mut server: NatsServer, shutdown: Shutdown) {
    loop {
        tokio::select! {
            status = server.wait() => {
                tracing::warn!(%status, "nats-server ended, starting it again");
                if let Err(error) = server.restart().await {
                    tracing::error!(%error, "nats-server does not start");
                    return;
                }
            }
            () = shutdown.requested() => {
                server.stop().await;
                return;
            }
        }
    }
}

async fn keep_postgres(mut server: Postgres, shutdown: Shutdown) {
    loop {
        tokio::select! {
            status = server.wait() => {
                tracing::warn!(%status, "PostgreSQL ended, starting it again");
                if let Err(error) = server.restart().await {
                    tracing::error!(%error, "PostgreSQL does not start");
                    return;
                }
            }
            () = shutdown.requested() => {
                server.stop().await;
                return;
            }
        }
    }
}

fn data_dir_error(path: &Path, error: &std::io::Error) -> DevError {
    DevError::DataDir {
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}

/// The data directory as an absolute path, made if missing, emptied if asked for.
fn prepare(options: &Options) -> Result<PathBuf, DevError> {
    let failed = |error: std::io::Error| data_dir_error(&options.data_dir, &error);
    let data_dir = std::path::absolute(&options.data_dir).map_err(failed)?;
    let marker = data_dir.join(MARKER_FILE);
    if options.fresh && data_dir.exists() {
        let is_empty = std::fs::read_dir(&data_dir)
            .map_err(failed)?
            .next()
            .is_none();
        if !marker.exists() && !is_empty {
            return Err(DevError::DataDir {
                path: data_dir.display().to_string(),
                reason: format!(
                    "--fresh deletes only what rdev made, and there is no {MARKER_FILE}"
                ),
            });
        }
        std::fs::remove_dir_all(&data_dir).map_err(failed)?;
    }
    std::fs::create_dir_all(data_dir.join("logs")).map_err(failed)?;
    std::fs::write(&marker, "The data of rdev dev.\n").map_err(failed)?;
    Ok(data_dir)
}

/// The services are told a port, so a free one is drawn for them.
fn free_address(address: SocketAddr) -> Result<SocketAddr, DevError> {
    TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .map_err(|error| DevError::Listen { address, error })
}
