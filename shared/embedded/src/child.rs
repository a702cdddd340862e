//! Child processes that never outlive this one.
//!
//! Every child is started through `setpriv --pdeathsig`: the kernel signals it when the *thread* that
//! forked it ends. So all children are forked by one thread that lives as long as the process.
//! Each child is in a process group of its own: a Ctrl-C in the terminal reaches only us, and we end
//! the children in order.
//!
//! Only between the fork and `setpriv`'s call (about a millisecond) does a hard kill of this process
//! leave the child alone; for servers, the next start on the directory ends it (see `claim`).

use crate::account::Account;
use crate::locate;
use crate::output::Output;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;
use tokio::sync::watch;

/// The status of a child whose end could not be observed (`wait` failed, which needs somebody else
/// in this process to have reaped it): exit code 255.
const UNOBSERVED_STATUS: i32 = 255 << 8;

/// A program that does not exist, cannot be started, or misses what it needs.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The program is not there.
    #[error("{program} is not an executable file, nor found on PATH")]
    NoProgram {
        /// What was asked for.
        program: String,
    },
    /// `setpriv` is not there.
    #[error(
        "`setpriv` is not on PATH: install it (package util-linux); it ends the servers with us"
    )]
    NoSetpriv,
    /// A file for input or output cannot be opened.
    #[error("{path} cannot be opened for {program}: {source}")]
    File {
        /// The program.
        program: String,
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The system refused.
    #[error("{program} cannot be started: {source}")]
    System {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
}

/// What to run: a value that can be started any number of times.
#[derive(Debug, Clone)]
pub struct Program {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    inherits_environment: bool,
    directory: Option<PathBuf>,
    stdin: Option<PathBuf>,
    stdout: Output,
    stderr: Output,
    death_signal: DeathSignal,
    account: Option<Account>,
    reads_everything: bool,
}

/// What a child gets when this process ends in whatever way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeathSignal {
    /// SIGKILL: for programs whose store survives it.
    #[default]
    Kill,
    /// SIGTERM: the program drains by itself.
    Terminate,
    /// SIGQUIT: PostgreSQL's immediate shutdown, which also ends its own children.
    Quit,
}

impl DeathSignal {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Terminate => "TERM",
            Self::Quit => "QUIT",
        }
    }

    fn signal(self) -> Signal {
        match self {
            Self::Kill => Signal::KILL,
            Self::Terminate => Signal::TERM,
            Self::Quit => Signal::QUIT,
        }
    }
}

impl Program {
    /// A program by path, or by name on PATH. It has our environment, no input, and its output is
    /// thrown away, until said otherwise.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            inherits_environment: true,
            directory: None,
            stdin: None,
            stdout: Output::Null,
            stderr: Output::Null,
            death_signal: DeathSignal::default(),
            account: None,
            reads_everything: false,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let arguments = arguments.into_iter().map(|one| one.as_ref().to_owned());
        self.arguments.extend(arguments);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn variable(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let variable = (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.environment.push(variable);
        self
    }

    /// Gives the program only the variables that are set here.
    #[must_use]
    pub fn without_our_environment(mut self) -> Self {
        self.inherits_environment = false;
        self
    }

    /// Starts the program in this directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Gives the program this file as its input.
    #[must_use]
    pub fn stdin(mut self, file: impl Into<PathBuf>) -> Self {
        self.stdin = Some(file.into());
        self
    }

    /// Where its output goes.
    #[must_use]
    pub fn stdout(mut self, output: Output) -> Self {
        self.stdout = output;
        self
    }

    /// Where its error output goes.
    #[must_use]
    pub fn stderr(mut self, output: Output) -> Self {
        self.stderr = output;
        self
    }

    /// Appends output and error output to one file.
    #[must_use]
    pub fn log(self, file: impl Into<PathBuf>) -> Self {
        let output = Output::Append(file.into());
        self.stdout(output.clone()).stderr(output)
    }

    /// What the program gets when this process dies.
    #[must_use]
    pub fn death_signal(mut self, signal: DeathSignal) -> Self {
        self.death_signal = signal;
        self
    }

    /// Runs it as this account (which needs us to be root).
    pub(crate) fn account(mut self, account: Option<Account>) -> Self {
        self.account = account;
        self
    }

    /// Lets it search directories and read files that its account could not: nothing more.
    pub(crate) fn reads_everything(mut self, reads_everything: bool) -> Self {
        self.reads_everything = reads_everything;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// The program or `setpriv` is missing, a file cannot be opened, or the system refuses.
    pub fn spawn(&self) -> Result<Child, SpawnError> {
        let name = self.program.display().to_string();
        let system = |source| SpawnError::System {
            program: name.clone(),
            source,
        };
        let command = self.command(&name)?;
        let (process, pidfd) = fork_on_the_lasting_thread(command).map_err(system)?;
        Child::watch(name.clone(), process, pidfd, self.death_signal).map_err(system)
    }

    fn command(&self, name: &str) -> Result<Command, SpawnError> {
        let program = locate::executable(&self.program).ok_or_else(|| SpawnError::NoProgram {
            program: name.to_owned(),
        })?;
        let setpriv = locate::executable(Path::new("setpriv")).ok_or(SpawnError::NoSetpriv)?;
        let mut command = Command::new(setpriv);
        command.arg("--pdeathsig").arg(self.death_signal.name());
        if let Some(account) = self.account {
            command
                .arg(format!("--reuid={}", account.uid))
                .arg(format!("--regid={}", account.gid))
                .arg("--clear-groups");
        }
        if self.reads_everything {
            command
                .args([
                    "--inh-caps=+dac_read_search",
                    "--ambient-caps=+dac_read_search",
                ])
                // Without this, access(2), with which initdb looks for its server, answers as if
                // there were no capability.
                .arg("--securebits=+no_setuid_fixup");
        }
        command.arg("--").arg(program).args(&self.arguments);
        if !self.inherits_environment {
            command.env_clear();
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        self.connect(&mut command, name)?;
        command.process_group(0);
        Ok(command)
    }

    fn connect(&self, command: &mut Command, name: &str) -> Result<(), SpawnError> {
        let refused = |path: &Path, source| SpawnError::File {
            program: name.to_owned(),
            path: path.display().to_string(),
            source,
        };
        let open = |output: &Output| {
            let path = match output {
                Output::Append(path) => path.as_path(),
                Output::Null | Output::Inherit => Path::new("/dev/null"),
            };
            output.open().map_err(|source| refused(path, source))
        };
        let stdin = match &self.stdin {
            Some(path) => Stdio::from(File::open(path).map_err(|source| refused(path, source))?),
            None => Stdio::null(),
        };
        command
            .stdin(stdin)
            .stdout(open(&self.stdout)?)
            .stderr(open(&self.stderr)?);
        Ok(())
    }
}

type Forked = io::Result<(std::process::Child, OwnedFd)>;
type ForkRequest = (Command, mpsc::SyncSender<Forked>);

/// Hands the command to the thread that never ends, which is made at the first use.
fn fork_on_the_lasting_thread(command: Command) -> Forked {
    static REQUESTS: Mutex<Option<mpsc::Sender<ForkRequest>>> = Mutex::new(None);
    let gone = || io::Error::other("the thread that starts children is gone");

    let (reply, answer) = mpsc::sync_channel(1);
    {
        let mut requests = REQUESTS.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match requests.take() {
            Some(sender) => sender,
            None => {
                let (sender, receiver) = mpsc::channel();
                thread::Builder::new()
                    .name("rdev-children".to_owned())
                    .spawn(move || fork_until_the_process_ends(&receiver))?;
                sender
            }
        };
        let sent = sender.send((command, reply));
        *requests = Some(sender);
        sent.map_err(|_| gone())?;
    }
    answer.recv().map_err(|_| gone())?
}

fn fork_until_the_process_ends(requests: &mpsc::Receiver<ForkRequest>) {
    while let Ok((mut command, reply)) = requests.recv() {
        let forked = command.spawn().and_then(|process| {
            // The process is not reaped yet, so its number cannot mean another one.
            let pid = Pid::from_child(&process);
            let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
            Ok((process, pidfd))
        });
        // A caller that is gone drops the child's handle; the death signal still ends the child.
        let _ = reply.send(forked);
    }
}

/// A running or ended child. Dropping it signals the child as our death would, without waiting.
#[derive(Debug)]
pub struct Child {
    name: String,
    pid: u32,
    pidfd: OwnedFd,
    death_signal: DeathSignal,
    ended: watch::Receiver<Option<ExitStatus>>,
}

impl Child {
    fn watch(
        name: String,
        mut process: std::process::Child,
        pidfd: OwnedFd,
        death_signal: DeathSignal,
    ) -> io::Result<Self> {
        let pid = process.id();
        let (end, ended) = watch::channel(None);
        thread::Builder::new()
            .name(format!("rdev-wait-{pid}"))
            .spawn(move || {
                let status = process.wait().unwrap_or_else(|error| {
                    tracing::error!(pid, %error, "the end of a child could not be observed");
                    ExitStatus::from_raw(UNOBSERVED_STATUS)
                });
                end.send_replace(Some(status));
            })?;
        Ok(Self {
            name,
            pid,
            pidfd,
            death_signal,
            ended,
        })
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// Sends a signal. One that comes after the end goes nowhere: also when the number of the
    /// process belongs to another one by then.
    ///
    /// # Errors
    /// The system refuses (the child runs as somebody else).
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the end. Any number of callers may wait; dropping the future loses nothing.
    pub async fn wait(&self) -> ExitStatus {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or_else(|| ExitStatus::from_raw(UNOBSERVED_STATUS)),
            Err(_) => ExitStatus::from_raw(UNOBSERVED_STATUS),
        }
    }

    /// Kills it (SIGKILL) and waits for the end.
    pub async fn kill(&self) -> ExitStatus {
        self.try_signal(Signal::KILL);
        self.wait().await
    }

    /// Asks it to end with `signal`, waits, and kills it when it has not ended after `grace`.
    pub async fn stop(&self, signal: Signal, grace: Duration) -> ExitStatus {
        self.try_signal(signal);
        if let Ok(status) = tokio::time::timeout(grace, self.wait()).await {
            return status;
        }
        tracing::warn!(program = %self.name, pid = self.pid, ?grace, "it does not stop: killing it");
        self.kill().await
    }

    fn try_signal(&self, signal: Signal) {
        if let Err(error) = self.signal(signal) {
            tracing::error!(program = %self.name, pid = self.pid, ?signal, %error, "it cannot be signalled");
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // A courtesy to the machine: nothing relies on it, our own end does the same.
        if self.status().is_none() {
            self.try_signal(self.death_signal.signal());
        }
    }
}
