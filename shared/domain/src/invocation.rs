//! What is executed in the pod for a command: argv, environment, standard input and how it is
//! stopped. Used by the executor at the claim, after [`crate::request`] has checked the command.
//!
//! Invariant: the same command at the same place of the log gives the same invocation, whoever
//! asks and however often.

use std::collections::BTreeMap;
use std::time::Duration;

use rdev_contract::agent::Agent;
use rdev_contract::event::{CommandSpec, TerminalSize, Work};
use rdev_contract::id::{AgentSessionId, SessionId, StreamId};
use rdev_contract::position::StreamSeq;
use uuid::Uuid;

use crate::agent;
use crate::run::Format;
use crate::session::SessionState;

/// The terminal went away.
pub const SIGHUP: i32 = 1;
/// What a program in a terminal takes it for unless the request says otherwise: what all of today's
/// understand.
const TERMINAL_NAME: &str = "xterm-256color";
/// Interrupt: what agents understand as "stop and tell how far you got".
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

/// The agents' programs in the pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPrograms {
    /// `RDEV_CLAUDE_BIN`.
    pub claude: String,
    /// `RDEV_CODEX_BIN`.
    pub codex: String,
}

/// What an invocation depends on beside the command itself.
#[derive(Debug, Clone)]
pub struct InvocationContext {
    /// Where the agents are.
    pub programs: AgentPrograms,
    /// The home directory in the pod, if the backend knows it. Without HOME an agent would take
    /// the one of the passwd entry, and so keep its sessions elsewhere.
    pub home: Option<String>,
    /// The session.
    pub session: SessionId,
    /// The exec.
    pub stream: StreamId,
    /// Sequence of its `command`.
    pub command_seq: StreamSeq,
    /// What [`resume_id`] gave at the first claim; after that, what `started` recorded.
    pub resume_id: Option<AgentSessionId>,
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
    /// A terminal of this size in place of pipes.
    pub terminal: Option<TerminalSize>,
    /// How long it may run.
    pub timeout: Duration,
    /// How long it may print nothing.
    pub idle_timeout: Option<Duration>,
    /// How to stop it, step by step.
    pub stop: Vec<StopStep>,
    /// A full journal may make it wait. Not so for agents: a reader that stalls makes claude lose its
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
    let asks = spec.approvals.is_some();
    let of_agent = |agent: Agent, prompt: &str, env: &mut BTreeMap<String, String>| {
        agent::environment(agent, env);
        let argv = agent::argv(agent, asks, &spec.args, context);
        let asker = agent::asker(agent).filter(|_| asks);
        let stdin = asker.map_or_else(|| prompt.as_bytes().to_vec(), |asker| asker.prompt(prompt));
        (argv, stdin)
    };
    let (argv, stdin) = match &spec.work {
        Work::Shell { command } => (shell_argv(command, &spec.args), stdin_bytes(spec)),
        Work::Git { command } => (git_argv(command, &spec.args), stdin_bytes(spec)),
        Work::Claude { prompt, .. } => of_agent(Agent::Claude, prompt, &mut env),
        Work::Codex { prompt, .. } => of_agent(Agent::Codex, prompt, &mut env),
    };
    let agent = spec.work.agent().map(|task| task.agent);
    let terminal = spec.tty.filter(|_| agent.is_none());
    if terminal.is_some() {
        env.entry("TERM".to_owned())
            .or_insert_with(|| TERMINAL_NAME.to_owned());
    }
    Invocation {
        argv,
        env,
        cwd: spec.cwd.clone(),
        stdin,
        // Where an agent asks it is answered.
        stdin_open: spec.stdin_open || asks,
        merge: spec.merge && agent.is_none(),
        terminal,
        timeout: Duration::from_secs(spec.timeout_seconds),
        idle_timeout: spec.idle_timeout_seconds.map(Duration::from_secs),
        stop: stop_steps(agent, terminal.is_some()),
        held_back: agent.is_none(),
        format: Format::of(spec),
    }
}

/// The session of its agent that the command continues, as things stand in its session.
///
/// The session's own conversation id means "continue"; any other is a session of the agent.
#[must_use]
pub fn resume_id(spec: &CommandSpec, session: &SessionState) -> Option<AgentSessionId> {
    let task = spec.work.agent()?;
    let linked = session.linked_to(task.agent);
    match task.conversation_id {
        Some(id) if *id == session.session.conversation().to_string() => linked,
        Some(id) => id.parse().ok(),
        None if task.continue_conversation => linked,
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
) -> AgentSessionId {
    let name = format!("claude/{stream}/{command_seq}");
    AgentSessionId::new(Uuid::new_v5(&session.uuid(), name.as_bytes()))
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

fn stop_steps(agent: Option<Agent>, has_terminal: bool) -> Vec<StopStep> {
    let step = |signal| StopStep {
        signal,
        wait: STOP_STEP_WAIT,
    };
    match agent {
        Some(agent) => agent::stop(agent),
        // What a terminal that goes away sends; an interactive shell ignores SIGTERM.
        None if has_terminal => vec![step(SIGHUP), step(SIGTERM)],
        None => vec![step(SIGTERM)],
    }
}

#[cfg(test)]
#[path = "invocation_tests.rs"]
mod tests;
