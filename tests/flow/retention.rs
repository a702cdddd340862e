//! What retention has removed is said, once, and never skipped silently.

use std::time::Duration;

use async_nats::jetstream;
use rdev_contract::subject::EXEC_STREAM;
use rdev_tests::Outcome;
use rdev_tests::log::{ExecLog, exec_id};
use rdev_tests::transcript::SseEvent;
use rdev_tests::world::World;
use rdev_tests::writer::Author;
use serde_json::json;

use super::cli::Person;
use super::options;

/// How long output is kept, in the tests that wait for its end.
const OUTPUT_TTL: &str = "2s";
/// How long facts are kept, where their end is waited for: the tables have them by then.
const FACTS_TTL: &str = "10s";
const EXPIRED_WITHIN: Duration = Duration::from_secs(40);

fn path(session: &str, stream: &str, query: &str) -> String {
    format!("/sessions/{session}/events?stream_id={stream}{query}")
}

fn gaps(events: &[SseEvent]) -> Vec<serde_json::Value> {
    let gaps = events.iter().filter(|event| event.name == "gap");
    gaps.map(SseEvent::json).collect()
}

/// Waits until nothing of these kinds is left of an exec.
async fn until_expired(
    world: &World,
    client: &rdev_tests::client::Client,
    (session, stream): (&str, &str),
    is_waited_for: impl Fn(&str) -> bool,
) -> Outcome<()> {
    let bus = world.bus().await?;
    let exec = exec_id(client, session, stream)?;
    let looking = async {
        loop {
            let log = ExecLog::read(&bus, &exec).await?;
            if !log.0.iter().any(|line| is_waited_for(line.kind())) {
                return Outcome::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(EXPIRED_WITHIN, looking).await?
}

#[tokio::test]
async fn output_expires_and_its_readers_are_told_once() -> Outcome<()> {
    let options = options()
        .variable("RDEV_OUTPUT_TTL", OUTPUT_TTL)
        .variable("RDEV_MAX_TIMEOUT", OUTPUT_TTL);
    let (world, services) = World::start(options).await?;
    let client = &services.client;
    let session = client.session("short").await?;
    let body = json!({"type": "shell", "command": "seq 1 50", "stream_id": "s1"});
    client.exec(&session, &body).await?;
    let whole = client.transcript(&session, "s1").await?;
    whole.check()?;
    let cursor = whole.numbered()[9].id.clone();
    until_expired(&world, client, (&session, "s1"), |kind| kind == "output").await?;

    for (cursor, requested) in [(Some(cursor.as_str()), 11), (None, 1)] {
        let left = client.events(&session, "s1", cursor).await?.rest().await?;
        let wanted = json!({"requested": requested, "first_available": 51, "reason": "expired"});
        assert_eq!(gaps(&left.events), [wanted]);
        assert_eq!(left.numbered().len(), 1);
        assert_eq!(left.numbered()[0], whole.numbered()[50]);
        // Whoever was cut right behind the gap goes on behind it.
        let gap = left
            .events
            .iter()
            .find(|event| event.name == "gap")
            .ok_or("no gap")?;
        let on = client
            .events(&session, "s1", Some(&gap.id))
            .await?
            .rest()
            .await?;
        assert_eq!(gaps(&on.events), Vec::<serde_json::Value>::new());
        assert_eq!(on.numbered(), left.numbered());
    }
    for (query, accept) in [
        ("&strict=true", "text/event-stream"),
        ("", "application/json"),
    ] {
        let answer = client
            .get_as(&path(&session, "s1", query), accept, Some(&cursor))
            .await?;
        assert_eq!(answer.status, 410, "{}", answer.text);
        let problem = answer.json();
        assert_eq!(problem["code"], "events_expired", "{problem}");
        assert_eq!(problem["first_available"], 51, "{problem}");
        // The id that it names goes on with what is left, without another 410.
        let resume_from = problem["resume_from"].as_str().ok_or("no id")?;
        let on = client
            .get_as(&path(&session, "s1", query), accept, Some(resume_from))
            .await?;
        assert_eq!(on.status, 200, "{}", on.text);
        assert!(on.text.contains(&whole.numbered()[50].id), "{}", on.text);
        assert!(!on.text.contains("gap"), "{}", on.text);
    }
    // A session's feed says whose events are missing.
    let mut feed = client
        .stream(&format!("/sessions/{session}/events"), None)
        .await?;
    let gap = feed.until("gap").await?;
    assert_eq!(gap.json()["stream_id"], "s1");
    assert_eq!(feed.until("complete").await?.number(), 51);
    Ok(())
}

/// Nothing is left to wait for: in every form the answer says so, and the tables tell the end.
#[tokio::test]
async fn an_exec_that_is_forgotten_has_no_readers() -> Outcome<()> {
    let options = options()
        .variable("RDEV_OUTPUT_TTL", OUTPUT_TTL)
        .variable("RDEV_FACTS_TTL", FACTS_TTL)
        .variable("RDEV_MAX_TIMEOUT", OUTPUT_TTL);
    let (world, services) = World::start(options).await?;
    let client = &services.client;
    let session = client.session("short").await?;
    let body = json!({"type": "shell", "command": "seq 3; exit 4", "stream_id": "s1"});
    let whole = client.run(&session, &body).await?;
    until_expired(&world, client, (&session, "s1"), |_| true).await?;

    let cursor = whole.numbered()[1].id.as_str();
    for accept in [
        "text/event-stream",
        "application/x-ndjson",
        "application/json",
    ] {
        for (query, cursor, requested) in [
            ("", None, 1),
            ("&tail=1", None, 1),
            ("&strict=true", None, 1),
            ("", Some(cursor), 3),
        ] {
            let path = path(&session, "s1", query);
            let answer = client.get_as(&path, accept, cursor).await?;
            assert_eq!(answer.status, 410, "{accept} {query}: {}", answer.text);
            let problem = answer.json();
            assert_eq!(problem["code"], "events_expired", "{problem}");
            let detail = format!("event {requested} is no longer kept; nothing is left");
            assert_eq!(problem["detail"], detail, "{problem}");
        }
    }
    let known = client.get(&format!("/sessions/{session}/execs/s1")).await?;
    assert_eq!(known.json()["complete"]["exit_code"], 4, "{}", known.text);
    let person = Person::of(client)?;
    let attached = person.says(&["attach", "-s", &session, "s1"]).await?;
    let said = attached.expect(125)?.stderr;
    assert!(
        said.contains("nothing is left") && said.contains("rdev execs"),
        "{said}"
    );
    assert!(!said.contains("to come back"), "{said}");
    // One that has not begun is waited for, in the same session.
    let mut early = client.events(&session, "s2", None).await?;
    early.until("caught_up").await?;
    let body = json!({"type": "shell", "command": "echo new", "stream_id": "s2"});
    client.exec(&session, &body).await?;
    assert_eq!(early.until("complete").await?.number(), 2);
    Ok(())
}

/// A reader that pauses in the middle of a long replay, while what is before it is removed.
#[tokio::test]
async fn what_is_removed_during_a_slow_replay_is_one_gap() -> Outcome<()> {
    const MESSAGES: u64 = 200;
    const LINES: u64 = 30;
    let (world, gateways) = World::of_readers(options(), 1).await?;
    let client = &gateways.clients[0];
    let session = client.session("slow").await?;
    let exec = exec_id(client, &session, "one")?;
    let mut author = Author::begin(&world.bus().await?, &exec).await?;
    // More than fits the buffers between the gateway and a reader that pauses.
    let text = "x".repeat(4_000);
    for _ in 0..MESSAGES {
        author.lines(LINES, &text).await?;
    }
    let mut slow = client.events(&session, "one", None).await?;
    let first = slow.until("output").await?;
    assert_eq!(first.number(), 1);

    let left = author.messages[author.messages.len() - 3];
    let raw = jetstream::new(async_nats::connect(world.nats.url()).await?);
    let stream = raw.get_stream(EXEC_STREAM).await?;
    stream.purge().sequence(left.sequence.0).await?;
    author.complete().await?;

    let rest = tokio::time::timeout(Duration::from_secs(60), slow.rest()).await??;
    let gaps = gaps(&rest.events);
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0]["first_available"], left.first);
    assert_eq!(gaps[0]["reason"], "expired");
    let requested = gaps[0]["requested"].as_u64().unwrap_or(0);
    assert!(requested > 1 && requested < left.first, "{gaps:?}");
    let numbers: Vec<_> = rest.numbered().iter().map(|event| event.number()).collect();
    let wanted: Vec<_> = (2..requested).chain(left.first..=author.last()).collect();
    assert_eq!(numbers, wanted);
    Ok(())
}
