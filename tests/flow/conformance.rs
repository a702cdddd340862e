//! The conformance runner for Last-Event-ID, which anybody can run against any address, on two
//! gateways of one world.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use async_nats::jetstream;
use rdev_bus::LogStream;
use rdev_contract::event::Kind;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::log::{ExecLog, exec_id};
use rdev_tests::world::World;
use serde_json::json;

use super::nginx::Nginx;
use super::options;

const RUNNER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/last_event_id.py");
/// Far more than all checks together take on a busy machine.
const RUNNER_TIMEOUT: Duration = Duration::from_secs(300);

/// A program in the place of claude that complains.
fn complaining(directory: &Path) -> Outcome<String> {
    let path = directory.join("claude");
    let script = "#!/bin/sh\ncat > prompt\n\
        echo '{\"type\":\"system\",\"subtype\":\"init\"}'; echo complaint >&2; exit 1\n";
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path.display().to_string())
}

/// The session and the id of an exec whose first event is gone from the log.
pub(super) async fn expired(world: &World, client: &Client) -> Outcome<(String, String)> {
    let session = client.session("expired").await?;
    let command = "echo 1; while ! [ -e go ]; do sleep 0.02; done; echo 2; echo 3";
    let body = json!({"type": "shell", "command": command});
    let stream = client.exec(&session, &body).await?;
    let mut events = client.events(&session, &stream, None).await?;
    events.until("output").await?;
    std::fs::write(world.pod("expired").join("go"), "")?;
    events.rest().await?;
    let exec = exec_id(client, &session, &stream)?;
    let log = ExecLog::read(&world.bus().await?, &exec).await?;
    let first = log.of(Kind::Output).next().ok_or("no output in the log")?;
    let nats = async_nats::connect(world.nats.url()).await?;
    let stored = jetstream::new(nats)
        .get_stream(LogStream::Exec.name())
        .await?;
    stored.delete_message(first.sequence).await?;
    Ok((session, stream))
}

/// Runs it; what it did not find right is the message of a failure.
async fn run(arguments: &[&str]) -> Outcome<()> {
    let runner = tokio::process::Command::new("python3")
        .arg(RUNNER)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(RUNNER_TIMEOUT, runner)
        .await
        .map_err(|_| "the conformance runner does not end")??;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(());
    }
    let failed: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("ok "))
        .collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}\n{errors}", failed.join("\n")).into())
}

#[tokio::test]
async fn last_event_id_through_two_gateways() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let options = options()
        .variable("RDEV_HEARTBEAT", "1s")
        .variable("RDEV_CLAUDE_BIN", complaining(directory.path())?);
    let (mut world, services) = World::start(options).await?;
    let (_second, second) = world.gateway()?;
    world.ready(&second).await?;
    let (session, stream) = expired(&world, &services.client).await?;
    let expired = format!("/sessions/{session}/events?stream_id={stream}");
    let expired = services.client.url(&expired);
    run(&[
        "--base-url",
        &services.client.base,
        "--second-base-url",
        &second.base,
        "--expired-url",
        &expired,
        "--claude-prompt",
        "complain",
    ])
    .await
}

/// The cut connections are nginx's here: it goes on reading from the gateway, or not, as it likes.
#[tokio::test]
async fn last_event_id_through_nginx() -> Outcome<()> {
    let (mut world, services) = World::start(options().variable("RDEV_HEARTBEAT", "1s")).await?;
    let (_second, second) = world.gateway()?;
    world.ready(&second).await?;
    let gateway = services.client.base.trim_start_matches("http://");
    let Some(nginx) = Nginx::start(gateway).await? else {
        return Ok(());
    };
    run(&[
        "--base-url",
        &format!("http://{}", nginx.address),
        "--second-base-url",
        &second.base,
        "--through-proxy",
    ])
    .await
}
