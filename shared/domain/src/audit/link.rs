//! How each message names the one before it: by sequence and by chain value.

use jiff::{SignedDuration, Timestamp};
use rdev_contract::envelope::{Chain, Message, verify_chain};
use rdev_contract::event::Kind;
use rdev_contract::position::StreamSeq;

use super::Held;

/// A command waits for an executor, and runs, no longer than this: how much older the beginning of
/// an exec may be than the rest of it.
const LONGEST_EXEC: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Where an exec may have begun of which this is the first message that is left.
pub(super) fn earliest_beginning(stored_at: Timestamp) -> Timestamp {
    stored_at.checked_sub(LONGEST_EXEC).unwrap_or(stored_at)
}

/// The last message that was taken.
#[derive(Debug, Default)]
pub(super) struct Link {
    last: Option<Last>,
    before: Option<Timestamp>,
}

#[derive(Debug)]
struct Last {
    sequence: StreamSeq,
    stored_at: Timestamp,
    /// Not known behind a message that cannot be read.
    chain: Option<Chain>,
}

/// How a message follows the last one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Linked {
    /// It names it, and its bytes are those that were written.
    Chained,
    /// It names it; what the chain went on from is not known.
    Unchained,
    /// It names it, but its bytes are others.
    Changed,
    /// It names an earlier one; this is the last.
    Bypassing(StreamSeq),
    /// It names one that is not there, stored after this time (if anything before is there).
    Hole { since: Option<Timestamp> },
}

impl Link {
    pub(super) fn follow(&mut self, held: &Held, message: &Message<'_>) -> Linked {
        let prev = message.head.prev;
        let linked = match &self.last {
            None if prev == StreamSeq(0) => chained(&held.payload, Some(&Chain::default())),
            None => Linked::Hole { since: None },
            Some(last) if prev == last.sequence => chained(&held.payload, last.chain.as_ref()),
            Some(last) if prev < last.sequence => Linked::Bypassing(last.sequence),
            Some(last) => Linked::Hole {
                since: Some(last.stored_at),
            },
        };
        self.advance(held, Some(message.chain.clone()));
        linked
    }

    /// Goes on behind a message that cannot be read.
    pub(super) fn lose(&mut self, held: &Held) {
        self.advance(held, None);
    }

    fn advance(&mut self, held: &Held, chain: Option<Chain>) {
        let last = Last {
            sequence: held.sequence,
            stored_at: held.stored_at,
            chain,
        };
        self.before = self.last.replace(last).map(|before| before.stored_at);
    }

    /// Whether `next` follows the last message itself, with its chain, and `waiting` stands between.
    pub(super) fn bypasses(&self, next: &Held, waiting: &Held) -> bool {
        let Some(last) = &self.last else { return false };
        let follows_last =
            Message::decode(&next.payload).is_ok_and(|next| next.head.prev == last.sequence);
        // Of two copies the first is the one that was there.
        if !follows_last || next.payload == waiting.payload {
            return false;
        }
        // Nothing comes behind an end.
        let is_end = Message::decode(&waiting.payload)
            .is_ok_and(|waiting| waiting.head.known_kind() == Some(Kind::Complete));
        let is_chained = |chain| verify_chain(&next.payload, chain);
        !is_end && last.chain.as_ref().is_some_and(is_chained)
    }

    /// When the message before the last one was stored.
    pub(super) const fn before(&self) -> Option<Timestamp> {
        self.before
    }

    pub(super) fn chain(&self) -> String {
        self.last
            .as_ref()
            .and_then(|last| last.chain.as_ref())
            .map(|chain| chain.as_str().to_owned())
            .unwrap_or_default()
    }
}

fn chained(payload: &[u8], previous: Option<&Chain>) -> Linked {
    match previous {
        None => Linked::Unchained,
        Some(chain) if verify_chain(payload, chain) => Linked::Chained,
        Some(_) => Linked::Changed,
    }
}
