//! The feed of a whole session: all its execs on one connection.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rdev_tests::Outcome;
use rdev_tests::client::{Client, Stream};
use rdev_tests::log::exec_id;
use rdev_tests::transcript::SseEvent;
use rdev_tests::world::World;
use rdev_tests::writer::Author;
use serde_json::json;

use super::options;

/// Longer than a message of the log may be, so that it comes in parts.
const LONG_LINE_BYTES: usize = 700_000;
const SHELLS: usize = 3;
/// Between two events there are heartbeats, so that a feed that lacks one would be read for ever.
const PATIENCE: Duration = Duration::from_secs(20);

fn feed(session: &str) -> String {
    format!("/sessions/{session}/events")
}

/// The next events of the log, so many.
async fn take(stream: &mut Stream, count: usize) -> Outcome<Vec<SseEvent>> {
    let mut events = Vec::new();
    while events.len() < count {
        let next = tokio::time::timeout(PATIENCE, told(stream)).await;
        let event = next.map_err(|_| format!("nothing behind {:?}", events.last()))??;
        if event.name == "gap" {
            return Err(format!("a gap behind {:?}: {}", events.last(), event.data).into());
        }
        events.push(event);
    }
    Ok(events)
}

/// The next event that is not one of the connection.
async fn told(stream: &mut Stream) -> Outcome<SseEvent> {
    loop {
        let event = stream.next().await?.ok_or("the feed ended")?;
        if event.is_numbered() || event.name == "gap" {
            return Ok(event);
        }
    }
}

/// The next events of the log, until so many execs have ended.
async fn until_ends(stream: &mut Stream, ends: usize) -> Outcome<Vec<SseEvent>> {
    let mut events = Vec::new();
    while ends_in(&events) < ends {
        events.extend(take(stream, 1).await?);
    }
    Ok(events)
}

fn ends_in(events: &[SseEvent]) -> usize {
    let ends = events.iter().filter(|event| event.name == "complete");
    ends.count()
}

/// What is true of every feed that begins at the beginning: each event says first of which exec
/// it is, the exec's numbers go up by one, and sequences never go back.
fn assert_in_order(events: &[SseEvent]) {
    let mut numbers: HashMap<String, u64> = HashMap::new();
    let mut before = 0;
    for event in events {
        let stream = stream_of(event);
        let number = numbers.entry(stream).or_default();
        *number += 1;
        assert_eq!(event.number(), *number, "{}", event.id);
        let sequence: u64 = event
            .id
            .split('-')
            .next()
            .unwrap_or("")
            .parse()
            .unwrap_or(0);
        assert!(sequence >= before && sequence > 0, "{}", event.id);
        before = sequence;
    }
}

fn stream_of(event: &SseEvent) -> String {
    assert!(event.data.starts_with(r#"{"stream_id":""#), "{event:?}");
    event.json()["stream_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// The events of one exec in a feed, as that exec's own readers see them.
fn of_exec(events: &[SseEvent], stream: &str) -> Vec<SseEvent> {
    let prefix = format!(r#"{{"stream_id":"{stream}","#);
    let own = events.iter().filter_map(|event| {
        let members = event.data.strip_prefix(&prefix)?;
        let data = format!("{{{members}");
        Some(SseEvent {
            data,
            ..event.clone()
        })
    });
    own.collect()
}

/// A claude that prints one line that is longer than a message of the log.
fn long_winded(directory: &Path) -> Outcome<String> {
    let path = directory.join("claude");
    let script = format!(
        "#!/bin/sh\ncat > /dev/null\n\
         echo '{{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"4d9d7ed8-4f1c-4d83-a4d7-7ba4a6ff2bb2\"}}'\n\
         printf '{{\"type\":\"assistant\",\"text\":\"'\n\
         head -c {LONG_LINE_BYTES} /dev/zero | tr '\\0' x\nprintf '\"}}\\n'\n\
         echo '{{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"result\":\"done\"}}'\n"
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path.display().to_string())
}

/// Execs of three shells and a claude, all at once.
async fn run_together(client: &Client, session: &str) -> Outcome<()> {
    let shell = "for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; echo $i >&2; sleep 0.03; done";
    for index in 0..SHELLS {
        let body =
            json!({"type": "shell", "command": shell, "stream_id": format!("shell-{index}")});
        client.exec(session, &body).await?;
    }
    let body = json!({"type": "claude", "prompt": "talk", "stream_id": "agent"});
    client.exec(session, &body).await?;
    Ok(())
}

#[tokio::test]
async fn a_session_is_seen_on_one_connection() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let claude = long_winded(directory.path())?;
    let (mut world, services) = World::start(options().variable("RDEV_CLAUDE_BIN", claude)).await?;
    let (_second, other) = world.gateway()?;
    world.ready(&other).await?;
    let client = &services.client;
    let session = client.session("feed").await?;
    let mut live = client.stream(&feed(&session), None).await?;
    live.until("caught_up").await?;
    run_together(client, &session).await?;
    let seen = until_ends(&mut live, SHELLS + 1).await?;
    assert_in_order(&seen);

    let mut streams: Vec<_> = (0..SHELLS).map(|index| format!("shell-{index}")).collect();
    streams.push("agent".to_owned());
    for stream in &streams {
        let own = other.transcript(&session, stream).await?;
        own.check()?;
        let own: Vec<_> = own.numbered().into_iter().cloned().collect();
        assert_eq!(of_exec(&seen, stream), own, "{stream}");
    }
    let long = seen
        .iter()
        .filter(|event| event.data.len() > LONG_LINE_BYTES);
    assert_eq!(long.count(), 1);

    // From every event on, through another gateway.
    for (index, event) in seen.iter().enumerate() {
        let mut resumed = other.stream(&feed(&session), Some(&event.id)).await?;
        assert_eq!(resumed.status, 200, "{}", event.id);
        let rest = take(&mut resumed, seen.len() - index - 1).await;
        let rest = rest.map_err(|error| format!("behind {}: {error}", event.id))?;
        assert!(rest.iter().eq(&seen[index + 1..]), "behind {}", event.id);
    }
    Ok(())
}

#[tokio::test]
async fn a_feed_without_its_past_shows_what_comes() -> Outcome<()> {
    let (world, gateways) = World::of_readers(options(), 2).await?;
    let [client, other] = gateways.clients.as_slice() else {
        return Err("two gateways".into());
    };
    let bus = world.bus().await?;
    let session = client.session("feed").await?;
    let mut author = Author::begin(&bus, &exec_id(client, &session, "one")?).await?;
    author.lines(3, "before").await?;
    let path = format!("{}?tail=0", feed(&session));
    let mut live = client.stream(&path, None).await?;
    let greeting = live.next().await?.ok_or("no greeting")?;
    assert_eq!(greeting.name, "connected");
    live.until("caught_up").await?;
    author.lines(2, "after").await?;
    let seen = take(&mut live, 2).await?;
    let numbers: Vec<_> = seen.iter().map(SseEvent::number).collect();
    assert_eq!(numbers, [4, 5]);

    // Cut before it had seen anything: the id that it was greeted with stands for that place.
    let mut resumed = other.stream(&path, Some(&greeting.id)).await?;
    let seen = take(&mut resumed, 2).await?;
    let numbers: Vec<_> = seen.iter().map(SseEvent::number).collect();
    assert_eq!(numbers, [4, 5], "behind {}", greeting.id);
    Ok(())
}

/// Lines of several execs are stored in parts, and between the parts whole lines of others: a
/// reader that is cut there is still shown the lines that are open, once.
#[tokio::test]
async fn a_cut_in_the_middle_of_a_line_of_another_exec() -> Outcome<()> {
    let (world, gateways) = World::of_readers(options(), 2).await?;
    let [client, other] = gateways.clients.as_slice() else {
        return Err("two gateways".into());
    };
    let bus = world.bus().await?;
    let session = client.session("feed").await?;
    let mut live = client.stream(&feed(&session), None).await?;
    live.until("caught_up").await?;
    let mut one = Author::begin(&bus, &exec_id(client, &session, "one")?).await?;
    let mut two = Author::begin(&bus, &exec_id(client, &session, "two")?).await?;
    one.lines(2, "before").await?;
    two.lines(2, "before").await?;
    one.part(0, false, r#"{"event":{"text":""#).await?;
    two.lines(2, "between").await?;
    one.part(1, false, "a long line").await?;
    two.lines(1, "between").await?;
    // Both are in the middle of a line.
    two.part(0, false, r#"{"event":{"text":""#).await?;
    one.part(2, true, r#""}}"#).await?;
    two.part(1, true, r#""}}"#).await?;
    one.lines(1, "behind").await?;
    two.complete().await?;
    one.complete().await?;
    let seen = until_ends(&mut live, 2).await?;
    assert_in_order(&seen);
    assert_eq!(seen.len(), 2 + 2 + 2 + 1 + 1 + 1 + 1 + 1 + 1);
    for (index, event) in seen.iter().enumerate() {
        let mut resumed = other.stream(&feed(&session), Some(&event.id)).await?;
        let rest = until_ends(&mut resumed, 2 - ends_in(&seen[..=index])).await?;
        assert_eq!(rest, seen[index + 1..], "behind {}", event.id);
    }
    Ok(())
}

#[tokio::test]
async fn ids_of_another_session_are_refused() -> Outcome<()> {
    let (world, gateways) = World::of_readers(options(), 1).await?;
    let client = &gateways.clients[0];
    let bus = world.bus().await?;
    let session = client.session("feed").await?;
    let foreign = client.session("feed").await?;
    let mut author = Author::begin(&bus, &exec_id(client, &foreign, "one")?).await?;
    author.lines(2, "foreign").await?;
    let mut own = Author::begin(&bus, &exec_id(client, &session, "one")?).await?;
    own.lines(1, "own").await?;
    let tag = author.exec.tag();
    let own_sequence = own.messages[0].sequence;
    let whole_foreign = client.stream(&feed(&foreign), None).await?;
    let greeting = { whole_foreign }.next().await?.ok_or("no greeting")?;
    for id in [
        author.id(1),
        author.id(2),
        // The tag counts, not the place.
        format!("{own_sequence}-1-{tag}"),
        greeting.id,
    ] {
        for accept in ["text/event-stream", "application/json"] {
            let answer = client.get_as(&feed(&session), accept, Some(&id)).await?;
            assert_eq!(answer.status, 400, "{id}: {}", answer.text);
            assert_eq!(answer.json()["code"], "event_id_of_another_exec", "{id}");
        }
    }
    Ok(())
}
