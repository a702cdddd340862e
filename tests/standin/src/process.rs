//! Processes of the containers: starting one, and killing all of a container.
//!
//! There is no PID namespace here. Instead everything in a container carries its id in the
//! environment, which descendants inherit, and killing looks for it in `/proc`. Invariant: when
//! [`kill_container`] returns, no process of the container is left, detached ones included.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::process::{Child, Command};

use crate::pod::Container;

/// The mark by which the processes of a container are found again.
const MARK: &str = "RDEV_STANDIN_CONTAINER";
/// Pause between two looks at `/proc` while a container dies; a fork may race with the first look.
const KILL_PAUSE_MS: u64 = 2;
/// The exit code of a process that a signal ended is this plus the signal, as in a shell.
const SIGNAL_BASE: i32 = 128;

/// Starts `argv` in a container with pipes, or on the given terminal.
pub(crate) fn spawn(
    pod: &str,
    container: &Container,
    argv: &[String],
    terminal: Option<&OwnedFd>,
) -> io::Result<Child> {
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut command = match terminal {
        None => Command::new(program),
        // A controlling terminal needs a call between fork and exec; util-linux has a program for it.
        Some(_) => Command::new("setsid"),
    };
    command.current_dir(&container.root).env_clear();
    match terminal {
        None => command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
        Some(side) => command
            .args(["--ctty", "--wait", "--", program])
            .env("TERM", "xterm")
            .stdin(Stdio::from(side.try_clone()?))
            .stdout(Stdio::from(side.try_clone()?))
            .stderr(Stdio::from(side.try_clone()?)),
    };
    command.args(arguments);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
        .env("HOME", &container.root)
        .env("POD_ROOT", &container.root)
        .env("HOSTNAME", pod);
    let root = container.root.to_string_lossy();
    for (name, value) in &container.env {
        command.env(name, value.replace("{root}", &root));
    }
    command.env(MARK, &container.id).kill_on_drop(false).spawn()
}

/// A new terminal: the side of the API and the side of the process.
pub(crate) fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let theirs = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty())?;
    Ok((ours, theirs))
}

/// The exit code as Kubernetes reports it.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| SIGNAL_BASE + signal))
        .unwrap_or(SIGNAL_BASE)
}

/// Kills everything that runs in a container and returns when nothing is left. Blocks.
pub(crate) fn kill_container(container_id: &str) {
    loop {
        let alive = processes_of(container_id);
        if alive.is_empty() {
            return;
        }
        // In a real container all die at once: none sees another one's end and tells of it.
        for signal in [Signal::STOP, Signal::KILL] {
            for process in &alive {
                // It may have ended since it was seen; the next look tells.
                let _ = kill_process(*process, signal);
            }
        }
        std::thread::sleep(Duration::from_millis(KILL_PAUSE_MS));
    }
}

/// The number of processes that run in a container.
pub(crate) fn count_processes(container_id: &str) -> usize {
    processes_of(container_id).len()
}

/// All processes with the mark, and all their descendants (one may have cleared its environment).
fn processes_of(container_id: &str) -> Vec<Pid> {
    let mark = format!("{MARK}={container_id}").into_bytes();
    let mut parents = HashMap::new();
    let mut found = HashSet::new();
    for id in process_ids() {
        let Some(parent) = parent_of_living(id) else {
            continue;
        };
        parents.insert(id, parent);
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        if environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark)
        {
            found.insert(id);
        }
    }
    loop {
        let more: Vec<i32> = parents
            .iter()
            .filter(|(id, parent)| found.contains(*parent) && !found.contains(*id))
            .map(|(id, _)| *id)
            .collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    found.into_iter().filter_map(Pid::from_raw).collect()
}

fn process_ids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The parent of a process; none for one that is gone or waits only to be reaped.
fn parent_of_living(id: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything, also blanks and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(parent)
}
