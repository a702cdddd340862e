//! How many messages a replay asks for at once.
//!
//! Before a batched direct get the server counts all that match in the rest of the stream, a batch
//! that finds too few looks through all of it for more, and meanwhile nothing can be stored. So a
//! replay begins and ends with single messages, which cost next to nothing however much the stream
//! holds, and batches come in between where they are short: where messages are small and lie close
//! together.

use rdev_contract::envelope::Recorded;
use rdev_contract::position::StreamSeq;

use crate::Stored;
use crate::page::{PAGE_BYTES, PAGE_MAX_MESSAGES};

/// A batch of fewer is not worth the count that comes before it: as many single messages take
/// about as long.
const BATCH_MIN_MESSAGES: usize = 16;
/// Messages of the stream, others' included, that one batch may pass: the server looks at one in
/// about a microsecond, so that nobody waits for longer than some milliseconds.
const BATCH_PASSED_MAX: u64 = 5_000;

/// Remembers how far apart and how large the messages were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pace {
    /// Doubles with each answer, up to what fits.
    messages: usize,
    /// Messages of the stream for each one that was found.
    gap: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            messages: 1,
            gap: 1,
        }
    }
}

impl Pace {
    /// How many messages to ask for behind `after`, if the last one is `end`.
    #[must_use]
    pub(crate) fn messages(self, after: StreamSeq, end: StreamSeq) -> usize {
        // By half of what seems to be left, so that a batch hardly ever finds too few.
        let left = end.0.saturating_sub(after.0) / self.gap / 2;
        let messages = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(self.messages);
        if messages < BATCH_MIN_MESSAGES {
            1
        } else {
            messages
        }
    }

    /// The pace behind these, which were found behind `after`.
    pub(crate) fn behind(self, after: StreamSeq, found: &[Recorded<Stored>]) -> Self {
        let Some(last) = found.last() else {
            return self;
        };
        let count = found.len() as u64;
        let bytes: usize = found.iter().map(|one| one.value.payload.len()).sum();
        let passed = last.sequence.0.saturating_sub(after.0).max(1);
        let fits_passed = BATCH_PASSED_MAX * count / passed;
        let fits_bytes = (PAGE_BYTES as u64) * count / (bytes as u64).max(1);
        let fits = usize::try_from(fits_passed.min(fits_bytes)).unwrap_or(PAGE_MAX_MESSAGES);
        Self {
            messages: (self.messages * 2).min(fits).clamp(1, PAGE_MAX_MESSAGES),
            gap: passed.div_ceil(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;

    /// What a replay asks for first that finds messages of so many bytes, so far apart.
    fn asked(rounds: usize, gap: u64, bytes: usize) -> Vec<usize> {
        let asked = asked_of(u64::MAX, gap, bytes);
        asked.take(rounds).collect()
    }

    /// What a replay asks for that ends at `end`.
    fn asked_of(end: u64, gap: u64, bytes: usize) -> impl Iterator<Item = usize> {
        let payload = Bytes::from(vec![0; bytes]);
        let (mut pace, mut after) = (Pace::default(), StreamSeq(0));
        std::iter::from_fn(move || {
            if after.0 >= end {
                return None;
            }
            let count = pace.messages(after, StreamSeq(end));
            let message = |index: usize| Recorded {
                sequence: StreamSeq(after.0 + gap * (index as u64 + 1)),
                value: Stored {
                    subject: String::new(),
                    payload: payload.clone(),
                    at: Timestamp::UNIX_EPOCH,
                    trace: None,
                },
            };
            let found: Vec<_> = (0..count).map(message).collect();
            pace = pace.behind(after, &found);
            after = found.last().unwrap().sequence;
            Some(count)
        })
    }

    #[test]
    fn dense_small_messages_come_in_growing_batches() {
        assert_eq!(asked(10, 1, 100), [1, 1, 1, 1, 16, 32, 64, 128, 256, 256]);
    }

    #[test]
    fn a_batch_passes_few_other_messages() {
        assert_eq!(asked(8, 100, 100), [1, 1, 1, 1, 16, 32, 50, 50]);
        // As many as a batch may pass hold the smallest batch, and not one more.
        assert_eq!(asked(7, 312, 100), [1, 1, 1, 1, 16, 16, 16]);
        assert_eq!(asked(7, 313, 100), [1; 7]);
        assert_eq!(asked(7, u64::from(u32::MAX), 100), [1; 7]);
    }

    #[test]
    fn large_messages_come_one_by_one() {
        let smallest = PAGE_BYTES / BATCH_MIN_MESSAGES;
        assert_eq!(asked(6, 1, smallest), [1, 1, 1, 1, 16, 16]);
        assert_eq!(asked(6, 1, smallest + 1), [1; 6]);
        assert_eq!(asked(6, 1, 4 * PAGE_BYTES), [1; 6]);
    }

    #[test]
    fn no_batch_reaches_beyond_the_end() {
        for (messages, gap) in [(1, 1), (35, 1), (36, 1), (1_000, 1), (1_000, 7), (100, 300)] {
            let asked: Vec<_> = asked_of(messages * gap, gap, 100).collect();
            assert_eq!(asked.iter().sum::<usize>() as u64, messages, "{asked:?}");
            let singles = asked.iter().filter(|count| **count == 1).count();
            // Some at the beginning, and what is too little for another batch.
            assert!(singles <= 4 + 2 * BATCH_MIN_MESSAGES, "{asked:?}");
        }
    }

    #[test]
    fn nothing_found_changes_nothing() {
        let pace = Pace::default();
        assert_eq!(pace.behind(StreamSeq(1), &[]), pace);
    }
}
