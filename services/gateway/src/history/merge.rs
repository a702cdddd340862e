//! One page out of several sources that each have a part of the messages. Pure.
//!
//! Invariant: the page has every message of all sources up to its last one.

use std::collections::BTreeMap;

use rdev_bus::Stored;
use rdev_contract::envelope::Recorded;
use rdev_contract::position::StreamSeq;

/// As much as a page of the log has.
const PAGE_BYTES: usize = 256 * 1024;

/// A page in the making.
pub(super) struct Merge {
    messages: BTreeMap<StreamSeq, Stored>,
    bytes: usize,
    until: StreamSeq,
}

impl Merge {
    /// Begins with what the log has next; without anything, it has nothing up to `end`.
    pub(super) fn of(found: Vec<Recorded<Stored>>, end: StreamSeq) -> Self {
        let mut merge = Self {
            messages: BTreeMap::new(),
            bytes: 0,
            until: found.last().map_or(end, |last| last.sequence),
        };
        for Recorded { sequence, value } in found {
            merge.bytes += value.payload.len();
            merge.messages.insert(sequence, value);
        }
        merge
    }

    /// Up to where messages belong into the page.
    pub(super) const fn until(&self) -> StreamSeq {
        self.until
    }

    /// Adds what a source has. Where that is too much for a page, the page ends earlier.
    pub(super) fn add(&mut self, messages: Vec<Recorded<Stored>>) {
        for Recorded { sequence, value } in messages {
            if sequence > self.until {
                break;
            }
            let bytes = value.payload.len();
            if self.messages.insert(sequence, value).is_none() {
                self.bytes += bytes;
            }
        }
        while self.bytes > PAGE_BYTES && self.messages.len() > 1 {
            if let Some((_, value)) = self.messages.pop_last() {
                self.bytes -= value.payload.len();
            }
            if let Some((last, _)) = self.messages.last_key_value() {
                self.until = *last;
            }
        }
    }

    /// The page.
    pub(super) fn finish(self) -> Vec<Recorded<Stored>> {
        let messages = self.messages.into_iter();
        messages
            .map(|(sequence, value)| Recorded { sequence, value })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn message(sequence: u64, bytes: usize) -> Recorded<Stored> {
        Recorded {
            sequence: StreamSeq(sequence),
            value: Stored {
                subject: String::new(),
                payload: vec![b'x'; bytes].into(),
                at: Timestamp::UNIX_EPOCH,
                trace: None,
            },
        }
    }

    /// A source gives so many messages at a time.
    fn some(source: &[Recorded<Stored>], after: StreamSeq, count: usize) -> Vec<Recorded<Stored>> {
        let rest = source.iter().filter(|message| message.sequence > after);
        rest.take(count).cloned().collect()
    }

    proptest! {
        /// Whoever asks for page after page gets the messages of all sources, each once, in order.
        #[test]
        fn pages_have_everything(
            sizes in prop::collection::vec(1..100_000_usize, 0..60),
            of in prop::collection::vec(1..15_usize, 60),
            count in 1..9_usize,
        ) {
            let all: Vec<_> = sizes
                .iter()
                .zip(1..)
                .map(|(bytes, sequence)| message(sequence * 2, *bytes))
                .collect();
            // Each message is in at least one of four sources; the first is the log.
            let sources: Vec<Vec<_>> = (0..4)
                .map(|bit| {
                    let is_in = |of: &usize| of & (1 << bit) > 0;
                    let held = all.iter().zip(&of).filter(|(_, of)| is_in(of));
                    held.map(|(message, _)| message.clone()).collect()
                })
                .collect();
            let (log, archived) = sources.split_first().unwrap();
            let end = all.last().map_or(StreamSeq(0), |last| last.sequence);
            let mut seen: Vec<Recorded<Stored>> = Vec::new();
            let mut after = StreamSeq(0);
            while after < end {
                let mut merge = Merge::of(some(log, after, count), end);
                for source in archived {
                    let mut from = after;
                    while from < merge.until() {
                        let page = some(source, from, count);
                        let Some(last) = page.last() else { break };
                        from = last.sequence;
                        merge.add(page);
                    }
                }
                let page = merge.finish();
                let bytes: usize = page.iter().map(|one| one.value.payload.len()).sum();
                prop_assert!(bytes <= PAGE_BYTES || page.len() <= count.max(1));
                let last = page.last().map(|last| last.sequence);
                prop_assert!(last.is_some(), "nothing behind {after} before {end}");
                after = last.unwrap_or(end);
                seen.extend(page);
            }
            prop_assert_eq!(seen, all);
        }
    }
}
