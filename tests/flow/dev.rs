//! `rdev dev`, as a new user starts it: one command, killed hard, started again.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::world::PROJECT;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::RDEV;

/// Longer than the slowest part of an orderly end.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// Starts it and returns the process, its address and the three lines to paste.
async fn dev(data_dir: &Path) -> Outcome<(Child, String, Vec<String>)> {
    let mut child = Command::new(RDEV)
        .args(["dev", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data_dir)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let mut read = async || lines.next_line().await?.ok_or("it ended".into());
    let ready: String = tokio::time::timeout(Duration::from_secs(120), read()).await??;
    let base = ready
        .strip_prefix("ready: ")
        .ok_or_else(|| ready.clone())?
        .to_owned();
    let mut pasted = Vec::new();
    for _ in 0..3 {
        let line: Outcome<String> = read().await;
        let line = line?;
        pasted.push(
            line.split_once("curl")
                .map(|(_, line)| format!("curl{line}"))
                .ok_or(line)?,
        );
    }
    Ok((child, base, pasted))
}

/// Processes that have something to do with this directory.
fn processes_of(directory: &Path) -> Vec<String> {
    let needle = directory.display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let place = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let names = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(&needle);
        if names(&command) || names(&environment) || place.starts_with(directory) {
            found.push(String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    found
}

async fn until_gone(directory: &Path) -> Outcome<()> {
    let gone = async {
        while !processes_of(directory).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(GONE_WITHIN, gone).await;
    waited.map_err(|_| format!("still there: {:?}", processes_of(directory)).into())
}

async fn curl(line: &str) -> Outcome<String> {
    let output = Command::new("sh").args(["-c", line]).output().await?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn everything_starts_survives_a_hard_kill_and_ends() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let (mut child, base, pasted) = dev(directory.path()).await?;
    // The lines that a new user pastes.
    let accepted = curl(&pasted[0]).await?;
    assert!(accepted.contains(r#""id":"first""#), "{accepted}");
    let followed = curl(&pasted[1]).await?;
    assert_eq!(followed.matches("event: output").count(), 3, "{followed}");
    assert!(followed.contains("event: complete"), "{followed}");
    let session = accepted_session(&accepted)?;
    let before = Client::new(base, PROJECT)
        .transcript(&session, "first")
        .await?;

    child.kill().await?;
    let (child, base, _) = dev(directory.path()).await?;
    let client = Client::new(base, PROJECT);
    let after = client.transcript(&session, "first").await?;
    assert_eq!(before.numbered(), after.numbered());
    assert_eq!(
        client.shell(&session, "echo again").await?.stdout(),
        "again\n"
    );

    // What runs is ended too, and gets its `complete`.
    let body = json!({"type": "shell", "command": "echo on; sleep 777", "stream_id": "runs"});
    client.exec(&session, &body).await?;
    let mut events = client.events(&session, "runs", None).await?;
    events.until("output").await?;
    let pid = child.id().ok_or("it ended")?;
    let pid = rustix::process::Pid::from_raw(pid.try_into()?).ok_or("no pid")?;
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    let status = { child }.wait().await?;
    assert!(status.success(), "{status}");
    until_gone(directory.path()).await?;
    let (_child, base, _) = dev(directory.path()).await?;
    let runs = Client::new(base, PROJECT)
        .transcript(&session, "runs")
        .await?;
    runs.check()?;
    assert_eq!(
        runs.complete()["outcome"],
        "canceled",
        "{}",
        runs.complete()
    );
    Ok(())
}

fn accepted_session(accepted: &str) -> Outcome<String> {
    let accepted: serde_json::Value = serde_json::from_str(accepted)?;
    Ok(accepted["session_id"]
        .as_str()
        .ok_or("no session id")?
        .to_owned())
}
