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

/// The program, as somebody whose own files are in this directory.
fn rdev(home: &Path) -> Command {
    let mut command = Command::new(RDEV);
    command
        .env("XDG_STATE_HOME", home)
        .env("XDG_CONFIG_HOME", home);
    command
}

/// What is printed by another command of the same person.
async fn says(home: &Path, args: &[&str]) -> Outcome<(String, String)> {
    let output = rdev(home).args(args).output().await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&output.stdout), text(&output.stderr)))
}

/// Starts it and returns the process, its address and the three lines to paste.
async fn dev(data_dir: &Path) -> Outcome<(Child, String, Vec<String>)> {
    let mut command = rdev(data_dir);
    command.args(["dev", "--listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(data_dir);
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
    // Without any settings, in the session that is there, and in one of one's own.
    let home = directory.path();
    let (said, _) = says(home, &["exec", "--", "basename $PWD"]).await?;
    assert_eq!(said, "workspace\n");
    let (said, _) = says(home, &["exec", "-s", "demo", "--", "basename", "$PWD"]).await?;
    assert_eq!(said, "$PWD\n");
    let (said, _) = says(home, &["doctor"]).await?;
    assert!(said.ends_with("all is well\n"), "{said}");
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
    // Its note is gone with it.
    let (_, said) = says(home, &["sessions"]).await?;
    assert!(said.contains("no project is named"), "{said}");
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
        "mount -t tmpfs -o size={size} none '{directory}' && export XDG_STATE_HOME='{directory}' && \
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
