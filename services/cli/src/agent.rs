//! `rdev claude` and `rdev codex`: an agent is asked for something, and its turn is shown as it goes.

pub(crate) mod approvals;
pub(crate) mod turn;

use std::io::{IsTerminal as _, Read as _};
use std::time::Duration;

use rdev_contract::agent::Agent;
use rdev_contract::event::OutputStream;
use rdev_contract::http::{ExecRequest, ExecView};
use rdev_contract::id::ExecId;
use tokio::time::Instant;

use self::approvals::Asker;
use self::turn::Piece;
use crate::api::{Api, place};
use crate::exec::ending::Ending;
use crate::exec::new::NewArgs;
use crate::exec::seat::Seat;
use crate::exec::show::Show;
use crate::failure::{Done, Failure};

/// The tables follow the log by milliseconds; without them there is the agent's own count.
const COST_TIMEOUT: Duration = Duration::from_secs(2);
const COST_INTERVAL: Duration = Duration::from_millis(50);
/// A prompt comes from standard input where this is in its place.
const FROM_STDIN: &str = "-";

/// Settings of `rdev claude` and `rdev codex`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    new: NewArgs,
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
    /// Arguments for the agent's own program.
    #[arg(last = true, value_name = "ARGUMENTS")]
    args: Vec<String>,
}

/// Asks it.
///
/// # Errors
/// When it could not be asked, or not be followed.
pub(crate) async fn run(agent: Agent, options: Options) -> Done<Ending> {
    // Somebody is there who can answer, and is not the one who gives the prompt.
    let somebody_is_there = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let may_ask = agent == Agent::Claude && !options.no_ask && !options.new.detach;
    let asks_here =
        may_ask && somebody_is_there && options.prompt != FROM_STDIN && !options.new.json;
    let request = options.request(agent, asks_here || options.ask)?;
    let asker = asks_here.then(Asker::new);
    options.new.run(request, Seat::None, asker).await
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
            prompt: Some(prompt),
            args: Some(self.args.clone()),
            continue_conversation: self.continue_conversation.then_some(true),
            conversation_id: self.resume.clone(),
            permissions: asks.then(|| "ask".to_owned()),
            ..self.new.request(agent.name())
        })
    }
}
