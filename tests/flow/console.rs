//! The console, used as people use it, in a real Chromium: everything that is seen is looked at by the
//! script `clients/console.mjs`, which asks for what only a test can do.

use std::process::Stdio;
use std::time::Duration;

use rdev_tests::Outcome;
use rdev_tests::asking::AskingClaude;
use rdev_tests::client::Client;
use rdev_tests::world::{Service, World};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use super::clients::{CLIENTS, exists, install};
use super::keys::{key_of, keys};
use super::{options, world};

const PACKAGES: [&str; 2] = ["playwright-core@1.65.1", "axe-core@4.14.1"];
/// A browser that has to start on a busy machine, and everything that is done with it.
const TIMEOUT: Duration = Duration::from_secs(300);
/// The command that is followed over the end of a gateway waits for this file.
const GATE: &str = "go-on";

struct Closed {
    world: World,
    listen: [(&'static str, String); 1],
    gateway: Service,
    key: String,
    session: String,
    _others: [Service; 2],
}

/// A world in which nobody is let in without a key, with a session.
async fn closed(claude: &AskingClaude) -> Outcome<Closed> {
    let options = options()
        .variable("RDEV_REQUIRE_KEYS", "true")
        .variable("RDEV_CLAUDE_BIN", claude.program());
    let mut world = World::bare(options).await?;
    let create = ["create", "--name", "people", "--scope", "exec,read"];
    let key = keys(&world, &[&create[..], &["--project", "demo"]].concat()).await?;
    let (gateway, client) = world.gateway()?;
    let listen = client.base.trim_start_matches("http://").to_owned();
    let client = client.with_key(key_of(&key)?)?;
    let others = [world.projector()?, world.executor()?];
    world.ready(&client).await?;
    Ok(Closed {
        session: client.session("box").await?,
        key: key_of(&key)?.to_owned(),
        listen: [("RDEV_LISTEN", listen)],
        world,
        gateway,
        _others: others,
    })
}

impl Closed {
    /// Does what the script asks for.
    async fn done(&mut self, wanted: &str) -> Outcome<()> {
        match wanted {
            "kill the gateway" => self.gateway.kill().await,
            "open the gate" => std::fs::write(self.world.pod("box").join(GATE), "")?,
            "start the gateway" => {
                self.gateway = self.world.gateway_with(&self.listen)?;
                self.gateway.until_it_says("serving").await?;
            }
            _ => return Err(format!("the console's script wants {wanted:?}").into()),
        }
        Ok(())
    }
}

#[tokio::test]
async fn people_use_it_in_a_browser() -> Outcome<()> {
    if !exists("chromium") || !exists("npm") {
        return Ok(());
    }
    let packages = install("console", |directory| {
        let mut npm = std::process::Command::new("npm");
        npm.args(["install", "--silent", "--prefix"])
            .arg(directory)
            .args(PACKAGES);
        npm
    })?;
    let claude = AskingClaude::new()?;
    let mut closed = closed(&claude).await?;
    let [(_, listen)] = &closed.listen;
    let settings = json!({
        "packages": packages, "base": format!("http://{listen}"), "key": closed.key,
        "session": closed.session, "gate": GATE,
    });
    let mut browser = Command::new("node")
        .arg(format!("{CLIENTS}/console.mjs"))
        .arg(settings.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut answers = browser.stdin.take().ok_or("no input")?;
    let mut wishes = BufReader::new(browser.stdout.take().ok_or("no output")?).lines();
    let used = async {
        while let Some(wanted) = wishes.next_line().await? {
            closed.done(&wanted).await?;
            answers.write_all(b"done\n").await?;
        }
        Outcome::Ok(browser.wait().await?)
    };
    let status = tokio::time::timeout(TIMEOUT, used).await??;
    assert!(status.success(), "{status}: it has said why above");
    Ok(())
}

fn items(answer: &Value) -> Vec<Value> {
    answer["items"].as_array().cloned().unwrap_or_default()
}

/// The projects that somebody may look into, and what they may do there.
#[tokio::test]
async fn each_is_shown_their_own_projects() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    for project in ["web", "api", "demo"] {
        client.of_project(project).session("box").await?;
    }
    let list = async |client: &Client, query: &str| {
        let request = client
            .http()
            .get(format!("{}/projects{query}", client.base));
        client.send(request).await
    };
    let all = loop {
        let answer = list(client, "").await?.json();
        if items(&answer).len() == 3 {
            break answer;
        }
        // The read model is about to know them.
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let named = |answer: &Value| -> Vec<Value> {
        let items = items(answer);
        items.iter().map(|item| item["id"].clone()).collect()
    };
    assert_eq!(named(&all), ["api", "demo", "web"]);
    assert_eq!(all["items"][0]["scopes"], json!(["read", "exec", "admin"]));
    let first = list(client, "?limit=2").await?.json();
    assert_eq!(named(&first), ["api", "demo"]);
    assert_eq!(first["next_cursor"], "demo");
    let rest = list(client, "?limit=2&cursor=demo").await?.json();
    assert_eq!(
        (named(&rest), &rest["next_cursor"]),
        (vec![json!("web")], &json!(null))
    );
    assert_eq!(list(client, "?limit=0").await?.status, 400);

    let body = json!({"name": "some", "scopes": ["read"], "projects": ["web", "new"]});
    let request = client.http().post(format!("{}/keys", client.base));
    let made = client.send(request.json(&body)).await?.json();
    let theirs = list(&client.with_key(key_of(&made)?)?, "").await?.json();
    assert_eq!(named(&theirs), ["new", "web"]);
    assert_eq!(theirs["items"][0]["scopes"], json!(["read"]));
    Ok(())
}

/// What became of an exec, and when each of its events was written.
#[tokio::test]
async fn an_exec_has_a_timeline() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("box").await?;
    let body = json!({"type": "git", "command": "version", "args": ["--build-options"],
        "env": {"SECRET": "value"}, "stdin": "unsaid", "stream_id": "one"});
    client.run(&session, &body).await?;
    let path = format!("/sessions/{session}/execs/one");
    let timeline = client.get(&format!("{path}/timeline")).await?;
    assert!(!timeline.text.contains("unsaid") && !timeline.text.contains("value"));
    let facts = items(&timeline.json());
    let names: Vec<_> = facts.iter().map(|fact| fact["event"].clone()).collect();
    assert_eq!(names, ["command", "admitted", "started", "complete"]);
    assert_eq!(facts[0]["data"]["env"], json!({"SECRET": null}));
    assert_eq!(facts[3]["data"]["outcome"], "exited");
    let times: Vec<_> = facts.iter().map(|fact| fact["at"].to_string()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(
        client.get(&path).await?.json()["summary"],
        "git version --build-options"
    );
    let none = client
        .get(&format!("/sessions/{session}/execs/none/timeline"))
        .await?;
    assert_eq!(
        (none.status, &none.json()["code"]),
        (404, &json!("not_found"))
    );

    let events = format!("{path}/events?times=true");
    let lines = client.get_as(&events, "application/x-ndjson", None).await?;
    for line in lines.text.lines() {
        let event: Value = serde_json::from_str(line)?;
        assert!(event["data"]["at"].is_string(), "{line}");
    }
    Ok(())
}

/// An order to end it is told as long as it is kept: until it has ended.
#[tokio::test]
async fn a_cancel_is_in_the_timeline_while_it_is_carried_out() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let session = client.session("box").await?;
    let command = "trap 'until [ -e go ]; do sleep 0.02; done; exit' TERM; echo on; while :; do sleep 0.02; done";
    let body = json!({"type": "shell", "command": command, "stream_id": "stubborn"});
    client.exec(&session, &body).await?;
    client
        .events(&session, "stubborn", None)
        .await?
        .until("output")
        .await?;
    client.cancel(&session, "stubborn").await?;
    let timeline = client
        .get(&format!("/sessions/{session}/execs/stubborn/timeline"))
        .await?;
    let facts = items(&timeline.json());
    let last = facts.last().ok_or("no facts")?;
    assert_eq!(last["event"], "cancel", "{timeline:?}");
    std::fs::write(world.pod("box").join("go"), "")?;
    let ended = client.transcript(&session, "stubborn").await?;
    assert_eq!(ended.complete()["outcome"], "canceled");
    Ok(())
}
