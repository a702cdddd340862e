//! An agent's turn in words: what it says is for standard output, what it does and costs for standard
//! error. Pure: lines in, text out.

mod claude;
mod codex;

use std::collections::HashSet;
use std::fmt::Write as _;

use rdev_contract::agent::Agent;
use rdev_contract::event::OutputStream;
use serde_json::Value;

use crate::style::{Style, one_line};

/// What is shown of a use of a tool, and of what came of it.
const TOOL_MAX_CHARS: usize = 100;
/// What tells most about a use of a tool, the first one that is there.
const TELLING: [&str; 9] = [
    "command",
    "file_path",
    "path",
    "pattern",
    "query",
    "url",
    "description",
    "prompt",
    "name",
];

/// Words, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) to: OutputStream,
    pub(crate) text: String,
}

/// What is remembered of a turn.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    style: Style,
    is_introduced: bool,
    /// What was said.
    said: HashSet<String>,
    /// What the turn came to, once it is told.
    account: Option<Account>,
}

/// What a turn came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Account {
    /// As the agent measured it.
    pub(crate) duration_ms: Option<u64>,
    /// Answers of the model.
    pub(crate) turns: Option<u64>,
    /// Tokens read, those from caches among them.
    pub(crate) input_tokens: Option<u64>,
    /// Tokens written.
    pub(crate) output_tokens: Option<u64>,
    /// US dollars as the agent prints it: of some versions the sum over its session.
    pub(crate) printed_cost: Option<f64>,
    /// Why it is no success.
    pub(crate) trouble: Option<String>,
}

impl Turn {
    /// Nothing was said yet; `style` is that of standard error.
    pub(crate) fn new(style: Style) -> Self {
        Self {
            style,
            is_introduced: false,
            said: HashSet::new(),
            account: None,
        }
    }

    /// What one event of the agent's is in words; nothing of most.
    pub(crate) fn event(&mut self, agent: Agent, data: &str) -> Vec<Piece> {
        match serde_json::from_str::<Value>(data) {
            Ok(data) => self.line(agent, &data["event"]),
            Err(_) => Vec::new(),
        }
    }

    /// The same of one line, as the agent printed it.
    fn line(&mut self, agent: Agent, line: &Value) -> Vec<Piece> {
        let mut pieces = Vec::new();
        match agent {
            Agent::Claude => self.claude(line, &mut pieces),
            Agent::Codex => self.codex(line, &mut pieces),
        }
        pieces
    }

    /// Whether it has said what the turn came to.
    pub(crate) const fn has_account(&self) -> bool {
        self.account.is_some()
    }

    /// What the turn came to, on one line; `cost` is that of this run alone, where it is known.
    pub(crate) fn summary(&self, cost: Option<f64>) -> Option<String> {
        let account = self.account.as_ref()?;
        let mut parts = Vec::new();
        if let Some(ms) = account.duration_ms {
            parts.push(seconds(ms));
        }
        if let Some(turns) = account.turns {
            parts.push(format!(
                "{turns} {}",
                if turns == 1 { "turn" } else { "turns" }
            ));
        }
        if let (Some(read), Some(written)) = (account.input_tokens, account.output_tokens) {
            parts.push(format!(
                "{} tokens in, {} out",
                grouped(read),
                grouped(written)
            ));
        }
        match (cost, account.printed_cost) {
            (Some(cost), _) => parts.push(dollars(cost)),
            (None, Some(sum)) if sum > 0.0 => {
                parts.push(format!("{} by its own count", dollars(sum)))
            }
            (None, _) => {}
        }
        let word = match &account.trouble {
            None => self.style.green("done"),
            Some(trouble) => {
                let words = format!("failed: {}", one_line(trouble, TOOL_MAX_CHARS));
                self.style.red(&words)
            }
        };
        let parts = parts
            .iter()
            .map(|part| self.style.dim(&format!(" · {part}")));
        Some(word + &parts.collect::<String>())
    }

    fn introduce(&mut self, words: &str, pieces: &mut Vec<Piece>) {
        if !std::mem::replace(&mut self.is_introduced, true) {
            pieces.push(aside(&self.style.dim(words)));
        }
    }

    fn say(&mut self, text: &str, pieces: &mut Vec<Piece>) {
        let text = text.trim_end_matches('\n');
        if !text.is_empty() {
            self.said.insert(text.to_owned());
            pieces.push(Piece {
                to: OutputStream::Stdout,
                text: format!("{text}\n"),
            });
        }
    }

    fn uses(&self, tool: &str, input: &str, indent: &str, pieces: &mut Vec<Piece>) {
        let tool = self.style.bold(&one_line(tool, TOOL_MAX_CHARS));
        let input = self.style.dim(&one_line(input, TOOL_MAX_CHARS));
        let line = format!("{indent}{} {tool} {input}", self.style.cyan("●"));
        pieces.push(aside(line.trim_end()));
    }

    fn came_of_it(&self, result: &str, failed: bool, indent: &str, pieces: &mut Vec<Piece>) {
        let mut lines = result.lines().filter(|line| !line.trim().is_empty());
        let mut words = one_line(lines.next().unwrap_or("nothing"), TOOL_MAX_CHARS);
        let more = lines.count();
        if more > 0 {
            // Writing to a String cannot fail.
            let _ = write!(
                words,
                " (and {more} more {})",
                if more == 1 { "line" } else { "lines" }
            );
        }
        let words = if failed {
            self.style.red(&words)
        } else {
            self.style.dim(&words)
        };
        pieces.push(aside(&format!("{indent}  ⎿ {words}")));
    }

    fn warn(&self, words: &str, pieces: &mut Vec<Piece>) {
        pieces.push(aside(&self.style.yellow(&one_line(words, TOOL_MAX_CHARS))));
    }
}

fn aside(line: &str) -> Piece {
    Piece {
        to: OutputStream::Stderr,
        text: format!("{line}\n"),
    }
}

/// What a tool is used with, in a few words.
pub(crate) fn telling(input: &Value) -> String {
    let texts = TELLING.iter().filter_map(|name| input[*name].as_str());
    match texts.into_iter().next() {
        Some(text) => text.to_owned(),
        None if input.is_null() => String::new(),
        None => input.to_string(),
    }
}

/// `1.2 s`, `3 m 5 s`.
pub(crate) fn seconds(ms: u64) -> String {
    let whole = ms / 1000;
    if whole < 60 {
        return format!("{whole}.{} s", ms % 1000 / 100);
    }
    if whole < 3600 {
        return format!("{} m {} s", whole / 60, whole % 60);
    }
    format!("{} h {} m", whole / 3600, whole % 3600 / 60)
}

/// `$0.0495`; cents where that is enough.
pub(crate) fn dollars(amount: f64) -> String {
    if amount >= 1.0 {
        format!("${amount:.2}")
    } else {
        format!("${amount:.4}")
    }
}

/// `12,311`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
