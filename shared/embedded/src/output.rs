//! Where a child's output goes, and the end of it for error messages.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A log that has grown beyond this is set aside when its program starts again, so that a store
/// that lives for years does not fill its disk with old news. One older log is kept.
const LOG_ROTATE_BYTES: u64 = 16 * 1024 * 1024;

/// How much of a log an error message may carry: enough for a stack trace.
const LOG_TAIL_BYTES: u64 = 4096;

/// How many lines of a log an error message shows.
const LOG_TAIL_LINES: usize = 20;

/// Where one output of a child goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Output {
    /// Nowhere.
    #[default]
    Null,
    /// To the same place as our own.
    Inherit,
    /// To the end of this file, which is made when it is missing, readable by its owner only.
    Append(PathBuf),
}

impl Output {
    /// Opens the place for a child that is about to start.
    pub(crate) fn open(&self) -> io::Result<Stdio> {
        match self {
            Self::Null => Ok(Stdio::null()),
            Self::Inherit => Ok(Stdio::inherit()),
            Self::Append(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path)
                .map(Stdio::from),
        }
    }
}

/// Sets a large log aside and returns the length of what is left: where the next start's part begins.
pub(crate) fn rotate(log: &Path) -> u64 {
    let length = log.metadata().map_or(0, |metadata| metadata.len());
    if length < LOG_ROTATE_BYTES {
        return length;
    }
    match std::fs::rename(log, log.with_extension("log.1")) {
        Ok(()) => 0,
        Err(error) => {
            tracing::warn!(log = %log.display(), %error, "a large log cannot be set aside");
            length
        }
    }
}

/// The last lines of the log from `start` on, or a word that says why there are none.
pub(crate) fn tail(log: &Path, start: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(
            start.max(length.saturating_sub(LOG_TAIL_BYTES)),
        ))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = match read() {
        Ok(text) if text.trim().is_empty() => return "it printed nothing".to_owned(),
        Ok(text) => text,
        Err(error) => return format!("its log {} cannot be read: {error}", log.display()),
    };
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_TAIL_LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_begins_at_this_start() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("server.log");
        std::fs::write(&log, "old start\n").unwrap();
        let start = rotate(&log);
        std::fs::write(&log, "old start\nnew start\n").unwrap();
        assert_eq!(tail(&log, start), "new start");
        assert_eq!(tail(&log, start + 10), "it printed nothing");
    }

    #[test]
    fn the_tail_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("server.log");
        std::fs::write(&log, "a line of the log\n".repeat(10_000)).unwrap();
        assert_eq!(tail(&log, 0).lines().count(), LOG_TAIL_LINES);
    }

    #[test]
    fn a_large_log_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("server.log");
        File::create(&log)
            .unwrap()
            .set_len(LOG_ROTATE_BYTES - 1)
            .unwrap();
        assert_eq!(rotate(&log), LOG_ROTATE_BYTES - 1);
        File::create(&log)
            .unwrap()
            .set_len(LOG_ROTATE_BYTES)
            .unwrap();
        assert_eq!(rotate(&log), 0);
        assert!(!log.exists());
        assert!(directory.path().join("server.log.1").exists());
    }
}
