//! A line of an agent's that is too long for one message, where somebody begins to read in its
//! middle: the parts before are fetched first, so that its event is there with its last part.
//!
//! Invariant: whoever encodes messages has the beginning of every line in them, unless it is gone.

use std::collections::HashSet;

use rdev_bus::{Bus, LogStream, ReadError, Stored};
use rdev_contract::envelope::{Message, Recorded};
use rdev_contract::event::Kind;
use rdev_contract::id::{ExecId, StreamId};
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::parse_exec;

use crate::history::History;

/// Where the parts before are looked up.
pub(super) trait Lookup: Sync {
    /// The exec's message with this sequence, unless it is gone.
    fn at(
        &self,
        exec: &ExecId,
        sequence: StreamSeq,
    ) -> impl Future<Output = Result<Option<Recorded<Stored>>, ReadError>> + Send;
}

impl Lookup for Bus {
    fn at(
        &self,
        _: &ExecId,
        sequence: StreamSeq,
    ) -> impl Future<Output = Result<Option<Recorded<Stored>>, ReadError>> + Send {
        self.message_at(LogStream::Exec, sequence)
    }
}

impl Lookup for History {
    fn at(
        &self,
        exec: &ExecId,
        sequence: StreamSeq,
    ) -> impl Future<Output = Result<Option<Recorded<Stored>>, ReadError>> + Send {
        self.at(exec, sequence)
    }
}

/// Puts the beginnings of lines before the messages that go on with them. `open` are the execs of
/// whose lines the reader has the beginning already. What is put there are messages from before
/// the page, which the reader was shown or did not ask for.
pub(super) async fn complete(
    log: &impl Lookup,
    messages: Vec<Recorded<Stored>>,
    open: &[StreamId],
) -> Result<Vec<Recorded<Stored>>, ReadError> {
    // Behind its first message of an agent's output, a page has whatever an exec goes on with.
    let mut known: HashSet<StreamId> = open.iter().cloned().collect();
    let mut completed = Vec::with_capacity(messages.len());
    for message in messages {
        if let Some(exec) = exec_of_agent(&message.value)
            && known.insert(exec.stream.clone())
            && let Some(before) = continues_from(&message)
        {
            completed.extend(beginning(log, &exec, before).await?);
        }
        completed.push(message);
    }
    Ok(completed)
}

/// Only the output of agents has lines of several messages.
fn exec_of_agent(stored: &Stored) -> Option<ExecId> {
    let (exec, kind) = parse_exec(&stored.subject).ok()?;
    let kind: Kind = kind.parse().ok()?;
    kind.agent().map(|_| exec)
}

/// The message before this one, if this one begins in the middle of a line.
fn continues_from(message: &Recorded<Stored>) -> Option<StreamSeq> {
    let message = Message::decode(&message.value.payload).ok()?;
    let first = message.events.first()?.fragment.as_ref()?;
    (first.index > 0).then_some(message.head.prev)
}

/// The messages from the line's first part to that with `last`; none if one of them is gone.
async fn beginning(
    log: &impl Lookup,
    exec: &ExecId,
    last: StreamSeq,
) -> Result<Vec<Recorded<Stored>>, ReadError> {
    let mut found = Vec::new();
    let mut before = last;
    loop {
        let Some(message) = log.at(exec, before).await? else {
            return Ok(Vec::new());
        };
        let Some((index, prev)) = last_part(&message.value) else {
            return Ok(Vec::new());
        };
        found.push(message);
        if index == 0 {
            found.reverse();
            return Ok(found);
        }
        before = prev;
    }
}

/// The index of the part that a message ends with, and the message before it.
fn last_part(stored: &Stored) -> Option<(u32, StreamSeq)> {
    let message = Message::decode(&stored.payload).ok()?;
    let part = message.events.last()?.fragment.as_ref()?;
    Some((part.index, message.head.prev))
}
