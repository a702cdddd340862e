//! The log on real servers: every test has a nats-server of its own.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod activity;
mod append;
mod control;
mod cut;
mod follow;
mod full;
mod live;
mod outage;
mod queue;
mod read;
mod schedule;
mod session;
mod submit;
mod topology;

use std::time::Duration;

use async_nats::jetstream;
use jiff::{Timestamp, Unit};
use rdev_bus::admit::Admitting;
use rdev_bus::append::{AppendError, Entry, ExecWriter};
use rdev_bus::live::{LogReader, Next};
use rdev_bus::submit::Submitted;
use rdev_bus::{Bus, BusConfig, LogStream, Stored};
use rdev_contract::envelope::{Body, Chain, Message, Recorded, verify_chain};
use rdev_contract::event::{Command, CommandSpec, Complete, Event, EventBatch, Kind, Outcome};
use rdev_contract::event::{OutputStream, Requester, Text, Work};
use rdev_contract::id::{ClaimId, ExecId, SessionId};
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_contract::subject::Filter;
use rdev_embedded::{NatsOptions, NatsServer};
use tempfile::TempDir;
use uuid::Uuid;

/// Nothing here takes so long; a test that waits for ever would not say where.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server, its store, and a connection to it.
struct Log {
    server: NatsServer,
    config: BusConfig,
    bus: Bus,
    _directory: TempDir,
}

impl Log {
    /// A server with the log's streams on it.
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(adjust: impl FnOnce(&mut BusConfig)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let server = NatsServer::start(NatsOptions::new(directory.path()))
            .await
            .expect("a server");
        let mut config = BusConfig {
            url: server.url(),
            credentials: None,
            authority: None,
            replicas: 1,
            output_ttl: Duration::from_secs(7 * 24 * 3600),
            facts_ttl: Duration::from_secs(90 * 24 * 3600),
            log_max_bytes: -1,
        };
        adjust(&mut config);
        let bus = Bus::connect(config.clone(), "test")
            .await
            .expect("a connection");
        bus.ensure_topology().await.expect("the streams");
        Self {
            server,
            config,
            bus,
            _directory: directory,
        }
    }

    /// The server as an operator sees it, without the bus.
    async fn raw(&self) -> jetstream::Context {
        let client = async_nats::connect(self.server.url())
            .await
            .expect("a connection");
        jetstream::new(client)
    }

    /// A new exec with its command in the log.
    async fn exec(&self) -> (ExecId, Recorded<Chain>) {
        let exec = exec_id();
        let submitted = self.bus.submit(&exec, &command("true"), now()).await;
        assert!(matches!(submitted, Ok(Submitted::Created(_))));
        let tail = tail_of(&self.bus, &exec).await;
        (exec, tail)
    }

    /// A new exec that was admitted; the place of the message that says so.
    async fn admitted(&self) -> StreamSeq {
        let (exec, command) = self.exec().await;
        let admitting = self.bus.admit(&exec, command, "test", now());
        assert_eq!(within(admitting).await, Admitting::Stored);
        tail_of(&self.bus, &exec).await.sequence
    }

    /// A new exec, and a writer that has it.
    async fn written(&self) -> (ExecId, ExecWriter) {
        let (exec, tail) = self.exec().await;
        let writer = writer(&self.bus, &exec, claim(), tail);
        (exec, writer)
    }
}

fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Microsecond).unwrap_or(now)
}

fn exec_id() -> ExecId {
    ExecId {
        project: "demo".parse().expect("a project id"),
        session: SessionId::new(Uuid::now_v7()),
        stream: "exec".parse().expect("a stream id"),
    }
}

fn claim() -> ClaimId {
    ClaimId::new(Uuid::new_v4())
}

fn command(script: &str) -> Command {
    let work = Work::Shell {
        command: script.to_owned(),
    };
    let spec = CommandSpec::new(work, 60);
    Command {
        spec,
        accept_until: "2030-01-01T00:00:00Z".parse().expect("a time"),
        awaits_pod: false,
        by: Requester::default(),
    }
}

async fn tail_of(bus: &Bus, exec: &ExecId) -> Recorded<Chain> {
    let tail = bus.tail(exec).await.expect("an answer").expect("a tail");
    let message = Message::decode(&tail.value.payload).expect("a message");
    Recorded {
        sequence: tail.sequence,
        value: message.chain,
    }
}

fn writer(bus: &Bus, exec: &ExecId, claim: ClaimId, tail: Recorded<Chain>) -> ExecWriter {
    ExecWriter::new(bus.clone(), exec.clone(), Some(claim), 1, tail)
}

/// Appends one line of output as event `number`.
async fn output(
    writer: &mut ExecWriter,
    number: u64,
    line: &str,
    at: Timestamp,
) -> Result<StreamSeq, AppendError> {
    let mut batch = EventBatch::default();
    let text = Text::of(line.as_bytes(), Some(OutputStream::Stdout), false);
    batch.push(&Event::Output(text)).expect("an event");
    append(writer, Kind::Output, number, &batch, at).await
}

/// Appends the end as event `number`.
async fn complete(writer: &mut ExecWriter, number: u64) -> Result<StreamSeq, AppendError> {
    let mut batch = EventBatch::default();
    let complete = Complete::without_process(Outcome::Lost, "a test");
    batch.push(&Event::Complete(&complete)).expect("an event");
    append(writer, Kind::Complete, number, &batch, now()).await
}

async fn append(
    writer: &mut ExecWriter,
    kind: Kind,
    number: u64,
    batch: &EventBatch,
    at: Timestamp,
) -> Result<StreamSeq, AppendError> {
    let to = Offsets::new(number, 0);
    let entry = Entry {
        kind,
        first: Some(EventNo(number)),
        to: Some(to),
        body: Body::Events(batch),
    };
    within(writer.append(entry, at)).await
}

/// Everything that the log holds of an exec.
async fn stored(bus: &Bus, exec: &ExecId) -> Vec<Recorded<Stored>> {
    let filter = Filter::exec(exec);
    let mut messages: Vec<Recorded<Stored>> = Vec::new();
    loop {
        let after = messages.last().map_or(StreamSeq(0), |last| last.sequence);
        let page = bus.read_page(LogStream::Exec, &filter, after).await;
        let page = page.expect("a page");
        messages.extend(page.messages);
        if !page.more {
            return messages;
        }
    }
}

/// Each message names its predecessor and is linked to it, from the command on.
fn assert_chained(messages: &[Recorded<Stored>]) {
    let mut before = Recorded {
        sequence: StreamSeq(0),
        value: Chain::default(),
    };
    for stored in messages {
        let payload = &stored.value.payload;
        let message = Message::decode(payload).expect("a message");
        assert!(stored.sequence > before.sequence);
        assert_eq!(message.head.prev, before.sequence);
        assert!(verify_chain(payload, &before.value), "{}", stored.sequence);
        before = Recorded {
            sequence: stored.sequence,
            value: message.chain,
        };
    }
}

/// The numbers of the first events of an exec's messages.
fn numbers(messages: &[Recorded<Stored>]) -> Vec<u64> {
    let first = |stored: &Recorded<Stored>| Message::decode(&stored.value.payload).ok()?.head.first;
    messages.iter().filter_map(first).map(|no| no.0).collect()
}

/// What a reader is given up to the end of its exec, and how often it was told that it caught up.
async fn read_to_end(reader: &mut LogReader) -> (Vec<Recorded<Stored>>, u32) {
    let (mut messages, mut caught_up) = (Vec::new(), 0);
    loop {
        match within(reader.next()).await {
            Ok(Next::CaughtUp) => caught_up += 1,
            Ok(Next::Message(message)) => {
                let ended = message.value.subject.ends_with(".complete");
                messages.push(message);
                if ended {
                    return (messages, caught_up);
                }
            }
            Ok(Next::Restored) => panic!("the log is still the same"),
            // A server that is away is asked again when it is back.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// The next message of a reader, whatever it is told besides.
async fn next_message(reader: &mut LogReader) -> Recorded<Stored> {
    loop {
        if let Next::Message(message) = within(reader.next()).await.expect("an answer") {
            return message;
        }
    }
}

async fn caught_up(reader: &mut LogReader) {
    while !matches!(within(reader.next()).await, Ok(Next::CaughtUp)) {}
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it takes too long")
}
