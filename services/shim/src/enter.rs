//! `enter`: the first moment of a command that runs in a terminal.
//!
//! A terminal can only be taken as the one that controls a session by the process that leads the
//! session. So the supervisor starts this program first, which takes the terminal and then becomes
//! the command: the same process, with the same id.
//!
//! Standard input and output are the terminal. Standard error is a pipe to the supervisor, which
//! closes without a word when the command has begun; a number in it says why it could not.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::stdio::{dup2_stderr, stderr, stdin};

/// The subcommand; the command and its arguments follow.
pub(crate) const SUBCOMMAND: &str = "enter";

/// The first descriptor that is none of the standard ones.
const FIRST_FREE: i32 = 3;

/// Becomes the command.
pub(crate) fn main(command: &[OsString]) -> ExitCode {
    let Ok(report) = fcntl_dupfd_cloexec(stderr(), FIRST_FREE) else {
        return ExitCode::FAILURE;
    };
    let error = enter(command);
    // If nobody reads it, nobody has started us.
    let _ = tell(report, &error);
    ExitCode::FAILURE
}

/// Only returns when it fails.
fn enter(command: &[OsString]) -> io::Error {
    let take = || -> Result<(), Errno> {
        setsid()?;
        ioctl_tiocsctty(stdin())?;
        dup2_stderr(stdin())
    };
    if let Err(error) = take() {
        return error.into();
    }
    match command.split_first() {
        Some((program, arguments)) => Command::new(program).args(arguments).exec(),
        None => io::ErrorKind::InvalidInput.into(),
    }
}

fn tell(report: OwnedFd, error: &io::Error) -> io::Result<()> {
    let number = error.raw_os_error().unwrap_or_default();
    std::fs::File::from(report).write_all(number.to_string().as_bytes())
}

/// What the report of a command says: why it did not begin, if it did not.
pub(crate) fn read_report(report: OwnedFd) -> io::Result<Option<io::Error>> {
    let mut text = String::new();
    std::fs::File::from(report).read_to_string(&mut text)?;
    Ok((!text.is_empty()).then(|| match text.parse() {
        Ok(number) => io::Error::from_raw_os_error(number),
        Err(_) => io::Error::other(text),
    }))
}
