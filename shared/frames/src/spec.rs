//! What to run. An executor writes it into a launch request; the supervisor reads it once.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::TerminalSize;

/// How much unacknowledged output a journal keeps when the launch does not say: 256 MiB, well below
/// the size of an ordinary pod's scratch space.
const DEFAULT_JOURNAL_MAX_BYTES: u64 = 256 * 1024 * 1024;

/// SIGTERM, the signal that asks an ordinary command to stop.
const SIGTERM: i32 = 15;

/// How long an ordinary command may take to stop when it is asked to.
const DEFAULT_STOP_WAIT_MS: u64 = 5_000;

/// A command and the limits it runs under.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Program and arguments. The program is looked up in `PATH` when it has no slash.
    pub argv: Vec<String>,
    /// Added to the container's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Where to run; the directory of `serve` when absent.
    #[serde(default)]
    pub cwd: Option<String>,
    /// The first bytes of standard input. They travel outside the JSON.
    #[serde(skip)]
    pub stdin: Bytes,
    /// Keep standard input open for more bytes after `stdin`; otherwise it is closed then.
    #[serde(default)]
    pub stdin_open: bool,
    /// One pipe for standard output and standard error, in true order, reported as stdout.
    #[serde(default)]
    pub merge: bool,
    /// Run it in a terminal of this size: both its outputs and its standard input are the terminal,
    /// and what comes out of it is reported as stdout.
    #[serde(default)]
    pub terminal: Option<TerminalSize>,
    /// End the command after this long; `None` means never.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// End the command when it has printed nothing for this long; `None` means never.
    #[serde(default)]
    pub idle_timeout_ms: Option<u64>,
    /// How to end the command: each signal in turn, then SIGKILL.
    #[serde(default = "default_stop")]
    pub stop: Vec<StopStep>,
    /// What to do when the journal is full.
    #[serde(default)]
    pub overflow: Overflow,
    /// How much unacknowledged output the journal keeps, in bytes of its file.
    #[serde(default = "default_journal_max_bytes")]
    pub journal_max_bytes: u64,
}

/// Of the environment only the names: values may be secrets, and this ends up in logs.
impl fmt::Debug for Spec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Spec")
            .field("argv", &self.argv)
            .field("env", &self.env.keys())
            .field("cwd", &self.cwd)
            .field("terminal", &self.terminal)
            .finish_non_exhaustive()
    }
}

impl Spec {
    /// A command with the defaults for everything else.
    #[must_use]
    pub fn new(argv: Vec<String>) -> Self {
        Self {
            argv,
            env: BTreeMap::new(),
            cwd: None,
            stdin: Bytes::new(),
            stdin_open: false,
            merge: false,
            terminal: None,
            timeout_ms: None,
            idle_timeout_ms: None,
            stop: default_stop(),
            overflow: Overflow::default(),
            journal_max_bytes: default_journal_max_bytes(),
        }
    }
}

/// One step of ending a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopStep {
    /// The signal's number; it goes to every process below the supervisor.
    pub signal: i32,
    /// How long to wait for all of them to end before the next step, in milliseconds.
    pub wait_ms: u64,
}

/// What to do when the journal holds its maximum of unacknowledged output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// Stop reading the command's pipes until something is acknowledged: the command waits.
    #[default]
    Backpressure,
    /// End the command with an error. For programs that lose data when their reader waits.
    Terminate,
}

fn default_stop() -> Vec<StopStep> {
    vec![StopStep {
        signal: SIGTERM,
        wait_ms: DEFAULT_STOP_WAIT_MS,
    }]
}

fn default_journal_max_bytes() -> u64 {
    DEFAULT_JOURNAL_MAX_BYTES
}
