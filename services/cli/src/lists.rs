//! `rdev sessions`, `rdev execs` and `rdev conversations`: tables for people, `--json` for programs; and
//! what is made and ended there.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use jiff::Timestamp;
use rdev_contract::event::Complete;
use rdev_contract::http::{ConversationView, CreateSession, ExecView, MessageView, SessionView};
use rdev_contract::id::ConversationId;
use rdev_runtime::parse_duration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::agent::turn::{dollars, seconds, telling};
use crate::api::{Api, place};
use crate::begin::begin;
use crate::exec::ending::Ending;
use crate::failure::{Done, Failure};
use crate::logs::when;
use crate::settings::ConnectionArgs;
use crate::style::{Style, harmless, one_line};
use crate::table::{Table, age};
use crate::target::{self, IfMissing, SessionArg};

/// What is shown of a use of a tool in a conversation.
const TOOL_MAX_CHARS: usize = 100;
const MESSAGES_MAX: usize = 10_000;
/// What is shown of a command or a prompt in a list: enough to tell one from another.
const COMMAND_MAX_CHARS: usize = 60;

/// How a list is asked for and printed.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Print JSON: an array of what the API says.
    #[arg(long)]
    json: bool,
    /// So many of the newest.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    /// Made since: 10m, 2h, or a time as in 2026-11-22T06:21:00Z.
    #[arg(long, value_name = "WHEN", value_parser = when)]
    since: Option<Timestamp>,
}

impl ListArgs {
    fn query(&self, status: Option<&str>) -> Vec<(&'static str, String)> {
        let since = self.since.map(|since| ("since", since.to_string()));
        let status = status.map(|status| ("status", status.to_owned()));
        since.into_iter().chain(status).collect()
    }
}

/// Settings of `rdev sessions`.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct SessionsOptions {
    #[command(flatten)]
    list: ListArgs,
    /// Those that have ended, too.
    #[arg(short, long)]
    all: bool,
    #[command(subcommand)]
    action: Option<SessionAction>,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum SessionAction {
    /// Make one, and print its id.
    Create(Box<CreateOptions>),
    /// End one: no new command; what runs goes on, unless it is canceled.
    End(EndOptions),
}

/// Settings of `rdev sessions create`.
#[derive(Debug, Clone, clap::Args)]
#[command(group = clap::ArgGroup::new("kind").required(true))]
struct CreateOptions {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// A pod that is there.
    #[arg(long, value_name = "POD", group = "kind")]
    pod: Option<String>,
    /// A pod that has these labels, as in app=web,tier=dev.
    #[arg(long, value_name = "LABELS", group = "kind", value_delimiter = ',')]
    selector: Vec<String>,
    /// A pod that is made for it from this template.
    #[arg(long, value_name = "NAME", group = "kind")]
    template: Option<String>,
    /// The pod's namespace.
    #[arg(long)]
    namespace: Option<String>,
    /// The pod's container.
    #[arg(long)]
    container: Option<String>,
    /// End it when nothing has happened in it for so long, as in 30m.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    idle_timeout: Option<Duration>,
    /// End it after so long.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires: Option<Duration>,
    /// Print the session as JSON.
    #[arg(long)]
    json: bool,
}

/// Settings of `rdev sessions end`.
#[derive(Debug, Clone, clap::Args)]
struct EndOptions {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Its id, or how it begins, or the name of its pod.
    session: String,
    /// Cancel what runs in it.
    #[arg(long)]
    cancel: bool,
}

/// Settings of `rdev execs`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ExecsOptions {
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    session: SessionArg,
    /// Those that are queued, running or complete.
    #[arg(long)]
    status: Option<String>,
    /// Those that ended so: exited, signaled, timed_out, canceled, lost or rejected.
    #[arg(long)]
    outcome: Option<String>,
}

/// Settings of `rdev conversations`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ConversationsOptions {
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    session: SessionArg,
    /// Show what was said in this one.
    conversation: Option<String>,
}

/// `rdev sessions`.
///
/// # Errors
/// When it is refused, or cannot be printed.
pub(crate) async fn sessions(options: SessionsOptions) -> Done<Ending> {
    match options.action {
        Some(SessionAction::Create(create)) => return create_session(*create).await,
        Some(SessionAction::End(end)) => return end_session(end).await,
        None => {}
    }
    let (_, _, api) = begin(&options.list.connection)?;
    let status = (!options.all).then_some("active");
    let query = options.list.query(status);
    let path = place::sessions(api.project()?);
    let items: Vec<Value> = api.list(&path, &query, options.list.limit).await?;
    if options.list.json {
        return print_json(&items);
    }
    let now = Timestamp::now();
    let mut table = Table::new(["SESSION", "POD", "STATUS", "AGE", "NOTE"]);
    for session in typed::<SessionView>(&items)? {
        let note = note_of(&session, now);
        table.add([
            session.id,
            session.pod.unwrap_or_default(),
            session
                .pod_state
                .filter(|_| session.status == "active")
                .unwrap_or(session.status),
            age(session.created_at, now),
            note,
        ]);
    }
    table.print()?;
    Ok(Ending::FINE)
}

fn note_of(session: &SessionView, now: Timestamp) -> String {
    if let Some(reason) = &session.ended_reason {
        let at = session
            .ended_at
            .map_or_else(String::new, |at| format!(", {} ago", age(at, now)));
        return format!("{reason}{at}");
    }
    let template = session
        .template
        .as_ref()
        .map(|name| format!("made from {name}"));
    let message = session.pod_message.clone();
    let parts = [template, message]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("; ")
}

async fn create_session(options: CreateOptions) -> Done<Ending> {
    let (_, _, api) = begin(&options.connection)?;
    let mut selector = BTreeMap::new();
    for label in &options.selector {
        let (name, value) = label.split_once('=').ok_or_else(|| {
            Failure::new(format!(
                "--selector {label}: give labels as in app=web,tier=dev"
            ))
        })?;
        selector.insert(name.to_owned(), value.to_owned());
    }
    let request = CreateSession {
        pod: options.pod,
        selector: (!selector.is_empty()).then_some(selector),
        template: options.template,
        namespace: options.namespace,
        container: options.container,
        idle_timeout_seconds: options.idle_timeout.map(|time| time.as_secs()),
        expires_in_seconds: options.expires.map(|time| time.as_secs()),
    };
    let made: Value = api
        .post_new(&place::sessions(api.project()?), &request)
        .await?;
    if options.json {
        return print_json(&made);
    }
    let mut out = io::stdout();
    writeln!(out, "{}", made["id"].as_str().unwrap_or_default())?;
    Ok(Ending::FINE)
}

async fn end_session(options: EndOptions) -> Done<Ending> {
    let (_, progress, api) = begin(&options.connection)?;
    let session = target::session(&api, &options.session, IfMissing::Refuse, &progress).await?;
    let path = place::session(api.project()?, session);
    let list = place::sessions(api.project()?);
    let cancel = if options.cancel { "?cancel=true" } else { "" };
    let _: SessionView = api.delete(&format!("{path}{cancel}"), &list).await?;
    Ok(Ending::FINE)
}

/// `rdev execs`.
///
/// # Errors
/// When it is refused, or cannot be printed.
pub(crate) async fn execs(options: ExecsOptions) -> Done<Ending> {
    let (_, progress, api) = begin(&options.list.connection)?;
    let session = match &options.session.session {
        Some(name) => Some(target::session(&api, name, IfMissing::Refuse, &progress).await?),
        None => None,
    };
    let mut query = options.list.query(options.status.as_deref());
    query.extend(options.outcome.map(|outcome| ("outcome", outcome)));
    let path = place::execs(api.project()?, session);
    let items: Vec<Value> = api.list(&path, &query, options.list.limit).await?;
    if options.list.json {
        return print_json(&items);
    }
    let now = Timestamp::now();
    let mut table = Table::new([
        "EXEC", "TYPE", "STATUS", "EXIT", "AGE", "TOOK", "COST", "SESSION", "COMMAND",
    ]);
    for exec in typed::<ExecView>(&items)? {
        table.add(exec_row(exec, now));
    }
    table.print()?;
    Ok(Ending::FINE)
}

fn exec_row(exec: ExecView, now: Timestamp) -> [String; 9] {
    let complete = exec
        .complete
        .and_then(|complete| serde_json::from_value::<Complete>(complete).ok());
    let cost = exec.usage.and_then(|usage| usage.cost_usd);
    let status = match (&complete, &exec.queue) {
        (Some(complete), _) => complete.outcome.name().to_owned(),
        (None, Some(place)) => format!("{} ({})", exec.status, place.position),
        (None, None) => exec.status,
    };
    let code = complete.as_ref().filter(|complete| complete.exit_code >= 0);
    [
        exec.id,
        exec.kind,
        status,
        code.map_or_else(String::new, |complete| complete.exit_code.to_string()),
        age(exec.created_at, now),
        complete.map_or_else(String::new, |complete| seconds(complete.duration_ms)),
        cost.map_or_else(String::new, dollars),
        exec.session_id,
        one_line(&exec.summary, COMMAND_MAX_CHARS),
    ]
}

/// `rdev conversations`.
///
/// # Errors
/// When it is refused, or cannot be printed.
pub(crate) async fn conversations(options: ConversationsOptions) -> Done<Ending> {
    let (_, progress, api) = begin(&options.list.connection)?;
    if let Some(conversation) = &options.conversation {
        return messages(&api, conversation, options.list.json).await;
    }
    let mut query = options.list.query(None);
    if let Some(name) = &options.session.session {
        let session = target::session(&api, name, IfMissing::Refuse, &progress).await?;
        query.push(("session", session.to_string()));
    }
    let path = place::conversations(api.project()?);
    let items: Vec<Value> = api.list(&path, &query, options.list.limit).await?;
    if options.list.json {
        return print_json(&items);
    }
    let now = Timestamp::now();
    let mut table = Table::new(["CONVERSATION", "TITLE", "LAST", "AGE", "SESSION"]);
    for conversation in typed::<ConversationView>(&items)? {
        table.add([
            conversation.id,
            conversation.title,
            age(conversation.updated_at, now),
            age(conversation.created_at, now),
            conversation.session_id,
        ]);
    }
    table.print()?;
    Ok(Ending::FINE)
}

async fn messages(api: &Api, conversation: &str, as_json: bool) -> Done<Ending> {
    let id: ConversationId = conversation.parse().map_err(|_| {
        Failure::new(format!("{conversation} is no id of a conversation"))
            .hint("`rdev conversations` lists them")
    })?;
    let path = place::messages(api.project()?, &id.to_string());
    let items: Vec<Value> = api.list(&path, &[], MESSAGES_MAX).await?;
    if as_json {
        return print_json(&items);
    }
    let mut out = io::stdout();
    let style = Style::of(&out);
    let is_terminal = out.is_terminal();
    for mut message in typed::<MessageView>(&items)? {
        if is_terminal {
            message.content = harmless(&message.content);
        }
        out.write_all(said(&message, style).as_bytes())?;
    }
    out.flush()?;
    Ok(Ending::FINE)
}

/// A message, as people read it.
fn said(message: &MessageView, style: Style) -> String {
    let content = message.content.trim_end();
    match message.role.as_str() {
        "user" => format!("{} {content}\n\n", style.bold(">")),
        "assistant" => format!("{content}\n\n"),
        "tool_use" => {
            let input: Value = serde_json::from_str(content).unwrap_or_default();
            let tool = message.tool_name.as_deref().unwrap_or("a tool");
            let tool = one_line(tool, TOOL_MAX_CHARS);
            let input = one_line(&telling(&input), TOOL_MAX_CHARS);
            format!(
                "{} {} {}\n",
                style.cyan("●"),
                style.bold(&tool),
                style.dim(&input)
            )
        }
        _ => {
            let words = one_line(content, TOOL_MAX_CHARS);
            let failed = message.is_error == Some(true);
            let words = if failed {
                style.red(&words)
            } else {
                style.dim(&words)
            };
            format!("  ⎿ {words}\n\n")
        }
    }
}

fn typed<T: DeserializeOwned>(items: &[Value]) -> Done<Vec<T>> {
    let parsed = items.iter().map(|item| T::deserialize(item));
    parsed
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::new(format!("the list is not as expected: {error}")))
}

fn print_json(value: &impl Serialize) -> Done<Ending> {
    let mut out = io::stdout();
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(Ending::FINE)
}
