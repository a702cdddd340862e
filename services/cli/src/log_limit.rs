//! How large the log of `rdev dev` may get. It is chosen by the room on the disk when the data is
//! made, and kept beside the data: a log with another limit than it was made with is refused.

use std::path::Path;

use rdev_embedded::free_bytes;

/// A machine that something is tried on keeps the rest of its disk.
const LARGEST_BYTES: u64 = 10_000_000_000;
/// Less fills up while something is tried, and then refuses commands.
const SMALLEST_BYTES: u64 = 500_000_000;
/// The log gets this part of what is free: rows, journals and the files of commands need some too.
const FREE_PARTS: u64 = 2;
/// Sessions, controls and buckets have no limit of their own; they are small.
const BESIDE_LOG_BYTES: u64 = 1_000_000_000;

/// Holds the limit, in bytes.
const FILE: &str = "log-max-bytes";
/// What is there if data is.
const STORE: &str = "nats";

/// The limits of a log and of the server that it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogLimit {
    /// Of the log.
    pub(crate) log_bytes: u64,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogLimitError {
    /// The disk is nearly full.
    #[error(
        "{free} MB are free, and the log needs at least {needed}: free some, choose a --data-dir on \
         another disk, or set RDEV_LOG_MAX_BYTES"
    )]
    TooLittle {
        /// What is free.
        free: u64,
        /// What would do.
        needed: u64,
    },
    /// The file cannot be used.
    #[error("{FILE}: {0}")]
    File(#[from] std::io::Error),
    /// The file says something else.
    #[error("{FILE} holds no number: remove it together with the data, by --fresh")]
    NoNumber,
}

impl LogLimit {
    /// What was chosen for the data in this directory, or is chosen now.
    pub(crate) fn of(data_dir: &Path) -> Result<Self, LogLimitError> {
        let file = data_dir.join(FILE);
        if file.exists() {
            let text = std::fs::read_to_string(&file)?;
            let log_bytes = text.trim().parse().map_err(|_| LogLimitError::NoNumber)?;
            return Ok(Self { log_bytes });
        }
        let log_bytes = if data_dir.join(STORE).exists() {
            // Made by a build that always took this.
            LARGEST_BYTES
        } else {
            chosen(free_bytes(data_dir)?)?
        };
        std::fs::write(&file, format!("{log_bytes}\n"))?;
        Ok(Self { log_bytes })
    }

    /// What the server must be allowed, so that it does not refuse the log: by itself it would go
    /// by what is free at its start, of which the log takes more and more.
    pub(crate) const fn store_bytes(self) -> u64 {
        self.log_bytes.saturating_add(BESIDE_LOG_BYTES)
    }
}

fn chosen(free_bytes: u64) -> Result<u64, LogLimitError> {
    const MEGABYTE: u64 = 1_000_000;
    let share = free_bytes / FREE_PARTS;
    if share < SMALLEST_BYTES {
        return Err(LogLimitError::TooLittle {
            free: free_bytes / MEGABYTE,
            needed: SMALLEST_BYTES * FREE_PARTS / MEGABYTE,
        });
    }
    Ok(share.min(LARGEST_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_itself_to_the_disk() {
        assert_eq!(chosen(100_000_000_000).unwrap(), 10_000_000_000);
        assert_eq!(chosen(20_000_000_000).unwrap(), 10_000_000_000);
        assert_eq!(chosen(19_999_999_998).unwrap(), 9_999_999_999);
        assert_eq!(chosen(1_000_000_000).unwrap(), 500_000_000);
        let refused = chosen(999_999_999).unwrap_err().to_string();
        assert!(refused.starts_with("999 MB are free"), "{refused}");
        assert!(refused.contains("at least 1000"), "{refused}");
    }

    #[test]
    fn it_stays_what_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let first = LogLimit::of(directory.path()).unwrap();
        std::fs::write(directory.path().join(FILE), "600000000\n").unwrap();
        let kept = LogLimit::of(directory.path()).unwrap();
        assert_ne!(first, kept);
        assert_eq!(
            (kept.log_bytes, kept.store_bytes()),
            (600_000_000, 1_600_000_000)
        );
        std::fs::write(directory.path().join(FILE), "much").unwrap();
        assert!(LogLimit::of(directory.path()).is_err());
    }

    #[test]
    fn data_of_earlier_builds_has_theirs() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(STORE)).unwrap();
        let limit = LogLimit::of(directory.path()).unwrap();
        assert_eq!(limit.log_bytes, 10_000_000_000);
    }
}
