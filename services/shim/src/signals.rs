//! Signals that whoever started us ignores, as `nohup` does, and a shell that has no jobs for what it
//! starts with `&`.
//!
//! What is ignored stays ignored over every `exec`, and would be for the command: a terminal that
//! closes (SIGHUP) or a cancel (SIGINT) would not end it. What is handled is at its default again
//! after an `exec`. So here a handler that does nothing takes the place of ignoring: the same for
//! the supervisor, and the default for the command.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{FORBIDDEN, SIGPIPE};

/// Real-time signals, above this one, mean nothing that anybody ignores.
const LAST_STANDARD_SIGNAL: i32 = 31;

/// Keeps the signals that are ignored to the supervisor.
pub(crate) fn hand_on_none_ignored() -> io::Result<()> {
    let ignored = ignored()?;
    // The standard library ignores SIGPIPE in every program, and puts it back for what it starts.
    let ours = |signal: &i32| *signal != SIGPIPE && !FORBIDDEN.contains(signal);
    for signal in (1..=LAST_STANDARD_SIGNAL).filter(ours) {
        if holds(ignored, signal) {
            signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
        }
    }
    Ok(())
}

/// Whether this process ignores a signal, as it is now.
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    ignored().is_ok_and(|ignored| holds(ignored, signal))
}

const fn holds(mask: u64, signal: i32) -> bool {
    mask & (1 << (signal - 1)) != 0
}

/// A bit for each signal that is ignored, the lowest for signal 1.
fn ignored() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}
