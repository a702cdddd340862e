//! A claim: the directory of one exec.
//!
//! A supervisor prepares it out of sight, takes its lock, and makes it appear by one rename that
//! replaces nothing; whoever sees the directory sees it locked, with its journal and its socket.
//! Everyone else only looks, until the exec is collected: then a tombstone takes its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rdev_frames::Offsets;
use rdev_frames::journal::{HEADER_BYTES, Header};
use rustix::fs::{
    CWD, FallocateFlags, FlockOperation, RenameFlags, fallocate, flock, renameat_with,
};
use rustix::io::Errno;

use crate::acknowledged::EMPTY_RECORD;
use crate::link;
use crate::place::{Place, file, rename_new};

/// Space kept for the end frame, which is well below 16 KiB, on a disk that gets full.
const RESERVE_BYTES: u64 = 16 * 1024;

/// A claim that this process holds: it is the supervisor.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Where the claim is.
    pub(crate) path: PathBuf,
    /// The journal, open for writing, and locked until the process is gone: nothing else may end
    /// the lock.
    pub(crate) journal: File,
    /// Where followers connect.
    pub(crate) listener: OwnedFd,
}

impl Claim {
    /// Claims `key`; `None` when it was claimed or collected before.
    pub(crate) fn make(place: &Place, key: &str) -> io::Result<Option<Self>> {
        let draft = place.new_path()?;
        let path = place.claim_path(key);
        match Self::prepare(&draft, &path, key) {
            Ok(claim) => Ok(Some(claim)),
            Err(error) => {
                // Best effort: what stays behind is swept later.
                let _ = fs::remove_dir_all(&draft);
                let claimed = error.kind() == io::ErrorKind::AlreadyExists;
                if claimed { Ok(None) } else { Err(error) }
            }
        }
    }

    fn prepare(draft: &Path, path: &Path, key: &str) -> io::Result<Self> {
        fs::create_dir(draft)?;
        create(&draft.join(file::ACKNOWLEDGED))?.write_all(&EMPTY_RECORD)?;
        make_reserve(&draft.join(file::RESERVE))?;
        let mut journal = create(&draft.join(file::JOURNAL))?;
        flock(&journal, FlockOperation::NonBlockingLockExclusive)?;
        journal.write_all(&header_block(key))?;
        let listener = link::listen_in(&link::open_directory(draft)?)?;
        rename_new(draft, path)?;
        Ok(Self {
            path: path.to_owned(),
            journal,
            listener,
        })
    }

    /// Gives the reserved space back to the disk.
    pub(crate) fn give_reserve_back(&self) -> io::Result<()> {
        fs::remove_file(self.path.join(file::RESERVE))
    }

    /// Removes what only a living supervisor needs.
    pub(crate) fn tidy_up(&self) -> io::Result<()> {
        fs::remove_file(self.path.join(file::LINK))?;
        match self.give_reserve_back() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The journal's first block: the header, and the key for people who look.
fn header_block(key: &str) -> Vec<u8> {
    let header = Header {
        start: HEADER_BYTES,
        pid: 0,
        offsets: Offsets::default(),
    }
    .encode();
    let mut block = [header.as_slice(), b"\n", key.as_bytes(), b"\n"].concat();
    block.resize(HEADER_BYTES as usize, 0);
    block
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn make_reserve(path: &Path) -> io::Result<()> {
    let mut reserve = create(path)?;
    match fallocate(&reserve, FallocateFlags::empty(), 0, RESERVE_BYTES) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => reserve.write_all(&[0; RESERVE_BYTES as usize]),
        result => Ok(result?),
    }
}

/// Whether the supervisor of a claim is gone.
#[derive(Debug)]
pub(crate) enum Holder {
    /// The lock is free.
    Gone,
    /// The lock is held; the file can be used to wait for it.
    Alive(File),
}

/// Looks at the lock of the claim in `path`.
pub(crate) fn holder(path: &Path) -> io::Result<Holder> {
    let lock = File::open(path.join(file::JOURNAL))?;
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Holder::Gone),
        Err(Errno::AGAIN) => Ok(Holder::Alive(lock)),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the supervisor whose lock this is has gone.
pub(crate) fn wait_until_gone(lock: &File) -> io::Result<()> {
    loop {
        match flock(lock, FlockOperation::LockShared) {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Puts a tombstone in the place of the claim in `path`, whose supervisor is gone, and frees its disk
/// space.
pub(crate) fn bury(place: &Place, path: &Path) -> io::Result<()> {
    let tombstone = place.new_path()?;
    create(&tombstone)?;
    match renameat_with(CWD, &tombstone, CWD, path, RenameFlags::EXCHANGE) {
        Ok(()) => remove(&tombstone),
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::remove_file(&tombstone)?;
            bury_in_place(path)
        }
        Err(error) => Err(error.into()),
    }
}

/// For file systems that cannot exchange: the directory stays, marked, without its files.
fn bury_in_place(path: &Path) -> io::Result<()> {
    File::create(path.join(file::COLLECTED))?;
    for name in [file::JOURNAL, file::RESERVE, file::ACKNOWLEDGED, file::LINK] {
        match fs::remove_file(path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The exchanged path is a claim's directory, or, when two collected at once, a tombstone.
fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}
