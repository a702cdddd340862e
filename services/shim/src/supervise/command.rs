//! Starting the command, with the pipes that it writes into or the terminal that it runs in.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rdev_frames::{Spec, TerminalSize};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::process::Pid;

use super::terminal::Terminal;
use crate::{Program, STATE_DIRECTORY_VARIABLE, enter};

/// A command that writes a lot then seldom waits for the supervisor to be scheduled.
const PIPE_BYTES: usize = 1024 * 1024;

/// The exit code of a command that does not exist, as a shell reports it.
pub(crate) const EXIT_NOT_FOUND: i32 = 127;

/// The exit code of a command that cannot be run, as a shell reports it.
pub(crate) const EXIT_NOT_EXECUTABLE: i32 = 126;

/// A command that was started.
#[derive(Debug)]
pub(crate) struct Started {
    /// Its process.
    pub(crate) pid: Pid,
    /// Where its standard output (or, merged or from a terminal, everything) comes out.
    pub(crate) stdout: OwnedFd,
    /// Where its standard error comes out; `None` when there is one way for both.
    pub(crate) stderr: Option<OwnedFd>,
    /// Where its standard input goes in; `None` when it has none.
    pub(crate) stdin: Option<OwnedFd>,
    /// The terminal, if it runs in one.
    pub(crate) terminal: Option<Terminal>,
}

/// Why a command was not started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotStarted {
    /// What a shell would have exited with.
    pub(crate) code: i32,
    /// What to tell people.
    pub(crate) message: String,
}

/// Starts the command of `spec`. `shim` is how to start this program again.
pub(crate) fn start(shim: &Program, spec: &Spec) -> Result<Started, NotStarted> {
    let Some((program, arguments)) = spec.argv.split_first() else {
        return Err(not_executable("there is no command to run: argv is empty"));
    };
    if let Some(cwd) = spec.cwd.as_deref()
        && !Path::new(cwd).is_dir()
    {
        return Err(not_executable(&format!(
            "cannot run in {cwd:?}: it is not a directory"
        )));
    }
    let mut command = match spec.terminal {
        Some(_) => shim.command(enter::SUBCOMMAND),
        None => Command::new(program),
    };
    if spec.terminal.is_some() {
        command.arg(program);
    }
    command
        .args(arguments)
        .env_remove(STATE_DIRECTORY_VARIABLE)
        .envs(&spec.env);
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    let started = match spec.terminal {
        Some(size) => spawn_in_terminal(size, command),
        None => spawn(spec, command),
    };
    started.map_err(|error| explain(program, &error))
}

/// The one that is started becomes the command once it has taken the terminal: see [`enter`].
fn spawn_in_terminal(size: TerminalSize, mut command: Command) -> io::Result<Started> {
    let (terminal, side) = Terminal::open(size)
        .map_err(|error| io::Error::other(format!("no terminal can be opened: {error}")))?;
    let (report, report_writer) = pipe_with(PipeFlags::CLOEXEC)?;
    command
        .stdin(Stdio::from(side.try_clone()?))
        .stdout(Stdio::from(side))
        .stderr(Stdio::from(report_writer));
    let mut child = command.spawn()?;
    // With it goes our copy of the pipe's other end.
    drop(command);
    if let Some(error) = enter::read_report(report)? {
        child.wait()?;
        return Err(error);
    }
    Ok(Started {
        pid: pid_of(&child)?,
        stdout: terminal.descriptor()?,
        stderr: None,
        stdin: Some(terminal.descriptor()?),
        terminal: Some(terminal),
    })
}

fn spawn(spec: &Spec, mut command: Command) -> io::Result<Started> {
    command.process_group(0);
    let (stdout, stdout_writer) = output_pipe()?;
    let mut stderr = None;
    if spec.merge {
        command.stderr(Stdio::from(stdout_writer.try_clone()?));
    } else {
        let (reader, writer) = output_pipe()?;
        command.stderr(Stdio::from(writer));
        stderr = Some(reader);
    }
    command.stdout(Stdio::from(stdout_writer));
    let mut stdin = None;
    if spec.stdin_open || !spec.stdin.is_empty() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setfl(&writer, OFlags::NONBLOCK)?;
        command.stdin(Stdio::from(reader));
        stdin = Some(writer);
    } else {
        command.stdin(Stdio::null());
    }
    let child = command.spawn()?;
    // `command` goes here, and with it our copies of the pipes' other ends.
    Ok(Started {
        pid: pid_of(&child)?,
        stdout,
        stderr,
        stdin,
        terminal: None,
    })
}

fn pid_of(child: &Child) -> io::Result<Pid> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::Error::other("the command has no process id"))
}

/// Our end must not block; the command's end is an ordinary pipe.
fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&reader, OFlags::NONBLOCK)?;
    enlarge(&writer);
    Ok((reader, writer))
}

/// A user over the limit for large pipes keeps a small one: slower, but right.
fn enlarge(pipe: &impl AsFd) {
    let _ = fcntl_setpipe_size(pipe, PIPE_BYTES);
}

fn explain(program: &str, error: &io::Error) -> NotStarted {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NOTDIR) => NotStarted {
            code: EXIT_NOT_FOUND,
            message: format!("{program}: not found (or the interpreter that it names is not)"),
        },
        _ => not_executable(&format!("{program}: cannot be run: {error}")),
    }
}

fn not_executable(message: &str) -> NotStarted {
    NotStarted {
        code: EXIT_NOT_EXECUTABLE,
        message: message.to_owned(),
    }
}
