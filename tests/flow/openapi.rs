//! The OpenAPI document as a program of others reads it: schemathesis asks for whatever the document
//! allows, and for what it forbids, and compares every answer with it.

use std::process::Stdio;
use std::time::Duration;

use rdev_tests::Outcome;
use rdev_tests::world::World;
use serde_json::json;

use super::clients::{CLIENTS, python_packages};
use super::options;

const SCHEMATHESIS: &[&str] = &["schemathesis==4.32.5"];
/// No answer is a bug, and none is one that the document does not tell. Whether what the document
/// forbids is refused is not asked: unknown members are passed over, on purpose.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,unsupported_method";
/// Of each route and phase. More of them, and other seeds, are for an evening.
const EXAMPLES: &str = "8";
/// Streams go on for ever; `tests/conformance` is about them.
const ENDLESS: &str = "sessionEvents|execEvents";
/// Far more than it takes on a busy machine.
const RUN_TIMEOUT: Duration = Duration::from_secs(400);

#[tokio::test]
async fn no_answer_is_undocumented() -> Outcome<()> {
    let packages = python_packages("schemathesis", SCHEMATHESIS)?;
    // Nobody runs commands: what is drawn for `command` must not be executed on this machine.
    let (_world, gateways) = World::of_readers(options(), 1).await?;
    let client = gateways.clients.first().ok_or("no gateway")?;
    let session = client.session("fuzzed").await?;
    let body = json!({"type": "shell", "command": "true", "stream_id": "one"});
    client.exec(&session, &body).await?;
    let address = client.base.split("/projects").next().unwrap_or_default();
    // It keeps what it has found beside itself.
    let directory = tempfile::tempdir()?;
    let running = tokio::process::Command::new("python3")
        .args(["-m", "schemathesis.cli", "run", "--no-color"])
        .args(["--checks", CHECKS, "--max-examples", EXAMPLES])
        .args(["--exclude-operation-id-regex", ENDLESS])
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--generation-deterministic",
        ])
        .args(["--generation-with-security-parameters", "false"])
        .args(["--suppress-health-check", "all", "--warnings", "off"])
        .arg(format!("{address}/openapi.json"))
        .env("PYTHONPATH", format!("{}:{CLIENTS}", packages.display()))
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .env("RDEV_SESSION", &session)
        .current_dir(&directory)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(RUN_TIMEOUT, running)
        .await
        .map_err(|_| "schemathesis does not end")??;
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{errors}");
    Ok(())
}
