//! Waits for processes: the command, and everything that it left behind.
//!
//! A thread of its own, because the kernel tells of such deaths only to who waits. It tells the
//! supervisor's loop through a pipe, which can be polled. Invariant: [`Death::Everyone`] comes last
//! and is final, since only a living descendant could start another.

use std::io;
use std::os::fd::OwnedFd;
use std::thread;

use rdev_frames::Exit;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

/// Who has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// The command's own process, this way.
    Command(Exit),
    /// Every process below the supervisor.
    Everyone,
}

const CODE: u8 = 1;
const SIGNAL: u8 = 2;
const EVERYONE: u8 = 3;

/// One byte of what, four of the number.
const RECORD_BYTES: usize = 5;

/// Starts to wait for `command` and its descendants; deaths come out of the pipe.
pub(crate) fn start(command: Pid) -> io::Result<OwnedFd> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    thread::Builder::new()
        .name("reaper".to_owned())
        .spawn(move || reap(command, &writer))?;
    Ok(reader)
}

/// The deaths that wait in the pipe.
pub(crate) fn read(pipe: &OwnedFd) -> Vec<Death> {
    let mut deaths = Vec::new();
    let mut record = [0; RECORD_BYTES];
    // Records are shorter than what a pipe writes at once: they come whole.
    while rustix::io::read(pipe, &mut record) == Ok(RECORD_BYTES) {
        let [what, number @ ..] = record;
        let number = i32::from_be_bytes(number);
        deaths.push(match what {
            CODE => Death::Command(Exit::Code(number)),
            SIGNAL => Death::Command(Exit::Signal(number)),
            _ => Death::Everyone,
        });
    }
    deaths
}

fn reap(command: Pid, pipe: &OwnedFd) {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == command => tell_exit(status, pipe),
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    tell(EVERYONE, 0, pipe);
}

fn tell_exit(status: WaitStatus, pipe: &OwnedFd) {
    if let Some(code) = status.exit_status() {
        tell(CODE, code, pipe);
    } else if let Some(signal) = status.terminating_signal() {
        tell(SIGNAL, signal, pipe);
    }
}

/// The pipe takes these few bytes at once; and when the reader is gone, so is the process.
fn tell(what: u8, number: i32, pipe: &OwnedFd) {
    let mut record = [what; RECORD_BYTES];
    record[1..].copy_from_slice(&number.to_be_bytes());
    let _ = rustix::io::write(pipe, &record);
}
