//! What a running `rdev dev` leaves for the other commands of the same user on the same machine, so
//! that they work without any settings: `rdev/dev.json` below `XDG_STATE_HOME`.
//!
//! Written and removed by `rdev dev`, read by everything that speaks to a gateway. It holds a key and
//! passwords: it is for its owner alone, and one that others could have written is not believed.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::PathBuf;

use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

use super::file::directory;
use super::{Process, Surroundings};

const NAME: &str = "rdev/dev.json";
/// Permissions of others than the owner.
const OTHERS: u32 = 0o077;

/// The note. Of several `rdev dev`, the one that was started last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DevNote {
    /// Its process.
    pub(crate) pid: u32,
    /// Address of the API.
    pub(crate) url: String,
    /// A key that may do everything.
    pub(crate) key: String,
    /// A project to try things with.
    pub(crate) project: String,
    /// A session of it.
    pub(crate) session: Option<String>,
    /// Where all data is kept.
    pub(crate) data_dir: PathBuf,
    /// The log, with a password: for `rdev doctor`.
    pub(crate) nats_url: String,
    /// The database, with a password: for `rdev doctor`.
    pub(crate) postgres_url: String,
}

fn path(around: &impl Surroundings) -> Option<PathBuf> {
    directory(around, "XDG_STATE_HOME", ".local/state").map(|directory| directory.join(NAME))
}

impl DevNote {
    /// The note of this user, if there is one that only this user can have written, and if its process
    /// lives: where a killed one listened, somebody else may by now.
    pub(super) fn read(around: &impl Surroundings) -> Option<Self> {
        let path = path(around)?;
        let metadata = std::fs::metadata(&path).ok()?;
        let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
        if !is_own || metadata.mode() & OTHERS != 0 {
            return None;
        }
        let note: Self = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
        note.is_alive().then_some(note)
    }

    fn is_alive(&self) -> bool {
        let pid = self.pid.try_into().ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| test_kill_process(pid).is_ok())
    }

    /// Leaves it. Without a home directory there is nowhere to leave it, which is no error.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn leave(&self) -> io::Result<()> {
        let Some(path) = path(&Process) else {
            return Ok(());
        };
        if let Some(directory) = path.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
        }
        let text = serde_json::to_string(self)?;
        rdev_embedded::write_secret(&path, &text)
    }

    /// Takes it away again, unless another one has left its own since.
    pub(crate) fn take_away(&self) {
        if let Some(path) = path(&Process)
            && Self::read(&Process).as_ref() == Some(self)
        {
            let _ = std::fs::remove_file(path);
        }
    }
}
