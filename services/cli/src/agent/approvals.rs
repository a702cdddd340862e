//! Questions of an agent, put to whoever sits at the terminal. Whoever answers first, here or elsewhere,
//! has answered.

use std::collections::VecDeque;
use std::io::BufRead as _;

use rdev_contract::event::Approval;
use rdev_contract::http::AnswerRequest;
use rdev_contract::id::ExecId;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::api::{Api, ApiError, place};
use crate::progress::Progress;
use crate::style::one_line;

/// What is shown of a line of what is asked.
const LINE_MAX_CHARS: usize = 2_000;
/// Lines that are shown of one question; whoever wants to see more than a screen looks elsewhere.
const QUESTION_MAX_LINES: usize = 60;
/// Lines that were typed ahead.
const LINES_MAX: usize = 16;

/// Asks, one question at a time.
pub(crate) struct Asker {
    lines: mpsc::Receiver<String>,
    /// The first one is being asked.
    pending: VecDeque<Approval>,
    /// The answer that is on its way, and of which question. It is given even if nobody waits for it.
    giving: Option<(String, JoinHandle<Result<Value, ApiError>>)>,
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
            giving: None,
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
            progress.note_styled(&question(approval, progress));
        }
    }

    /// Waits for an answer from here, or for the gateway to take the one that is on its way. Nothing is
    /// lost when whoever waits turns to something else.
    pub(crate) async fn answered(&mut self, api: &Api, exec: &ExecId, progress: &Progress) {
        if let Some((_, giving)) = &mut self.giving {
            let given = giving.await;
            return self.given(
                given.unwrap_or_else(|error| Err(ApiError::Broken(error.to_string()))),
                progress,
            );
        }
        if self.is_alone || self.pending.is_empty() {
            return std::future::pending().await;
        }
        let Some(line) = self.lines.recv().await else {
            self.is_alone = true;
            progress.note(
                "nothing can be typed here any more: it waits for an answer from elsewhere (the \
                 console, the API); Ctrl-C cancels it",
            );
            return;
        };
        let Some(approval) = self.pending.front() else {
            return;
        };
        let Some(answer) = answer(typed(&line), approval) else {
            return self.put(progress);
        };
        let path = place::approval(exec, &approval.approval_id);
        let (api, id) = (api.clone(), approval.approval_id.clone());
        let giving = tokio::spawn(async move { api.post::<Value>(&path, &answer).await });
        self.giving = Some((id, giving));
    }

    fn given(&mut self, given: Result<Value, ApiError>, progress: &Progress) {
        let Some((id, _)) = self.giving.take() else {
            return;
        };
        match given {
            Ok(_) => self.forget(&id, progress),
            Err(error) => {
                progress.note(&format!("that answer was not taken: {error}"));
                if error.is_retryable() {
                    self.put(progress);
                } else {
                    self.forget(&id, progress);
                }
            }
        }
    }
}

fn question(approval: &Approval, progress: &Progress) -> String {
    let style = progress.style;
    let input = approval.input.as_ref();
    let input = input.and_then(|input| serde_json::from_str::<Value>(input.get()).ok());
    let input = input.map_or_else(
        || vec![format!("{} bytes of input", approval.input_bytes)],
        |input| told(&input),
    );
    let always = if approval.suggestions.is_some() {
        ", always"
    } else {
        ""
    };
    let mut text = format!(
        "{} {}",
        style.yellow("may it use"),
        style.bold(&one_line(&approval.tool_name, LINE_MAX_CHARS)),
    );
    for line in input {
        text += "\n      ";
        text += &line;
    }
    text + "\n      " + &style.bold(&format!("yes{always}, no, or stop?"))
}

/// All that a tool would be used with, since all of it is allowed by a yes: a field a line, and more
/// where a field has more.
fn told(input: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    match input.as_object() {
        Some(fields) => {
            for (name, value) in fields {
                let value = format!("{name}: {}", text(value));
                let mut indent = "";
                for line in value.lines() {
                    lines.push(format!("{indent}{}", one_line(line, LINE_MAX_CHARS)));
                    indent = "  ";
                }
            }
        }
        None => lines.extend(
            text(input)
                .lines()
                .map(|line| one_line(line, LINE_MAX_CHARS)),
        ),
    }
    if lines.len() > QUESTION_MAX_LINES {
        let more = lines.len() - QUESTION_MAX_LINES;
        lines.truncate(QUESTION_MAX_LINES);
        lines.push(format!("(and {more} more lines, which are not shown)"));
    }
    lines
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
    fn everything_that_a_yes_allows_is_told() {
        let input = serde_json::json!({"command": "ls\n\u{1b}[2Krm -r /", "timeout": 5});
        let lines = ["command: ls", "  [2Krm -r /", "timeout: 5"];
        assert_eq!(told(&input), lines);
        let long = serde_json::json!("x\n".repeat(QUESTION_MAX_LINES + 2));
        let told = told(&long);
        assert_eq!(
            told.last().unwrap(),
            "(and 2 more lines, which are not shown)"
        );
    }

    #[test]
    fn always_is_for_questions_that_bring_rules() {
        let always = answer(Typed::Always, &approval(true)).unwrap();
        assert_eq!(always.updated_permissions.map(|rules| rules.len()), Some(1));
        assert!(answer(Typed::Always, &approval(false)).is_none());
    }
}
