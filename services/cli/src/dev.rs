//! `rdev dev`: the whole product on one machine. It starts a real nats-server and a real
//! PostgreSQL below its data directory, the three services as processes of their own, and makes
//! a session to try things with. What dies is started again; when it ends, everything ends.

use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdev_archive::{ArchiveUrl, InvalidArchiveUrl};
use rdev_bus::access::{Access, AccessError, Login, Role};
use rdev_contract::key::ApiKey;
use rdev_embedded::{
    DeathSignal, Home, NatsOptions, NatsServer, Postgres, PostgresOptions, Program, Server,
    StartError, password_kept_in,
};
use rdev_gateway::RequireKeys;
use rdev_runtime::Shutdown;
use rdev_runtime::telemetry::TelemetryArgs;
use tokio::task::JoinSet;

use crate::demo::{self, Demo};
use crate::dev_key;
use crate::dev_metrics::Metrics;
use crate::log_limit::LogLimit;
use crate::settings::note::DevNote;
use crate::supervise::{Futile, Service};

/// Says that a directory is ours, so that `--fresh` deletes nothing else.
const MARKER_FILE: &str = "rdev-data";
/// Between two tries to start a server that ended: a full disk or a taken port may pass.
const SERVER_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Its commands end with everything else: nobody would take them over.
const EXECUTOR_FLAGS: &[&str] = &["--cancel-on-shutdown"];
/// The user of people on this machine.
const NATS_USER: &str = "rdev";
/// Whoever sets it is obeyed; else [`LogLimit`] chooses.
const LOG_MAX_BYTES_VARIABLE: &str = "RDEV_LOG_MAX_BYTES";
/// Whoever sets it is obeyed; else there is a file to begin with.
const TEMPLATES_VARIABLE: &str = "RDEV_TEMPLATES";
const TEMPLATES_FILE: &str = "templates.yaml";
const FIRST_TEMPLATE: &str = "\
# What the pods of sessions may be made from. Here a pod is a directory; see docs/sessions.md.
scratch:
  description: an empty directory that goes with its session
  idle_timeout_seconds: 3600
";

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
    /// Where execs are kept beyond the log: a directory in the data directory if it is not set,
    /// nowhere if it is empty.
    #[arg(long, env = "RDEV_ARCHIVE_URL", value_name = "RDEV_ARCHIVE_URL")]
    archive_url: Option<ArchiveUrl>,
    /// Whether keys are needed on 127.0.0.1 too.
    #[command(flatten)]
    keys: RequireKeys,
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
    /// The log's users cannot be had.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There can be no archive in the data directory.
    #[error(transparent)]
    Archive(#[from] InvalidArchiveUrl),
    /// A server does not start.
    #[error(transparent)]
    Server(#[from] StartError),
    /// There is no key.
    #[error("no key was made: {0}")]
    Key(String),
    /// A service cannot run at all.
    #[error(transparent)]
    Service(#[from] Futile),
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
    let archive = match options.archive_url {
        Some(url) => url,
        None => ArchiveUrl::of_directory(&data_dir.join("archive"))?,
    };
    let log_limit = match std::env::var_os(LOG_MAX_BYTES_VARIABLE) {
        Some(_) => None,
        None => Some(LogLimit::of(&data_dir).map_err(|error| data_dir_error(&data_dir, &error))?),
    };
    let (access, mut nats_options) = log(&data_dir)?;
    let copies = access.copies_max_bytes();
    nats_options.max_store_bytes = log_limit.map(|limit| limit.store_bytes() + copies);
    let (nats, postgres) = tokio::try_join!(
        NatsServer::start(nats_options),
        Postgres::start(PostgresOptions::new(data_dir.join("postgres"))),
    )?;
    let key = dev_key::key(&nats.url(), &data_dir).await;
    let templates = templates(&data_dir).map_err(|error| data_dir_error(&data_dir, &error))?;
    let metrics = Metrics::behind(listen).map_err(|error| DevError::Listen {
        address: listen,
        error,
    })?;
    let scrapes = metrics.write(&data_dir);
    let settings = Settings {
        key: key.map_err(DevError::Key)?,
        needs_key: options.keys.everywhere || !listen.ip().is_loopback(),
        scrapes: scrapes.map_err(|error| data_dir_error(&data_dir, &error))?,
        metrics,
        data_dir,
        templates,
        listen,
        log_limit,
        nats: nats.url(),
        nats_address: nats.address(),
        access,
        postgres: postgres.url(),
        archive: archive.to_string(),
    };
    // The servers end after the services, which drain into them.
    let servers = Shutdown::new();
    let nats = tokio::spawn(keep(nats, servers.clone()));
    let postgres = tokio::spawn(keep(postgres, servers.clone()));
    let result = with_services(&settings, &shutdown).await;
    servers.request();
    let _ = tokio::join!(nats, postgres);
    result
}

/// The log's users, and a server that knows them. The services have a key each; the person who has
/// this directory has a password, and may do everything.
fn log(data_dir: &Path) -> Result<(Access, NatsOptions), DevError> {
    let keys = data_dir.join("access");
    let access = Access::kept_in(&keys)?;
    let mut options = NatsOptions::new(data_dir.join("nats"));
    let login = Login {
        user: NATS_USER.to_owned(),
        password: password_kept_in(&keys.join("password"))?,
        is_default: false,
    };
    options.extra_config = access.configuration(Some(&login));
    options.heir = Some(Access::ACCOUNT.to_owned());
    options.login = Some((login.user, login.password));
    Ok((access, options))
}

struct Settings {
    key: ApiKey,
    needs_key: bool,
    data_dir: PathBuf,
    templates: OsString,
    metrics: Metrics,
    /// What Prometheus is to be started with.
    scrapes: PathBuf,
    listen: SocketAddr,
    log_limit: Option<LogLimit>,
    /// For people: who has it may do everything.
    nats: String,
    /// For services, each of which has a key of its own.
    nats_address: String,
    access: Access,
    postgres: String,
    archive: String,
}

impl Settings {
    /// What other commands of the same user need to know.
    fn note(&self, base: &str, session: &str) -> DevNote {
        DevNote {
            pid: std::process::id(),
            url: base.to_owned(),
            key: self.key.to_string(),
            project: demo::PROJECT.to_owned(),
            session: Some(session.to_owned()),
            data_dir: self.data_dir.clone(),
            nats_url: self.nats.clone(),
            postgres_url: self.postgres.clone(),
        }
    }

    fn logs(&self) -> PathBuf {
        self.data_dir.join("logs")
    }

    fn service(&self, role: Role) -> Result<Service, DevError> {
        let name = role.name();
        // By path: the link in /proc would lead to the launcher that sets the death signal.
        let program =
            std::env::current_exe().map_err(|error| data_dir_error(&self.data_dir, &error))?;
        let log = self.logs().join(format!("{name}.log"));
        let program = Program::new(program)
            .argument(name)
            .arguments(if role == Role::Executor {
                EXECUTOR_FLAGS
            } else {
                &[]
            })
            .variable("RDEV_NATS_URL", &self.nats_address)
            .variable("RDEV_NATS_CREDS", self.access.seed_of(role))
            .variable("RDEV_POSTGRES_URL", &self.postgres)
            .variable("RDEV_ARCHIVE_URL", &self.archive)
            .variable("RDEV_LISTEN", self.listen.to_string())
            .variable("RDEV_REQUIRE_KEYS", self.needs_key.to_string())
            .variable(TEMPLATES_VARIABLE, &self.templates)
            .variable("RDEV_BACKEND", "local")
            .variable("RDEV_LOCAL_ROOT", self.data_dir.join("pods"))
            .variable("RDEV_LOCAL_SECRETS", self.data_dir.join("secrets"))
            .log(&log)
            // Draining would wait for servers that are gone as well.
            .death_signal(DeathSignal::Kill);
        let program = match self.metrics.of(role) {
            Some(address) => program.variable("RDEV_HEALTH_LISTEN", address.to_string()),
            None => program,
        };
        let program = match self.log_limit {
            Some(limit) => program.variable(LOG_MAX_BYTES_VARIABLE, limit.log_bytes.to_string()),
            None => program,
        };
        Ok(Service { name, program, log })
    }
}

async fn with_services(settings: &Settings, shutdown: &Shutdown) -> Result<(), DevError> {
    let services = Shutdown::new();
    let mut tasks = JoinSet::new();
    for role in [Role::Projector, Role::Executor, Role::Gateway] {
        let service = settings.service(role)?;
        tasks.spawn(service.keep_running(services.clone()));
    }
    let used = tokio::select! {
        used = use_until(settings, shutdown) => used,
        futile = first_futile(&mut tasks) => Err(futile.into()),
    };
    services.request();
    while tasks.join_next().await.is_some() {}
    used
}

async fn use_until(settings: &Settings, shutdown: &Shutdown) -> Result<(), DevError> {
    let note = tokio::select! {
        note = be_used(settings) => note?,
        () = shutdown.requested() => return Ok(()),
    };
    shutdown.requested().await;
    note.take_away();
    Ok(())
}

/// Waits for a service that is not started again; for ever, if all are kept running.
async fn first_futile(tasks: &mut JoinSet<Result<(), Futile>>) -> Futile {
    while let Some(ended) = tasks.join_next().await {
        if let Ok(Err(futile)) = ended {
            return futile;
        }
    }
    std::future::pending().await
}

/// Waits until it serves, and tells people and other commands.
async fn be_used(settings: &Settings) -> Result<DevNote, DevError> {
    let base = format!("http://{}", reachable(settings.listen));
    let not_ready = |reason| DevError::NotReady {
        reason,
        logs: settings.logs().display().to_string(),
    };
    let demo = Demo {
        base: &base,
        key: &settings.key,
        needs_key: settings.needs_key,
    };
    demo.wait_until_ready().await.map_err(not_ready)?;
    let session = demo.session(&settings.data_dir).await.map_err(not_ready)?;
    let note = settings.note(&base, &session.id);
    if let Err(error) = note.leave() {
        tracing::warn!(%error, "other commands of rdev have to be told where this is (--url)");
    }
    let lines = format!(
        "ready: {base}\n{}\n  key, where one is asked for: {}\n  NATS, for consumers:    {} (may do everything)\n  PostgreSQL, for audits: {}\n  \
         metrics:                prometheus --config.file={}\n  \
         archive, for audits:    {}\n  logs and data:          {}\n",
        demo.walk_through(&session),
        settings.key,
        settings.nats,
        settings.postgres,
        settings.scrapes.display(),
        settings.archive,
        settings.data_dir.display(),
    );
    announce(&mut std::io::stdout(), &lines);
    Ok(note)
}

/// Whoever read the lines may have left already, as `head -1` does: that ends nothing.
fn announce(out: &mut impl Write, lines: &str) {
    if let Err(error) = out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
        tracing::warn!(%error, "nobody reads what this prints");
    }
}

/// A server goes on with what it has on disk when it is started again.
async fn keep<H: Home>(mut server: Server<H>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            status = server.wait() => {
                tracing::warn!(%status, "{} ended, starting it again", H::NAME);
            }
            () = shutdown.requested() => {
                server.stop().await;
                return;
            }
        }
        while let Err(error) = server.restart().await {
            tracing::error!(%error, "{} does not start, trying again", H::NAME);
            tokio::select! {
                () = tokio::time::sleep(SERVER_RETRY_DELAY) => {}
                () = shutdown.requested() => return,
            }
        }
    }
}

fn data_dir_error(path: &Path, error: &dyn std::error::Error) -> DevError {
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

/// The file of templates: the one that is set, or one of ours, which is the user's to change.
fn templates(data_dir: &Path) -> std::io::Result<OsString> {
    if let Some(path) = std::env::var_os(TEMPLATES_VARIABLE) {
        return Ok(path);
    }
    let path = data_dir.join(TEMPLATES_FILE);
    if !path.exists() {
        std::fs::write(&path, FIRST_TEMPLATE)?;
    }
    Ok(path.into_os_string())
}

/// The services are told a port, so a free one is drawn for them.
fn free_address(address: SocketAddr) -> Result<SocketAddr, DevError> {
    TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .map_err(|error| DevError::Listen { address, error })
}

/// Where a client on this machine finds what listens at `address`: "all addresses" is none.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe that was closed at its other end.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_no_reason_to_end() {
        announce(&mut Closed, "ready: http://127.0.0.1:8080\n");
        let mut read = Vec::new();
        announce(&mut read, "ready: http://127.0.0.1:8080\n");
        assert_eq!(read, b"ready: http://127.0.0.1:8080\n");
    }

    #[test]
    fn all_addresses_are_reached_by_the_local_one() {
        let reached = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reached("[::]:80"), "[::1]:80");
        assert_eq!(reached("127.0.0.2:80"), "127.0.0.2:80");
    }
}
