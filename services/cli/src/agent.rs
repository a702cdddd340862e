//! `rdev claude` and `rdev codex`: an agent is asked for something, and its turn is shown as it goes.

pub(crate) mod approvals;
pub(crate) mod turn;

use std::io::{IsTerminal as _, Read as _};
use std::time::Duration;

use rdev_contract::agent::Agent;
use rdev_contract::event::OutputStream;
use rdev_contract::http::{ExecRequest, ExecView};
use rdev_contract::id::{ExecId, StreamId};
use rdev_runtime::parse_duration;
use tokio::time::Instant;

use self::approvals::Asker;
use self::turn::{Piece, Turn};
use crate::api::follow::follow;
use crate::api::{Api, place};
use crate::client::begin;
use crate::exec::ending::Ending;
use crate::exec::interrupts::Interrupts;
use crate::exec::show::{Form, Show};
use crate::exec::watch::{Watch, Watched};
use crate::exec::{FollowArgs, ask, detached, drawn_id, end, plan, post};
use crate::failure::{Done, Failure};
use crate::settings::ConnectionArgs;
use crate::target::{IfMissing, SessionArg};

/// The tables follow the log by milliseconds; without them there is the agent's own count.
const COST_TIMEOUT: Duration = Duration::from_secs(2);
const COST_INTERVAL: Duration = Duration::from_millis(50);
/// A prompt comes from standard input where this is in its place.
const FROM_STDIN: &str = "-";

/// Settings of `rdev claude` and `rdev codex`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    session: SessionArg,
    /// What it is asked for; - reads it from standard input.
    prompt: String,
    /// Go on with the conversation of the session.
    #[arg(short = 'c', long = "continue")]
    continue_conversation: bool,
    /// Go on with this session of the agent's.
    #[arg(long, value_name = "ID", conflicts_with = "continue_conversation")]
    resume: Option<String>,
    /// Be asked before it uses tools, also where this is no terminal: then others answer.
    #[arg(long, conflicts_with = "no_ask")]
    ask: bool,
    /// Do not be asked: it may do what its own settings allow.
    #[arg(long)]
    no_ask: bool,
    /// Print the exec's name and leave it running.
    #[arg(short, long, conflicts_with = "json")]
    detach: bool,
    /// Print every event as a line of JSON.
    #[arg(long)]
    json: bool,
    /// Its working directory in the pod.
    #[arg(short = 'w', long, value_name = "DIR")]
    cwd: Option<String>,
    /// End it when it has run for so long.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Name the exec yourself.
    #[arg(long, value_name = "ID")]
    id: Option<StreamId>,
    #[command(flatten)]
    follow: FollowArgs,
    /// Arguments for the agent's own program.
    #[arg(last = true, value_name = "ARGUMENTS")]
    args: Vec<String>,
}

/// Asks it.
///
/// # Errors
/// When it could not be asked, or not be followed.
pub(crate) async fn run(agent: Agent, options: Options) -> Done<Ending> {
    let (settings, progress, api) = begin(&options.connection)?;
    let project = api.project()?.clone();
    let session = options
        .session
        .find(&api, &settings, IfMissing::Create, &progress);
    let session = session.await?;
    let exec = ExecId {
        project,
        session,
        stream: options.id.clone().map_or_else(drawn_id, Ok)?,
    };
    // Somebody is there who can answer, and is not the one who gives the prompt.
    let somebody_is_there = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let may_ask = agent == Agent::Claude && !options.no_ask && !options.detach;
    let asks_here = may_ask && somebody_is_there && options.prompt != FROM_STDIN && !options.json;
    let request = options.request(agent, asks_here || options.ask)?;
    if options.detach {
        post(&api, &exec, request, &progress).await?;
        return detached(&exec);
    }
    let interrupts = Interrupts::of(&api, &exec, &progress)?;
    if let Some(ending) = ask(&api, &exec, request, &interrupts, &progress).await? {
        return Ok(ending);
    }
    let form = if options.json {
        Form::Json
    } else {
        Form::Plain
    };
    let mut show = Show::new(form, Turn::new(progress.style), &progress, true);
    let mut asker = asks_here.then(Asker::new);
    let watch = Watch {
        api: &api,
        exec: &exec,
        progress: &progress,
        show: &mut show,
        interrupts: Some(&interrupts),
        asker: asker.as_mut(),
        until_caught_up: false,
    };
    let watched = watch
        .run(follow(&api, plan(&exec, &options.follow, None)))
        .await;
    if let (Ok(Watched::Complete(_)), Form::Plain) = (&watched, form) {
        sum_up(&api, &exec, &mut show).await;
    }
    end(watched, &show, &api, &exec, &interrupts, &progress).await
}

/// Shows what it took.
pub(crate) async fn sum_up(api: &Api, exec: &ExecId, show: &mut Show) {
    if !show.has_account() {
        return;
    }
    let cost = cost(api, exec).await;
    if let Some(summary) = show.summary(cost) {
        let piece = Piece {
            to: OutputStream::Stderr,
            text: format!("{summary}\n"),
        };
        // Whoever does not read it does not miss it.
        let _ = show.own(&[piece]).await;
        let _ = show.flush().await;
    }
}

/// What this run alone cost, once the tables know it.
async fn cost(api: &Api, exec: &ExecId) -> Option<f64> {
    let deadline = Instant::now() + COST_TIMEOUT;
    while Instant::now() < deadline {
        let found = api
            .get_once::<ExecView>(&place::one(exec), COST_TIMEOUT)
            .await;
        if let Some(usage) = found.ok()?.value.usage {
            return usage.cost_usd;
        }
        tokio::time::sleep(COST_INTERVAL).await;
    }
    None
}

impl Options {
    fn request(&self, agent: Agent, asks: bool) -> Done<ExecRequest> {
        let prompt = if self.prompt == FROM_STDIN {
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text)?;
            text
        } else {
            self.prompt.clone()
        };
        if prompt.trim().is_empty() {
            return Err(Failure::new("there is no prompt"));
        }
        Ok(ExecRequest {
            kind: agent.name().to_owned(),
            prompt: Some(prompt),
            args: Some(self.args.clone()),
            continue_conversation: self.continue_conversation.then_some(true),
            conversation_id: self.resume.clone(),
            cwd: self.cwd.clone(),
            timeout_seconds: self.timeout.map(|timeout| timeout.as_secs().max(1)),
            permissions: asks.then(|| "ask".to_owned()),
            ..ExecRequest::default()
        })
    }
}
