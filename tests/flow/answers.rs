//! The other forms of an answer: lines of JSON, one JSON object, and the last few events.

use std::time::{Duration, Instant};

use rdev_tests::Outcome;
use rdev_tests::client::{Answer, Client};
use rdev_tests::log::exec_id;
use rdev_tests::transcript::SseEvent;
use rdev_tests::world::World;
use rdev_tests::writer::Author;
use serde_json::Value;

use super::options;

const LINES: &str = "application/x-ndjson";
const JSON: &str = "application/json";

/// A world in which nobody runs commands, a session, and an exec `one` that the test writes.
async fn written() -> Outcome<(World, rdev_tests::world::Gateways, String, Author)> {
    let (world, gateways) = World::of_readers(options(), 1).await?;
    let client = &gateways.clients[0];
    let session = client.session("answers").await?;
    let exec = exec_id(client, &session, "one")?;
    let author = Author::begin(&world.bus().await?, &exec).await?;
    Ok((world, gateways, session, author))
}

fn path(session: &str, query: &str) -> String {
    format!("/sessions/{session}/events?stream_id=one{query}")
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.text.ends_with('\n'), "{}", answer.text);
    let lines = answer
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_default());
    lines.collect()
}

/// Names and numbers of the events of the log in lines or in a JSON answer.
fn numbers(events: &[Value]) -> Vec<u64> {
    let events = events.iter().map(|event| SseEvent {
        id: event["id"].as_str().unwrap_or_default().to_owned(),
        name: event["event"].as_str().unwrap_or_default().to_owned(),
        data: event["data"].to_string(),
    });
    let numbered = events.filter(SseEvent::is_numbered);
    numbered.map(|event| event.number()).collect()
}

fn name(line: Option<&Value>) -> &str {
    line.and_then(|line| line["event"].as_str())
        .unwrap_or_default()
}

struct Poll {
    events: Vec<Value>,
    next: String,
    caught_up: bool,
    complete: bool,
}

async fn poll(client: &Client, path: &str, cursor: Option<&str>) -> Outcome<Poll> {
    let answer = client.get_as(path, JSON, cursor).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.header("content-type").starts_with(JSON));
    let body = answer.json();
    Ok(Poll {
        events: body["events"].as_array().ok_or("no events")?.clone(),
        next: body["next"].as_str().ok_or("no next")?.to_owned(),
        caught_up: body["caught_up"].as_bool().ok_or("no caught_up")?,
        complete: body["complete"].as_bool().ok_or("no complete")?,
    })
}

#[tokio::test]
async fn lines_of_json_are_the_same_events_and_end() -> Outcome<()> {
    let (_world, gateways, session, mut author) = written().await?;
    let client = &gateways.clients[0];
    author.lines(3, "a \"text\" \u{2028} with\ttabs").await?;
    author.lines(2, "more").await?;
    let running = lines(&client.get_as(&path(&session, ""), LINES, None).await?);
    assert_eq!(numbers(&running), [1, 2, 3, 4, 5]);
    assert_eq!(name(running.last()), "caught_up");
    author.complete().await?;
    let events = client.transcript(&session, "one").await?;
    let of_exec = format!("/sessions/{session}/execs/one/events");
    for path in [path(&session, ""), of_exec] {
        let answer = client.get_as(&path, LINES, None).await?;
        assert_eq!(answer.header("content-type"), LINES);
        assert_eq!(name(lines(&answer).last()), "complete");
        // Not only equal: the same bytes.
        let wanted = events.numbered().into_iter().map(|event| {
            let SseEvent { id, name, data } = event;
            format!("{{\"id\":\"{id}\",\"event\":\"{name}\",\"data\":{data}}}\n")
        });
        assert_eq!(answer.text, wanted.collect::<String>());
    }
    for number in 1..=5 {
        let answer = client
            .get_as(&path(&session, ""), LINES, Some(&author.id(number)))
            .await?;
        let wanted: Vec<_> = (number + 1..=6).collect();
        assert_eq!(numbers(&lines(&answer)), wanted);
    }
    let behind = client
        .get_as(&path(&session, ""), LINES, Some(&author.id(6)))
        .await?;
    assert_eq!((behind.status, behind.text.as_str()), (204, ""));
    Ok(())
}

#[tokio::test]
async fn polls_chain_to_the_whole_transcript() -> Outcome<()> {
    let (_world, gateways, session, mut author) = written().await?;
    let client = &gateways.clients[0];
    author.lines(3, "at once").await?;
    let first = poll(client, &path(&session, "&wait=30"), None).await?;
    assert_eq!(numbers(&first.events), [1, 2, 3]);
    assert!(first.caught_up && !first.complete);
    assert_eq!(first.next, author.id(3));

    // What comes is waited for; it is written when the request is under way.
    let (next, long) = (first.next, path(&session, "&wait=30"));
    let asked = Instant::now();
    let waiting = poll(client, &long, Some(&next));
    let writing = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        author.lines(2, "later").await
    };
    let (second, written) = tokio::join!(waiting, writing);
    let (second, _) = (second?, written?);
    assert!(asked.elapsed() < Duration::from_secs(20));
    assert_eq!(numbers(&second.events), [4, 5]);
    assert!(second.caught_up && !second.complete);

    let asked = Instant::now();
    let nothing = poll(client, &path(&session, "&wait=1"), Some(&second.next)).await?;
    assert!(asked.elapsed() >= Duration::from_secs(1));
    assert!(nothing.events.is_empty() && nothing.caught_up && !nothing.complete);
    assert_eq!(nothing.next, second.next);

    author.complete().await?;
    let end = poll(client, &long, Some(&nothing.next)).await?;
    assert_eq!(numbers(&end.events), [6]);
    assert!(end.caught_up && end.complete);
    let behind = client.get_as(&long, JSON, Some(&end.next)).await?;
    assert_eq!(behind.status, 204, "{}", behind.text);
    Ok(())
}

#[tokio::test]
async fn a_poll_waits_for_an_exec_that_nobody_has_posted() -> Outcome<()> {
    let (world, gateways) = World::of_readers(options(), 1).await?;
    let client = &gateways.clients[0];
    let bus = world.bus().await?;
    let session = client.session("answers").await?;
    let nothing = poll(client, &path(&session, "&wait=1"), None).await?;
    assert!(nothing.events.is_empty() && nothing.caught_up && !nothing.complete);
    let long = path(&session, "&wait=30");
    let waiting = poll(client, &long, Some(&nothing.next));
    let exec = exec_id(client, &session, "one")?;
    let posting = async {
        let mut author = Author::begin(&bus, &exec).await?;
        author.lines(1, "first").await
    };
    let (first, posted) = tokio::join!(waiting, posting);
    posted?;
    assert_eq!(numbers(&first?.events), [1]);
    Ok(())
}

/// More than one answer holds.
#[tokio::test]
async fn a_long_transcript_is_polled_in_pieces() -> Outcome<()> {
    let (_world, gateways, session, mut author) = written().await?;
    let client = &gateways.clients[0];
    let text = "x".repeat(1_000);
    for _ in 0..30 {
        author.lines(100, &text).await?;
    }
    author.complete().await?;
    let (mut seen, mut cursor, mut polls) = (Vec::new(), None, 0);
    loop {
        let part = poll(client, &path(&session, ""), cursor.as_deref()).await?;
        seen.extend(numbers(&part.events));
        assert_eq!(
            seen.last().copied().unwrap_or(0).to_string(),
            part.next.split('-').nth(1).unwrap_or_default()
        );
        polls += 1;
        if part.complete {
            break;
        }
        assert!(!part.events.is_empty() && !part.caught_up);
        cursor = Some(part.next);
    }
    assert_eq!(seen, (1..=3_001).collect::<Vec<_>>());
    assert!(polls > 2, "{polls}");
    Ok(())
}

#[tokio::test]
async fn polls_that_cannot_be_answered_say_so() -> Outcome<()> {
    let (_world, gateways, session, mut author) = written().await?;
    let client = &gateways.clients[0];
    author.lines(1, "one").await?;
    for (query, status) in [
        ("&wait=60", 200),
        ("&wait=61", 400),
        ("&wait=x", 400),
        ("&tail=1000", 200),
        ("&tail=1001", 400),
        ("&tail=-1", 400),
    ] {
        let answer = client.get_as(&path(&session, query), JSON, None).await?;
        assert_eq!(answer.status, status, "{query}: {}", answer.text);
    }
    // There is no place for so many events in the feed of a session.
    let answer = client
        .get_as(&format!("/sessions/{session}/events?tail=1"), JSON, None)
        .await?;
    assert_eq!(answer.status, 400, "{}", answer.text);
    Ok(())
}

#[tokio::test]
async fn the_last_events_of_an_exec() -> Outcome<()> {
    let (_world, gateways, session, mut author) = written().await?;
    let client = &gateways.clients[0];
    for count in [3, 1, 5] {
        author.lines(count, "line").await?;
    }
    let shown = async |tail: u64, cursor: Option<String>| {
        let path = path(&session, &format!("&tail={tail}"));
        let answer = client.get_as(&path, LINES, cursor.as_deref()).await?;
        Outcome::Ok(numbers(&lines(&answer)))
    };
    for tail in [0, 1, 4, 5, 6, 7, 9, 10, 1_000] {
        let wanted: Vec<_> = (10_u64.saturating_sub(tail).max(1)..=9).collect();
        assert_eq!(shown(tail, None).await?, wanted, "the last {tail}");
    }
    assert_eq!(shown(1, Some(author.id(3))).await?, [4, 5, 6, 7, 8, 9]);

    // A reader that goes on is shown the last ones first, and then what comes.
    let mut live = client.events(&session, "one&tail=2", None).await?;
    live.until("caught_up").await?;
    author.complete().await?;
    assert_eq!(live.until("complete").await?.number(), 10);
    for tail in [1, 2, 10, 11] {
        let wanted: Vec<_> = (11_u64.saturating_sub(tail).max(1)..=10).collect();
        assert_eq!(shown(tail, None).await?, wanted, "the last {tail}");
    }
    Ok(())
}
