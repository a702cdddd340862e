//! Questions of an agent, put to whoever sits at the terminal. Whoever answers first, here or elsewhere,
//! has answered.

use std::collections::VecDeque;
use std::io::BufRead as _;

use rdev_contract::event::Approval;
use rdev_contract::http::AnswerRequest;
use rdev_contract::id::ExecId;
use serde_json::Value;
use tokio::sync::mpsc;

use super::turn::telling;
use crate::api::{Api, place};
use crate::progress::Progress;
use crate::style::one_line;

/// What is shown of what is asked.
const INPUT_MAX_CHARS: usize = 400;
const LINES_MAX: usize = 16;

/// Asks, one question at a time.
pub(crate) struct Asker {
    lines: mpsc::Receiver<String>,
    /// The first one is being asked.
    pending: VecDeque<Approval>,
    /// Nobody types any more.
    is_alone: bool,
}

/// What was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Typed {
    Yes,
    Always,
    No,
    Stop,
    Unclear,
}

impl Asker {
    /// Reads answers from standard input.
    pub(crate) fn new() -> Self {
        let (sender, lines) = mpsc::channel(LINES_MAX);
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            lines,
            pending: VecDeque::new(),
            is_alone: false,
        }
    }

    /// A question has come.
    pub(crate) fn ask(&mut self, approval: Approval, progress: &Progress) {
        self.pending.push_back(approval);
        if self.pending.len() == 1 {
            // What was typed before is no answer to it.
            while self.lines.try_recv().is_ok() {}
            self.put(progress);
        }
    }

    /// It has an answer.
    pub(crate) fn forget(&mut self, id: &str, progress: &Progress) {
        let is_first = self
            .pending
            .front()
            .is_some_and(|first| first.approval_id == id);
        self.pending.retain(|approval| approval.approval_id != id);
        if is_first {
            self.put(progress);
        }
    }

    fn put(&self, progress: &Progress) {
        if let Some(approval) = self.pending.front() {
            progress.note(&question(approval, progress));
        }
    }

    /// Waits for an answer from here, and gives it.
    pub(crate) async fn answered(&mut self, api: &Api, exec: &ExecId, progress: &Progress) {
        if self.is_alone || self.pending.is_empty() {
            return std::future::pending().await;
        }
        let Some(line) = self.lines.recv().await else {
            self.is_alone = true;
            return;
        };
        let Some(approval) = self.pending.front() else {
            return;
        };
        let Some(answer) = answer(typed(&line), approval) else {
            return self.put(progress);
        };
        let path = place::approval(exec, &approval.approval_id);
        let given = api.post::<Value>(&path, &answer).await;
        self.pending.pop_front();
        if let Err(error) = given {
            progress.note(&format!("that answer was not taken: {error}"));
        }
        self.put(progress);
    }
}

fn question(approval: &Approval, progress: &Progress) -> String {
    let style = progress.style;
    let input = approval.input.as_ref();
    let input = input.and_then(|input| serde_json::from_str::<Value>(input.get()).ok());
    let input = input.map_or_else(
        || format!("{} bytes of input", approval.input_bytes),
        |input| one_line(&telling(&input), INPUT_MAX_CHARS),
    );
    let always = if approval.suggestions.is_some() {
        ", always"
    } else {
        ""
    };
    format!(
        "{} {} {input}\n      {}",
        style.yellow("may it use"),
        style.bold(&one_line(&approval.tool_name, INPUT_MAX_CHARS)),
        style.bold(&format!("yes{always}, no, or stop?")),
    )
}

fn typed(line: &str) -> Typed {
    match line.trim().to_lowercase().as_str() {
        "y" | "yes" => Typed::Yes,
        "a" | "always" => Typed::Always,
        "n" | "no" => Typed::No,
        "s" | "stop" => Typed::Stop,
        _ => Typed::Unclear,
    }
}

fn answer(typed: Typed, approval: &Approval) -> Option<AnswerRequest> {
    let of = |decision: &str| AnswerRequest {
        decision: decision.to_owned(),
        ..AnswerRequest::default()
    };
    let rules = approval.suggestions.as_ref();
    let rules = rules.and_then(|rules| serde_json::from_str(rules.get()).ok());
    match typed {
        Typed::Yes => Some(of("allow")),
        Typed::Always => rules.map(|rules| AnswerRequest {
            updated_permissions: Some(rules),
            ..of("allow")
        }),
        Typed::No => Some(of("deny")),
        Typed::Stop => Some(AnswerRequest {
            interrupt: Some(true),
            ..of("deny")
        }),
        Typed::Unclear => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approval(suggestions: bool) -> Approval {
        let mut json = serde_json::json!({"approval_id": "a", "tool_name": "Bash",
            "input": {"command": "rm -r build"}, "input_bytes": 26,
            "asked_at": "2026-11-22T06:21:00Z"});
        if suggestions {
            json["suggestions"] = serde_json::json!([{"type": "addRules"}]);
        }
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn answers_are_words_or_their_letters() {
        assert_eq!(typed(" Yes"), Typed::Yes);
        assert_eq!(typed("n"), Typed::No);
        assert_eq!(typed(""), Typed::Unclear);
        let stop = answer(typed("stop"), &approval(false)).unwrap();
        assert_eq!(
            (stop.decision.as_str(), stop.interrupt),
            ("deny", Some(true))
        );
    }

    #[test]
    fn always_is_for_questions_that_bring_rules() {
        let always = answer(Typed::Always, &approval(true)).unwrap();
        assert_eq!(always.updated_permissions.map(|rules| rules.len()), Some(1));
        assert!(answer(Typed::Always, &approval(false)).is_none());
    }
}
