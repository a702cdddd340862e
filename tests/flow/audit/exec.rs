//! `rdev audit --exec`: on what executors write, and on copies of it that were tampered with.

use std::time::Duration;

use async_nats::jetstream::{self, stream::Stream};
use bytes::Bytes;
use rdev_bus::Bus;
use rdev_contract::id::ExecId;
use rdev_contract::subject::EXEC_STREAM;
use rdev_tests::Outcome;
use rdev_tests::audit::Audited;
use rdev_tests::log::exec_id;
use rdev_tests::world::World;
use serde_json::{Value, json};

use crate::{options, world};

/// Prints on both streams, in several messages, two lines at a time.
const SCRIPT: &str = "for i in 1 2 3 4 5 6; do printf 'line a\nline b\n'; echo err $i >&2; \
    sleep 0.05; done; printf 'no end'";

/// The messages of the one exec of a log: where they stand and what they hold.
type Copy = Vec<(String, Bytes)>;

/// A nats-server that an exec can be copied to.
struct Forge {
    world: World,
    bus: Bus,
    jetstream: jetstream::Context,
    exec: ExecId,
    original: Copy,
}

impl Forge {
    /// Runs one exec, and keeps its messages.
    async fn of_an_exec() -> Outcome<Self> {
        let (first, services) = world().await?;
        let client = &services.client;
        let session = client.session("forge").await?;
        let body = json!({"type": "shell", "command": SCRIPT, "stream_id": "one"});
        client.run(&session, &body).await?.check()?;
        let exec = exec_id(client, &session, "one")?;
        let log = stream(&first.nats.url()).await?.1;
        let count = log.cached_info().state.messages;
        let mut original = Vec::new();
        for sequence in 1..=count {
            let message = log.get_raw_message(sequence).await?;
            original.push((message.subject.to_string(), message.payload));
        }
        let world = World::bare(options()).await?;
        let bus = world.bus().await?;
        bus.ensure_topology().await?;
        let jetstream = jetstream::new(async_nats::connect(world.nats.url()).await?);
        Ok(Self {
            world,
            bus,
            jetstream,
            exec,
            original,
        })
    }

    /// The index of a message in the middle that has two lines in it.
    fn two_lines(&self) -> usize {
        let has_two = |message: &(String, Bytes)| {
            let text = String::from_utf8_lossy(&message.1);
            text.matches("\"line a\"").count() == 1 && text.contains("\"line b\"")
        };
        let found = self.original.iter().enumerate().skip(4);
        found
            .filter(|(_, message)| has_two(message))
            .map(|(index, _)| index)
            .next()
            .unwrap_or_default()
    }

    /// A log that holds this copy: sequences begin at 1 again.
    async fn forge(&self, copy: &Copy) -> Outcome<Stream> {
        self.jetstream.delete_stream(EXEC_STREAM).await?;
        self.bus.ensure_topology().await?;
        for (subject, payload) in copy {
            self.jetstream
                .publish(subject.clone(), payload.clone())
                .await?
                .await?;
        }
        Ok(self.jetstream.get_stream(EXEC_STREAM).await?)
    }

    async fn audit(&self) -> Outcome<Audited> {
        self.world
            .audit(&["--exec", &self.exec.to_string()], &[])
            .await
    }

    async fn audit_of(&self, copy: &Copy) -> Outcome<Audited> {
        self.forge(copy).await?;
        self.audit().await
    }
}

async fn stream(url: &str) -> Outcome<(jetstream::Context, Stream)> {
    let jetstream = jetstream::new(async_nats::connect(url).await?);
    let stream = jetstream.get_stream(EXEC_STREAM).await?;
    Ok((jetstream, stream))
}

fn replaced(payload: &Bytes, from: &str, to: &str) -> Outcome<Bytes> {
    let text = std::str::from_utf8(payload)?;
    let changed = text.replacen(from, to, 1);
    if changed == text {
        return Err(format!("no {from} in {text}").into());
    }
    Ok(changed.into())
}

/// The first finding: its kind, and the message (counted from 0).
fn first(audited: &Audited) -> (&str, usize) {
    assert_eq!(audited.code, Some(1), "{audited:#?}");
    assert_eq!(audited.report["verdict"], "different");
    let found = audited.differences().first().unwrap_or(&Value::Null);
    let sequence = found["sequence"].as_u64().unwrap_or_default();
    let index = usize::try_from(sequence).unwrap_or_default();
    (found["problem"].as_str().unwrap_or_default(), index - 1)
}

#[tokio::test]
async fn what_was_tampered_with_is_named() -> Outcome<()> {
    let forge = Forge::of_an_exec().await?;
    let original = &forge.original;
    let third = forge.two_lines();
    assert!(third > 0, "{original:?}");

    // A copy is as good as the original.
    let equal = forge.audit_of(original).await?;
    equal.expect_equal()?;
    assert_eq!(equal.report["messages"], original.len());
    assert_eq!(equal.report["chained"], original.len());
    assert_eq!(
        (&equal.report["hashed"], &equal.report["outcome"]),
        (&json!(true), &json!("exited"))
    );

    // One byte of an event.
    let mut copy = original.clone();
    let changed = replaced(&copy[third].1, "line", "lime")?;
    let numbers = serde_json::from_slice::<Value>(&changed)?;
    copy[third].1 = changed;
    let found = forge.audit_of(&copy).await?;
    assert_eq!(first(&found), ("changed", third), "{found:#?}");
    assert_eq!(found.differences()[0]["first_event"], numbers["first"]);

    // The pass over all execs names it too.
    let found = forge.world.audit(&["--execs"], &[]).await?;
    assert_eq!(first(&found), ("changed", third), "{found:#?}");
    assert_eq!(found.differences()[0]["exec"], forge.exec.to_string());

    // Two events of one message in the other order, or two messages.
    let mut copy = original.clone();
    copy[third].1 = exchanged(&copy[third].1)?;
    let found = forge.audit_of(&copy).await?;
    assert_eq!(first(&found), ("changed", third), "{found:#?}");
    let mut copy = original.clone();
    copy.swap(third, third + 1);
    assert_eq!(first(&forge.audit_of(&copy).await?).1, third);

    // A message that is gone, long before its time.
    let log = forge.forge(original).await?;
    log.delete_message(third as u64 + 1).await?;
    let found = forge.audit().await?;
    assert_eq!(first(&found), ("missing", third + 1), "{found:#?}");

    // A message that nobody wrote, in the middle and behind the end.
    for (from, at) in [(third, third + 1), (third, original.len())] {
        let mut copy = original.clone();
        let added = (
            copy[from].0.clone(),
            replaced(&copy[from].1, "line", "lime")?,
        );
        copy.insert(at, added);
        assert_eq!(first(&forge.audit_of(&copy).await?), ("added", at));
    }
    Ok(())
}

/// A message with its first two events exchanged; nothing else of it is touched.
fn exchanged(payload: &Bytes) -> Outcome<Bytes> {
    let text = std::str::from_utf8(payload)?;
    let begin = text.find("\"events\":[").ok_or("no events")? + "\"events\":[".len();
    let events = &text[begin..text.len() - 2];
    let (left, right) = events
        .split_once("},{")
        .ok_or_else(|| format!("one event only: {events}"))?;
    let swapped = format!("{}{{{right},{left}}}]}}", &text[..begin]);
    assert_eq!(swapped.len(), text.len());
    Ok(swapped.into())
}

#[tokio::test]
async fn what_retention_removed_is_expired_and_not_different() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let session = client.session("expired").await?;
    let body = json!({"type": "shell", "command": SCRIPT, "stream_id": "one"});
    client.run(&session, &body).await?.check()?;
    let exec = exec_id(client, &session, "one")?.to_string();
    let output = format!("rdev.exec.{}.output", exec.replace('/', "."));
    stream(&world.nats.url())
        .await?
        .1
        .purge()
        .filter(output)
        .await?;

    // As long as output is kept for days, this is a hole.
    let found = world.audit(&["--exec", &exec], &[]).await?;
    assert_eq!(found.code, Some(1), "{found:#?}");
    assert_eq!(found.differences()[0]["problem"], "missing");

    let short = Duration::from_millis(1);
    let short = format!("{}ms", short.as_millis());
    let found = world
        .audit(&["--exec", &exec], &[("RDEV_OUTPUT_TTL", &short)])
        .await?;
    found.expect_equal()?;
    assert_eq!(found.report["expired"].as_array().map(Vec::len), Some(1));
    assert_eq!(found.report["hashed"], false);

    // Of what was never there, nothing can be said.
    let other = exec.replace("/one", "/two");
    let found = world.audit(&["--exec", &other], &[]).await?;
    assert_eq!(found.code, Some(2));
    assert!(found.said.contains("no message"), "{}", found.said);
    Ok(())
}
