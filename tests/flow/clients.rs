//! Clients that we did not write: they see what our own sees, and stop at the end.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rdev_tests::Outcome;
use rdev_tests::transcript::{SseEvent, Transcript};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::world;

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");
/// Installed once for all tests and runs of a target directory.
const INSTALLED: &str = env!("CARGO_TARGET_TMPDIR");

/// Python packages, installed by pip into a directory that is moved into place when it is whole.
fn python_packages(name: &str, packages: &[&str]) -> Outcome<PathBuf> {
    install(name, |directory| {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--target",
        ]);
        pip.arg(directory).args(packages);
        pip
    })
}

fn install(name: &str, command: impl Fn(&Path) -> Command) -> Outcome<PathBuf> {
    let directory = Path::new(INSTALLED).join(name);
    if directory.exists() {
        return Ok(directory);
    }
    let fresh = tempfile::Builder::new()
        .prefix(name)
        .tempdir_in(INSTALLED)?;
    let output = command(fresh.path()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    if std::fs::rename(fresh.path(), &directory).is_ok() {
        // Moved away: there is nothing left to be deleted.
        let _ = fresh.keep();
    }
    Ok(directory)
}

fn transcript(output: &[u8]) -> Outcome<Transcript> {
    let mut events = Vec::new();
    for line in String::from_utf8_lossy(output).lines() {
        let (id, name, data) = serde_json::from_str(line)?;
        events.push(SseEvent { id, name, data });
    }
    Ok(Transcript { events })
}

const COMMAND: &str = "echo héllo; echo err >&2; printf 'a\\rb\\n'; sleep 0.3; printf end; exit 3";

#[tokio::test]
async fn httpx_sse_sees_the_same() -> Outcome<()> {
    let packages = python_packages("httpx-sse", &["httpx==0.28.1", "httpx-sse==0.4.3"])?;
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("httpx").await?;
    let body = json!({"type": "shell", "command": COMMAND});
    let stream = client.exec(&session, &body).await?;
    let ours = client.transcript(&session, &stream).await?;
    ours.check()?;
    let output = tokio::process::Command::new("python3")
        .arg(format!("{CLIENTS}/httpx_sse_client.py"))
        .arg(client.url(&format!("/sessions/{session}/events?stream_id={stream}")))
        .env("PYTHONPATH", packages)
        .stderr(Stdio::inherit())
        .output()
        .await?;
    let theirs = transcript(&output.stdout)?;
    assert_eq!(theirs.numbered(), ours.numbered());
    assert!(
        theirs.names().iter().all(|name| *name != "message"),
        "{:?}",
        theirs.names()
    );
    Ok(())
}

#[tokio::test]
async fn npm_eventsource_sees_the_same_and_does_not_loop() -> Outcome<()> {
    if Command::new("npm").arg("--version").output().is_err() {
        println!("skipped: there is no npm on this machine");
        return Ok(());
    }
    let packages = install("eventsource", |directory| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--prefix"])
            .arg(directory)
            .arg("eventsource@4.1.1");
        npm
    })?;
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("npm").await?;
    let body = json!({"type": "shell", "command": COMMAND});
    let stream = client.exec(&session, &body).await?;
    let ours = client.transcript(&session, &stream).await?;
    // The client reconnects by itself behind `complete`, is answered 204, and ends.
    let output = tokio::process::Command::new("node")
        .arg(format!("{CLIENTS}/eventsource_client.mjs"))
        .arg(packages)
        .arg(client.url(&format!("/sessions/{session}/events?stream_id={stream}")))
        .stderr(Stdio::inherit())
        .output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(60), output).await??;
    let theirs = transcript(&output.stdout)?;
    assert_eq!(theirs.numbered(), ours.numbered());
    assert_eq!(
        theirs
            .names()
            .iter()
            .filter(|name| **name == "connected")
            .count(),
        1
    );
    Ok(())
}

#[tokio::test]
async fn a_plain_nats_subscriber_sees_the_same_sequence() -> Outcome<()> {
    let packages = python_packages("nats-py", &["nats-py==2.16.0"])?;
    let (world, services) = world().await?;
    let client = &services.client;
    let session = client.session("nats-py").await?;
    let mut subscriber = tokio::process::Command::new("python3")
        .arg(format!("{CLIENTS}/nats_py_client.py"))
        .arg(world.nats.url())
        .arg(format!("rdev.live.demo.{session}.plain.>"))
        .env("PYTHONPATH", packages)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(subscriber.stdout.take().ok_or("no output")?).lines();
    assert_eq!(lines.next_line().await?.as_deref(), Some("ready"));
    let body = json!({"type": "shell", "command": COMMAND, "stream_id": "plain"});
    client.exec(&session, &body).await?;
    let ours = client.transcript(&session, "plain").await?;
    let mut theirs = Vec::new();
    while let Some(line) = lines.next_line().await? {
        let (sequence, payload): (u64, Value) = serde_json::from_str(&line)?;
        let first = payload["first"].as_u64().unwrap_or(0);
        for (index, event) in payload["events"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            let number = first + index as u64;
            theirs.push((format!("{sequence}-{number}"), event["data"].clone()));
        }
    }
    let ours: Vec<_> = ours
        .numbered()
        .iter()
        .map(|event| {
            let place = event.id.rsplit_once('-').map_or("", |(place, _)| place);
            (place.to_owned(), event.json())
        })
        .collect();
    assert_eq!(theirs, ours);
    Ok(())
}
