//! The log: a list of messages with the broker's compare-and-set on the last sequence.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use rdev_contract::envelope::{Message, Recorded};
use rdev_contract::event::Kind;
use rdev_contract::position::StreamSeq;
use rdev_domain::exec::{self, ExecState};

use crate::Violation;
use crate::dice::Dice;

/// Messages of other execs that may lie between two of ours.
const GAP_MAX: usize = 3;

#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) sequence: StreamSeq,
    pub(crate) payload: Bytes,
    pub(crate) kind: Kind,
    /// The message that was the last one when this was stored.
    pub(crate) behind: Option<usize>,
    pub(crate) expired: bool,
}

impl Stored {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::decode(&self.payload).expect("our own message")
    }
}

/// Everything that was ever stored of the exec, also what has expired.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) messages: Vec<Stored>,
}

impl Log {
    /// What a reader of the last message gets at the leader.
    pub(crate) fn tail(&self) -> Option<&Stored> {
        self.tail_index().map(|index| &self.messages[index])
    }

    fn tail_index(&self) -> Option<usize> {
        self.messages.iter().rposition(|stored| !stored.expired)
    }

    /// A publish arrives: stored if `expected` is the last sequence, else refused.
    pub(crate) fn offer(
        &mut self,
        expected: StreamSeq,
        payload: &Bytes,
        dice: &mut Dice,
    ) -> Option<StreamSeq> {
        let behind = self.tail_index();
        if expected != behind.map_or(StreamSeq(0), |index| self.messages[index].sequence) {
            return None;
        }
        let kind = Message::decode(payload)
            .ok()
            .and_then(|message| message.head.known_kind())
            .expect("our own message");
        let before = self.messages.last().map_or(0, |stored| stored.sequence.0);
        let sequence = StreamSeq(before + 1 + dice.below(GAP_MAX) as u64);
        self.messages.push(Stored {
            sequence,
            payload: payload.clone(),
            kind,
            behind,
            expired: false,
        });
        Some(sequence)
    }

    /// What an executor folds: the last message of each kind.
    pub(crate) fn look(&self) -> Result<ExecState, Violation> {
        let mut last = BTreeMap::new();
        for stored in self.messages.iter().filter(|stored| !stored.expired) {
            last.insert(stored.kind.token(), stored);
        }
        state_of(last.into_values())
    }

    /// Command and admission: what comes with the first offer of an exec.
    pub(crate) fn first_look(&self) -> Result<ExecState, Violation> {
        state_of(self.messages.iter().take(2))
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.messages
            .iter()
            .any(|stored| stored.kind == Kind::Complete)
    }

    pub(crate) fn has_events(&self) -> bool {
        self.messages.iter().any(|stored| stored.kind.is_bulk())
    }

    /// Retention takes the last message, if it is bulk.
    pub(crate) fn expire_tail(&mut self) {
        if let Some(index) = self.tail_index()
            && self.messages[index].kind == Kind::Output
        {
            self.messages[index].expired = true;
        }
    }
}

pub(crate) fn state_of<'a>(
    messages: impl Iterator<Item = &'a Stored>,
) -> Result<ExecState, Violation> {
    let messages: Vec<_> = messages
        .map(|stored| Recorded {
            sequence: stored.sequence,
            value: stored.message(),
        })
        .collect();
    exec::fold(&messages).map_err(|error| format!("the log cannot be folded: {error}"))
}

impl fmt::Display for Log {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stored in &self.messages {
            let text = String::from_utf8_lossy(&stored.payload);
            let expired = if stored.expired { " (expired)" } else { "" };
            writeln!(formatter, "{}{expired} {text}", stored.sequence)?;
        }
        Ok(())
    }
}
