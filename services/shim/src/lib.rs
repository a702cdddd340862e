//! The shim: what keeps a command running and its output safe inside a pod while nobody is
//! connected.
//!
//! Two processes, one program. `serve` is the end of a channel: it reads [`rdev_frames::Request`]s
//! from its standard input, writes [`rdev_frames::Reply`]s to its standard output, and may die at any
//! moment without harm. `supervise` is started by `serve`, detaches, claims one exec, runs its
//! command and keeps what it prints in a journal; it needs nobody.
//!
//! Invariants:
//! - an exec is claimed by a directory that appears by one rename, already locked by its
//!   supervisor: one key runs at most once in the life of a container;
//! - only frames in the journal tell what happened; the end frame comes after the last byte;
//! - a lock that is free without an end frame means *lost*, and nothing else means that;
//! - nothing the channel does (or fails to do) holds a supervisor up, except that unacknowledged
//!   output is bounded.
//!
//! A command has ended when its own process is gone *and* both its pipes are closed (or nobody has
//! its terminal open any more): a grandchild that keeps standard output open delays the end, as it
//! does under `kubectl exec`.

mod acknowledged;
mod claim;
mod enter;
mod journal;
mod link;
mod place;
mod serve;
mod signals;
mod supervise;

pub use signals::is_ignored;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Names the directory in which the shim keeps its state.
pub const STATE_DIRECTORY_VARIABLE: &str = "RDEV_SHIM_DIR";

/// Where the state is when [`STATE_DIRECTORY_VARIABLE`] is not set.
pub const DEFAULT_STATE_DIRECTORY: &str = "/tmp/rdev-shim";

/// The version that the shim tells in its hello.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const USAGE: &str = "\
rdev-shim keeps commands running in a container. It is started by rdev, not by people.

Usage: rdev-shim serve      speak frames over standard input and output
       rdev-shim --version

RDEV_SHIM_DIR is where it keeps its state (default /tmp/rdev-shim).
";

/// How to start this program again as the shim: the program file, and what its arguments begin with.
/// A program that holds the shim under a subcommand gives that subcommand as the prefix.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program file.
    pub file: PathBuf,
    /// The arguments before `serve` or `supervise`.
    pub prefix: Vec<OsString>,
}

impl Program {
    /// The running program. It is found even after its file was replaced or deleted.
    #[must_use]
    pub fn current<const N: usize>(prefix: [&str; N]) -> Self {
        Self {
            file: PathBuf::from("/proc/self/exe"),
            prefix: prefix.into_iter().map(OsString::from).collect(),
        }
    }

    /// A command that runs this program as the shim.
    #[must_use]
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.file);
        command.args(&self.prefix).arg(subcommand);
        command
    }
}

/// Runs the shim: `arguments` are what comes after the program's name and prefix.
pub fn main(program: &Program, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    match words.as_slice() {
        ["serve"] => serve::main(program),
        [supervise::SUBCOMMAND, ..] => supervise::main(program),
        [enter::SUBCOMMAND, ..] => enter::main(&arguments[1..]),
        ["--version"] => say(&mut io::stdout(), &format!("rdev-shim {VERSION}\n")),
        ["--help" | "-h"] => say(&mut io::stdout(), USAGE),
        _ => {
            say(&mut io::stderr(), USAGE);
            ExitCode::from(2)
        }
    }
}

fn say(to: &mut impl Write, text: &str) -> ExitCode {
    match to.write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
