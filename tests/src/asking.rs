//! A stand-in of the Claude CLI that asks before it uses tools, and what a test does with it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Outcome;
use crate::client::{Answer, Client};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/claude/asking.py");

/// The program, and what it was given.
#[derive(Debug)]
pub struct AskingClaude {
    directory: TempDir,
}

impl AskingClaude {
    /// One that was not called yet.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new() -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("rdev-asking-").tempdir()?;
        install(&directory.path().join("claude"))?;
        Ok(Self { directory })
    }

    /// For `RDEV_CLAUDE_BIN`.
    #[must_use]
    pub fn program(&self) -> String {
        self.directory.path().join("claude").display().to_string()
    }

    /// The lines of its input, of all its runs: prompts and answers.
    ///
    /// # Errors
    /// When a line is no JSON.
    pub fn given(&self) -> Outcome<Vec<Value>> {
        let text = std::fs::read_to_string(self.directory.path().join("input"))?;
        let lines = text.lines().map(serde_json::from_str);
        Ok(lines.collect::<Result<_, _>>()?)
    }
}

/// Writes the program to this place.
///
/// # Errors
/// When it cannot be written.
pub fn install(program: &Path) -> Outcome<()> {
    std::fs::copy(SCRIPT, program)?;
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// A request for a run with these steps; see the stand-in for what they can be.
#[must_use]
pub fn asks(stream: &str, steps: &str, more: &Value) -> Value {
    let mut body = json!({"type": "claude", "prompt": steps, "stream_id": stream,
        "permissions": "ask"});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

impl Client {
    /// Answers a question.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn answer(
        &self,
        session: &str,
        stream: &str,
        approval: &str,
        body: &Value,
    ) -> Outcome<Answer> {
        self.order(session, stream, &format!("approvals/{approval}"), body)
            .await
    }

    /// The questions of an exec.
    ///
    /// # Errors
    /// When they cannot be had.
    pub async fn approvals(&self, session: &str, stream: &str) -> Outcome<Vec<Value>> {
        let path = format!("/sessions/{session}/execs/{stream}/approvals");
        let answer = self.get(&path).await?;
        match answer.json()["items"].as_array() {
            Some(items) => Ok(items.clone()),
            None => Err(format!("{} {}", answer.status, answer.text).into()),
        }
    }
}
