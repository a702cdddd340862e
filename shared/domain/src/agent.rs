//! What rdev has to know of an agent: how it is called and stopped, and what its lines say. One
//! file below for each ([`Agent`]); everybody else asks here and sees the same values of all.
//!
//! Used by the gateway (what may stand in `args`), the executor (argv, success, the session to
//! link) and the projector (messages, tools, cost). Invariant: a line that is not understood says
//! nothing; the log keeps it as it was printed.

mod asking;
mod claude;
mod codex;
mod json;
mod tally;
mod tools;
mod usage;

use std::collections::BTreeMap;

use rdev_contract::agent::Agent;
use rdev_contract::event::Answer;
use rdev_contract::id::AgentSessionId;
use serde_json::value::RawValue;

use crate::invocation::{InvocationContext, STOP_STEP_WAIT, StopStep};

pub use asking::{APPROVAL_ID_MAX_BYTES, Asked, Asking};
pub use tally::Tally;
pub use tools::{TOOL_TEXT_MAX_BYTES, ToolMessage, ToolSide};
pub use usage::{Amount, RunAmounts, Tokens, cost};

/// Keeps `complete` small: it is a fact, it must fit when the log is nearly full.
pub const FAILURE_MAX_BYTES: usize = 1000;

/// What one line of an agent says, of what is kept.
#[derive(Debug, Clone)]
pub enum Told {
    /// It works from here on; an id before this is not one that can be resumed.
    Began {
        /// The program's version, if it tells it.
        version: Option<String>,
        /// Whether this version counts the cost of each process alone; none if nobody looked.
        counts_alone: Option<bool>,
    },
    /// Its session. The latest counts: one can begin in the middle of a run.
    Session(AgentSessionId),
    /// What it answers. The last one stands, also where it is none. May hold NUL characters.
    Answer(Option<String>),
    /// It asks whether it may use a tool, or takes that back.
    Asking(Asking),
    /// How a turn went. The last one stands.
    Ended(Box<AgentResult>),
}

/// How a turn went. Numbers are kept as the JSON text they came as: what they count differs between
/// agents, and between versions of them.
#[derive(Debug, Clone, Default)]
pub struct AgentResult {
    /// It did what it was asked, if the process then ends with 0.
    pub is_success: bool,
    /// Why not, in words and in at most [`FAILURE_MAX_BYTES`].
    pub failure: String,
    /// The agent's own word for how it ended.
    pub subtype: String,
    /// The agent's own word for whether that is an error.
    pub is_error: bool,
    /// US dollars, as printed.
    pub total_cost_usd: Option<Box<RawValue>>,
    /// Tokens, as printed.
    pub usage: Option<Box<RawValue>>,
    /// Tokens by model, as printed.
    pub model_usage: Option<Box<RawValue>>,
    /// What is known for certain of both.
    pub amounts: RunAmounts,
}

/// The seam: what differs between agents.
trait Adapter: Sync {
    /// Arguments that rdev gives itself, or that would change what is printed, read or continued.
    fn reserved(&self) -> &'static [&'static str];
    /// The program and its arguments. The prompt comes by standard input, where nothing of it can be
    /// read as a flag.
    fn argv(&self, args: &[String], context: &InvocationContext) -> Vec<String>;
    /// How it asks whether it may use a tool; none if it cannot.
    fn asker(&self) -> Option<&'static dyn Asker> {
        None
    }
    /// Adds what its reading relies on.
    fn environment(&self, env: &mut BTreeMap<String, String>);
    /// Signals that end it with the least loss.
    fn stop(&self) -> Vec<StopStep>;
    /// What a line says.
    fn read(&self, line: &str) -> Vec<Told>;
    /// What a line says of tools.
    fn tools(&self, line: &str) -> Vec<ToolMessage>;
}

/// How an agent asks whether it may use a tool, and is answered, over its standard streams.
pub(crate) trait Asker: Sync {
    /// Arguments that make it ask; no request may give them itself then.
    fn arguments(&self) -> &'static [&'static str];
    /// The prompt as it wants it then. More input may come behind it.
    fn prompt(&self, prompt: &str) -> Vec<u8>;
    /// The answer as it wants it: the same bytes in every build.
    fn answer(&self, id: &str, input: &RawValue, answer: &Answer) -> Vec<u8>;
}

fn adapter(agent: Agent) -> &'static dyn Adapter {
    match agent {
        Agent::Claude => &claude::Claude,
        Agent::Codex => &codex::Codex,
    }
}

/// Arguments that no request may give the agent.
pub(crate) fn reserved(agent: Agent) -> &'static [&'static str] {
    adapter(agent).reserved()
}

/// Why this argument of a request cannot be passed on to the agent; none if it can. `asks`: it is to
/// ask whether it may use tools.
pub(crate) fn refuses(agent: Agent, asks: bool, argument: &str) -> Option<String> {
    let flag = argument.split('=').next().unwrap_or(argument);
    let asking = asker(agent).filter(|_| asks).map(Asker::arguments);
    let mut asking = asking.unwrap_or_default().iter();
    let is_asking = asking.any(|set| set.starts_with('-') && *set == flag);
    if reserved(agent).contains(&flag) || is_asking {
        return Some(format!(
            "{flag} is set by rdev itself, would end the run or continue another one; use prompt, \
             conversation_id and continue_conversation"
        ));
    }
    // `-pc` is `-p -c` to these programs, and `-rID` is `-r ID`.
    let is_cluster = argument.len() > 2 && argument.starts_with('-') && !argument.starts_with("--");
    is_cluster.then(|| "write each flag by itself and in its long form".to_owned())
}

/// The program and its arguments; with those that make it ask, if it `asks`.
pub(crate) fn argv(
    agent: Agent,
    asks: bool,
    args: &[String],
    context: &InvocationContext,
) -> Vec<String> {
    let asking = asker(agent).filter(|_| asks).map(Asker::arguments);
    let asking = asking
        .unwrap_or_default()
        .iter()
        .copied()
        .map(str::to_owned);
    let args: Vec<_> = asking.chain(args.iter().cloned()).collect();
    adapter(agent).argv(&args, context)
}

/// How the agent asks whether it may use a tool; none if it cannot.
pub(crate) fn asker(agent: Agent) -> Option<&'static dyn Asker> {
    adapter(agent).asker()
}

/// Adds what the agent's reading relies on.
pub(crate) fn environment(agent: Agent, env: &mut BTreeMap<String, String>) {
    adapter(agent).environment(env);
}

/// Signals that end the agent with the least loss.
pub(crate) fn stop(agent: Agent) -> Vec<StopStep> {
    adapter(agent).stop()
}

/// What a line of the agent's standard output says; nothing if it is not understood.
#[must_use]
pub fn read(agent: Agent, line: &str) -> Vec<Told> {
    adapter(agent).read(line)
}

/// What a line of the agent's standard output says of tools, in order.
#[must_use]
pub fn tools(agent: Agent, line: &str) -> Vec<ToolMessage> {
    adapter(agent).tools(line)
}

/// These signals, each with the time that a command gets to obey.
fn steps<const N: usize>(signals: [i32; N]) -> Vec<StopStep> {
    let step = |signal| StopStep {
        signal,
        wait: STOP_STEP_WAIT,
    };
    signals.map(step).into()
}

pub(crate) fn bounded(mut text: String) -> String {
    if text.len() > FAILURE_MAX_BYTES {
        text.truncate(text.floor_char_boundary(FAILURE_MAX_BYTES));
        text.push('…');
    }
    text
}
