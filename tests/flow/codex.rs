//! Codex, with a stand-in for its CLI that prints recorded outputs of the real one.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::transcript::Transcript;
use rdev_tests::world::World;
use serde_json::{Value, json};

use super::claude::messages;
use super::options;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/codex");

/// A program that notes its arguments, and prints the fixture that the prompt names. Before the last
/// line of `tools` it waits for a file.
pub(super) fn stand_in(directory: &Path) -> Outcome<String> {
    let path = directory.join("codex");
    let script = format!(
        "#!/bin/sh\nprompt=$(cat)\ncd '{}'\nprintf '%s\\n' \"$*\" >> calls\n\
         fixture='{FIXTURES}/'\"$prompt\".jsonl\n\
         head -n -1 \"$fixture\" || exit 9\n\
         if [ \"$prompt\" = tools ]; then until [ -e go ]; do sleep 0.05; done; fi\n\
         tail -n 1 \"$fixture\"\n\
         case $prompt in failed|sigint|resume_unknown) exit 1;; esac\n",
        directory.display()
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path.display().to_string())
}

fn lines_of(transcript: &Transcript) -> Vec<&str> {
    let events = transcript.events.iter();
    let lines = events.filter(|event| event.name == "codex_event");
    lines.map(|event| event.data.as_str()).collect()
}

fn expected_lines(fixture: &str) -> Outcome<Vec<String>> {
    let text = std::fs::read_to_string(format!("{FIXTURES}/{fixture}.jsonl"))?;
    let lines = text.lines();
    Ok(lines.map(|line| format!("{{\"event\":{line}}}")).collect())
}

async fn run(client: &Client, session: &str, body: &Value) -> Outcome<Transcript> {
    let transcript = client.run(session, body).await?;
    transcript.check()?;
    Ok(transcript)
}

/// The executor is killed in the middle of the first run: what the agent said before is known to the
/// one that takes over.
#[tokio::test]
async fn codex_is_an_agent_as_claude_is() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let options = options().variable("RDEV_CODEX_BIN", stand_in(directory.path())?);
    let (mut world, mut services) = World::start(options).await?;
    let client = services.client.clone();
    let answer = client.post("/sessions", &json!({"pod": "agent"})).await?;
    let session = answer.json()["id"].as_str().unwrap_or_default().to_owned();

    let body = json!({"type": "codex", "prompt": "tools", "stream_id": "first"});
    client.exec(&session, &body).await?;
    let mut events = client.events(&session, "first", None).await?;
    events.until("codex_event").await?;
    services.executor.kill().await;
    services.executor = world.executor()?;
    std::fs::write(directory.path().join("go"), "")?;
    let first = client.transcript(&session, "first").await?;
    first.check()?;
    assert_eq!(lines_of(&first), expected_lines("tools")?);
    let complete = first.complete();
    assert_eq!(complete["ok"], true, "{complete}");
    assert_eq!(complete["claude_session_id"], "");
    let thread = complete["codex_session_id"].as_str().unwrap_or_default();
    assert!(expected_lines("tools")?[0].contains(thread) && !thread.is_empty());

    let body = json!({"type": "codex", "prompt": "resumed", "continue_conversation": true,
        "args": ["--sandbox", "read-only"]});
    let second = run(&client, &session, &body).await?;
    assert_eq!(lines_of(&second), expected_lines("resumed")?);
    let calls = std::fs::read_to_string(directory.path().join("calls"))?;
    let fixed = "exec --json --skip-git-repo-check";
    let expected = format!("{fixed} -\n{fixed} --sandbox read-only resume {thread} -\n");
    assert_eq!(calls, expected);

    let shown = client.get(&format!("/sessions/{session}")).await?.json();
    assert_eq!(shown["codex_session_id"], thread, "{shown}");
    assert_eq!(shown["claude_session_id"], Value::Null);
    let conversation = shown["conversation_id"].as_str().unwrap_or_default();
    let kept = messages(&client, conversation, 10).await?;
    let roles: Vec<_> = kept
        .iter()
        .map(|message| message["role"].as_str().unwrap_or_default())
        .collect();
    let tool = ["tool_use", "tool_result"];
    let turns = [
        &["user"][..],
        &tool,
        &tool,
        &tool,
        &["assistant", "user", "assistant"],
    ];
    assert_eq!(roles, turns.concat());
    world.audit(&[], &[]).await?.expect_equal()?;
    world.audit(&["--execs"], &[]).await?.expect_equal()
}

#[tokio::test]
async fn failures_of_codex_are_no_success() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let options = options().variable("RDEV_CODEX_BIN", stand_in(directory.path())?);
    let (_world, services) = World::start(options).await?;
    let client = &services.client;
    let session = client.session("agent").await?;
    for (fixture, reason) in [
        ("failed", "The model does not exist."),
        ("sigint", "codex ended without a result"),
        ("resume_unknown", "codex ended without a result"),
    ] {
        let body = json!({"type": "codex", "prompt": fixture});
        let transcript = run(client, &session, &body).await?;
        let complete = transcript.complete();
        assert_eq!(complete["ok"], false, "{fixture}: {complete}");
        assert_eq!(complete["reason"], reason, "{complete}");
    }
    let body = json!({"type": "codex", "prompt": "x", "args": ["resume", "--last"]});
    let path = format!("/sessions/{session}/exec");
    let refused = client.post(&path, &body).await?;
    assert_eq!(refused.status, 400, "{}", refused.text);
    Ok(())
}
