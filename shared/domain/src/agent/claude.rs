//! The Claude CLI: `claude -p --output-format stream-json --verbose`. Recorded outputs of it are in
//! `tests/fixtures/claude/`.
//!
//! Exit code 0 is not success: that takes a last `result` of the subtype `success` without
//! `is_error`. The session's id is on every line, but before `system/init` it may be an echo of one
//! that does not exist.

mod asking;
mod tools;
mod usage;

use std::collections::BTreeMap;

use rdev_contract::event::Answer;
use rdev_contract::id::AgentSessionId;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::json::{Fields, field, fields, text_field, texts};
use super::{Adapter, AgentResult, Asker, Told, ToolMessage, bounded, steps};
use crate::invocation::{InvocationContext, SIGINT, SIGTERM, StopStep, new_claude_session};

pub(super) struct Claude;

const RESERVED: [&str; 17] = [
    "-p",
    "--print",
    "--output-format",
    "--input-format",
    "-r",
    "--resume",
    "-c",
    "--continue",
    "--session-id",
    "--fork-session",
    "--from-pr",
    "--no-session-persistence",
    "-h",
    "--help",
    "-v",
    "--version",
    "--",
];

impl Adapter for Claude {
    fn reserved(&self) -> &'static [&'static str] {
        &RESERVED
    }

    fn argv(&self, args: &[String], context: &InvocationContext) -> Vec<String> {
        // stream-json needs --verbose; the prompt comes by stdin, where it cannot be read as a flag.
        let fixed = ["-p", "--output-format", "stream-json", "--verbose"];
        let (flag, id) = match context.resume_id {
            Some(id) => ("--resume", id),
            None => (
                "--session-id",
                new_claude_session(context.session, &context.stream, context.command_seq),
            ),
        };
        std::iter::once(context.programs.claude.clone())
            .chain(fixed.into_iter().map(str::to_owned))
            .chain(args.iter().cloned())
            .chain([flag.to_owned(), id.to_string()])
            .collect()
    }

    fn asker(&self) -> Option<&'static dyn Asker> {
        Some(&Self)
    }

    fn environment(&self, env: &mut BTreeMap<String, String>) {
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

    /// An interrupt is what it understands as "stop and tell how far you got".
    fn stop(&self) -> Vec<StopStep> {
        steps([SIGINT, SIGTERM])
    }

    fn read(&self, line: &str) -> Vec<Told> {
        let Some(fields) = fields(line) else {
            return Vec::new();
        };
        let kind = text_field(&fields, "type").unwrap_or_default();
        let subtype = text_field(&fields, "subtype").unwrap_or_default();
        let mut told = Vec::new();
        if kind == "system" && subtype == "init" {
            let version = text_field(&fields, "claude_code_version");
            let counts_alone = version.as_deref().and_then(usage::counts_alone);
            told.push(Told::Began {
                version,
                counts_alone,
            });
        }
        told.extend(session_id(&fields).map(Told::Session));
        told.extend(asking::read(&kind, &fields).map(Told::Asking));
        if kind == "result" {
            let text = text_field(&fields, "result");
            let result = result(subtype, text.as_deref(), &fields);
            told.extend([Told::Answer(text), Told::Ended(Box::new(result))]);
        }
        told
    }

    fn tools(&self, line: &str) -> Vec<ToolMessage> {
        tools::tool_messages(line)
    }
}

impl Asker for Claude {
    fn arguments(&self) -> &'static [&'static str] {
        &asking::ARGUMENTS
    }

    fn prompt(&self, prompt: &str) -> Vec<u8> {
        asking::prompt(prompt)
    }

    fn answer(&self, id: &str, input: &RawValue, answer: &Answer) -> Vec<u8> {
        asking::answer(id, input, answer)
    }
}

/// An API error comes as subtype `success` with `is_error` set, and its text as the answer.
fn result(subtype: String, text: Option<&str>, fields: &Fields<'_>) -> AgentResult {
    let raw = |name: &str| field(fields, name).map(RawValue::to_owned);
    let is_error = field(fields, "is_error").is_some_and(|value| value.get() == "true");
    let is_success = subtype == "success" && !is_error;
    let errors = field(fields, "errors").and_then(texts).unwrap_or_default();
    let failure = match text.filter(|text| !text.is_empty()) {
        Some(_) | None if is_success => String::new(),
        Some(text) if is_error => text.to_owned(),
        Some(_) | None if !errors.is_empty() => errors.join("; "),
        Some(_) | None => subtype.clone(),
    };
    AgentResult {
        is_success,
        failure: bounded(failure),
        subtype,
        is_error,
        total_cost_usd: raw("total_cost_usd"),
        usage: raw("usage"),
        model_usage: raw("modelUsage"),
        amounts: usage::amounts(fields),
    }
}

fn session_id(fields: &Fields<'_>) -> Option<AgentSessionId> {
    let text = text_field(fields, "session_id")?;
    Uuid::try_parse(&text).ok().map(AgentSessionId::new)
}

#[cfg(test)]
#[path = "claude/tests.rs"]
mod tests;
