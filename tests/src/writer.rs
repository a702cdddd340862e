//! An exec that a test writes into the log itself, message by message: what no command could be
//! made to print at the right moment.
//!
//! Invariant: it writes as an executor does, fenced and numbered; nobody runs its command.

use std::borrow::Cow;

use jiff::Timestamp;
use rdev_bus::Bus;
use rdev_bus::append::{Entry, ExecWriter};
use rdev_contract::agent::Agent;
use rdev_contract::envelope::{Body, Message, Recorded};
use rdev_contract::event::{
    Command, CommandSpec, Complete, Event, EventBatch, Fragment, Kind, Outcome as Ending,
    OutputStream, Requester, Text, Work,
};
use rdev_contract::id::{ClaimId, ExecId};
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use uuid::Uuid;

use crate::Outcome;

/// One stored message with events.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// Where it is.
    pub sequence: StreamSeq,
    /// Number of its first event.
    pub first: u64,
    /// How many whole events it has.
    pub count: u64,
}

/// The exec and what was written of it.
#[derive(Debug)]
pub struct Author {
    /// Which.
    pub exec: ExecId,
    /// The messages with events, in order.
    pub messages: Vec<Written>,
    writer: ExecWriter,
    next: u64,
}

impl Author {
    /// Posts a command, admits and claims it. Nobody else may run commands in this world.
    ///
    /// # Errors
    /// When the log refuses it.
    pub async fn begin(bus: &Bus, exec: &ExecId) -> Outcome<Self> {
        bus.submit(exec, &command(), Timestamp::now()).await?;
        let command = bus.tail(exec).await?.ok_or("no command")?;
        let command = Recorded {
            sequence: command.sequence,
            value: Message::decode(&command.value.payload)?.chain,
        };
        bus.admit(exec, command, "test", Timestamp::now()).await;
        let tail = bus.tail(exec).await?.ok_or("no command")?;
        let chain = Message::decode(&tail.value.payload)?.chain;
        let tail = Recorded {
            sequence: tail.sequence,
            value: chain,
        };
        let claim = ClaimId::new(Uuid::new_v4());
        Ok(Self {
            exec: exec.clone(),
            messages: Vec::new(),
            writer: ExecWriter::new(bus.clone(), exec.clone(), Some(claim), 1, tail),
            next: 1,
        })
    }

    /// One message of so many lines; each says its number, and then `text`.
    ///
    /// # Errors
    /// When the log refuses it.
    pub async fn lines(&mut self, count: u64, text: &str) -> Outcome<Written> {
        let mut batch = EventBatch::default();
        for number in self.next..self.next + count {
            let line = format!("{number} {text}");
            let text = Text::of(line.as_bytes(), Some(OutputStream::Stdout), false);
            batch.push(&Event::Output(text))?;
        }
        self.append(Kind::Output, &batch, count).await
    }

    /// One part of a line of claude's: the last one ends the event.
    ///
    /// # Errors
    /// When the log refuses it.
    pub async fn part(&mut self, index: u32, last: bool, text: &str) -> Outcome<Written> {
        let mut batch = EventBatch::default();
        batch.push(&Event::AgentFragment(
            Agent::Claude,
            Fragment {
                index,
                last,
                text: Cow::Borrowed(text),
            },
        ))?;
        self.append(Kind::Claude, &batch, u64::from(last)).await
    }

    /// The end.
    ///
    /// # Errors
    /// When the log refuses it.
    pub async fn complete(&mut self) -> Outcome<Written> {
        let mut batch = EventBatch::default();
        let complete = Complete::without_process(Ending::Lost, "a test");
        batch.push(&Event::Complete(&complete))?;
        self.append(Kind::Complete, &batch, 1).await
    }

    /// Number of the last whole event.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.next - 1
    }

    /// The id of an event that was written.
    #[must_use]
    pub fn id(&self, number: u64) -> String {
        id(&self.exec, &self.messages, number)
    }

    async fn append(&mut self, kind: Kind, batch: &EventBatch, count: u64) -> Outcome<Written> {
        let first = self.next;
        let to = Offsets::new(self.messages.len() as u64 + 1, 0);
        let entry = Entry {
            kind,
            first: Some(EventNo(first)),
            to: Some(to),
            body: Body::Events(batch),
        };
        let sequence = self.writer.append(entry, Timestamp::now()).await?;
        let written = Written {
            sequence,
            first,
            count,
        };
        self.next += count;
        self.messages.push(written);
        Ok(written)
    }
}

/// The id of an event of this exec; that before the first one if none of the messages has it.
#[must_use]
pub fn id(exec: &ExecId, messages: &[Written], number: u64) -> String {
    let holds =
        |message: &&Written| (message.first..message.first + message.count).contains(&number);
    let sequence = messages.iter().find(holds).map(|message| message.sequence);
    match sequence {
        Some(sequence) => format!("{sequence}-{number}-{}", exec.tag()),
        None => format!("0-0-{}", exec.tag()),
    }
}

fn command() -> Command {
    let spec = CommandSpec::new(
        Work::Shell {
            command: "true".to_owned(),
        },
        60,
    );
    Command {
        spec,
        accept_until: Timestamp::MAX,
        awaits_pod: false,
        by: Requester::default(),
    }
}
