//! The Codex CLI: `codex exec --json`. What its lines are was read in the sources of openai/codex
//! (`codex-rs/exec/src/exec_events.rs`) and seen with version 0.169.0; recorded outputs are in
//! `tests/fixtures/codex/`.
//!
//! A run is one turn of a thread. Exit code 0 comes with `turn.completed`, 1 with `turn.failed` or
//! after an interrupt, which ends a run without a word. The tokens of a turn are those of the whole
//! thread so far, resumed runs included; what they cost is not told, nor the version.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rdev_contract::id::AgentSessionId;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::json::{Fields, blocks_text, field, fields, object, text_field};
use super::{
    Adapter, AgentResult, Amount, RunAmounts, Tokens, Told, ToolMessage, ToolSide, bounded, steps,
};
use crate::invocation::{InvocationContext, SIGINT, SIGTERM, StopStep};

pub(super) struct Codex;

/// Options, what takes the prompt elsewhere, and the subcommands.
const RESERVED: [&str; 14] = [
    "--json",
    "--experimental-json",
    "--skip-git-repo-check",
    "--ephemeral",
    "-h",
    "--help",
    "-V",
    "--version",
    "-",
    "--",
    "resume",
    "fork",
    "review",
    "help",
];

/// Items that are what the agent says or thinks, or its own notes; all others are tools.
const NO_TOOLS: [&str; 5] = ["agent_message", "reasoning", "plan", "todo_list", "error"];

impl Adapter for Codex {
    fn reserved(&self) -> &'static [&'static str] {
        &RESERVED
    }

    fn argv(&self, args: &[String], context: &InvocationContext) -> Vec<String> {
        // A directory without git is refused without the flag; a pod has whatever was put there.
        let fixed = ["exec", "--json", "--skip-git-repo-check"].map(str::to_owned);
        let resumed = context
            .resume_id
            .map(|id| ["resume".to_owned(), id.to_string()]);
        std::iter::once(context.programs.codex.clone())
            .chain(fixed)
            .chain(args.iter().cloned())
            .chain(resumed.into_iter().flatten())
            .chain(["-".to_owned()])
            .collect()
    }

    fn environment(&self, _: &mut BTreeMap<String, String>) {}

    fn stop(&self) -> Vec<StopStep> {
        steps([SIGINT, SIGTERM])
    }

    fn read(&self, line: &str) -> Vec<Told> {
        let Some(fields) = fields(line) else {
            return Vec::new();
        };
        match text_field(&fields, "type").unwrap_or_default().as_str() {
            "thread.started" => {
                let began = Told::Began {
                    version: None,
                    counts_alone: Some(false),
                };
                let thread = text_field(&fields, "thread_id");
                let session = thread.and_then(|id| Uuid::try_parse(&id).ok());
                let session = session.map(|id| Told::Session(AgentSessionId::new(id)));
                std::iter::once(began).chain(session).collect()
            }
            "item.completed" => said(&fields).into_iter().collect(),
            kind @ "turn.completed" => vec![ended(kind, &fields, None)],
            kind @ "turn.failed" => {
                let error = object(&fields, "error");
                let message = error.and_then(|error| text_field(&error, "message"));
                vec![ended(kind, &fields, Some(message.unwrap_or_default()))]
            }
            // An `error` is told while it still tries again, too.
            _ => Vec::new(),
        }
    }

    fn tools(&self, line: &str) -> Vec<ToolMessage> {
        let found = fields(line).and_then(|fields| tool(&fields));
        found.into_iter().collect()
    }
}

/// The last message of a turn is its answer.
fn said(fields: &Fields<'_>) -> Option<Told> {
    let item = object(fields, "item")?;
    let is_message = text_field(&item, "type")? == "agent_message";
    is_message.then(|| Told::Answer(text_field(&item, "text")))
}

fn ended(kind: &str, fields: &Fields<'_>, error: Option<String>) -> Told {
    let usage = field(fields, "usage");
    Told::Ended(Box::new(AgentResult {
        is_success: error.is_none(),
        is_error: error.is_some(),
        failure: match error {
            Some(text) if text.is_empty() => kind.to_owned(),
            error => bounded(error.unwrap_or_default()),
        },
        subtype: kind.to_owned(),
        usage: usage.map(RawValue::to_owned),
        amounts: RunAmounts {
            total: usage.and_then(total),
            alone: None,
        },
        ..AgentResult::default()
    }))
}

#[derive(Deserialize)]
struct Usage {
    input_tokens: u64,
    cached_input_tokens: u64,
    #[serde(default)]
    cache_write_input_tokens: u64,
    output_tokens: u64,
}

/// What comes from a cache or goes into one is a part of the input here.
fn total(usage: &RawValue) -> Option<Amount> {
    let usage: Usage = serde_json::from_str(usage.get()).ok()?;
    let in_cache = usage
        .cached_input_tokens
        .checked_add(usage.cache_write_input_tokens)?;
    let tokens = Tokens {
        input: usage.input_tokens.checked_sub(in_cache)?,
        output: usage.output_tokens,
        cache_read: usage.cached_input_tokens,
        cache_write: usage.cache_write_input_tokens,
    };
    tokens.are_possible().then_some(Amount {
        tokens,
        cost_usd: None,
    })
}

/// An item that begins is the use of a tool, and one that ends its answer.
fn tool(fields: &Fields<'_>) -> Option<ToolMessage> {
    let side = match text_field(fields, "type")?.as_str() {
        "item.started" => ToolSide::Use,
        "item.completed" => ToolSide::Result,
        _ => return None,
    };
    let raw = field(fields, "item")?;
    let item = object(fields, "item")?;
    let kind = text_field(&item, "type")?;
    if NO_TOOLS.contains(&kind.as_str()) {
        return None;
    }
    let is_error = match side {
        ToolSide::Use => None,
        ToolSide::Result => text_field(&item, "status").map(|status| status != "completed"),
    };
    let message = ToolMessage {
        block: 0,
        side,
        tool_use_id: text_field(&item, "id")?,
        tool_name: Some(name(&kind, &item)),
        parent_tool_use_id: None,
        is_error,
        text: match side {
            ToolSide::Use => input(&kind, &item, raw),
            ToolSide::Result => answer(&kind, &item, raw),
        },
        truncated: false,
    };
    Some(message.cut())
}

/// Tools of MCP servers have names; of the others the kind of the item says what they are.
fn name(kind: &str, item: &Fields<'_>) -> String {
    match (text_field(item, "server"), text_field(item, "tool")) {
        (Some(server), Some(tool)) => format!("{server}.{tool}"),
        (Some(_) | None, _) => kind.to_owned(),
    }
}

/// JSON, as claude's is; the whole item where it is not known what of it was asked.
fn input(kind: &str, item: &Fields<'_>, raw: &RawValue) -> String {
    let part = match kind {
        "command_execution" => field(item, "command"),
        "mcp_tool_call" => field(item, "arguments"),
        _ => None,
    };
    let text = part.unwrap_or(raw).get();
    if kind == "command_execution" && part.is_some() {
        return format!("{{\"command\":{text}}}");
    }
    text.to_owned()
}

/// Text, where there is some; else the whole item.
fn answer(kind: &str, item: &Fields<'_>, raw: &RawValue) -> String {
    let text = match kind {
        "command_execution" => text_field(item, "aggregated_output"),
        "mcp_tool_call" => object(item, "error")
            .and_then(|error| text_field(&error, "message"))
            .or_else(|| {
                object(item, "result").and_then(|result| field(&result, "content").map(blocks_text))
            }),
        _ => None,
    };
    text.unwrap_or_else(|| raw.get().to_owned())
}
