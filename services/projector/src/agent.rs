//! What the lines of agents mean for the tables. Pure: events in, steps out.
//!
//! Invariant: whatever a line holds, it is read, or passed over; the log keeps it.

use jiff::Timestamp;
use rdev_contract::agent::Agent;
use rdev_contract::event::{AgentLine, RawEvent};
use rdev_contract::id::ExecId;
use rdev_contract::position::EventNo;
use rdev_domain::agent::{self, Amount, Tokens, Told, cost};
use rdev_domain::conversation::{step, tool_message_id};
use rdev_readmodel::{
    AgentAnswered, AgentBegun, AgentResult, Change, FragmentAdded, LogIdentity, MessageId,
    RunCounted, TokenCounts, ToolAdded,
};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::project::{Line, Step};

/// Whose lines these are, and when they were written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The life of the stream.
    pub(crate) log: LogIdentity,
    /// The exec that printed them.
    pub(crate) exec: &'a ExecId,
    /// Who.
    pub(crate) agent: Agent,
    /// When their message was written.
    pub(crate) at: Timestamp,
}

/// What a batch of an agent's events changes. Of what it tells of the whole run only the last counts.
/// Parts of lines too long for one message are kept until the last one is there.
pub(crate) fn said(source: &Source<'_>, first: EventNo, events: &[RawEvent<'_>]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut run = Run::default();
    for (number, event) in (first.0..).map(EventNo).zip(events) {
        if event.name != source.agent.event_name() {
            continue;
        }
        let Some(fragment) = &event.fragment else {
            if let Some(line) = event.data.and_then(|data| AgentLine::of_data(data.get())) {
                run.observe(source.agent, line.text());
                steps.extend(tools(source, number, line.text()).map(Step::Change));
            }
            continue;
        };
        steps.push(Step::Change(Change::FragmentAdded(FragmentAdded {
            exec: source.exec.clone(),
            part: fragment.index,
            content: fragment.text.as_bytes().to_vec(),
        })));
        if fragment.last {
            steps.extend(std::mem::take(&mut run).changes(source).map(Step::Change));
            steps.push(Step::Join(Line {
                exec: source.exec.clone(),
                agent: source.agent,
                last: fragment.index,
                event: number,
                at: source.at,
            }));
        }
    }
    steps.extend(run.changes(source).map(Step::Change));
    steps
}

/// What a line that was joined from its parts changes.
#[must_use]
pub fn joined(log: LogIdentity, line: &Line, data: &str) -> Vec<Change> {
    let Some(text) = AgentLine::of_data(data) else {
        return Vec::new();
    };
    let source = Source {
        log,
        exec: &line.exec,
        agent: line.agent,
        at: line.at,
    };
    let mut run = Run::default();
    run.observe(line.agent, text.text());
    let tools = tools(&source, line.event, text.text());
    run.changes(&source).chain(tools).collect()
}

fn tools(source: &Source<'_>, event: EventNo, line: &str) -> impl Iterator<Item = Change> {
    let messages = agent::tools(source.agent, line).into_iter();
    messages.map(move |message| {
        let step = step(event, message.block);
        Change::ToolAdded(Box::new(ToolAdded {
            exec: source.exec.clone(),
            step,
            id: MessageId(tool_message_id(source.exec, step)),
            role: message.side.name(),
            tool_use_id: message.tool_use_id,
            tool_name: message.tool_name,
            parent_tool_use_id: message.parent_tool_use_id,
            is_error: message.is_error,
            content: message.text,
            truncated: message.truncated,
            at: source.at,
        }))
    })
}

/// What an agent told about itself and its run, the last of each.
#[derive(Default)]
struct Run {
    version: Option<(String, Option<bool>)>,
    answer: Option<Option<String>>,
    result: Option<Box<agent::AgentResult>>,
}

impl Run {
    fn observe(&mut self, agent: Agent, line: &str) {
        for told in agent::read(agent, line) {
            match told {
                Told::Began {
                    version,
                    counts_alone,
                } => {
                    if let Some(version) = version {
                        self.version = Some((version, counts_alone));
                    }
                }
                Told::Session(_) | Told::Asking(_) => {}
                Told::Answer(text) => self.answer = Some(text),
                Told::Ended(result) => self.result = Some(result),
            }
        }
    }

    fn changes(self, source: &Source<'_>) -> impl Iterator<Item = Change> {
        let begun = self.version.map(|(version, counts_alone)| {
            Change::AgentBegun(AgentBegun {
                exec: source.exec.clone(),
                log: source.log,
                version,
                counts_alone,
                at: source.at,
            })
        });
        let answered = self.answer.map(|text| {
            Change::AgentAnswered(AgentAnswered {
                exec: source.exec.clone(),
                log: source.log,
                text,
                at: source.at,
            })
        });
        let result = self
            .result
            .map(|result| [ended(source, &result), counted(source, &result)]);
        let result = result.into_iter().flatten();
        begun.into_iter().chain(answered).chain(result)
    }
}

fn ended(source: &Source<'_>, result: &agent::AgentResult) -> Change {
    let value = |raw: &Option<Box<RawValue>>| -> Option<Value> {
        raw.as_ref()
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
    };
    Change::AgentResult(Box::new(AgentResult {
        exec: source.exec.clone(),
        log: source.log,
        subtype: result.subtype.clone(),
        is_error: result.is_error,
        total_cost_usd: result.total_cost_usd.as_deref().and_then(digits),
        usage: value(&result.usage),
        model_usage: value(&result.model_usage),
        at: source.at,
    }))
}

fn counted(source: &Source<'_>, result: &agent::AgentResult) -> Change {
    let amounts = result.amounts;
    let tokens = |amount: Amount| counts(amount.tokens);
    Change::RunCounted(RunCounted {
        exec: source.exec.clone(),
        total: amounts.total.map(tokens),
        alone: amounts.alone.map(tokens),
        alone_cost_usd: amounts
            .alone
            .and_then(|amount| amount.cost_usd)
            .map(|cost| cost.to_string()),
    })
}

const fn counts(tokens: Tokens) -> TokenCounts {
    TokenCounts {
        input: tokens.input,
        output: tokens.output,
        cache_read: tokens.cache_read,
        cache_write: tokens.cache_write,
    }
}

/// The digits of a cost, as they were printed.
fn digits(raw: &RawValue) -> Option<String> {
    cost(raw.get()).map(|_| raw.get().to_owned())
}
