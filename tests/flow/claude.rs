//! Claude, with a stand-in for its CLI that prints recorded outputs of the real one.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::world::World;
use serde_json::{Value, json};

use super::options;

pub(super) const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/claude");
/// The projector is asynchronous; this is only a bound for a broken one.
const PROJECTED_WITHIN: Duration = Duration::from_secs(20);

/// A program that notes its arguments and its input, and prints the fixture that the prompt names; where it
/// is to ask, it is the stand-in for that.
pub(super) fn stand_in(directory: &Path) -> Outcome<String> {
    let path = directory.join("claude");
    rdev_tests::asking::install(&directory.join("asking"))?;
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--permission-prompt-tool*) exec \"${{0%/*}}/asking\" \"$@\";; esac\n\
         prompt=$(cat)\nprintf '%s\\n' \"$*\" >> '{}/calls'\n\
         cat '{FIXTURES}/'\"$prompt\".jsonl || exit 9\n\
         case $prompt in err_*) exit 1;; sigterm_*) exit 143;; esac\n",
        directory.display()
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path.display().to_string())
}

pub(super) async fn messages(
    client: &Client,
    conversation: &str,
    wanted: usize,
) -> Outcome<Vec<Value>> {
    let path = format!("/conversations/{conversation}/messages");
    let read = async {
        loop {
            let answer = client.get(&path).await?;
            let items = answer.json()["items"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            if items.len() >= wanted {
                return Ok(items);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PROJECTED_WITHIN, read)
        .await
        .map_err(|_| "not projected in time")?
}

#[tokio::test]
async fn events_pass_untouched_and_the_conversation_is_kept() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let claude = stand_in(directory.path())?;
    let options = options().variable("RDEV_CLAUDE_BIN", claude);
    let (_world, services) = World::start(options).await?;
    let client = &services.client;
    let answer = client.post("/sessions", &json!({"pod": "agent"})).await?;
    let session = answer.json()["id"].as_str().unwrap_or_default().to_owned();
    let conversation = answer.json()["conversation_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();

    let transcript = client
        .run(&session, &json!({"type": "claude", "prompt": "simple"}))
        .await?;
    transcript.check()?;
    let fixture = std::fs::read_to_string(format!("{FIXTURES}/simple.jsonl"))?;
    let events: Vec<_> = transcript
        .events
        .iter()
        .filter(|event| event.name == "claude_event")
        .collect();
    let lines: Vec<_> = fixture
        .lines()
        .map(|line| format!(r#"{{"event":{line}}}"#))
        .collect();
    assert_eq!(
        events
            .iter()
            .map(|event| event.data.clone())
            .collect::<Vec<_>>(),
        lines
    );
    let complete = transcript.complete();
    assert_eq!(complete["ok"], true, "{complete}");
    assert_eq!(complete["conversation_id"], conversation.as_str());
    let claude_session = complete["claude_session_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(fixture.contains(&claude_session));

    let kept = messages(client, &conversation, 2).await?;
    assert_eq!(
        (&kept[0]["role"], &kept[0]["content"]),
        (&json!("user"), &json!("simple"))
    );
    assert_eq!(kept[1]["role"], "assistant");
    assert_eq!(kept[1]["content"], "mock reply: hello world");
    let listed = client.get("/conversations").await?.json();
    assert_eq!(
        listed["items"][0]["title"],
        format!("Session {}", &session[..8])
    );

    let body = json!({"type": "claude", "prompt": "resume", "continue_conversation": true});
    let transcript = client.run(&session, &body).await?;
    assert_eq!(transcript.complete()["ok"], true);
    let calls = std::fs::read_to_string(directory.path().join("calls"))?;
    let calls: Vec<_> = calls.lines().collect();
    let fixed = "-p --output-format stream-json --verbose";
    assert!(
        calls[0].starts_with(&format!("{fixed} --session-id ")),
        "{calls:?}"
    );
    assert_eq!(calls[1], format!("{fixed} --resume {claude_session}"));

    costs(client, &session, &conversation).await
}

/// After `simple` and its `resume`, which printed the sum of both as its cost.
async fn costs(client: &Client, session: &str, conversation: &str) -> Outcome<()> {
    let usage = usage(client, 2).await?;
    assert_eq!(usage["runs_not_known"], 0, "{usage}");
    let cost = usage["cost_usd"].as_f64().unwrap_or_default();
    assert!((cost - 0.099_104).abs() < 1e-9, "{usage}");
    let held = client
        .get(&format!("/conversations/{conversation}"))
        .await?;
    assert_eq!(held.json()["usage"]["cost_usd"], usage["cost_usd"]);
    let path = format!("/execs?status=complete&outcome=exited&session={session}&limit=1");
    let newest = client.get(&path).await?.json();
    assert_eq!(newest["items"][0]["usage"]["cost_usd"], 0.0496, "{newest}");
    assert!(newest["next_cursor"].is_string(), "{newest}");
    Ok(())
}

async fn usage(client: &Client, wanted_runs: u64) -> Outcome<Value> {
    let read = async {
        loop {
            let usage = client.get("/usage").await?.json();
            if usage["runs"].as_u64() >= Some(wanted_runs) {
                return Ok(usage);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PROJECTED_WITHIN, read)
        .await
        .map_err(|_| "not projected in time")?
}

#[tokio::test]
async fn failures_of_the_agent_are_no_success() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let claude = stand_in(directory.path())?;
    let options = options().variable("RDEV_CLAUDE_BIN", claude);
    let (_world, services) = World::start(options).await?;
    let client = &services.client;
    let session = client.session("agent").await?;
    // The API's error; an interrupt, which exits with 0; a kill that leaves no result.
    for fixture in ["err_401", "sigint_stream", "sigkill_tool", "sigterm_stream"] {
        let body = json!({"type": "claude", "prompt": fixture});
        let transcript = client.run(&session, &body).await?;
        transcript.check()?;
        assert_eq!(
            transcript.complete()["ok"],
            false,
            "{fixture}: {}",
            transcript.complete()
        );
    }
    Ok(())
}
