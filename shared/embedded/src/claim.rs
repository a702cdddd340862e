//! One owner per directory, and the end of what a dead owner left running there.
//!
//! The owner holds a lock on a file of the directory for as long as it lives, so the kernel frees it
//! however the owner ends. A server belongs to a directory when that is its working directory, by
//! device and inode: a number in a file could by now belong to another process, and a path could
//! mean another directory in another container.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file whose lock is the claim; it holds the owner's process number, for people.
const LOCK_FILE: &str = "owner.lock";

/// How long a server of a dead owner may take to end by itself: its owner's death has signalled it,
/// and PostgreSQL's children notice the end of their parent.
const LEFTOVER_PATIENCE_SECONDS: i64 = 1;

/// How long the kernel may take to end a killed process (it may hang in a slow disk).
const LEFTOVER_KILL_SECONDS: i64 = 10;

/// `setpriv`, before it has become the server.
const LAUNCHER: &str = "setpriv";

/// A directory that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It cannot be made, opened or looked at.
    #[error("the directory {path} cannot be used: {source}")]
    Directory {
        /// The directory.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A living owner has it.
    #[error(
        "the directory {path} is in use by process {owner}: stop that one, or choose another directory"
    )]
    Owned {
        /// The directory.
        path: String,
        /// The owner's process number as it wrote it down.
        owner: String,
    },
    /// A server from before survives even SIGKILL.
    #[error("process {pid} still runs in {path} and does not end: end it, then try again")]
    Leftover {
        /// The directory.
        path: String,
        /// The process.
        pid: u32,
    },
}

/// A directory that is ours while this value lives.
#[derive(Debug)]
pub(crate) struct Claim {
    directory: PathBuf,
    lock: File,
}

impl Drop for Claim {
    /// Closing alone would not do: a child that another thread is starting holds a copy of every
    /// open file for a moment, and with it the lock.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl Claim {
    /// Takes the directory; makes it (with this mode) when it is missing.
    pub(crate) fn take(directory: &Path, mode: u32) -> Result<Self, ClaimError> {
        let refused = |source| ClaimError::Directory {
            path: directory.display().to_string(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(directory)
            .map_err(refused)?;
        let directory = directory.canonicalize().map_err(refused)?;
        let path = directory.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let owner = fs::read_to_string(&path).unwrap_or_default();
                return Err(ClaimError::Owned {
                    path: directory.display().to_string(),
                    owner: owner.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(refused(source)),
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(refused)?;
        Ok(Self { directory, lock })
    }

    /// The directory, absolute and without links.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Ends processes named like `programs` that work in the directory or in one of the
    /// `below` directories: first by waiting, then by SIGKILL.
    pub(crate) fn end_leftovers(
        &self,
        below: &[&str],
        programs: &[&str],
    ) -> Result<(), ClaimError> {
        let path = || self.directory.display().to_string();
        let mut places = vec![self.directory.clone()];
        places.extend(below.iter().map(|name| self.directory.join(name)));
        let identities: Vec<(u64, u64)> = places.iter().filter_map(|one| identity(one)).collect();
        let leftovers = find(&identities, programs).map_err(|source| ClaimError::Directory {
            path: path(),
            source,
        })?;
        for (pid, pidfd) in leftovers {
            tracing::info!(pid, directory = %self.directory.display(), "waiting for a server that was left over");
            if ends_within(&pidfd, LEFTOVER_PATIENCE_SECONDS) {
                continue;
            }
            tracing::warn!(pid, directory = %self.directory.display(), "killing a server that was left over");
            if let Err(error) = pidfd_send_signal(&pidfd, Signal::KILL) {
                tracing::warn!(pid, %error, "it cannot be killed");
            }
            if !ends_within(&pidfd, LEFTOVER_KILL_SECONDS) {
                return Err(ClaimError::Leftover { path: path(), pid });
            }
        }
        Ok(())
    }
}

/// Device and inode of what the path leads to.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Processes with one of these names and one of these working directories.
fn find(directories: &[(u64, u64)], programs: &[&str]) -> io::Result<Vec<(u32, OwnedFd)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // The handle first: what is looked at after it is about the same process or about none.
        let Some(pidfd) = open(pid) else { continue };
        let process = Path::new("/proc").join(pid.to_string());
        let works_here = identity(&process.join("cwd"))
            .is_some_and(|directory| directories.contains(&directory));
        if !works_here {
            continue;
        }
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        let name = name.trim_end();
        if name == LAUNCHER || programs.contains(&name) {
            found.push((pid, pidfd));
        }
    }
    Ok(found)
}

fn open(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Whether the process ends in time; a zombie has ended.
fn ends_within(pidfd: &OwnedFd, seconds: i64) -> bool {
    let timeout = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    matches!(poll(&mut polled, Some(&timeout)), Ok(count) if count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_owner_keeps_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let claim = Claim::take(directory.path(), 0o700).unwrap();
        let refused = Claim::take(directory.path(), 0o700).unwrap_err();
        let owner = std::process::id().to_string();
        assert!(refused.to_string().contains(&owner), "{refused}");
        drop(claim);
        Claim::take(directory.path(), 0o700).unwrap();
    }

    #[test]
    fn only_what_works_in_the_directory_under_the_name_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let sleep = |place: &Path| {
            std::process::Command::new("sleep")
                .arg("100")
                .current_dir(place)
                .spawn()
                .unwrap()
        };
        let mut here = sleep(directory.path());
        let mut there = sleep(elsewhere.path());
        let claim = Claim::take(directory.path(), 0o700).unwrap();

        claim.end_leftovers(&[], &["nats-server"]).unwrap();
        assert!(
            here.try_wait().unwrap().is_none(),
            "a shell in our directory is no server"
        );

        claim.end_leftovers(&["missing"], &["sleep"]).unwrap();
        assert!(here.wait().unwrap().code().is_none());
        assert!(there.try_wait().unwrap().is_none());
        there.kill().unwrap();
        there.wait().unwrap();
    }
}
