//! Clients that we did not write: they see what our own sees, and stop at the end.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::transcript::{SseEvent, Transcript};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::nginx::Nginx;
use super::tally::Tally;
use super::world;

pub(super) const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");
/// The NATS client for Python.
pub(super) const NATS_PY: &[&str] = &["nats-py[nkeys]==2.16.0"];
/// Installed once for all tests and runs of a target directory.
const INSTALLED: &str = env!("CARGO_TARGET_TMPDIR");

/// Python packages, installed by pip into a directory that is moved into place when it is whole.
pub(super) fn python_packages(name: &str, packages: &[&str]) -> Outcome<PathBuf> {
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

/// What this command puts into the directory that it is given, once for all.
pub(super) fn install(name: &str, command: impl Fn(&Path) -> Command) -> Outcome<PathBuf> {
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

/// How often the command of [`same_everywhere`] waits for its reader.
const GATES: usize = 3;
/// A browser that has to start on a busy machine included.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(120);

/// Prints a line, waits until the file of this line is there, and so on; then everything else.
fn gated(gates: &str) -> String {
    format!(
        "for i in $(seq {GATES}); do echo line $i; \
         until [ -e {gates}$i ]; do sleep 0.02; done; done; {COMMAND}"
    )
}

/// A program that prints the events at the address it is given as JSON lines, and ends by itself.
struct Program {
    command: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
    /// How many requests it makes: one more where it comes again behind the end, to be told so.
    requests: usize,
}

impl Program {
    fn of<T: Into<String>>(command: impl IntoIterator<Item = T>, requests: usize) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            requests,
        }
    }

    /// Runs it while a command runs that goes on only when the line before has been shown.
    async fn follow(&self, url: &str, pod: &Path, gates: &str) -> Outcome<Transcript> {
        let mut program = tokio::process::Command::new(&self.command[0])
            .args(&self.command[1..])
            .arg(url)
            .envs(self.environment.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(program.stdout.take().ok_or("no output")?).lines();
        let mut output = String::new();
        while let Some(line) = lines.next_line().await? {
            for gate in 1..=GATES {
                if line.contains(&format!("line {gate}")) {
                    std::fs::write(pod.join(format!("{gates}{gate}")), "")?;
                }
            }
            output.push_str(&line);
            output.push('\n');
        }
        let status = program.wait().await?;
        if !status.success() {
            return Err(format!("{status} after {output}").into());
        }
        transcript(output.as_bytes())
    }
}

/// The program sees what our own client sees, each event when it happens, and stops at the end:
/// at the gateway itself and through nginx.
async fn same_everywhere(program: &Program) -> Outcome<()> {
    let (world, services) = world().await?;
    let gateway = services.client.base.trim_start_matches("http://");
    let nginx = Nginx::start(gateway).await?;
    let proxied = nginx.as_ref().map(|nginx| nginx.address.to_string());
    for (name, target) in [("direct", Some(gateway.to_owned())), ("proxied", proxied)] {
        let Some(target) = target else { continue };
        let tally = Tally::start(target).await?;
        let client = &services.client;
        let session = client.session("pod").await?;
        let gates = format!("{name}-");
        let body = json!({"type": "shell", "command": gated(&gates)});
        let stream = client.exec(&session, &body).await?;
        let there = Client::new(format!("http://{}", tally.address), &client.project);
        let url = there.url(&format!("/sessions/{session}/events?stream_id={stream}"));
        let pod = world.pod("pod");
        let following = program.follow(&url, &pod, &gates);
        let theirs = tokio::time::timeout(CLIENT_TIMEOUT, following)
            .await
            .map_err(|_| format!("{name}: it does not end"))??;
        let ours = client.transcript(&session, &stream).await?;
        ours.check()?;
        assert_eq!(theirs.numbered(), ours.numbered(), "{name}");
        // Nothing else but hello, where the present began, and heartbeats.
        let mut names = theirs.names();
        names.retain(|name| *name != "heartbeat");
        assert_eq!(names.remove(0), "connected", "{name}");
        let present = names.iter().position(|name| *name == "caught_up");
        names.remove(present.ok_or("it was never caught up")?);
        let numbered: Vec<_> = ours.numbered().iter().map(|event| &*event.name).collect();
        assert_eq!(names, numbered, "{name}");
        assert_eq!(tally.requests(), program.requests, "{name}: requests");
    }
    Ok(())
}

/// Whether it can be started; says what is left out where not.
#[expect(clippy::print_stdout, reason = "a test that is left out says so")]
pub(super) fn exists(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        println!("skipped: there is no {program} on this machine");
    }
    found
}

/// A program for Node with one npm package.
fn node(script: &str, name: &str, package: &str) -> Outcome<Program> {
    let packages = install(name, |directory| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--prefix"])
            .arg(directory)
            .arg(package);
        npm
    })?;
    let script = format!("{CLIENTS}/{script}");
    let command = ["node".to_owned(), script, packages.display().to_string()];
    Ok(Program::of(command, 2))
}

#[tokio::test]
async fn httpx_sse_sees_the_same() -> Outcome<()> {
    let packages = python_packages("httpx-sse", &["httpx==0.28.1", "httpx-sse==0.4.3"])?;
    let script = format!("{CLIENTS}/httpx_sse_client.py");
    let mut program = Program::of(["python3".to_owned(), script], 1);
    program.environment.push(("PYTHONPATH", packages));
    same_everywhere(&program).await
}

#[tokio::test]
async fn npm_eventsource_sees_the_same_and_does_not_loop() -> Outcome<()> {
    if !exists("npm") {
        return Ok(());
    }
    let program = node("eventsource_client.mjs", "eventsource", "eventsource@4.1.1")?;
    same_everywhere(&program).await
}

#[tokio::test]
async fn npm_fetch_event_source_sees_the_same_and_does_not_loop() -> Outcome<()> {
    if !exists("npm") {
        return Ok(());
    }
    let program = node(
        "fetch_event_source_client.mjs",
        "fetch-event-source",
        "@microsoft/fetch-event-source@2.0.1",
    )?;
    same_everywhere(&program).await
}

#[tokio::test]
async fn chromium_sees_the_same_and_does_not_loop() -> Outcome<()> {
    if !exists("chromium") {
        return Ok(());
    }
    let script = format!("{CLIENTS}/chromium_client.py");
    same_everywhere(&Program::of(["python3".to_owned(), script], 2)).await
}

#[tokio::test]
async fn a_plain_nats_subscriber_sees_the_same_sequence() -> Outcome<()> {
    let packages = python_packages("nats-py-nkeys", NATS_PY)?;
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
