//! Where the shim keeps its state, and every file name in it.
//!
//! ```text
//! $RDEV_SHIM_DIR/{life}/instance            the nonce of this instance
//!                      /new/{nonce}         claims being prepared, things being removed
//!                      /execs/{hash of key} a claim (a directory), or a tombstone (a file)
//! ```
//!
//! `{life}` is the life of the container: boot, process namespace and start of pid 1. A restarted
//! container that finds the directory on a volume makes another life and so another nonce, and two
//! containers that share a volume do not meet. Written by `serve` and `supervise`, read by both.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use sha2::{Digest, Sha256};

use crate::{DEFAULT_STATE_DIRECTORY, STATE_DIRECTORY_VARIABLE};

/// How many bytes of a hash make a file name: no two keys ever meet by chance.
const NAME_HASH_BYTES: usize = 16;

/// How many random bytes make a nonce.
const NONCE_BYTES: usize = 16;

/// Files in a claim's directory.
pub(crate) mod file {
    /// What the command printed and how it ended; locked by the supervisor for as long as it lives.
    pub(crate) const JOURNAL: &str = "journal";
    /// What the log holds, as an executor told it.
    pub(crate) const ACKNOWLEDGED: &str = "acknowledged";
    /// The supervisor's socket.
    pub(crate) const LINK: &str = "link";
    /// Disk space for the end frame, given back when the disk is full.
    pub(crate) const RESERVE: &str = "reserve";
    /// Marks a tombstone where a directory could not be exchanged for a file.
    pub(crate) const COLLECTED: &str = "collected";
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error(
        "cannot use {path} for the shim's state ({source}); set RDEV_SHIM_DIR to a directory that can be written"
    )]
    Unusable { path: PathBuf, source: io::Error },
    #[error("{path} belongs to another user; set RDEV_SHIM_DIR to another directory")]
    NotOurs { path: PathBuf },
}

/// The state of this life of the container.
#[derive(Debug)]
pub(crate) struct Place {
    life: PathBuf,
    /// The nonce of this instance.
    pub(crate) instance: String,
}

/// What is known of an exec.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nobody has claimed it.
    Missing,
    /// It was claimed; this is its directory.
    Claimed(PathBuf),
    /// It has been forgotten.
    Collected,
}

impl Place {
    /// Opens the state directory that the environment names, and makes what is missing.
    pub(crate) fn open() -> Result<Self, PlaceError> {
        let root = std::env::var_os(STATE_DIRECTORY_VARIABLE)
            .filter(|value| !value.is_empty())
            .unwrap_or_else(|| DEFAULT_STATE_DIRECTORY.into());
        Self::open_at(Path::new(&root))
    }

    fn open_at(root: &Path) -> Result<Self, PlaceError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| PlaceError::Unusable { path, source }
        };
        let root = std::path::absolute(root).map_err(unusable(root))?;
        let life = root.join(life_name());
        for path in [&life, &life.join("new"), &life.join("execs")] {
            make_directory(path).map_err(unusable(path))?;
        }
        let owner = fs::symlink_metadata(&life).map_err(unusable(&life))?.uid();
        if owner != rustix::process::geteuid().as_raw() {
            return Err(PlaceError::NotOurs { path: life });
        }
        let mut place = Self {
            life,
            instance: String::new(),
        };
        place.instance = place.make_instance().map_err(unusable(&place.life))?;
        Ok(place)
    }

    /// The first `serve` of a container's life makes the nonce; everyone reads it.
    fn make_instance(&self) -> io::Result<String> {
        let path = self.life.join("instance");
        if let Ok(nonce) = fs::read_to_string(&path) {
            return Ok(nonce);
        }
        let draft = self.new_path()?;
        File::create_new(&draft)?.write_all(nonce()?.as_bytes())?;
        match rename_new(&draft, &path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::remove_file(&draft)?,
            Err(error) => return Err(error),
        }
        fs::read_to_string(&path)
    }

    /// A path that nobody else uses, in the same file system as the claims.
    pub(crate) fn new_path(&self) -> io::Result<PathBuf> {
        Ok(self.life.join("new").join(nonce()?))
    }

    /// Where the claim of `key` is, or would be.
    pub(crate) fn claim_path(&self, key: &str) -> PathBuf {
        let hash = Sha256::digest(key.as_bytes());
        self.life.join("execs").join(hex(&hash[..NAME_HASH_BYTES]))
    }

    /// What is known of `key`.
    pub(crate) fn find(&self, key: &str) -> io::Result<Found> {
        let path = self.claim_path(key);
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
            Err(error) => return Err(error),
        };
        if !metadata.is_dir() || path.join(file::COLLECTED).exists() {
            return Ok(Found::Collected);
        }
        Ok(Found::Claimed(path))
    }
}

/// Renames `from` to `to` unless `to` exists.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => rename_new_plainly(from, to),
        result => result.map_err(io::Error::from),
    }
}

/// For file systems without the flag. A claim's directory is never empty and a tombstone is a file:
/// a plain rename of a directory replaces neither. A file takes its place by a link instead.
fn rename_new_plainly(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        fs::hard_link(from, to)?;
        return fs::remove_file(from);
    }
    fs::rename(from, to).map_err(|error| {
        let kind = error.kind();
        let taken = [
            io::ErrorKind::DirectoryNotEmpty,
            io::ErrorKind::NotADirectory,
        ];
        if taken.contains(&kind) {
            io::ErrorKind::AlreadyExists.into()
        } else {
            error
        }
    })
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The name of this life of the container. What cannot be read is left out: the rest still tells
/// most lives apart, and the executor compares the container's id besides.
fn life_name() -> String {
    let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(boot);
    hash.update(namespace.as_os_str().as_encoded_bytes());
    hash.update(start_of_pid_1().unwrap_or_default().to_be_bytes());
    hex(&hash.finalize()[..NAME_HASH_BYTES])
}

fn start_of_pid_1() -> Option<u64> {
    crate::supervise::tree::Stat::of(1).map(|stat| stat.start)
}

fn nonce() -> io::Result<String> {
    let mut bytes = [0; NONCE_BYTES];
    let mut rest = &mut bytes[..];
    while !rest.is_empty() {
        let got = rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty())?;
        rest = &mut rest[got..];
    }
    Ok(hex(&bytes))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nonce_is_made_once_and_made_anew_when_the_state_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let first = Place::open_at(directory.path()).unwrap();
        let second = Place::open_at(directory.path()).unwrap();
        assert_eq!(first.instance, second.instance);
        assert_eq!(first.instance.len(), 2 * NONCE_BYTES);
        fs::remove_dir_all(&first.life).unwrap();
        let third = Place::open_at(directory.path()).unwrap();
        assert_ne!(first.instance, third.instance);
    }

    #[test]
    fn a_rename_never_replaces() {
        let directory = tempfile::tempdir().unwrap();
        let claim = |name: &str| {
            let path = directory.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("lock"), name).unwrap();
            path
        };
        let to = directory.path().join("to");
        for rename in [rename_new, rename_new_plainly] {
            let _ = fs::remove_dir_all(&to);
            rename(&claim("first"), &to).unwrap();
            let second = claim("second");
            let error = rename(&second, &to).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read_to_string(to.join("lock")).unwrap(), "first");
            let tombstone = directory.path().join("tombstone");
            fs::write(&tombstone, "").unwrap();
            let error = rename(&second, &tombstone).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            fs::remove_dir_all(&second).unwrap();
            fs::remove_file(&tombstone).unwrap();
        }
    }

    #[test]
    fn the_state_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::open_at(&directory.path().join("state")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&directory.path().join("state")), 0o700);
        assert_eq!(mode(&place.life), 0o700);
    }
}
