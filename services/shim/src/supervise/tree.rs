//! The processes below a supervisor.
//!
//! The supervisor is their subreaper: whatever forks, detaches or starts a session of its own stays
//! below it. So a walk over `/proc` finds all of them, and a signal to all of them needs no process
//! group. Invariant: no other process is ever signalled, also when ids are used again meanwhile.

use std::collections::HashMap;
use std::fs;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal,
};

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    parent: i32,
    /// When it started, in clock ticks since the machine did; with the id, it names one process.
    pub(crate) start: u64,
}

/// `/proc/PID/stat` counts fields from 1, and 3 is the first one after the name.
const FIELD_AFTER_NAME: usize = 3;
const FIELD_PARENT: usize = 4;
const FIELD_START: usize = 22;

impl Stat {
    /// Looks at a process; `None` when it is gone or hidden.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name stands in parentheses and may hold anything, parentheses too.
    fn parse(stat: &[u8]) -> Option<Self> {
        let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
        let rest = str::from_utf8(stat.get(after_name..)?).ok()?;
        let field = |number: usize| rest.split_ascii_whitespace().nth(number - FIELD_AFTER_NAME);
        Some(Self {
            parent: field(FIELD_PARENT)?.parse().ok()?,
            start: field(FIELD_START)?.parse().ok()?,
        })
    }
}

/// Sends `signal` to every process below this one. Those that are forked meanwhile may be missed.
pub(crate) fn signal_all(signal: Signal) {
    for (pid, stat) in below(getpid().as_raw_nonzero().get()) {
        signal_one(pid, stat, signal);
    }
}

/// Asks every process below this one to end. One that stands still could not hear it.
pub(crate) fn ask_all(signal: Signal) {
    signal_all(signal);
    signal_all(Signal::CONT);
}

/// A signal by number; `None` when there is no such signal.
pub(crate) fn signal_of(number: i32) -> Option<Signal> {
    Signal::from_named_raw(number)
}

/// Every process below `root`, parents first.
fn below(root: i32) -> Vec<(i32, Stat)> {
    let mut children: HashMap<i32, Vec<(i32, Stat)>> = HashMap::new();
    for pid in processes() {
        if let Some(stat) = Stat::of(pid) {
            children.entry(stat.parent).or_default().push((pid, stat));
        }
    }
    let mut found = children.remove(&root).unwrap_or_default();
    let mut next = 0;
    while let Some((pid, _)) = found.get(next) {
        let more = children.remove(pid).unwrap_or_default();
        found.extend(more);
        next += 1;
    }
    found
}

fn processes() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// The descriptor holds on to one process; if that is the one that was seen, it is signalled.
fn signal_one(number: i32, seen: Stat, signal: Signal) {
    let Some(pid) = Pid::from_raw(number) else {
        return;
    };
    let descriptor = pidfd_open(pid, PidfdFlags::empty());
    if Stat::of(number).is_none_or(|now| now.start != seen.start) {
        return;
    }
    // Whether it has gone meanwhile shows in the reaper, not here.
    let _ = match descriptor {
        Ok(descriptor) => pidfd_send_signal(descriptor, signal),
        Err(Errno::NOSYS) => kill_process(pid, signal),
        Err(_) => Ok(()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let rest = " S 7 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987 1 1";
        let stat = format!("12 (a) R 1 (b\n c) {}", rest.trim_start());
        assert_eq!(
            Stat::parse(stat.as_bytes()),
            Some(Stat {
                parent: 7,
                start: 987
            })
        );
        assert_eq!(Stat::parse(b"12 (a"), None);
        assert_eq!(Stat::parse(b"12 (a) S 7"), None);
    }

    #[test]
    fn children_are_below_and_strangers_are_not() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sleep 60 & wait"])
            .spawn()
            .unwrap();
        let us = getpid().as_raw_nonzero().get();
        let found: Vec<i32> = below(us).into_iter().map(|(pid, _)| pid).collect();
        assert!(found.contains(&i32::try_from(child.id()).unwrap()));
        assert!(!found.contains(&1) && !found.contains(&us));
        signal_all(Signal::KILL);
        child.wait().unwrap();
    }
}
