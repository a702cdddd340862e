//! What the lines of the Claude CLI mean for the tables. Pure: events in, steps out.
//!
//! Invariant: whatever a line holds, it is read, or passed over; the log keeps it.

use jiff::Timestamp;
use rdev_contract::event::{ClaudeLine, RawEvent, event_name};
use rdev_contract::id::ExecId;
use rdev_contract::position::EventNo;
use rdev_domain::claude::ClaudeTally;
use rdev_domain::conversation::{step, tool_message_id};
use rdev_domain::tools::tool_messages;
use rdev_domain::usage::{Amount, Tokens, amounts, counts_alone};
use rdev_readmodel::{
    Change, ClaudeBegun, ClaudeResult, FragmentAdded, LogIdentity, MessageId, RunCounted,
    TokenCounts, ToolAdded,
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
    /// When their message was written.
    pub(crate) at: Timestamp,
}

/// What a batch of claude events changes. Of its results only the last one matters. Parts of lines
/// too long for one message are kept until the last one is there.
pub(crate) fn claude(source: &Source<'_>, first: EventNo, events: &[RawEvent<'_>]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut tally = ClaudeTally::default();
    for (number, event) in (first.0..).map(EventNo).zip(events) {
        if event.name != event_name::CLAUDE_EVENT {
            continue;
        }
        let Some(fragment) = &event.fragment else {
            if let Some(line) = event.data.and_then(|data| ClaudeLine::of_data(data.get())) {
                tally.observe(line.text());
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
            steps.extend(told(source, &tally).map(Step::Change));
            tally = ClaudeTally::default();
            steps.push(Step::Join(Line {
                exec: source.exec.clone(),
                last: fragment.index,
                event: number,
                at: source.at,
            }));
        }
    }
    steps.extend(told(source, &tally).map(Step::Change));
    steps
}

/// What a claude line that was joined from its parts changes.
#[must_use]
pub fn joined(log: LogIdentity, line: &Line, data: &str) -> Vec<Change> {
    let Some(text) = ClaudeLine::of_data(data) else {
        return Vec::new();
    };
    let source = Source {
        log,
        exec: &line.exec,
        at: line.at,
    };
    let mut tally = ClaudeTally::default();
    tally.observe(text.text());
    let tools = tools(&source, line.event, text.text());
    told(&source, &tally).chain(tools).collect()
}

fn tools(source: &Source<'_>, event: EventNo, line: &str) -> impl Iterator<Item = Change> {
    tool_messages(line).into_iter().map(move |message| {
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

/// What the CLI told about itself and its run.
fn told(source: &Source<'_>, tally: &ClaudeTally) -> impl Iterator<Item = Change> {
    let begun = tally.version().map(|version| {
        Change::ClaudeBegun(ClaudeBegun {
            exec: source.exec.clone(),
            log: source.log,
            version: version.to_owned(),
            counts_alone: counts_alone(version),
            at: source.at,
        })
    });
    let result = tally
        .result()
        .map(|result| [ended(source, result), counted(source, result)]);
    begun.into_iter().chain(result.into_iter().flatten())
}

fn ended(source: &Source<'_>, result: &rdev_domain::claude::ClaudeResult) -> Change {
    let value = |raw: &Option<Box<RawValue>>| -> Option<Value> {
        raw.as_ref()
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
    };
    Change::ClaudeResult(Box::new(ClaudeResult {
        exec: source.exec.clone(),
        log: source.log,
        text: result.text.clone(),
        subtype: result.subtype.clone(),
        is_error: result.is_error,
        total_cost_usd: result.total_cost_usd.as_deref().and_then(digits),
        usage: value(&result.usage),
        model_usage: value(&result.model_usage),
        at: source.at,
    }))
}

fn counted(source: &Source<'_>, result: &rdev_domain::claude::ClaudeResult) -> Change {
    let amounts = amounts(result);
    let tokens = |amount: Amount| counts(amount.tokens);
    Change::RunCounted(RunCounted {
        exec: source.exec.clone(),
        total: amounts.total.map(tokens),
        alone: amounts.alone.map(tokens),
        alone_cost_usd: amounts.alone.map(|amount| amount.cost_usd.to_string()),
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

/// The digits of a number, as they were printed. What is no finite number is not an amount.
fn digits(raw: &RawValue) -> Option<String> {
    let number: serde_json::Number = serde_json::from_str(raw.get()).ok()?;
    number
        .as_f64()
        .filter(|value| value.is_finite())
        .map(|_| raw.get().to_owned())
}
