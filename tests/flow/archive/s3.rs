//! The archive in S3, as `moto` stands in for it: a server of it that we did not write.

use std::path::PathBuf;
use std::process::Stdio;

use rdev_tests::Outcome;
use rdev_tests::log::exec_id;
use rdev_tests::transcript::sha256;
use rdev_tests::world::World;
use serde_json::json;
use tokio::process::{Child, Command};

use super::{LOOK_INTERVAL, PATIENCE, Short, held, short_lived};
use crate::clients::python_packages;

const MOTO: &[&str] = &["moto[s3,server]==5.2.5"];
/// More than the part of an upload, however it is compressed: it is sent in several.
const COMMAND: &str = "head -c 6000000 /dev/urandom | base64 -w 50000; echo end >&2; exit 4";

/// A server of S3 with a bucket.
struct S3 {
    server: Child,
    endpoint: String,
}

impl S3 {
    async fn start() -> Outcome<Self> {
        let packages: PathBuf = python_packages("moto", MOTO)?;
        let port = rdev_embedded::draw_port()?;
        let server = Command::new("python3")
            .args([
                "-m",
                "moto.server",
                "-H",
                "127.0.0.1",
                "-p",
                &port.to_string(),
            ])
            .env("PYTHONPATH", packages)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let client = reqwest::Client::new();
        let making = async {
            loop {
                let made = client.put(format!("{endpoint}/bucket")).send().await;
                if made.is_ok_and(|made| made.status().is_success()) {
                    return;
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        tokio::time::timeout(PATIENCE, making).await?;
        Ok(Self { server, endpoint })
    }
}

#[tokio::test]
async fn execs_are_kept_in_a_bucket() -> Outcome<()> {
    let mut s3 = S3::start().await?;
    let options = short_lived(Short::Everything)
        .variable("RDEV_ARCHIVE_URL", "s3://bucket/of/rdev")
        .variable("AWS_ENDPOINT", &s3.endpoint)
        .variable("AWS_ALLOW_HTTP", "true")
        .variable("AWS_REGION", "eu-central-1")
        .variable("AWS_ACCESS_KEY_ID", "key")
        .variable("AWS_SECRET_ACCESS_KEY", "secret");
    let (mut world, services) = World::start(options).await?;
    let (client, bus) = (&services.client, world.bus().await?);
    let session = client.session("bucket").await?;
    let body = json!({"type": "shell", "command": COMMAND, "stream_id": "one"});
    client.run(&session, &body).await?.check()?;
    let whole = client.transcript(&session, "one").await?;
    let exec = exec_id(client, &session, "one")?;
    let expiring = async {
        while held(&bus, &exec, Short::Everything).await? > 0 {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Outcome::Ok(())
    };
    tokio::time::timeout(PATIENCE, expiring).await??;

    assert!(
        client.transcript(&session, "one").await? == whole,
        "{}",
        world.logs()
    );
    let numbered = whole.numbered();
    let cursor = &numbered[numbered.len() * 2 / 3];
    let rest = client
        .events(&session, "one", Some(&cursor.id))
        .await?
        .rest()
        .await?;
    assert_eq!(
        rest.numbered().len(),
        numbered.len() - numbered.len() * 2 / 3 - 1
    );
    let path = format!("/sessions/{session}/execs/one/output");
    let output = client.http().get(client.url(&path)).send().await?;
    assert_eq!(
        sha256(&output.bytes().await?),
        whole.complete()["stdout_sha256"]
    );
    let part = client
        .http()
        .get(client.url(&path))
        .header("range", "bytes=7000000-7000099");
    let part = part.send().await?;
    assert_eq!(part.status(), 206);
    assert_eq!(
        part.bytes().await?,
        whole.bytes("stdout")[7_000_000..7_000_100]
    );

    // A store that is away may come back: that is no gap.
    s3.server.kill().await?;
    let (_gateway, client) = world.gateway()?;
    world.ready(&client).await?;
    let events = format!("/sessions/{session}/events?stream_id=one");
    let answer = client.get_as(&events, "application/json", None).await?;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(answer.json()["code"], "log_unavailable");
    Ok(())
}
