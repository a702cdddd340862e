//! What the log itself holds of an exec, and what that must satisfy whatever happened.

use std::time::Duration;

use clap::Parser;
use jiff::Timestamp;
use rdev_bus::append::{Entry, ExecWriter};
use rdev_bus::live::{LogReader, Next, Scope};
use rdev_bus::{Bus, BusConfig, LogStream};
use rdev_contract::envelope::{Body, Head, Message, Recorded};
use rdev_contract::event::{Complete, Event, EventBatch, Kind};
use rdev_contract::id::{ExecId, StreamId};
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_contract::subject::Filter;
use serde_json::Value;

use crate::Outcome;
use crate::client::Client;

/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(90);

#[derive(Debug, Parser)]
struct Settings {
    #[command(flatten)]
    bus: BusConfig,
}

/// A connection to the log at this address.
///
/// # Errors
/// When there is none.
pub async fn connect(url: &str) -> Outcome<Bus> {
    let settings = Settings::try_parse_from(["test", "--nats-url", url])?;
    Ok(Bus::connect(settings.bus, "test").await?)
}

/// The name of an exec in the log.
///
/// # Errors
/// When an id is none.
pub fn exec_id(client: &Client, session: &str, stream: &str) -> Outcome<ExecId> {
    Ok(ExecId {
        project: client.project.parse()?,
        session: session.parse()?,
        stream: stream.parse::<StreamId>()?,
    })
}

/// One stored message.
#[derive(Debug, Clone)]
pub struct Line {
    /// Where it is.
    pub sequence: u64,
    /// When it was stored.
    pub at: jiff::Timestamp,
    /// Its head.
    pub head: Head,
    /// The whole of it.
    pub value: Value,
}

impl Line {
    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.head.kind
    }

    fn events(&self) -> u64 {
        self.value["events"].as_array().map_or(0, Vec::len) as u64
    }

    fn of(sequence: StreamSeq, stored: &rdev_bus::Stored) -> Outcome<Self> {
        Ok(Self {
            sequence: sequence.0,
            at: stored.at,
            head: Message::decode(&stored.payload)?.head,
            value: serde_json::from_slice(&stored.payload)?,
        })
    }
}

/// All messages of one exec, in order.
#[derive(Debug, Clone)]
pub struct ExecLog(pub Vec<Line>);

impl ExecLog {
    /// Reads them.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn read(bus: &Bus, exec: &ExecId) -> Outcome<Self> {
        let mut lines = Vec::new();
        let mut after = StreamSeq(0);
        loop {
            let page = bus
                .read_page(LogStream::Exec, &Filter::exec(exec), after)
                .await?;
            for message in &page.messages {
                after = message.sequence;
                lines.push(Line::of(message.sequence, &message.value)?);
            }
            if !page.more {
                return Ok(Self(lines));
            }
        }
    }

    /// How many messages of this kind there are.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.of(kind).count()
    }

    /// The messages of this kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Line> {
        self.0
            .iter()
            .filter(move |line| line.kind() == kind.token())
    }

    /// The attempts that claimed it, in order.
    #[must_use]
    pub fn attempts(&self) -> Vec<u32> {
        self.0
            .iter()
            .filter(|line| [Kind::Started.token(), Kind::Resumed.token()].contains(&line.kind()))
            .map(|line| line.head.attempt)
            .collect()
    }

    /// What every exec's messages satisfy once it has ended: one command first, one turn, one claim that
    /// started it, each later claim one attempt more and nothing of the claim before behind it,
    /// numbers without a gap, offsets that only grow, each message naming its predecessor, and one
    /// end as the last.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), String> {
        let (mut next, mut to, mut attempt, mut previous) = (1, Offsets::default(), 0, 0);
        let mut claim = None;
        for (index, line) in self.0.iter().enumerate() {
            let wrong = |what: &str| {
                Err(format!(
                    "{what} at message {}: {}",
                    line.sequence, line.value
                ))
            };
            let is_claim = [Kind::Started.token(), Kind::Resumed.token()].contains(&line.kind());
            if (index == 0) != (line.kind() == Kind::Command.token()) {
                return wrong("a command that is not first, or a first that is no command");
            }
            if index > 0 && line.head.prev.0 != previous {
                return wrong("another predecessor");
            }
            if is_claim {
                attempt += 1;
                claim = line.head.claim;
            }
            if line.head.attempt != attempt || (index > 0 && line.head.claim != claim) {
                // An end without a process is a claim of its own.
                if line.kind() != Kind::Complete.token() {
                    return wrong("something of a claim that is over");
                }
            }
            if let Some(first) = line.head.first {
                if first.0 != next {
                    return wrong("a gap or a repeat in the numbers");
                }
                next += line.events();
            }
            if let Some(found) = line.head.to {
                if found.stdout < to.stdout || found.stderr < to.stderr {
                    return wrong("offsets that go back");
                }
                to = found;
            }
            previous = line.sequence;
        }
        let (turns, starts) = (self.count(Kind::Admitted), self.count(Kind::Started));
        let ends = self.count(Kind::Complete);
        let last = self.0.last().map(Line::kind);
        if turns > 1 || starts > 1 || ends != 1 || last != Some(Kind::Complete.token()) {
            return Err(format!(
                "{turns} turns, {starts} starts, {ends} ends, the last is {last:?}"
            ));
        }
        Ok(())
    }
}

/// Waits for the next message of an exec that satisfies `wanted`, from its first on.
///
/// # Errors
/// When it does not come.
pub async fn until(bus: &Bus, exec: &ExecId, wanted: impl Fn(&Line) -> bool) -> Outcome<Line> {
    let looking = async {
        let mut reader = LogReader::open(bus, Scope::Exec(exec.clone()), StreamSeq(0)).await?;
        loop {
            let Ok(Next::Message(message)) = reader.next().await else {
                continue;
            };
            let line = Line::of(message.sequence, &message.value)?;
            if wanted(&line) {
                return Outcome::Ok(line);
            }
        }
    };
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(found) => found,
        Err(_) => Err("what was waited for is not in the log".into()),
    }
}

/// Ends an exec that nobody has claimed, behind whatever it has.
///
/// # Errors
/// When it has nothing, or something came behind that meanwhile.
pub async fn end(bus: &Bus, exec: &ExecId, complete: &Complete) -> Outcome<()> {
    let last = bus.tail(exec).await?.ok_or("there is no such exec")?;
    let tail = Recorded {
        sequence: last.sequence,
        value: Message::decode(&last.value.payload)?.chain,
    };
    let mut events = EventBatch::default();
    events.push(&Event::Complete(complete))?;
    let entry = Entry {
        kind: Kind::Complete,
        first: Some(EventNo::FIRST),
        to: Some(Offsets::default()),
        body: Body::Events(&events),
    };
    let mut writer = ExecWriter::new(bus.clone(), exec.clone(), None, 0, tail);
    writer.append(entry, Timestamp::now()).await?;
    Ok(())
}

/// Waits for the first message of this kind.
///
/// # Errors
/// When it does not come.
pub async fn until_kind(bus: &Bus, exec: &ExecId, kind: Kind) -> Outcome<Line> {
    until(bus, exec, |line| line.kind() == kind.token()).await
}
