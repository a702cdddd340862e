//! API keys, from the first one on: who is let in on every gateway, and how soon not any more.

#[path = "keys/issuer.rs"]
mod issuer;

use std::time::Duration;

use rdev_tests::Outcome;
use rdev_tests::client::{Answer, Client};
use rdev_tests::log::{ExecLog, exec_id};
use rdev_tests::world::{Service, World};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::Instant;

use super::clients::{CLIENTS, exists};
use super::{RDEV, options};

/// A revocation is everywhere within a second, on a busy machine a little later.
const EVERYWHERE_WITHIN: Duration = Duration::from_secs(3);
/// It has to start, on a busy machine.
const BROWSER_TIMEOUT: Duration = Duration::from_secs(120);

/// `rdev keys` with these arguments, and what it printed as JSON.
pub(super) async fn keys(world: &World, arguments: &[&str]) -> Outcome<Value> {
    let output = Command::new(RDEV)
        .args(["keys", "--json", "--nats-url", &world.nats.url()])
        .args(arguments)
        .output()
        .await?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

pub(super) fn key_of(made: &Value) -> Outcome<&str> {
    Ok(made["key"].as_str().ok_or("no key")?)
}

/// A world in which nobody is let in without a key.
struct Closed {
    world: World,
    /// With a key that may do everything.
    client: Client,
    /// That key.
    admin: Value,
    _services: [Service; 3],
}

async fn closed() -> Outcome<Closed> {
    let mut world = World::bare(options().variable("RDEV_REQUIRE_KEYS", "true")).await?;
    let create = ["create", "--name", "admin", "--scope", "admin,exec,read"];
    let admin = keys(&world, &[&create[..], &["--project", "*"]].concat()).await?;
    let (gateway, client) = world.gateway()?;
    let client = client.with_key(key_of(&admin)?)?;
    let services = [gateway, world.projector()?, world.executor()?];
    world.ready(&client).await?;
    Ok(Closed {
        world,
        client,
        admin,
        _services: services,
    })
}

async fn made(client: &Client, body: &Value) -> Outcome<Value> {
    let request = client.http().post(format!("{}/keys", client.base));
    let answer = client.send(request.json(body)).await?;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), "no-store");
    Ok(answer.json())
}

async fn revoked(client: &Client, id: &Value) -> Outcome<Answer> {
    let path = format!("{}/keys/{}", client.base, id.as_str().unwrap_or_default());
    client.send(client.http().delete(path)).await
}

fn code(answer: &Answer) -> (u16, String) {
    let code = answer.json()["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status, code)
}

#[tokio::test]
async fn nobody_is_let_in_where_there_is_no_key() -> Outcome<()> {
    let mut world = World::bare(options()).await?;
    let everywhere = [("RDEV_LISTEN", "0.0.0.0:0".to_owned())];
    let gateway = world.gateway_with(&everywhere)?;
    gateway.until_it_says("rdev keys create").await?;
    let [listen] = everywhere.clone();
    let makes = [listen, ("RDEV_MAKE_FIRST_KEY", "true".to_owned())];
    let gateway = world.gateway_with(&makes)?;
    gateway.until_it_says("key: rdev_").await?;
    gateway.until_it_says("serving").await?;
    gateway.stop().await;
    // It is there now, and another one is not made.
    let gateway = world.gateway_with(&makes)?;
    gateway.until_it_says("serving").await?;
    assert!(!std::fs::read_to_string(&gateway.log)?.contains("key: rdev_"));
    let listed = keys(&world, &["list"]).await?;
    assert_eq!(
        listed["items"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );
    Ok(())
}

#[tokio::test]
async fn a_key_is_used_on_every_gateway_until_it_is_revoked() -> Outcome<()> {
    let mut closed = closed().await?;
    let admin = closed.client.clone();
    let session = admin.session("box").await?;
    let command = json!({"type": "shell", "command": "echo on; sleep 60", "stream_id": "long"});
    admin.exec(&session, &command).await?;
    let (_gateway, other) = closed.world.gateway()?;
    closed
        .world
        .ready(&other.with_key(key_of(&closed.admin)?)?)
        .await?;

    let reader = json!({"name": "reader", "scopes": ["read"], "projects": ["demo"]});
    let reader = made(&admin, &reader).await?;
    let other = other.with_key(key_of(&reader)?)?;
    until(&other, 200).await?;
    let path = format!("/sessions/{session}/exec");
    let refused = other
        .post(&path, &json!({"type": "shell", "command": "true"}))
        .await?;
    assert_eq!(code(&refused), (403, "insufficient_scope".to_owned()));
    let refused = other.of_project("theirs").get("/sessions").await?;
    assert_eq!(code(&refused), (404, "not_found".to_owned()));
    let refused = revoked(&other, &reader["id"]).await?;
    assert_eq!(code(&refused), (403, "insufficient_scope".to_owned()));

    let mut stream = other.events(&session, "long", None).await?;
    stream.until("caught_up").await?;
    let begin = Instant::now();
    let answer = revoked(&admin, &reader["id"]).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.json()["revoked_at"].is_string(), "{}", answer.text);
    stream.rest().await?;
    let ended = begin.elapsed();
    println!("the stream at another gateway ended {ended:?} after the key was asked to be revoked");
    assert!(ended < EVERYWHERE_WITHIN, "{ended:?}");
    let answer = other.get("/sessions").await?;
    assert_eq!(code(&answer), (401, "invalid_credential".to_owned()));
    // Twice is once.
    assert_eq!(
        revoked(&admin, &reader["id"]).await?.json(),
        answer_of(&admin, &reader).await?
    );
    Ok(())
}

/// The key as the list shows it.
async fn answer_of(client: &Client, made: &Value) -> Outcome<Value> {
    let list = client.http().get(format!("{}/keys", client.base));
    let list = client.send(list).await?.json();
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let item = items.into_iter().find(|item| item["id"] == made["id"]);
    Ok(item.ok_or("it is not in the list")?)
}

#[tokio::test]
async fn a_key_is_rotated_listed_and_named_in_the_log() -> Outcome<()> {
    let Closed {
        world,
        client,
        admin,
        _services,
    } = closed().await?;
    let session = client.session("box").await?;
    let body = json!({"type": "shell", "command": "sleep 60", "stream_id": "mine"});
    client.exec(&session, &body).await?;
    client.cancel(&session, "mine").await?;
    client.transcript(&session, "mine").await?;
    let bus = world.bus().await?;
    let log = ExecLog::read(&bus, &exec_id(&client, &session, "mine")?).await?;
    let by = &log.0[0].value["data"]["by"];
    assert_eq!(by["key"], admin["id"], "{by}");
    assert!(
        by["address"]
            .as_str()
            .is_some_and(|at| at.starts_with("127.0.0.1:")),
        "{by}"
    );

    let trail = world.audit(&["--trail"], &[]).await?.report;
    let done: Vec<_> = trail["entries"].as_array().into_iter().flatten().collect();
    let done: Vec<_> = done.iter().map(|entry| &entry["what"]).collect();
    assert_eq!(
        done,
        ["key created", "session created", "exec shell", "cancel"]
    );
    for entry in &trail["entries"].as_array().ok_or("no entries")?[1..] {
        assert_eq!(entry["by"]["key"], admin["id"], "{entry}");
    }

    // The list is the same from the log and from a gateway, and shows no secret.
    let item = answer_of(&client, &admin).await?;
    assert!(item["last_used_at"].is_string(), "{item}");
    let listed = keys(&world, &["list"]).await?;
    assert_eq!(listed["items"][0]["id"], admin["id"]);
    assert!(!listed.to_string().contains("hash"), "{listed}");

    let id = admin["id"].as_str().ok_or("no id")?;
    let rotate = |body: Value| {
        let request = client
            .http()
            .post(format!("{}/keys/{id}/rotate", client.base));
        client.send(request.json(&body))
    };
    let rotated = rotate(json!({})).await?;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let rotated = client.with_key(key_of(&rotated.json())?)?;
    assert_eq!(rotated.get("/sessions").await?.status, 200);
    // For an hour.
    assert_eq!(client.get("/sessions").await?.status, 200);
    let last = keys(&world, &["rotate", id, "--grace", "0s"]).await?;
    let last = client.with_key(key_of(&last)?)?;
    until(&last, 200).await?;
    for former in [&client, &rotated] {
        until(former, 401).await?;
    }
    keys(&world, &["revoke", id]).await?;
    until(&last, 401).await?;
    Ok(())
}

/// Waits until a client is answered so.
async fn until(client: &Client, status: u16) -> Outcome<()> {
    let begin = Instant::now();
    while client.get("/sessions").await?.status != status {
        let waited = begin.elapsed();
        assert!(waited < EVERYWHERE_WITHIN, "not {status} after {waited:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

#[tokio::test]
async fn known_keys_are_good_while_the_log_is_away() -> Outcome<()> {
    let Closed {
        mut world,
        client,
        _services,
        ..
    } = closed().await?;
    client.session("box").await?;
    world.nats.stop().await;
    // Lists come from PostgreSQL.
    assert_eq!(client.get("/sessions").await?.status, 200);
    let unknown = format!("rdev_0123456789abcdef_{}", "0".repeat(64));
    let refused = client.with_key(&unknown)?.get("/sessions").await?;
    assert_eq!(code(&refused), (401, "invalid_credential".to_owned()));
    // What was revoked meanwhile is known once the log is back.
    world.nats.restart().await?;
    world.ready(&client).await?;
    Ok(())
}

/// Not the way to do it, and done all the same: entries are deleted with a tool for buckets.
#[tokio::test]
async fn what_was_deleted_by_hand_lets_nobody_in() -> Outcome<()> {
    let closed = closed().await?;
    let client = closed.client.clone();
    let session = client.session("box").await?;
    client.shell(&session, "true").await?;
    let reader = json!({"name": "reader", "scopes": ["read"], "projects": ["demo"]});
    let reader = made(&client, &reader).await?;
    let theirs = client.with_key(key_of(&reader)?)?;
    let tickets = format!("/sessions/{session}/tickets");
    let url = |answer: Answer| answer.json()["url"].as_str().map(str::to_owned);
    let before = url(client.post(&tickets, &json!({})).await?).ok_or("no ticket")?;
    let mut stream = theirs
        .stream(&format!("/sessions/{session}/events"), None)
        .await?;
    stream.until("caught_up").await?;

    let nats = async_nats::connect(closed.world.nats.url()).await?;
    let jetstream = async_nats::jetstream::new(nats);
    let bucket = jetstream.get_key_value("RDEV_KEYS").await?;
    bucket
        .delete(format!("key.{}", reader["id"].as_str().ok_or("no id")?))
        .await?;
    stream.rest().await?;
    until(&theirs, 401).await?;
    let again = revoked(&client, &reader["id"]).await?;
    assert_eq!(code(&again), (404, "not_found".to_owned()));

    // Other tickets are made with another secret, and those of before are worth nothing.
    bucket.delete("ticket").await?;
    let begin = Instant::now();
    loop {
        let answer = with_ticket(&client, &before, Some("0-0-00000000")).await?;
        let made = client.post(&tickets, &json!({})).await?;
        if answer.status == 401 && made.status == 201 {
            break;
        }
        assert!(
            begin.elapsed() < EVERYWHERE_WITHIN,
            "{} {}",
            answer.status,
            made.status
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// What a ticket opens, as a browser asks for it: without any header but its own.
async fn with_ticket(client: &Client, url: &str, cursor: Option<&str>) -> Outcome<Answer> {
    let mut request = reqwest::Client::new().get(format!("{}{url}", client.base));
    if let Some(cursor) = cursor {
        request = request.header("Last-Event-ID", cursor);
    }
    client.send(request).await
}

#[tokio::test]
async fn a_ticket_opens_one_stream_on_every_gateway() -> Outcome<()> {
    let mut closed = closed().await?;
    let client = closed.client.clone();
    let session = client.session("box").await?;
    client.shell(&session, "echo before").await?;
    let body = json!({"type": "shell", "command": "echo one; echo two", "stream_id": "mine"});
    client.exec(&session, &body).await?;
    let ours = client.transcript(&session, "mine").await?;
    let (_gateway, other) = closed.world.gateway()?;
    let admin = other.with_key(key_of(&closed.admin)?)?;
    closed.world.ready(&admin).await?;

    let tickets = format!("/sessions/{session}/tickets");
    let reader = json!({"name": "reader", "scopes": ["read"], "projects": ["demo"]});
    let reader = made(&client, &reader).await?;
    let client = client.with_key(key_of(&reader)?)?;
    let answer = client.post(&tickets, &json!({"stream_id": "mine"})).await?;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let made_for_one = answer.json();
    let url = made_for_one["url"].as_str().ok_or("no url")?;
    assert!(!url.contains(key_of(&reader)?));
    let answer = with_ticket(&other, url, None).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for event in ours.numbered() {
        assert!(answer.text.contains(&event.id), "{}", answer.text);
    }
    // It comes back as an EventSource does.
    let first = ours.numbered()[0].id.clone();
    let answer = with_ticket(&other, url, Some(&first)).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(
        !answer.text.contains("data: {\"line\":\"one\""),
        "{}",
        answer.text
    );
    assert!(answer.text.contains("event: complete"), "{}", answer.text);

    let invalid = (401, "invalid_credential".to_owned());
    let ticket = made_for_one["ticket"].as_str().ok_or("no ticket")?;
    let at = |path: &str| format!("/projects/demo/sessions/{session}{path}ticket={ticket}");
    for path in [
        "/events?stream_id=other&",
        "/events?",
        "?",
        "/execs/mine?",
        "/execs?",
    ] {
        let answer = with_ticket(&other, &at(path), None).await?;
        assert_eq!(code(&answer), invalid, "{path}");
    }
    let answer = with_ticket(&other, &at("/execs/mine/events?"), None).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);

    // Of the whole session: it ends with the key that it was made with.
    let whole = client.post(&tickets, &json!({})).await?.json();
    let whole = whole["url"].as_str().ok_or("no url")?;
    let below = whole.strip_prefix("/projects/demo").ok_or("elsewhere")?;
    let without_key = Client::new(other.base.clone(), "demo");
    let mut stream = without_key.stream(below, None).await?;
    assert_eq!(stream.status, 200);
    stream.until("caught_up").await?;
    let begin = Instant::now();
    assert_eq!(revoked(&closed.client, &reader["id"]).await?.status, 200);
    stream.rest().await?;
    let ended = begin.elapsed();
    assert!(ended < EVERYWHERE_WITHIN, "{ended:?}");
    assert_eq!(code(&with_ticket(&other, whole, None).await?), invalid);
    Ok(())
}

/// A browser, which can send no key, reads to the end with a ticket, and does not come again.
#[tokio::test]
async fn chromium_follows_with_a_ticket() -> Outcome<()> {
    if !exists("chromium") {
        return Ok(());
    }
    let closed = closed().await?;
    let client = &closed.client;
    let session = client.session("box").await?;
    let command = "echo one; sleep 1; echo two";
    let body = json!({"type": "shell", "command": command, "stream_id": "mine"});
    client.exec(&session, &body).await?;
    let tickets = format!("/sessions/{session}/tickets");
    let wanted = json!({"stream_id": "mine"});
    let ticket = client.post(&tickets, &wanted).await?.json();
    let url = ticket["url"].as_str().ok_or("no url")?;
    let browser = Command::new("python3")
        .arg(format!("{CLIENTS}/chromium_client.py"))
        .arg(format!("{}{url}", client.base))
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(BROWSER_TIMEOUT, browser).await??;
    let mut seen = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let (id, name, _): (String, String, String) = serde_json::from_str(line)?;
        seen.push((id, name));
    }
    let ours = client.transcript(&session, "mine").await?;
    assert_eq!(ours.numbered().len(), 3);
    for event in ours.numbered() {
        let times = seen
            .iter()
            .filter(|(id, name)| *id == event.id && *name == event.name);
        assert_eq!(times.count(), 1, "{seen:?}");
    }
    Ok(())
}

#[tokio::test]
async fn one_key_may_ask_for_so_much_at_a_gateway() -> Outcome<()> {
    let mut closed = closed().await?;
    let session = closed.client.session("box").await?;
    let body = json!({"type": "shell", "command": "sleep 60", "stream_id": "long"});
    closed.client.exec(&session, &body).await?;
    let address = rdev_embedded::draw_port()?;
    let limits = [
        ("RDEV_LISTEN", format!("127.0.0.1:{address}")),
        ("RDEV_KEY_STREAMS", "2".to_owned()),
        ("RDEV_KEY_RATE", "1".to_owned()),
        ("RDEV_KEY_BURST", "30".to_owned()),
    ];
    let gateway = closed.world.gateway_with(&limits)?;
    gateway.until_it_says("serving").await?;
    let base = format!("http://127.0.0.1:{address}");
    let client = Client::new(base, "demo").with_key(key_of(&closed.admin)?)?;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = client.events(&session, "long", None).await?;
        stream.until("caught_up").await?;
        streams.push(stream);
    }
    let events = format!("/sessions/{session}/events?stream_id=long");
    let refused = client.get(&events).await?;
    assert_eq!(code(&refused), (429, "too_many_streams_of_key".to_owned()));
    assert_eq!(refused.header("retry-after"), "2");
    streams.pop();
    let begin = Instant::now();
    loop {
        let stream = client.events(&session, "long", None).await?;
        if stream.status == 200 {
            break;
        }
        assert!(begin.elapsed() < EVERYWHERE_WITHIN);
    }

    let path = format!("/sessions/{session}");
    let mut answers = Vec::new();
    for _ in 0..40 {
        answers.push(client.get(&path).await?);
    }
    let last = answers.last().ok_or("no answer")?;
    assert_eq!(code(last), (429, "rate_limited".to_owned()));
    assert_eq!(last.header("retry-after"), "1");
    assert_eq!(last.header("ratelimit-policy"), "\"key\";q=30;w=30");
    assert!(last.header("ratelimit").starts_with("\"key\";r=0;t="));
    // Another key is not held up by that.
    let other = json!({"name": "other", "scopes": ["read"], "projects": ["demo"]});
    let other = made(&closed.client, &other).await?;
    until(&client.with_key(key_of(&other)?)?, 200).await?;
    Ok(())
}
