//! What is published about the messages holds for the messages of a real log, and the AsyncAPI
//! document is one.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::jetstream;
use boon::{Compiler, Draft, SchemaIndex, Schemas};
use futures::StreamExt;
use rdev_contract::event::Kind;
use rdev_contract::published::ASYNCAPI;
use rdev_contract::subject::{
    CONTROL_STREAM, EXEC_STREAM, LIVE_DESTINATION, SESSION_STREAM, Subject, TRAIL_STREAM,
};
use rdev_tests::asking::asks;
use rdev_tests::client::{Answer, Client};
use rdev_tests::life::{TEMPLATE, create, feed, with_templates};
use rdev_tests::world::{Services, World};
use rdev_tests::{Outcome, log};
use serde_json::{Value, json};

use super::clients::{exists, install};
use super::options;

/// The JSON Schema of AsyncAPI documents.
const ASYNCAPI_SPECS: &str = "@asyncapi/specs@6.11.1";

/// An exec that two executors had.
const TAKEN_OVER: &str = "taken-over";

/// The schemas that a gateway serves.
struct Served {
    schemas: Schemas,
    by_name: BTreeMap<String, SchemaIndex>,
    /// Names of those that something was checked with.
    used: BTreeSet<String>,
}

impl Served {
    async fn by(client: &Client) -> Outcome<Self> {
        let (mut schemas, mut by_name) = (Schemas::new(), BTreeMap::new());
        let get = async |path: &str| {
            let request = client.http().get(format!("{}{path}", client.base));
            client.send(request).await.map(|answer| answer.json())
        };
        let list = get("/schemas").await?;
        for item in list["items"].as_array().into_iter().flatten() {
            let url = item["url"].as_str().unwrap_or_default();
            let mut compiler = Compiler::new();
            compiler.set_default_draft(Draft::V2020_12);
            compiler.enable_format_assertions();
            compiler.add_resource(url, get(url).await?).map_err(text)?;
            let index = compiler.compile(url, &mut schemas).map_err(text)?;
            by_name.insert(item["name"].as_str().unwrap_or_default().to_owned(), index);
        }
        Ok(Self {
            schemas,
            by_name,
            used: BTreeSet::new(),
        })
    }

    fn check(&mut self, name: String, value: &Value) -> Outcome<()> {
        let index = self
            .by_name
            .get(&name)
            .ok_or_else(|| format!("no {name}"))?;
        self.schemas
            .validate(value, *index)
            .map_err(|error| format!("{name}: {error:#}\n{value}"))?;
        self.used.insert(name);
        Ok(())
    }

    /// All messages of a stream.
    async fn check_log(&mut self, nats: &str, stream: &str, what: &str) -> Outcome<()> {
        let log = jetstream::new(async_nats::connect(nats).await?);
        let mut log = log.get_stream(stream).await?;
        let last = log.info().await?.state.last_sequence;
        for sequence in 1..=last {
            let message = log.get_raw_message(sequence).await?;
            let payload: Value = serde_json::from_slice(&message.payload)?;
            let kind = payload["kind"].as_str().unwrap_or_default();
            let subject = message.subject.as_str();
            assert!(subject.ends_with(&format!(".{kind}")), "{subject}: {kind}");
            self.check(format!("{what}-{kind}"), &payload)?;
        }
        Ok(())
    }

    /// All events that a reader is sent, up to the end.
    async fn check_events(&mut self, client: &Client, session: &str, exec: &str) -> Outcome<()> {
        let mut stream = client.events(session, exec, None).await?;
        while let Some(event) = stream.next().await? {
            self.check(format!("sse-{}", event.name), &event.json())?;
        }
        Ok(())
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[tokio::test]
async fn all_messages_of_a_real_log_are_as_published() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let claude = super::claude::stand_in(directory.path())?;
    let (options, _templates) = with_templates(options())?;
    let options = options
        .variable("RDEV_IDLE_WARNING", "1s")
        .variable("RDEV_CLAUDE_BIN", claude)
        .variable("RDEV_CODEX_BIN", super::codex::stand_in(directory.path())?)
        .variable("RDEV_HEARTBEAT", "1s");
    let (mut world, services) = World::start(options).await?;
    let client = &services.client;
    let session = client.session("pod").await?;
    let mut served = Served::by(client).await?;
    let nats = async_nats::connect(world.nats.url()).await?;
    let mut live = nats.subscribe(LIVE_DESTINATION).await?;
    nats.flush().await?;
    for body in [
        json!({"type": "shell", "command": "printf 'a\\377\\nb'; echo c >&2; kill -9 $$"}),
        json!({"type": "shell", "command": "cat", "stdin": "x\n", "merge": true, "cwd": "/",
            "env": {"A": "b"}, "args": ["c"], "timeout_seconds": 60}),
        json!({"type": "shell", "command": "sleep 60", "timeout_seconds": 2}),
        json!({"type": "git", "command": "status", "args": ["--short"]}),
        json!({"type": "claude", "prompt": "tool_multi"}),
        json!({"type": "claude", "prompt": "no such", "continue_conversation": true}),
        json!({"type": "codex", "prompt": "made_by_hand", "continue_conversation": true}),
    ] {
        let stream = client.exec(&session, &body).await?;
        served.check_events(client, &session, &stream).await?;
    }
    check_orders(&mut served, &world.nats.url(), client, &session).await?;
    check_questions(&mut served, client, &session).await?;
    check_terminal(&mut served, client, &session).await?;
    check_life(&mut served, client).await?;
    let queued = take_over(&mut world, &services, &session).await?;
    served.check("sse-queued".to_owned(), &queued)?;
    client.delete(&format!("/sessions/{session}")).await?;
    check_live_headers(&live.next().await.ok_or("nothing came")?)?;
    let nats = world.nats.url();
    served.check_log(&nats, EXEC_STREAM, "exec").await?;
    served.check_log(&nats, SESSION_STREAM, "session").await?;
    check_partings(&mut served, &nats, &services, &session).await?;
    check_trail(&mut served, &nats).await?;
    let names: BTreeSet<_> = served.by_name.keys().cloned().collect();
    assert_eq!(served.used, names);
    Ok(())
}

/// One order of each type; the last one is kept until its exec ends.
async fn check_orders(
    served: &mut Served,
    nats: &str,
    client: &Client,
    session: &str,
) -> Outcome<()> {
    let exec = "ordered";
    let body = json!({"type": "shell", "command": "trap '' TERM; echo on; cat; sleep 60",
        "stream_id": exec, "stdin_open": true});
    client.exec(session, &body).await?;
    let mut events = client.events(session, exec, None).await?;
    events.until("output").await?;
    let orders = jetstream::new(async_nats::connect(nats).await?);
    let orders = orders.get_stream(CONTROL_STREAM).await?;
    let subject = Subject::control(&log::exec_id(client, session, exec)?);
    let mut check = async |given: Answer| {
        assert_eq!(given.status, 202, "{}", given.text);
        let last = orders.get_last_raw_message_by_subject(subject.as_str());
        let last = serde_json::from_slice(&last.await?.payload)?;
        served.check("control-order".to_owned(), &last)
    };
    check(client.stdin(session, exec, "offset=0", "a\n").await?).await?;
    check(
        client
            .stdin(session, exec, "offset=2&end=true", "\0")
            .await?,
    )
    .await?;
    let body = json!({"signal": "CONT"});
    check(client.order(session, exec, "signal", &body).await?).await?;
    check(client.cancel(session, exec).await?).await?;
    let body = json!({"signal": "KILL"});
    client.order(session, exec, "signal", &body).await?;
    events.until("complete").await?;
    Ok(())
}

/// What is left of the orders.
async fn check_trail(served: &mut Served, nats: &str) -> Outcome<()> {
    let log = jetstream::new(async_nats::connect(nats).await?);
    let trail = log.get_stream(TRAIL_STREAM).await?;
    let count = trail.get_info().await?.state.messages;
    assert!(count >= 6, "{count}");
    for sequence in 1..=count {
        let message = trail.get_raw_message(sequence).await?;
        let entry = serde_json::from_slice(&message.payload)?;
        served.check("trail-order".to_owned(), &entry)?;
    }
    Ok(())
}

/// An agent that asks, and is answered.
async fn check_questions(served: &mut Served, client: &Client, session: &str) -> Outcome<()> {
    let exec = "asking";
    let body = asks(
        exec,
        "withdraw a\nask b true",
        &json!({"approval_timeout_seconds": 60}),
    );
    client.exec(session, &body).await?;
    let mut events = client.events(session, exec, None).await?;
    events.until("approval").await?;
    events.until("approval").await?;
    let allow = json!({"decision": "allow", "updated_input": {"command": "false"}});
    let answer = client.answer(session, exec, "b", &allow).await?;
    assert_eq!(answer.status, 202, "{}", answer.text);
    events.until("complete").await?;
    served.check_events(client, session, exec).await
}

/// A terminal that is resized.
async fn check_terminal(served: &mut Served, client: &Client, session: &str) -> Outcome<()> {
    let exec = "terminal";
    let body = json!({"type": "shell", "command": "read line", "stream_id": exec,
        "tty": {"cols": 80, "rows": 24}});
    client.exec(session, &body).await?;
    let mut events = client.events(session, exec, None).await?;
    let size = json!({"cols": 90, "rows": 30});
    let resized = client.order(session, exec, "resize", &size).await?;
    assert_eq!(resized.status, 202, "{}", resized.text);
    events.until("resized").await?;
    client.stdin(session, exec, "offset=0", "\n").await?;
    events.until("complete").await?;
    served.check_events(client, session, exec).await
}

/// A session with a pod of its own, until it has been idle for too long.
async fn check_life(served: &mut Served, client: &Client) -> Outcome<()> {
    let body = json!({"template": TEMPLATE, "idle_timeout_seconds": 2});
    let session = create(client, &body).await?;
    let mut feed = feed(client, &session).await?;
    loop {
        let news = feed.until("session").await?.json();
        served.check("sse-session".to_owned(), &news)?;
        if news["pod_state"] == "deleted" {
            return Ok(());
        }
    }
}

/// An exec whose executor is killed, and that another one ends. Gives the place of one that waits for
/// that other one.
async fn take_over(world: &mut World, services: &Services, session: &str) -> Outcome<Value> {
    let client = &services.client;
    let gated = "echo a; until [ -e gate ]; do sleep 0.02; done; echo b";
    let body = json!({"type": "shell", "command": gated, "stream_id": TAKEN_OVER});
    client.exec(session, &body).await?;
    let mut reader = client.events(session, TAKEN_OVER, None).await?;
    reader.until("output").await?;
    services.executor.kill().await;
    let body = json!({"type": "shell", "command": "true"});
    let behind = client.exec(session, &body).await?;
    let mut behind = client.events(session, &behind, None).await?;
    let queued = behind.until("queued").await?;
    let _second = world.executor()?;
    let exec = log::exec_id(client, session, TAKEN_OVER)?;
    log::until_kind(&world.bus().await?, &exec, Kind::Resumed).await?;
    std::fs::write(world.pod("pod").join("gate"), "")?;
    reader.until("complete").await?;
    behind.until("complete").await?;
    Ok(queued.json())
}

/// What readers are told where something is gone, and when their gateway ends.
async fn check_partings(
    served: &mut Served,
    nats: &str,
    services: &Services,
    session: &str,
) -> Outcome<()> {
    let client = &services.client;
    let exec = log::exec_id(client, session, TAKEN_OVER)?;
    let output = Subject::exec(&exec, Kind::Output);
    let log = jetstream::new(async_nats::connect(nats).await?);
    let log = log.get_stream(EXEC_STREAM).await?;
    log.purge().filter(output.as_str()).await?;
    served.check_events(client, session, TAKEN_OVER).await?;
    // It waits for an exec that nobody has asked for yet.
    let mut waiting = client.events(session, "later", None).await?;
    waiting.until("connected").await?;
    services.gateway.stop().await;
    let parting = waiting.until("reconnect").await?;
    served.check("sse-reconnect".to_owned(), &parting.json())
}

/// The headers that the AsyncAPI document tells of are those that come.
fn check_live_headers(message: &async_nats::Message) -> Outcome<()> {
    let document: Value = serde_json::from_str(ASYNCAPI)?;
    let described = &document["components"]["messages"]["live-exec-command"]["headers"];
    let headers = message.headers.as_ref().ok_or("no headers")?;
    let came: BTreeSet<_> = headers.iter().map(|(name, _)| name.to_string()).collect();
    let described = described["properties"].as_object().ok_or("no properties")?;
    assert_eq!(came, described.keys().cloned().collect());
    Ok(())
}

/// What the makers of AsyncAPI say that a document is.
#[test]
fn the_asyncapi_document_is_one() -> Outcome<()> {
    if !exists("npm") {
        return Ok(());
    }
    let specs = install("asyncapi-specs", |directory| {
        let mut npm = std::process::Command::new("npm");
        npm.args(["install", "--silent", "--prefix"])
            .arg(directory)
            .arg(ASYNCAPI_SPECS);
        npm
    })?;
    let path = specs.join("node_modules/@asyncapi/specs/schemas/3.0.0.json");
    let specification: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.set_default_draft(Draft::V7);
    compiler
        .add_resource("asyncapi.json", specification)
        .map_err(text)?;
    let index = compiler
        .compile("asyncapi.json", &mut schemas)
        .map_err(text)?;
    let mut document: Value = serde_json::from_str(ASYNCAPI)?;
    schemas
        .validate(&document, index)
        .map_err(|error| format!("{error:#}"))?;
    // And it can be told from what is none.
    document["channels"]["live"]["adress"] = json!("misspelt");
    assert!(schemas.validate(&document, index).is_err());
    Ok(())
}
