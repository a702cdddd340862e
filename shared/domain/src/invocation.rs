//! What is executed in the pod for a command: argv, environment, standard input and how it is
//! stopped. Used by the executor at the claim, after [`crate::request`] has checked the command.
//!
//! Invariant: the same command at the same place of the log gives the same invocation, whoever
//! asks and however often.

use std::collections::BTreeMap;
use std::time::Duration;

use rdev_contract::event::{CommandSpec, Work};
use rdev_contract::id::{ClaudeSessionId, SessionId, StreamId};
use rdev_contract::position::StreamSeq;
use uuid::Uuid;

use crate::run::Format;
use crate::session::SessionState;

/// Interrupt: what claude understands as "stop and tell how far you got".
pub const SIGINT: i32 = 2;
/// Terminate.
pub const SIGTERM: i32 = 15;
/// How long a command may take to obey a signal before the next, stronger one. Long enough to
/// write a result or remove a lock file, short enough for somebody who pressed cancel.
pub const STOP_STEP_WAIT: Duration = Duration::from_secs(5);

/// One step of stopping a command. After the last step the shim sends SIGKILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopStep {
    /// The number of the signal, for everything below the supervisor.
    pub signal: i32,
    /// How long to wait for its effect.
    pub wait: Duration,
}

/// What an invocation depends on beside the command itself.
#[derive(Debug, Clone)]
pub struct InvocationContext {
    /// `RDEV_CLAUDE_BIN`.
    pub claude_bin: String,
    /// The home directory in the pod, if the backend knows it. Without HOME the Claude CLI would
    /// take the one of the passwd entry, and so keep its sessions elsewhere.
    pub home: Option<String>,
    /// The session.
    pub session: SessionId,
    /// The exec.
    pub stream: StreamId,
    /// Sequence of its `command`.
    pub command_seq: StreamSeq,
    /// What [`resume_id`] gave at the first claim; after that, what `started` recorded.
    pub resume_id: Option<ClaudeSessionId>,
}

/// Everything needed to launch a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Added to the container's environment.
    pub env: BTreeMap<String, String>,
    /// Working directory; the container's own if absent.
    pub cwd: Option<String>,
    /// Standard input, closed behind it unless `stdin_open`.
    pub stdin: Vec<u8>,
    /// More standard input may come.
    pub stdin_open: bool,
    /// One pipe for stdout and stderr.
    pub merge: bool,
    /// How long it may run.
    pub timeout: Duration,
    /// How long it may print nothing.
    pub idle_timeout: Option<Duration>,
    /// How to stop it, step by step.
    pub stop: Vec<StopStep>,
    /// A full journal may make it wait. Not so for claude: a reader that stalls makes it lose its
    /// output and exit with 0.
    pub held_back: bool,
    /// How its output becomes events.
    pub format: Format,
}

/// What to execute for `spec`.
#[must_use]
pub fn invocation(spec: &CommandSpec, context: &InvocationContext) -> Invocation {
    let mut env = spec.env.clone();
    if let Some(home) = &context.home {
        env.entry("HOME".to_owned()).or_insert_with(|| home.clone());
    }
    let (argv, stdin) = match &spec.work {
        Work::Shell { command } => (shell_argv(command, &spec.args), stdin_bytes(spec)),
        Work::Git { command } => (git_argv(command, &spec.args), stdin_bytes(spec)),
        Work::Claude { prompt, .. } => {
            claude_environment(&mut env);
            (
                claude_argv(&spec.args, context),
                prompt.clone().into_bytes(),
            )
        }
    };
    let is_claude = matches!(spec.work, Work::Claude { .. });
    Invocation {
        argv,
        env,
        cwd: spec.cwd.clone(),
        stdin,
        stdin_open: spec.stdin_open,
        merge: spec.merge && !is_claude,
        timeout: Duration::from_secs(spec.timeout_seconds),
        idle_timeout: spec.idle_timeout_seconds.map(Duration::from_secs),
        stop: stop_steps(is_claude),
        held_back: !is_claude,
        format: Format::of(spec),
    }
}

/// The claude session that the command continues, as things stand in its session.
///
/// The session's own conversation id means "continue"; any other is a claude session id.
#[must_use]
pub fn resume_id(spec: &CommandSpec, session: &SessionState) -> Option<ClaudeSessionId> {
    let Work::Claude {
        continue_conversation,
        conversation_id,
        ..
    } = &spec.work
    else {
        return None;
    };
    let linked = session.linked.as_ref().map(|link| link.claude_session_id);
    match conversation_id {
        Some(id) if *id == session.session.conversation().to_string() => linked,
        Some(id) => id.parse().ok(),
        None if *continue_conversation => linked,
        None => None,
    }
}

/// The id of the claude session that an exec begins: the same for every attempt at it, so that
/// nobody has to record it before the launch.
#[must_use]
pub fn new_claude_session(
    session: SessionId,
    stream: &StreamId,
    command_seq: StreamSeq,
) -> ClaudeSessionId {
    let name = format!("claude/{stream}/{command_seq}");
    ClaudeSessionId::new(Uuid::new_v5(&session.uuid(), name.as_bytes()))
}

fn stdin_bytes(spec: &CommandSpec) -> Vec<u8> {
    spec.stdin.clone().unwrap_or_default().into_bytes()
}

fn shell_argv(command: &str, args: &[String]) -> Vec<String> {
    // The second `sh` is `$0`; without it the first argument would be.
    let fixed = ["sh", "-c", command, "sh"];
    fixed
        .into_iter()
        .map(str::to_owned)
        .chain(args.iter().cloned())
        .collect()
}

fn git_argv(command: &str, args: &[String]) -> Vec<String> {
    ["git", command]
        .into_iter()
        .map(str::to_owned)
        .chain(args.iter().cloned())
        .collect()
}

fn claude_argv(args: &[String], context: &InvocationContext) -> Vec<String> {
    // stream-json needs --verbose; the prompt comes by stdin, where it cannot be read as a flag.
    let fixed = ["-p", "--output-format", "stream-json", "--verbose"];
    let (flag, id) = match context.resume_id {
        Some(id) => ("--resume", id),
        None => (
            "--session-id",
            new_claude_session(context.session, &context.stream, context.command_seq),
        ),
    };
    std::iter::once(context.claude_bin.clone())
        .chain(fixed.into_iter().map(str::to_owned))
        .chain(args.iter().cloned())
        .chain([flag.to_owned(), id.to_string()])
        .collect()
}

fn claude_environment(env: &mut BTreeMap<String, String>) {
    /// What the run's reading relies on; a request does not change these.
    const FIXED: [&str; 4] = [
        // Else there are several `init` and `result` events in one run.
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS",
        // Nothing in a pod should call home or replace the binary that is running.
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "DISABLE_AUTOUPDATER",
        // A failure to start is told as a `result` too.
        "CLAUDE_CODE_STARTUP_FAILURE_RESULTS",
    ];
    for name in FIXED {
        env.insert(name.to_owned(), "1".to_owned());
    }
    // The CLI refuses to run without permission prompts as root unless it is told that the
    // machine is a sandbox. A pod is one; for other users it changes nothing.
    env.entry("IS_SANDBOX".to_owned())
        .or_insert_with(|| "1".to_owned());
}

fn stop_steps(is_claude: bool) -> Vec<StopStep> {
    let step = |signal| StopStep {
        signal,
        wait: STOP_STEP_WAIT,
    };
    if is_claude {
        vec![step(SIGINT), step(SIGTERM)]
    } else {
        vec![step(SIGTERM)]
    }
}

#[cfg(test)]
#[path = "invocation_tests.rs"]
mod tests;
