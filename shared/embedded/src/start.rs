//! What both servers' starts have in common: wait until it is ready, or say why it is not.

use crate::child::{Child, SpawnError};
use crate::claim::ClaimError;
use crate::locate::LocateError;
use crate::{output, port};
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

/// How long a server may take until it is ready. A store with a million subjects took 3.5 s, crash
/// recovery of a database may take longer; beyond this a person should look.
const READY_TIMEOUT_SECONDS: u64 = 120;

/// How often a free port is drawn anew when another process was faster.
pub(crate) const PORT_ATTEMPTS: usize = 10;

/// A server that does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its program is neither found nor installed.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// Its directory cannot be had.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Its process cannot be made.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// A file that it needs cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// No free port was found.
    #[error("no free port on 127.0.0.1: {source}")]
    NoPort {
        /// Why the last one was refused.
        source: io::Error,
    },
    /// The port belongs to another process.
    #[error("port {port} on 127.0.0.1 is in use: free it, or choose another (0 draws a free one)")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// It ended instead of getting ready.
    #[error("{server} failed ({status}){hint}; its log says:\n{log_tail}")]
    Ended {
        /// The server.
        server: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// What may help, or nothing.
        hint: &'static str,
        /// The last lines of its log.
        log_tail: String,
    },
    /// It neither got ready nor ended.
    #[error("{server} was not ready after {READY_TIMEOUT_SECONDS} s; its log says:\n{log_tail}")]
    TimedOut {
        /// The server.
        server: &'static str,
        /// The last lines of its log.
        log_tail: String,
    },
    /// The database files are of another major version.
    #[error(
        "{data} was made by PostgreSQL {found}, but the PostgreSQL here is {have}: set \
         RDEV_POSTGRES_BIN to the programs of version {found}, or move the directory away"
    )]
    WrongMajor {
        /// The data directory.
        data: String,
        /// The version that made it.
        found: String,
        /// The version that would run.
        have: String,
    },
    /// The thread for blocking work was lost: this process is shutting down.
    #[error("interrupted while starting")]
    Interrupted,
}

impl StartError {
    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        Self::File {
            path: path.display().to_string(),
            source,
        }
    }
}

/// A server on its way up.
pub(crate) struct Launch<'a> {
    pub(crate) server: &'static str,
    pub(crate) child: Child,
    pub(crate) port: u16,
    pub(crate) log: &'a Path,
    /// Where this start's part of the log begins.
    pub(crate) log_start: u64,
    /// What may help when it ends at once.
    pub(crate) hint: &'static str,
}

impl Launch<'_> {
    /// Waits for `ready`; a server that ends before, or takes too long, is told with its log.
    pub(crate) async fn until(self, ready: impl Future<Output = ()>) -> Result<Child, StartError> {
        let ended = tokio::select! {
            () = ready => return Ok(self.child),
            status = self.child.wait() => Some(status),
            () = tokio::time::sleep(Duration::from_secs(READY_TIMEOUT_SECONDS)) => None,
        };
        self.child.kill().await;
        let log_tail = output::tail(self.log, self.log_start);
        let Some(status) = ended else {
            return Err(StartError::TimedOut {
                server: self.server,
                log_tail,
            });
        };
        if port::was_taken(&log_tail) {
            return Err(StartError::PortTaken { port: self.port });
        }
        Err(StartError::Ended {
            server: self.server,
            status,
            hint: self.hint,
            log_tail,
        })
    }
}

/// Runs work that blocks (files, locks, pip) beside the other tasks.
pub(crate) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, StartError>
where
    T: Send + 'static,
    E: Into<StartError> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| StartError::Interrupted)?
        .map_err(Into::into)
}
