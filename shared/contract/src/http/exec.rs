//! What became of an exec, and the projects that execs are of, as they are shown.

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::key::Scope;

/// Characters of an exec's `summary`: a line or two of a list.
const SUMMARY_MAX_CHARS: usize = 200;

/// What was asked for, its first 200 characters: `asked` is the command or the prompt.
#[must_use]
pub fn summary(kind: &str, asked: &str, args: &[String]) -> String {
    if kind != "git" {
        return asked.chars().take(SUMMARY_MAX_CHARS).collect();
    }
    let words = ["git", asked].into_iter();
    let words: Vec<_> = words.chain(args.iter().map(String::as_str)).collect();
    words.join(" ").chars().take(SUMMARY_MAX_CHARS).collect()
}

/// A project that whoever asks may look into: an item of `GET /projects`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectView {
    /// Its id.
    pub id: String,
    /// What they may do there.
    pub scopes: BTreeSet<Scope>,
}

/// Something that became of an exec: an item of `GET …/execs/{stream}/timeline`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FactView {
    /// `command`, `admitted`, `started`, `resumed`, `cancel` or `complete`; others may be added.
    pub event: String,
    /// When it was written into the log.
    pub at: Timestamp,
    /// The claim that it is of; 0 before the first.
    pub attempt: u32,
    /// What the log has of it; of `command` without `stdin` and the values of `env`, and of `cancel`
    /// `by` and `reason`.
    pub data: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_what_was_asked_for() {
        let args = ["--short".to_owned(), "a b".to_owned()];
        assert_eq!(summary("git", "status", &args), "git status --short a b");
        assert_eq!(summary("shell", "echo $1", &args), "echo $1");
        let long = "\u{e9}".repeat(SUMMARY_MAX_CHARS + 1);
        let cut = "\u{e9}".repeat(SUMMARY_MAX_CHARS);
        assert_eq!(summary("claude", &long, &[]), cut);
        assert_eq!(summary("claude", &cut, &[]), cut);
    }
}
