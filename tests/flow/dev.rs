//! `rdev dev`, as a new user starts it: one command, killed hard, started again.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rdev_bus::access::Access;
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
    let mut command = Command::new(RDEV);
    command
        .args(["dev", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data_dir);
    ready(command).await
}

async fn ready(mut command: Command) -> Outcome<(Child, String, Vec<String>)> {
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
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
    // Somebody else is to read a project from now on.
    Access::kept_in(&directory.path().join("access"))?.add_consumer(PROJECT.parse()?)?;
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

/// `rdev dev` on a disk of this size, which nobody else sees.
fn on_disk(size: &str, directory: &Path) -> Command {
    let directory = directory.display();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c"]).arg(format!(
        "mount -t tmpfs -o size={size} none '{directory}' && \
         exec {RDEV} dev --listen 127.0.0.1:0 --data-dir '{directory}/data'"
    ));
    command
}

#[tokio::test]
async fn its_log_fits_the_disk() -> Outcome<()> {
    let may_mount = ["--mount", "true"];
    let may_mount = Command::new("unshare").args(may_mount).output().await;
    if !may_mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this machine does not let us mount a small file system");
        return Ok(());
    }
    // Far less than NATS would want free for the limit of a large disk.
    let directory = tempfile::tempdir()?;
    let (child, base, _) = ready(on_disk("3g", directory.path())).await?;
    let client = Client::new(base, PROJECT);
    let session = client.session("pod").await?;
    let transcript = client.shell(&session, "echo fits").await?;
    assert_eq!(transcript.stdout(), "fits\n");
    drop(child);

    let directory = tempfile::tempdir()?;
    let refused = on_disk("900m", directory.path()).output().await?;
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("the log needs at least 1000"), "{said}");
    Ok(())
}
