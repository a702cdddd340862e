//! Many readers of one exec: late ones, stuck ones, too many, and ones whose gateway goes away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream;
use futures::TryStreamExt;
use rdev_contract::id::ExecId;
use rdev_contract::subject::EXEC_STREAM;
use rdev_embedded::Signal;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::log::exec_id;
use rdev_tests::world::World;
use rdev_tests::writer::{Author, Written, id};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

use super::options;

/// Nothing here takes so long, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);
/// The work queue's consumer and the projector's, and what is left of those that the projector
/// made anew while it waited: whatever a thousand readers do.
const CONSUMERS_MAX: usize = 10;
const GATEWAYS: usize = 2;

/// Sends a request as cheaply as can be: with HTTP/1.0 the answer has no framing of its own.
async fn ask(
    client: &Client,
    path: &str,
    cursor: &str,
    mut socket: TcpStream,
) -> Outcome<TcpStream> {
    let request = format!(
        "GET /projects/{}{path} HTTP/1.0\r\nLast-Event-ID: {cursor}\r\n\r\n",
        client.project
    );
    socket.write_all(request.as_bytes()).await?;
    Ok(socket)
}

/// The whole of an event stream, as text.
async fn read_raw(client: &Client, path: &str, cursor: &str) -> Outcome<String> {
    let socket = TcpStream::connect(client.base.trim_start_matches("http://")).await?;
    let mut socket = ask(client, path, cursor, socket).await?;
    let mut text = String::new();
    socket.read_to_string(&mut text).await?;
    Ok(text)
}

/// The frames of the log's events among those of a stream.
fn numbered(text: &str) -> Vec<&str> {
    let frames = text.split("\n\n");
    let is_numbered = |frame: &&str| {
        frame.contains("\nevent: output\n")
            || frame.contains("\nevent: complete\n")
            || frame.contains("\nevent: gap\n")
    };
    frames.filter(is_numbered).collect()
}

/// Who joins when, and behind which of the events that were written by then.
#[derive(Debug, Clone, Copy)]
struct Joining {
    at: u64,
    behind: u64,
}

/// Spread by multiplicative hashes: the same in every run, in no order.
fn joining(index: u64, events: u64) -> Joining {
    let at = index * 7919 % events;
    let behind = match index % 4 {
        0 => 0,
        1 => at,
        _ => index * 104_729 % (at + 1),
    };
    Joining { at, behind }
}

/// A thousand readers join while an exec bursts, from any place before, through two gateways; each
/// sees exactly the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_readers_join_in_a_burst() -> Outcome<()> {
    const READERS: u64 = 1_000;
    const EVENTS: u64 = 2_000;
    let (world, gateways) = World::of_readers(options(), GATEWAYS).await?;
    let bus = world.bus().await?;
    let client = &gateways.clients[0];
    let session = client.session("burst").await?;
    let exec = exec_id(client, &session, "one")?;
    let path = format!("/sessions/{session}/events?stream_id=one");
    let mut author = Author::begin(&bus, &exec).await?;
    let written: Arc<Mutex<Vec<Written>>> = Arc::default();
    let (progress, seen) = watch::channel(0);
    let readers = (0..READERS).map(|index| {
        let Joining { at, behind } = joining(index, EVENTS);
        let client = gateways.clients[usize::from(index % 2 == 1)].clone();
        let (written, mut seen) = (Arc::clone(&written), seen.clone());
        let (exec, path): (ExecId, _) = (exec.clone(), path.clone());
        tokio::spawn(async move {
            seen.wait_for(|last| *last >= at).await?;
            let cursor = {
                let written = written.lock().unwrap_or_else(PoisonError::into_inner);
                id(&exec, &written, behind)
            };
            let text = read_raw(&client, &path, &cursor).await?;
            Outcome::Ok((behind, text))
        })
    });
    let readers: Vec<_> = readers.collect();
    while author.last() < EVENTS {
        // Mostly single lines, now and then a batch.
        let round = author.messages.len() as u64;
        let count = if round.is_multiple_of(5) {
            1 + round * 31 % 40
        } else {
            1
        };
        let message = author.lines(count, "of a burst").await?;
        written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(message);
        progress.send_replace(author.last());
        if round.is_multiple_of(50) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_load_is_small(&world, &exec).await?;
    author.complete().await?;
    progress.send_replace(u64::MAX);

    let whole = read_raw(client, &path, &id(&exec, &[], 0)).await?;
    let whole = numbered(&whole);
    assert_eq!(whole.len() as u64, author.last());
    for reader in readers {
        let (behind, text) = tokio::time::timeout(PATIENCE, reader).await???;
        let rest = usize::try_from(behind)?;
        let events = numbered(&text);
        let wanted = whole.get(rest..).ok_or("written")?;
        assert!(
            events == wanted,
            "behind {behind}: {} events, not {}",
            events.len(),
            wanted.len()
        );
    }
    Ok(())
}

/// Readers are no consumers, and all those of one gateway are one subscription.
async fn assert_load_is_small(world: &World, exec: &ExecId) -> Outcome<()> {
    let monitor = world.nats.monitor_url().ok_or("no monitor")?;
    let connections = reqwest::get(format!("{monitor}/connz?subs=1")).await?;
    let connections: Value = serde_json::from_str(&connections.text().await?)?;
    let connections = connections["connections"].as_array().ok_or("connections")?;
    let of_exec = format!(".{}.", exec.session);
    let subjects = connections
        .iter()
        .flat_map(|one| one["subscriptions_list"].as_array().into_iter().flatten());
    let live = subjects.filter(|subject| {
        let subject = subject.as_str().unwrap_or_default();
        subject.contains(&of_exec)
    });
    let live = live.count();
    assert!((1..=GATEWAYS).contains(&live), "{live} live subscriptions");

    let raw = jetstream::new(async_nats::connect(world.nats.url()).await?);
    let stream = raw.get_stream(EXEC_STREAM).await?;
    let consumers: Vec<_> = stream.consumers().try_collect().await?;
    assert!(consumers.len() <= CONSUMERS_MAX, "{consumers:?}");
    Ok(())
}

/// Ten of fifty never read: the others and the command do not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stuck_readers_hold_up_nobody() -> Outcome<()> {
    const STUCK: usize = 10;
    const READERS: usize = 20;
    let (_world, services) = World::start(options()).await?;
    let client = &services.client;
    let session = client.session("stuck").await?;
    let path = format!("/sessions/{session}/events?stream_id=fast");
    let address = client.base.trim_start_matches("http://").parse()?;
    let mut stuck = Vec::new();
    for _ in 0..STUCK {
        let socket = TcpSocket::new_v4()?;
        // The least the kernel gives: nothing of what is not read fits.
        socket.set_recv_buffer_size(1)?;
        stuck.push(ask(client, &path, "", socket.connect(address).await?).await?);
    }
    let mut open = Vec::new();
    for _ in 0..READERS {
        let mut events = client.events(&session, "fast", None).await?;
        events.until("caught_up").await?;
        open.push(tokio::spawn(events.rest()));
    }
    // More than the sockets of the stuck ones can hold.
    let command = "line=$(head -c 4000 /dev/zero | tr '\\0' x); i=0; \
        while test $i -lt 1500; do i=$((i+1)); echo $line; done";
    let body = json!({"type": "shell", "command": command, "stream_id": "fast"});
    client.exec(&session, &body).await?;
    for reader in open {
        let seen = tokio::time::timeout(PATIENCE, reader).await???;
        seen.check()?;
        assert_eq!(seen.complete()["stdout_bytes"], 1_500 * 4_001);
        assert!(!seen.names().contains(&"gap"));
    }
    drop(stuck);
    Ok(())
}

/// Nothing above the socket runs for a reader that does not read: it is cut there, and its place is
/// free for others.
#[tokio::test]
async fn a_reader_that_never_reads_is_cut() -> Outcome<()> {
    const MESSAGES: u64 = 200;
    const LINES: u64 = 30;
    let options = options()
        .variable("RDEV_MAX_STREAMS", "1")
        .variable("RDEV_STALL_TIMEOUT", "1s");
    let (world, gateways) = World::of_readers(options, 1).await?;
    let client = &gateways.clients[0];
    let session = client.session("cut").await?;
    let exec = exec_id(client, &session, "one")?;
    let mut author = Author::begin(&world.bus().await?, &exec).await?;
    // More than fits the buffers between the gateway and a reader.
    let text = "x".repeat(4_000);
    for _ in 0..MESSAGES {
        author.lines(LINES, &text).await?;
    }
    author.complete().await?;
    let path = format!("/sessions/{session}/events?stream_id=one");
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(1)?;
    let address = client.base.trim_start_matches("http://").parse()?;
    let mut stuck = ask(client, &path, "", socket.connect(address).await?).await?;
    let mut head = [0; 12];
    stuck.read_exact(&mut head).await?;
    assert_eq!(&head, b"HTTP/1.0 200");

    let served = async {
        let mut sent_away = 0;
        loop {
            let text = read_raw(client, &path, "").await?;
            if text.contains("\nevent: complete\n") {
                return Outcome::Ok(sent_away);
            }
            assert!(text.contains("overloaded"), "{text}");
            sent_away += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let sent_away = tokio::time::timeout(PATIENCE, served).await??;
    assert!(sent_away > 0, "it held no place");
    // What it may still read ends in the middle.
    let mut rest = Vec::new();
    let _ = stuck.read_to_end(&mut rest).await;
    let rest = String::from_utf8_lossy(&rest);
    assert!(!rest.contains("\nevent: complete\n"), "it was not cut");
    Ok(())
}

#[tokio::test]
async fn too_many_readers_are_asked_to_come_again() -> Outcome<()> {
    let options = options().variable("RDEV_MAX_STREAMS", "2");
    let (world, gateways) = World::of_readers(options, 1).await?;
    let client = &gateways.clients[0];
    let session = client.session("crowd").await?;
    let exec = exec_id(client, &session, "one")?;
    let mut author = Author::begin(&world.bus().await?, &exec).await?;
    author.lines(2, "line").await?;
    let mut first = client.events(&session, "one", None).await?;
    let mut second = client.events(&session, "one", None).await?;
    first.until("caught_up").await?;
    second.until("caught_up").await?;

    let path = format!("/sessions/{session}/events?stream_id=one");
    let cursor = author.id(1);
    let third = client
        .get_as(&path, "text/event-stream", Some(&cursor))
        .await?;
    assert_eq!(third.status, 200);
    let frames: Vec<_> = third.text.split_terminator("\n\n").collect();
    assert_eq!(frames.len(), 2, "{}", third.text);
    assert!(frames[0].contains("event: connected\n"), "{}", third.text);
    assert!(frames[1].contains("event: reconnect\n"), "{}", third.text);
    assert!(frames[1].contains("\nretry: "), "{}", third.text);
    assert!(
        frames[1].ends_with(r#"data: {"reason":"overloaded"}"#),
        "{}",
        third.text
    );
    // It comes again with what it had.
    assert!(
        frames
            .iter()
            .all(|frame| frame.starts_with(&format!("id: {cursor}\n"))),
        "{}",
        third.text
    );
    for (query, accept) in [
        ("&strict=true", "text/event-stream"),
        ("", "application/json"),
    ] {
        let answer = client
            .get_as(&format!("{path}{query}"), accept, None)
            .await?;
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert_eq!(answer.json()["code"], "too_many_streams");
        assert!(
            answer
                .header("retry-after")
                .parse::<u64>()
                .is_ok_and(|seconds| seconds > 0)
        );
    }

    drop(first);
    let served = async {
        loop {
            let mut next = client.events(&session, "one", Some(&cursor)).await?;
            next.until("connected").await?;
            let event = next.next().await?.ok_or("it ended")?;
            if event.name != "reconnect" {
                return Outcome::Ok(event);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let event = tokio::time::timeout(PATIENCE, served).await??;
    assert_eq!(event.number(), 2);
    // Whoever was there first was not disturbed.
    author.complete().await?;
    second.until("complete").await?;
    Ok(())
}

#[tokio::test]
async fn readers_of_a_gateway_that_ends_go_on_elsewhere() -> Outcome<()> {
    const READERS: u64 = 20;
    let (world, gateways) = World::of_readers(options(), 2).await?;
    let [client, other] = gateways.clients.as_slice() else {
        return Err("two gateways".into());
    };
    let session = client.session("drain").await?;
    let exec = exec_id(client, &session, "one")?;
    let mut author = Author::begin(&world.bus().await?, &exec).await?;
    author.lines(3, "before").await?;
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut events = client.events(&session, "one", None).await?;
        events.until("caught_up").await?;
        readers.push(events);
    }
    let polled = client.clone();
    let path = format!("/sessions/{session}/events?stream_id=one&wait=60");
    let cursor = author.id(3);
    let polling = tokio::spawn(async move {
        polled
            .get_as(&path, "application/json", Some(&cursor))
            .await
    });
    author.lines(2, "during").await?;
    gateways.gateways[0].signal(Signal::TERM)?;
    let mut cursors = Vec::new();
    for mut events in readers {
        let (mut numbers, mut last) = (Vec::new(), None);
        while let Some(event) = events.next().await? {
            if event.is_numbered() {
                numbers.push(event.number());
            }
            last = Some(event);
        }
        let last = last.ok_or("nothing came")?;
        assert_eq!(
            (last.name.as_str(), last.data.as_str()),
            ("reconnect", r#"{"reason":"draining"}"#)
        );
        // The id of the farewell is that of the last event.
        assert_eq!(last.number(), 3 + numbers.len() as u64);
        cursors.push(last);
    }
    let polled = tokio::time::timeout(PATIENCE, polling).await???;
    assert_eq!(polled.status, 200, "{}", polled.text);
    // Nobody reads any more: it ends, without waiting for the end of its grace.
    let pid = gateways.gateways[0].pid();
    let gone = async {
        while is_running(pid) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), gone).await?;

    author.complete().await?;
    let whole = other.transcript(&session, "one").await?;
    for last in cursors {
        let rest = other
            .events(&session, "one", Some(&last.id))
            .await?
            .rest()
            .await?;
        let seen = usize::try_from(last.number())?;
        assert_eq!(rest.numbered(), whole.numbered()[seen..]);
    }
    Ok(())
}

/// Not gone, and not only waiting to be collected.
fn is_running(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(')').next().unwrap_or_default().trim_start();
    !state.is_empty() && !state.starts_with('Z')
}
