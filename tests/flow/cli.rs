//! The command line, as people and scripts use it: the real program against real services.

#[path = "cli/agents.rs"]
mod agents;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/exec.rs"]
mod exec;
#[path = "cli/lists.rs"]
mod lists;
#[path = "cli/lost.rs"]
mod lost;
#[path = "cli/pty.rs"]
mod pty;
#[path = "cli/terminal.rs"]
mod terminal;

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rdev_tests::client::Client;
use rdev_tests::world::PROJECT;
use rdev_tests::{Failure, Outcome};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use super::RDEV;

/// No command here takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A person with a home directory, and no settings but where the gateway is.
pub(super) struct Person {
    home: TempDir,
    variables: Vec<(String, String)>,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

impl Said {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// As a shell shows it.
    pub(super) fn code(&self) -> i32 {
        let signal = self.status.signal().map(|signal| 128 + signal);
        self.status.code().or(signal).unwrap_or(-1)
    }

    pub(super) fn expect(self, code: i32) -> Outcome<Self> {
        if self.code() == code {
            return Ok(self);
        }
        let (text, stderr) = (self.text(), &self.stderr);
        Err(format!("{} instead of {code}\n{text}\n{stderr}", self.status).into())
    }
}

impl Person {
    /// One who knows nothing yet.
    pub(super) fn new() -> Outcome<Self> {
        Ok(Self {
            home: tempfile::tempdir()?,
            variables: Vec::new(),
        })
    }

    /// One who works in the project of the tests.
    pub(super) fn of(client: &Client) -> Outcome<Self> {
        let person = Self::new()?;
        Ok(person
            .with("RDEV_URL", &client.base)
            .with("RDEV_PROJECT", PROJECT))
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    /// `rdev` with these arguments.
    pub(super) fn rdev(&self, args: &[&str]) -> Command {
        // Whatever those ignore who started the tests.
        self.rdev_below(&["env", "--default-signal"], args)
    }

    /// The same, started by another program.
    pub(super) fn rdev_below(&self, starter: &[&str], args: &[&str]) -> Command {
        let mut command = Command::new(starter[0]);
        command
            .args(&starter[1..])
            .arg(RDEV)
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs it to its end.
    pub(super) async fn says(&self, args: &[&str]) -> Outcome<Said> {
        ended(self.rdev(args)).await
    }

    /// The same, with something to read.
    pub(super) async fn says_given(&self, args: &[&str], input: Vec<u8>) -> Outcome<Said> {
        let mut command = self.rdev(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().ok_or("no input")?;
        let feed = async {
            // Who has heard enough closes its input.
            let _ = stdin.write_all(&input).await;
            drop(stdin);
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), feed);
        Ok(said(output?))
    }

    /// Starts it.
    pub(super) fn begins(&self, args: &[&str]) -> Outcome<Running> {
        Running::start(self.rdev(args))
    }
}

async fn ended(mut command: Command) -> Outcome<Said> {
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    Ok(said(output.map_err(|_| Failure::from("it does not end"))??))
}

fn said(output: std::process::Output) -> Said {
    Said {
        status: output.status,
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `rdev`, while it runs.
pub(super) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    /// What was read of standard output so far.
    read: Vec<u8>,
}

impl Running {
    pub(super) fn start(mut command: Command) -> Outcome<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no output")?;
        let stderr = child.stderr.take().ok_or("no errors")?;
        Ok(Self {
            child,
            stdout: BufReader::new(stdout),
            stderr: BufReader::new(stderr),
            read: Vec::new(),
        })
    }

    /// Reads on until this line was printed.
    pub(super) async fn until(&mut self, wanted: &str) -> Outcome<()> {
        let read = async {
            loop {
                let begin = self.read.len();
                if self.stdout.read_until(b'\n', &mut self.read).await? == 0 {
                    return Err(Failure::from(format!("it ended without {wanted:?}")));
                }
                if String::from_utf8_lossy(&self.read[begin..]).trim_end() == wanted {
                    return Ok(());
                }
            }
        };
        let read = tokio::time::timeout(PATIENCE, read).await;
        read.map_err(|_| Failure::from(format!("no {wanted:?} in time")))?
    }

    /// Reads standard error until something like this was said.
    pub(super) async fn until_it_says(&mut self, wanted: &str) -> Outcome<String> {
        let read = async {
            let mut line = String::new();
            while self.stderr.read_line(&mut line).await? > 0 {
                if line.contains(wanted) {
                    return Ok(line);
                }
                line.clear();
            }
            Err(Failure::from(format!("it ended without {wanted:?}")))
        };
        let read = tokio::time::timeout(PATIENCE, read).await;
        read.map_err(|_| Failure::from(format!("no {wanted:?} in time")))?
    }

    pub(super) fn signal(&self, signal: rustix::process::Signal) -> Outcome<()> {
        let pid = self.child.id().ok_or("it ended")?;
        let pid = rustix::process::Pid::from_raw(pid.try_into()?).ok_or("no pid")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Its end, and everything that it has said.
    pub(super) async fn end(mut self) -> Outcome<Said> {
        let mut stderr = String::new();
        let end = async {
            let (read, said) = tokio::join!(
                self.stdout.read_to_end(&mut self.read),
                self.stderr.read_to_string(&mut stderr),
            );
            read?;
            said?;
            self.child.wait().await
        };
        let status = tokio::time::timeout(PATIENCE, end).await;
        let status = status.map_err(|_| Failure::from("it does not end"))??;
        Ok(Said {
            status,
            stdout: self.read,
            stderr,
        })
    }
}
