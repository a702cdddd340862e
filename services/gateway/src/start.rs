//! From settings to a serving gateway: connects to the log, makes what is missing of it, and
//! only then listens, so that whoever can connect is served.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_recursion::async_recursion as boxed;
use rdev_archive::Archive;
use rdev_bus::Bus;
use rdev_bus::keys::KeyNews;
use rdev_bus::topology::TopologyError;
use rdev_contract::envelope::Recorded;
use rdev_contract::position::StreamSeq;
use rdev_readmodel::ReadModel;
use rdev_runtime::health::{self, Readiness};
use rdev_runtime::{Shutdown, limits};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::as_of::Projection;
use crate::config::Config;
use crate::events::{Replays, Tails};
use crate::history::Past;
use crate::keys;
use crate::lives::Lives;
use crate::metrics::METRICS;
use crate::queue::Line;
use crate::routes::router;
use crate::screen::Screens;
use crate::serve::serve;
use crate::state::{Gateway, Log};
use crate::surroundings;
use crate::tls::{Tls, TlsArgs};
use crate::trust::Trust;

/// Between two tries to reach NATS at the start.
const CONNECT_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Why the gateway does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log exists with other settings, or the server cannot do what is needed.
    #[error("{0}")]
    Log(String),
    /// Two settings contradict each other.
    #[error("{0}")]
    Settings(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {address} (RDEV_LISTEN): {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The address for probes cannot be listened on.
    #[error("RDEV_HEALTH_LISTEN: {0}")]
    Probes(io::Error),
    /// The end was asked for before it began.
    #[error("ended before NATS could be reached")]
    Ended,
    /// The answer of `--check-health`.
    #[error("{0}")]
    NotReady(io::Error),
}

/// A gateway that listens, and serves as soon as it is run.
pub struct Prepared {
    listener: TcpListener,
    address: SocketAddr,
    stall_timeout: Duration,
    tls: Option<Tls>,
    gateway: Gateway,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Prepared")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Prepared {
    /// Where it listens; with port 0 in the settings, the port that was chosen.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the end is asked for, then drains. Tells meanwhile what is missing.
    pub async fn run(self, readiness: &Readiness) {
        tracing::info!(address = %self.address, "serving");
        let shutdown = self.gateway.shutdown.clone();
        let (line, log) = (self.gateway.line.clone(), self.gateway.log.clone());
        let (trust, lives) = (self.gateway.trust.clone(), self.gateway.lives.clone());
        let following = Box::pin(async {
            match log.0 {
                Some(bus) => {
                    let trusting = Box::pin(trust.follow(&bus));
                    tokio::join!(line.follow(&bus), trusting, lives.follow(&bus))
                }
                None => std::future::pending().await,
            }
        });
        METRICS.watch(&self.gateway);
        let (seen, read_model) = (self.gateway.log.clone(), self.gateway.read_model.clone());
        let ending = shutdown.clone();
        let looking = surroundings::look(&seen, &read_model, &line, readiness, &ending);
        let router = router(self.gateway);
        tokio::select! {
            () = serve(self.listener, self.tls, router, self.stall_timeout, shutdown) => {}
            ((), (), ()) = following => {}
            () = looking => {}
        }
    }
}

/// Connects to the log and listens. PostgreSQL is connected to when it is needed.
///
/// # Errors
/// See [`StartError`]. NATS that is not there yet is waited for.
pub async fn prepare(config: Config, shutdown: Shutdown) -> Result<Prepared, StartError> {
    config.check().map_err(StartError::Settings)?;
    let tls = config.tls.load().map_err(StartError::Settings)?;
    let archive = Archive::open(&config.archive.archive_url)
        .map_err(|error| StartError::Settings(format!("RDEV_ARCHIVE_URL: {error}")))?;
    let past = Past::of(archive, config.shortest_life());
    limits::raise_open_files();
    let (bus, replays) = tokio::select! {
        both = reach_twice(&config) => both?,
        () = shutdown.requested() => return Err(StartError::Ended),
    };
    let trust = Trust::new(&config.trust, config.listen, &config.cors_origins);
    let loaded = trust.load(&bus).await;
    loaded.map_err(|error| StartError::Log(error.to_string()))?;
    make_first_key(&trust, &bus).await?;
    trust.check(config.listen).map_err(StartError::Settings)?;
    let listening = |error| StartError::Listen {
        address: config.listen,
        error,
    };
    let listener = TcpListener::bind(config.listen).await.map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;
    let provisions = config.provisions();
    let gateway = Gateway {
        log: Log(Some(bus)),
        past: past.clone(),
        read_model: ReadModel::new(&config.postgres_url),
        projection: Projection::default(),
        limits: config.limits(),
        heartbeat: config.heartbeat,
        trust,
        cors: config.cors_origins,
        tails: Tails::until(shutdown.clone()),
        line: Line::default(),
        project_queue_max: config.project_queue_max as usize,
        replays: Replays::new(Log(Some(replays)), past),
        provisions: Arc::new(provisions),
        lives: Lives::default(),
        known_sessions: Arc::default(),
        screens: Screens::default(),
        streams_max: config.max_streams,
        streams: Arc::new(Semaphore::new(config.max_streams)),
        shutdown,
    };
    Ok(Prepared {
        listener,
        address,
        stall_timeout: config.stall_timeout,
        tls,
        gateway,
    })
}

/// Runs a gateway until the end is asked for.
///
/// # Errors
/// See [`StartError`].
#[boxed]
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), StartError> {
    let readiness = surroundings::declare();
    let probes = health::serve_at(config.health.health_listen, readiness.clone());
    let serving = async {
        prepare(config, shutdown).await?.run(&readiness).await;
        Ok(())
    };
    tokio::select! {
        served = Box::pin(serving) => served,
        failed = probes => failed.map_err(StartError::Probes),
    }
}

/// Asks the gateway that these settings describe whether it is ready.
///
/// # Errors
/// [`StartError::NotReady`] when it is not, or nobody answers.
pub async fn check_health(config: &Config) -> Result<(), StartError> {
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr = match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    ask(address, &config.tls).await
}

/// Asks whoever listens there whether it is ready; over TLS, if these settings have it.
pub(crate) async fn ask(address: SocketAddr, tls: &TlsArgs) -> Result<(), StartError> {
    let connector = tls.connector_to_itself();
    let answer = match connector.map_err(StartError::Settings)? {
        Some(connector) => {
            let encrypted = async |stream| connector.connect(address.ip().into(), stream).await;
            health::check_through(address, encrypted).await
        }
        None => health::check_self(Some(address)).await,
    };
    answer.map_err(StartError::NotReady)
}

/// Lets whoever starts a gateway in, if that is wanted and nobody else is.
async fn make_first_key(trust: &Trust, bus: &Bus) -> Result<(), StartError> {
    if !trust.wants_first_key() {
        return Ok(());
    }
    let failed = |error: &dyn std::fmt::Display| StartError::Log(error.to_string());
    let (key, record) = keys::first().map_err(|error| failed(&error))?;
    let sequence = bus.store_key(&record, StreamSeq(0)).await;
    let sequence = sequence.map_err(|error| failed(&error))?;
    let value = KeyNews::Key(Box::new(record));
    trust.learn(Recorded { sequence, value });
    writeln!(io::stdout(), "key: {key}").map_err(|error| failed(&error))
}

/// The connection for what is live, and that for replays.
async fn reach_twice(config: &Config) -> Result<(Arc<Bus>, Arc<Bus>), StartError> {
    let live = reach(config, "rdev-gateway").await?;
    let replays = reach(config, "rdev-gateway replays").await?;
    Ok((Arc::new(live), Arc::new(replays)))
}

async fn reach(config: &Config, name: &str) -> Result<Bus, StartError> {
    loop {
        let failure = match Bus::connect(config.bus.clone(), name).await {
            Ok(bus) => match bus.ensure_log().await {
                Ok(()) => return Ok(bus),
                Err(error @ TopologyError::Drift { .. }) => {
                    return Err(StartError::Log(error.to_string()));
                }
                Err(error @ TopologyError::Failed { .. }) => error.to_string(),
            },
            Err(error) if error.is_retryable() => error.to_string(),
            Err(error) => return Err(StartError::Log(error.to_string())),
        };
        tracing::warn!(reason = failure, "the log cannot be used yet, trying again");
        tokio::time::sleep(CONNECT_RETRY_DELAY).await;
    }
}
