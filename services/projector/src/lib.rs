//! The projector: follows the log and writes the read model in PostgreSQL.
//!
//! `follow` → `project` (pure) → `store` (rows and position in one transaction). Of several
//! projectors one is active, the others stand by. Beside that, `archive` keeps execs that have ended
//! beyond their life in the log.
//!
//! Invariants: the tables hold nothing that the log does not; each message counts exactly once,
//! wherever a projector is killed; PostgreSQL or NATS being away is waited out.

mod agent;
mod archive;
mod backoff;
mod config;
mod follow;
pub mod lag;
mod metrics;
pub mod project;
pub mod rebuild;
pub mod replay;
pub mod store;
mod traces;

#[cfg(test)]
#[path = "../tests/log/mod.rs"]
mod log;

use std::time::Duration;

use async_recursion::async_recursion as boxed;
use jiff::Timestamp;
use rdev_archive::{Archive, InvalidArchiveUrl};
use rdev_bus::{Bus, ConnectError, LogStream};
use rdev_readmodel::{
    Database, Leadership, MigrateError, PostgresUrl, ReadError, StandBy, WriteError, migrate,
};
use rdev_runtime::Shutdown;
use rdev_runtime::health::{self, Readiness};
use rdev_runtime::metrics::on_scrape;
use tokio::sync::watch;

use crate::archive::{Progress, Standing};
use crate::backoff::Backoff;
pub use crate::config::{Arguments, Config};
use crate::lag::Board;
use crate::metrics::METRICS;
use crate::rebuild::{RebuildError, rebuild};

/// How often a stand-by tries to take over: with the time in which a dead holder is noticed, this
/// is how long a take-over takes.
const STAND_BY_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is looked whether the log can be reached.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// What a projector needs, as probes name it.
const NATS: &str = "nats";
const POSTGRES: &str = "postgres";

/// How often it is looked whether rows are of another fold, or of another log.
const RENEW_INTERVAL: Duration = Duration::from_secs(2);
/// Between two tries to fold anew: each may read all of the log, and what stopped it (an audit, a
/// full disk) takes its time.
const RENEW_RETRY_DELAY: Duration = Duration::from_secs(30);

/// Why rows of an older build, or of another log, are still there.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
}

/// Why the projector cannot do its work at all. Trying again does not help.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The tables are not ours.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The NATS server is of no use.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There cannot be an archive at this place.
    #[error("RDEV_ARCHIVE_URL: {0}")]
    Archive(#[from] InvalidArchiveUrl),
    /// The address for probes cannot be used.
    #[error("RDEV_HEALTH_LISTEN: {0}")]
    Health(#[from] std::io::Error),
}

/// Projects until the shutdown.
///
/// # Errors
/// See [`RunError`].
#[boxed]
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), RunError> {
    let archive = Archive::open(&config.archive.archive_url)?;
    let (board, progress) = (Board::default(), Progress::default());
    let readiness = reporting(&board, archive.is_some().then_some(&progress));
    METRICS.limit(config.bus.log_max_bytes);
    let probes = health::serve_at(config.health.health_listen, readiness.clone());
    let (standing, elsewhere) = watch::channel(Standing::StandingBy);
    let archiving = async {
        if let Some(archive) = &archive {
            archive::run(&config, archive, elsewhere, &progress).await;
        }
        std::future::pending().await
    };
    let archive = archive.as_ref();
    let projecting = project(&config, archive, &readiness, &board, &standing, &shutdown);
    tokio::select! {
        outcome = Box::pin(projecting) => outcome,
        outcome = probes => Ok(outcome?),
        // It does not hold up the end: what it has begun is begun again.
        outcome = Box::pin(archiving) => outcome,
    }
}

/// What probes are shown.
fn reporting(board: &Board, progress: Option<&Progress>) -> Readiness {
    let (board, progress) = (board.clone(), progress.cloned());
    let (counted, archived) = (board.clone(), progress.clone());
    on_scrape(move || METRICS.look_up(&counted, archived.as_ref(), Timestamp::now()));
    let readiness = Readiness::reporting(move || {
        let now = Timestamp::now();
        let archive = progress.as_ref().map(|progress| progress.report(now));
        board.report(now) + &archive.unwrap_or_default()
    });
    readiness.needs(NATS);
    readiness.needs(POSTGRES);
    readiness
}

async fn project(
    config: &Config,
    archive: Option<&Archive>,
    readiness: &Readiness,
    board: &Board,
    standing: &watch::Sender<Standing>,
    shutdown: &Shutdown,
) -> Result<(), RunError> {
    let bus = tokio::select! {
        bus = prepare(config, readiness, standing) => bus?,
        () = shutdown.requested() => return Ok(()),
    };
    let database = Database::for_writing(&config.postgres_url);
    METRICS.watch(&database);
    readiness.set(true);
    let leading = async {
        while !shutdown.is_requested() {
            let leadership = tokio::select! {
                leadership = stand_by(&config.postgres_url, readiness, standing) => leadership,
                () = shutdown.requested() => break,
            };
            tracing::info!("this projector is the active one");
            board.set_active(true);
            tokio::select! {
                () = follow_all(&bus, &database, board, shutdown) => {}
                () = renew(&bus, archive, config, &database) => {}
                () = leadership.lost() => {
                    readiness.tell(POSTGRES, Err("the connection was lost".to_owned()));
                    tracing::warn!("PostgreSQL is away, and with it the lock: standing by");
                }
            }
            board.set_active(false);
            leadership.resign().await;
        }
    };
    tokio::select! {
        () = Box::pin(leading) => {}
        () = look_for_nats(&bus, readiness) => {}
    }
    database.close();
    tracing::info!("the projector has ended");
    Ok(())
}

/// Tells for ever whether the log can be reached.
async fn look_for_nats(bus: &Bus, readiness: &Readiness) {
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        looks.tick().await;
        let up = bus.is_connected().then(String::new);
        readiness.tell(NATS, up.ok_or_else(|| "not connected".to_owned()));
    }
}

/// Both streams at once: which of them is further does not matter to the rows.
async fn follow_all(bus: &Bus, database: &Database, board: &Board, shutdown: &Shutdown) {
    tokio::join!(
        follow::follow(bus, database, LogStream::Session, board, shutdown),
        follow::follow(bus, database, LogStream::Exec, board, shutdown),
    );
}

/// After an upgrade: rows that an older build made lack what this one makes of the same messages,
/// until all are folded anew. After a restore of the log: there are rows of what it never held.
/// Never returns; following goes on beside it.
async fn renew(bus: &Bus, archive: Option<&Archive>, config: &Config, database: &Database) {
    loop {
        let pause = match try_renew(bus, archive, config, database).await {
            Ok(()) => RENEW_INTERVAL,
            Err(reason) => {
                tracing::warn!(%reason, "the tables could not be folded anew yet");
                RENEW_RETRY_DELAY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn try_renew(
    bus: &Bus,
    archive: Option<&Archive>,
    config: &Config,
    database: &Database,
) -> Result<(), RenewError> {
    if database.is_fold_current().await? {
        return Ok(());
    }
    tracing::info!(
        "rows are of an older build or of another log: log and archive are folded anew beside them"
    );
    let done = rebuild(bus, archive, config.bus.facts_ttl, &config.postgres_url).await?;
    for reason in &done.fold.damaged {
        tracing::error!(reason, "rows of an exec are kept as they were");
    }
    let messages: u64 = done.fold.logs.iter().map(|log| log.messages).sum();
    tracing::info!(messages, kept = done.kept, "the tables are of this build");
    Ok(())
}

/// Brings the tables up to date and connects to the log; waits for servers that are away.
async fn prepare(
    config: &Config,
    readiness: &Readiness,
    standing: &watch::Sender<Standing>,
) -> Result<Bus, RunError> {
    let mut backoff = Backoff::new();
    loop {
        match migrate(&config.postgres_url).await {
            Ok(0) => break,
            Ok(count) => {
                tracing::info!(count, "migrations were applied");
                break;
            }
            Err(reason @ MigrateError::Unavailable(_)) => {
                standing.send_replace(Standing::Archiving);
                readiness.tell(POSTGRES, Err(reason.to_string()));
                tracing::warn!(%reason, "waiting for PostgreSQL");
            }
            Err(error @ MigrateError::Failed(_)) => return Err(error.into()),
        }
        backoff.pause().await;
    }
    readiness.tell(POSTGRES, Ok(String::new()));
    backoff.reset();
    loop {
        match Bus::connect(config.bus.clone(), "rdev-projector").await {
            Ok(bus) => return Ok(bus),
            Err(reason) if reason.is_retryable() => {
                readiness.tell(NATS, Err(reason.to_string()));
                tracing::warn!(%reason, "waiting for NATS");
            }
            Err(error) => return Err(error.into()),
        }
        backoff.pause().await;
    }
}

/// Waits until this is the one active projector.
async fn stand_by(
    url: &PostgresUrl,
    readiness: &Readiness,
    standing: &watch::Sender<Standing>,
) -> Leadership {
    let mut backoff = Backoff::new();
    loop {
        let leadership = try_stand_by(url, readiness, standing).await;
        // Active, or PostgreSQL is away.
        standing.send_replace(Standing::Archiving);
        match leadership {
            Ok(leadership) => return leadership,
            Err(reason) => {
                readiness.tell(POSTGRES, Err(reason.to_string()));
                tracing::warn!(%reason, "waiting for PostgreSQL");
            }
        }
        backoff.pause().await;
    }
}

async fn try_stand_by(
    url: &PostgresUrl,
    readiness: &Readiness,
    standing: &watch::Sender<Standing>,
) -> Result<Leadership, WriteError> {
    let mut candidate = StandBy::connect(url).await?;
    let mut told = false;
    loop {
        match candidate.try_lead().await? {
            Ok(leadership) => {
                readiness.tell(POSTGRES, Ok(String::new()));
                return Ok(leadership);
            }
            Err(again) => candidate = again,
        }
        readiness.tell(POSTGRES, Ok(String::new()));
        standing.send_replace(Standing::StandingBy);
        if !told {
            tracing::info!("another projector is active: standing by");
            told = true;
        }
        tokio::time::sleep(STAND_BY_INTERVAL).await;
    }
}

/// Asks a running projector whether it is ready; for `--check-health`.
///
/// # Errors
/// [`RunError::Health`] when it is not, does not answer, or was not told where to.
pub async fn check_health(config: &Config) -> Result<(), RunError> {
    Ok(health::check_self(config.health.health_listen).await?)
}
