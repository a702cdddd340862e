//! Sessions with pods of their own: a file of templates, and what becomes of a session.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::Outcome;
use crate::client::{Client, Stream};
use crate::world::Options;

/// Nothing that is waited for takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(60);
/// The template of the tests.
pub const TEMPLATE: &str = "box";
/// Another one, whose pods are claimed.
pub const CLAIMED: &str = "claimed";

/// The same options, with templates; it is there as long as the directory.
///
/// # Errors
/// When the file cannot be written.
pub fn with_templates(options: Options) -> Outcome<(Options, TempDir)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("templates.yaml");
    let container =
        json!({"name": "main", "image": "box:1", "env": [{"name": "WHO", "value": "box"}]});
    let template = json!({"description": "a box", "pod": {"spec": {"containers": [container]}}});
    let claimed = json!({"sandbox": {"warm_pool": "boxes"}});
    let templates = json!({ TEMPLATE: template, CLAIMED: claimed });
    std::fs::write(&path, templates.to_string())?;
    let options = options.variable("RDEV_TEMPLATES", path.display().to_string());
    Ok((options, directory))
}

/// Creates a session as asked for, and returns its id.
///
/// # Errors
/// With the answer when it is refused.
pub async fn create(client: &Client, body: &Value) -> Outcome<String> {
    let answer = client.post("/sessions", body).await?;
    if answer.status != 201 {
        return Err(format!("{} {}", answer.status, answer.text).into());
    }
    let id = answer.json()["id"].as_str().map(str::to_owned);
    id.ok_or_else(|| "no id".into())
}

/// Waits until a session is as wanted, and returns it.
///
/// # Errors
/// With how it is when it stays otherwise.
pub async fn until(
    client: &Client,
    session: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Outcome<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let view = client.get(&format!("/sessions/{session}")).await?.json();
        if wanted(&view) {
            return Ok(view);
        }
        if Instant::now() > deadline {
            return Err(format!("it stays {view}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Opens the feed of a session.
///
/// # Errors
/// When there is no answer.
pub async fn feed(client: &Client, session: &str) -> Outcome<Stream> {
    client
        .stream(&format!("/sessions/{session}/events"), None)
        .await
}

/// Waits until a feed tells of the session as wanted, and returns that.
///
/// # Errors
/// When the feed ends before.
pub async fn told(feed: &mut Stream, wanted: impl Fn(&Value) -> bool) -> Outcome<Value> {
    loop {
        let news = feed.until("session").await?.json();
        if wanted(&news) {
            return Ok(news);
        }
    }
}
