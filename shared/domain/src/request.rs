//! The station `accept`: a loose request becomes a strict [`CommandSpec`], or an error that says
//! what to change. Used by the gateway.
//!
//! Invariant: a spec that leaves here can be put into an argv as it is; nothing in it can be read
//! as an option, an environment entry or a path other than the one it is meant to be. Empty
//! optional texts count as absent, because clients written in Go send them so.

use std::collections::BTreeMap;

use rdev_contract::agent::Agent;
use rdev_contract::event::{ApprovalPolicy, CommandSpec, OnTimeout, SecretRef, TerminalSize, Work};
use rdev_contract::http::{ExecRequest, SecretRequest, TerminalRequest};
use rdev_contract::id::{InvalidId, StreamId};
use uuid::Uuid;

use crate::agent;

/// Linux refuses to execute a program with a longer single argument or environment entry
/// (`MAX_ARG_STRLEN`, 128 KiB with the closing NUL): better told at once than by the pod.
pub const ARGUMENT_MAX_BYTES: usize = 128 * 1024 - 1;
/// More are a mistake; the kernel's own limit counts bytes, and pointers to each argument.
pub const ARGUMENTS_MAX_COUNT: usize = 4096;
/// As for the arguments.
pub const ENVIRONMENT_MAX_COUNT: usize = 1024;
/// Each is asked of the API server before the command starts.
pub const SECRETS_MAX_COUNT: usize = 32;
/// Arguments and environment share a quarter of the stack limit (2 MiB of the usual 8 MiB), and
/// the container's own environment needs room beside these.
pub const ARGUMENTS_AND_ENVIRONMENT_MAX_BYTES: usize = 1024 * 1024;
/// `PATH_MAX` of Linux, with the closing NUL.
pub const CWD_MAX_BYTES: usize = 4095;
/// The most columns and the most rows of a terminal: more than the smallest font shows on the
/// largest screen, and little enough that a gateway can hold some.
pub const TERMINAL_MAX: u16 = 1000;

/// Whoever waits longer for a start asks again: a week is longer than any backlog that is worked off.
pub const QUEUE_TIMEOUT_MAX_SECONDS: u64 = 7 * 24 * 3600;

/// What the configuration says about run times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// For a request that names no `timeout_seconds`.
    pub default_timeout_seconds: u64,
    /// `RDEV_MAX_TIMEOUT`.
    pub max_timeout_seconds: u64,
}

impl Default for RequestLimits {
    /// Half an hour unless the request says otherwise, six hours at most.
    fn default() -> Self {
        Self {
            default_timeout_seconds: 30 * 60,
            max_timeout_seconds: 6 * 60 * 60,
        }
    }
}

/// Why a request is refused (HTTP 400).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct RequestError {
    /// For programs; stable.
    pub code: &'static str,
    /// For people: what is wrong and what would be right.
    pub detail: String,
}

impl RequestError {
    fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }
}

/// The stream id that the client chose, if it chose one.
///
/// # Errors
/// [`RequestError`] `invalid_stream_id` when it is not one.
pub fn requested_stream(request: &ExecRequest) -> Result<Option<StreamId>, RequestError> {
    let Some(text) = request.stream_id.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|error| RequestError::new("invalid_stream_id", format!("stream_id: {error}")))
}

/// Checks a request and makes the command of it that goes into the log.
///
/// # Errors
/// [`RequestError`] for everything that could not be executed as the client means it.
pub fn parse_exec_request(
    request: ExecRequest,
    limits: &RequestLimits,
) -> Result<CommandSpec, RequestError> {
    let work = work(&request)?;
    let approvals = approvals(&work, &request, limits)?;
    let args = request.args.unwrap_or_default();
    let env = request.env.unwrap_or_default();
    check_arguments(&work, approvals.is_some(), &args)?;
    check_environment(&env)?;
    let secret_env = secret_environment(request.secret_env.unwrap_or_default(), &env)?;
    check_total_size(&work, &args, &env)?;
    let agent = work.agent().map(|task| task.agent);
    let tty = terminal(agent, request.tty)?;
    let stdin = request.stdin.filter(|text| !text.is_empty());
    if let Some(agent) = agent
        && stdin.is_some()
    {
        return Err(RequestError::new(
            "invalid_stdin",
            format!("stdin is where {agent} gets its prompt: put the text into prompt"),
        ));
    }
    let stdin_open = request.stdin_open.unwrap_or(false);
    if let Some(agent) = agent
        && stdin_open
    {
        return Err(RequestError::new(
            "invalid_stdin",
            format!(
                "stdin is where {agent} gets its prompt, and ends with it: leave stdin_open out"
            ),
        ));
    }
    let max = limits.max_timeout_seconds;
    Ok(CommandSpec {
        work,
        args,
        env,
        secret_env,
        cwd: cwd(request.cwd)?,
        timeout_seconds: seconds("timeout_seconds", request.timeout_seconds, max)?
            .unwrap_or(limits.default_timeout_seconds.min(max)),
        idle_timeout_seconds: seconds("idle_timeout_seconds", request.idle_timeout_seconds, max)?,
        queue_timeout_seconds: seconds(
            "queue_timeout_seconds",
            request.queue_timeout_seconds,
            QUEUE_TIMEOUT_MAX_SECONDS,
        )?,
        stdin,
        stdin_open: stdin_open || tty.is_some(),
        // An agent's stdout is JSON lines; anything mixed into it could not be told apart.
        merge: (request.merge.unwrap_or(false) || tty.is_some()) && agent.is_none(),
        tty,
        approvals,
    })
}

fn work(request: &ExecRequest) -> Result<Work, RequestError> {
    match request.kind.as_str() {
        "shell" => Ok(Work::Shell {
            command: command(request)?,
        }),
        "git" => {
            let command = command(request)?;
            if command.starts_with('-') {
                return Err(RequestError::new(
                    "invalid_command",
                    "the git command begins with -: put the subcommand (as in status) into command \
                     and its options into args",
                ));
            }
            Ok(Work::Git { command })
        }
        "claude" => Ok(Work::Claude {
            prompt: prompt(request)?,
            continue_conversation: request.continue_conversation.unwrap_or(false),
            conversation_id: conversation_id(request.conversation_id.as_deref())?,
        }),
        "codex" => Ok(Work::Codex {
            prompt: prompt(request)?,
            continue_conversation: request.continue_conversation.unwrap_or(false),
            conversation_id: conversation_id(request.conversation_id.as_deref())?,
        }),
        "" => Err(RequestError::new(
            "invalid_type",
            "type is missing: give shell, git, claude or codex",
        )),
        other => Err(RequestError::new(
            "invalid_type",
            format!("type {other:?} is not known: give shell, git, claude or codex"),
        )),
    }
}

fn prompt(request: &ExecRequest) -> Result<String, RequestError> {
    let prompt = request.prompt.clone().filter(|text| !text.is_empty());
    prompt.ok_or_else(|| {
        RequestError::new(
            "missing_prompt",
            format!("type {} needs a prompt that is not empty", request.kind),
        )
    })
}

fn command(request: &ExecRequest) -> Result<String, RequestError> {
    let Some(command) = request.command.clone().filter(|text| !text.is_empty()) else {
        return Err(RequestError::new(
            "missing_command",
            format!("type {} needs a command that is not empty", request.kind),
        ));
    };
    check_argument("invalid_command", "command", &command)?;
    Ok(command)
}

/// Only a UUID may reach argv: `--resume --help` would print the help. One spelling of it, so
/// that two requests for the same conversation are equal.
fn conversation_id(text: Option<&str>) -> Result<Option<String>, RequestError> {
    /// A UUID with hyphens; `Uuid` also reads three other spellings.
    const HYPHENATED_BYTES: usize = 36;
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match Uuid::try_parse(text) {
        Ok(uuid) if text.len() == HYPHENATED_BYTES => Ok(Some(uuid.as_hyphenated().to_string())),
        Ok(_) | Err(_) => Err(RequestError::new(
            "invalid_conversation_id",
            "conversation_id is not a UUID with hyphens: give the session's conversation id or a \
             session id of the agent",
        )),
    }
}

fn check_argument(code: &'static str, name: &str, text: &str) -> Result<(), RequestError> {
    if text.contains('\0') {
        return Err(RequestError::new(
            code,
            format!("{name} holds a NUL character, which no argument of a program can"),
        ));
    }
    if text.len() > ARGUMENT_MAX_BYTES {
        return Err(RequestError::new(
            code,
            format!(
                "{name} is longer than the {ARGUMENT_MAX_BYTES} bytes that Linux allows: \
                 write it to a file or to stdin"
            ),
        ));
    }
    Ok(())
}

fn check_arguments(work: &Work, asks: bool, args: &[String]) -> Result<(), RequestError> {
    const CODE: &str = "invalid_args";
    if args.len() > ARGUMENTS_MAX_COUNT {
        return Err(RequestError::new(
            CODE,
            format!("args has more than {ARGUMENTS_MAX_COUNT} entries"),
        ));
    }
    for (index, argument) in args.iter().enumerate() {
        check_argument(CODE, &format!("args[{index}]"), argument)?;
        if let Some(task) = work.agent()
            && let Some(reason) = agent::refuses(task.agent, asks, argument)
        {
            return Err(RequestError::new(CODE, format!("args[{index}]: {reason}")));
        }
    }
    Ok(())
}

fn check_environment(env: &BTreeMap<String, String>) -> Result<(), RequestError> {
    const CODE: &str = "invalid_env";
    if env.len() > ENVIRONMENT_MAX_COUNT {
        return Err(RequestError::new(
            CODE,
            format!("env has more than {ENVIRONMENT_MAX_COUNT} entries"),
        ));
    }
    for (name, value) in env {
        if !is_environment_name(name) {
            return Err(RequestError::new(
                CODE,
                format!("env: {name:?} is not a name: letters, digits and _, no digit first"),
            ));
        }
        check_argument(CODE, &format!("env {name}"), value)?;
        // The entry that the kernel counts is NAME=VALUE.
        if name.len() + 1 + value.len() > ARGUMENT_MAX_BYTES {
            return Err(RequestError::new(
                CODE,
                format!(
                    "env {name} is longer than the {ARGUMENT_MAX_BYTES} bytes that Linux allows"
                ),
            ));
        }
    }
    Ok(())
}

/// References are checked here, what they lead to by the executor.
fn secret_environment(
    wanted: BTreeMap<String, SecretRequest>,
    env: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, SecretRef>, RequestError> {
    const CODE: &str = "invalid_secret_env";
    let refuse = |detail: String| Err(RequestError::new(CODE, detail));
    if wanted.len() > SECRETS_MAX_COUNT {
        return refuse(format!(
            "secret_env has more than {SECRETS_MAX_COUNT} entries"
        ));
    }
    let mut references = BTreeMap::new();
    for (variable, SecretRequest { name, key }) in wanted {
        if !is_environment_name(&variable) {
            return refuse(format!(
                "secret_env: {variable:?} is not a name: letters, digits and _, no digit first"
            ));
        }
        if env.contains_key(&variable) {
            return refuse(format!(
                "{variable} stands in env and in secret_env: leave one out"
            ));
        }
        let invalid =
            |error: InvalidId| RequestError::new(CODE, format!("secret_env {variable}: {error}"));
        let reference = SecretRef {
            name: name.parse().map_err(invalid)?,
            key: key.parse().map_err(invalid)?,
        };
        references.insert(variable, reference);
    }
    Ok(references)
}

fn is_environment_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let begins = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    bytes.next().is_some_and(begins) && bytes.all(|byte| begins(byte) || byte.is_ascii_digit())
}

fn check_total_size(
    work: &Work,
    args: &[String],
    env: &BTreeMap<String, String>,
) -> Result<(), RequestError> {
    let command_bytes = match work {
        Work::Shell { command } | Work::Git { command } => command.len(),
        Work::Claude { .. } | Work::Codex { .. } => 0,
    };
    let args_bytes: usize = args.iter().map(String::len).sum();
    let env_bytes: usize = env
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if command_bytes + args_bytes + env_bytes > ARGUMENTS_AND_ENVIRONMENT_MAX_BYTES {
        return Err(RequestError::new(
            "invalid_args",
            format!(
                "command, args and env are longer than {ARGUMENTS_AND_ENVIRONMENT_MAX_BYTES} bytes \
                 together: pass the data by stdin or a file"
            ),
        ));
    }
    Ok(())
}

fn cwd(cwd: Option<String>) -> Result<Option<String>, RequestError> {
    let Some(path) = cwd.filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let refuse = |why: &str| Err(RequestError::new("invalid_cwd", format!("cwd {why}")));
    if !path.starts_with('/') {
        return refuse("is relative: give an absolute path in the pod");
    }
    if path.contains('\0') {
        return refuse("holds a NUL character, which no path can");
    }
    if path.len() > CWD_MAX_BYTES {
        return refuse("is longer than the 4095 bytes that Linux allows");
    }
    Ok(Some(path))
}

/// Whether the agent is to ask before it uses tools.
fn approvals(
    work: &Work,
    request: &ExecRequest,
    limits: &RequestLimits,
) -> Result<Option<ApprovalPolicy>, RequestError> {
    let refuse = |detail: &str| Err(RequestError::new("invalid_permissions", detail));
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let max = limits.max_timeout_seconds;
    let timeout_seconds = seconds(
        "approval_timeout_seconds",
        request.approval_timeout_seconds,
        max,
    )?;
    let on_timeout = given(&request.approval_on_timeout);
    match given(&request.permissions).as_deref() {
        Some("ask") => {}
        Some(_) => return refuse("permissions: give ask, or leave it out"),
        None if timeout_seconds.is_some() || on_timeout.is_some() => {
            return refuse(
                "approval_timeout_seconds and approval_on_timeout need permissions: ask",
            );
        }
        None => return Ok(None),
    }
    let agent = work.agent().map(|task| task.agent);
    if agent.and_then(agent::asker).is_none() {
        return refuse("permissions is for claude: nothing else asks");
    }
    Ok(Some(ApprovalPolicy {
        timeout_seconds,
        on_timeout: match on_timeout.as_deref() {
            None | Some("deny") => OnTimeout::Deny,
            Some("cancel") => OnTimeout::Cancel,
            Some(_) => return refuse("approval_on_timeout: give deny or cancel"),
        },
    }))
}

fn terminal(
    agent: Option<Agent>,
    request: Option<TerminalRequest>,
) -> Result<Option<TerminalSize>, RequestError> {
    let Some(request) = request else {
        return Ok(None);
    };
    if let Some(agent) = agent {
        let detail =
            format!("tty is for shell and git: a terminal would garble the JSON of {agent}");
        return Err(RequestError::new("invalid_tty", detail));
    }
    terminal_size(&request).map(Some)
}

/// Checks the size of a terminal.
///
/// # Errors
/// [`RequestError`] `invalid_tty` when no terminal can have it.
pub fn terminal_size(request: &TerminalRequest) -> Result<TerminalSize, RequestError> {
    let within = |name: &str, number: i64| {
        let number = u16::try_from(number)
            .ok()
            .filter(|number| (1..=TERMINAL_MAX).contains(number));
        number.ok_or_else(|| {
            let detail = format!("{name} of a terminal: give 1 to {TERMINAL_MAX}");
            RequestError::new("invalid_tty", detail)
        })
    };
    Ok(TerminalSize {
        cols: within("cols", request.cols)?,
        rows: within("rows", request.rows)?,
    })
}

fn seconds(field: &str, seconds: Option<u64>, max: u64) -> Result<Option<u64>, RequestError> {
    match seconds {
        Some(seconds) if !(1..=max).contains(&seconds) => Err(RequestError::new(
            "invalid_timeout",
            format!("{field} is {seconds}: give 1 to {max}, or leave it out"),
        )),
        Some(_) | None => Ok(seconds),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
