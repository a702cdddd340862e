//! Keeping the services of `rdev dev` running: a service that dies is started again at once, as
//! a cluster would do. One that refuses its settings, or has never come up, would fail for ever:
//! its own words are handed to the user instead.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rdev_embedded::{Child, Program, Signal, SpawnError};
use rdev_runtime::Shutdown;

/// Longer than the services' own grace for draining.
const STOP_GRACE: Duration = Duration::from_secs(12);
/// Between the death of a service and its next start; keeps one that cannot start from spinning.
const RESTART_DELAY: Duration = Duration::from_millis(300);
/// A service that lived for this long came up: its settings are fine, and later deaths pass.
const CAME_UP_AFTER: Duration = Duration::from_secs(3);
/// Ends in a row, without having come up once, after which another start would not help. More
/// than one, because what a service needs may itself be starting.
const FUTILE_STARTS: u32 = 5;
/// How the services end when a setting is wrong.
const WRONG_SETTING_CODE: i32 = 2;
/// Of what a service said, as much as fits on a screen.
const SAID_MAX_BYTES: u64 = 2_000;

/// A service that `rdev dev` keeps running.
pub(crate) struct Service {
    /// Its name in messages.
    pub(crate) name: &'static str,
    /// How it is started.
    pub(crate) program: Program,
    /// The file that it logs to.
    pub(crate) log: PathBuf,
}

/// Why a service is not started again.
#[derive(Debug, thiserror::Error)]
#[error("the {name} does not start ({status}); it says:\n{said}")]
pub(crate) struct Futile {
    name: &'static str,
    status: ExitStatus,
    said: String,
}

impl Service {
    /// Starts it, and says beside its log which process it is: for whoever wants to see it die.
    fn start(&self) -> Result<Child, SpawnError> {
        let child = self.program.spawn()?;
        let file = self.log.with_extension("pid");
        if let Err(error) = std::fs::write(&file, format!("{}\n", child.pid())) {
            tracing::warn!(%error, file = %file.display(), "process is not noted");
        }
        Ok(child)
    }

    /// Runs the service until shutdown, however often it dies; then asks it to end, and waits.
    ///
    /// # Errors
    /// With what the service said, if starting it again is futile.
    pub(crate) async fn keep_running(self, shutdown: Shutdown) -> Result<(), Futile> {
        let mut futile_starts = Some(0);
        loop {
            let (log_bytes, started) = (length(&self.log), Instant::now());
            match self.start() {
                Ok(child) => tokio::select! {
                    status = child.wait() => {
                        futile_starts = count(futile_starts, started.elapsed());
                        if is_futile(status, futile_starts) {
                            let said = said_since(&self.log, log_bytes);
                            return Err(Futile { name: self.name, status, said });
                        }
                        tracing::warn!(service = self.name, %status, "service ended, starting it again");
                    }
                    () = shutdown.requested() => {
                        let status = child.stop(Signal::TERM, STOP_GRACE).await;
                        tracing::debug!(service = self.name, %status, "service stopped");
                        return Ok(());
                    }
                },
                Err(error) => {
                    tracing::error!(service = self.name, %error, "service cannot be started");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RESTART_DELAY) => {}
                () = shutdown.requested() => return Ok(()),
            }
        }
    }
}

/// Starts in vain so far; `None` once the service came up.
fn count(futile_starts: Option<u32>, lived: Duration) -> Option<u32> {
    futile_starts
        .filter(|_| lived < CAME_UP_AFTER)
        .map(|count| count + 1)
}

fn is_futile(status: ExitStatus, futile_starts: Option<u32>) -> bool {
    // A signal is somebody else's doing.
    let refused = status.code() == Some(WRONG_SETTING_CODE);
    let never_up = futile_starts.is_some_and(|count| count >= FUTILE_STARTS);
    refused || (never_up && status.code().is_some())
}

fn length(log: &Path) -> u64 {
    std::fs::metadata(log).map_or(0, |file| file.len())
}

/// The last of what was appended to the log.
fn said_since(log: &Path, from_bytes: u64) -> String {
    let mut said = Vec::new();
    let from_bytes = from_bytes.max(length(log).saturating_sub(SAID_MAX_BYTES));
    let read = std::fs::File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(from_bytes))?;
        file.read_to_end(&mut said)
    });
    let said = String::from_utf8_lossy(&said);
    match read {
        Ok(_) if said.trim().is_empty() => "nothing".to_owned(),
        Ok(_) => said.trim().to_owned(),
        Err(error) => format!("{}: {error}", log.display()),
    }
}

#[cfg(test)]
#[path = "supervise_tests.rs"]
mod tests;
