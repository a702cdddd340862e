//! Input against a shim that has little room, answers late, and is sometimes connected to anew.

use super::*;

/// As the shim takes input: what continues and fits.
#[derive(Default)]
struct Shim {
    all: Vec<u8>,
    waiting: usize,
    room_is_awaited: bool,
    ended: bool,
    answers: VecDeque<(u64, bool, bool)>,
}

const ROOM_BYTES: usize = 3 * MAX_STDIN_BYTES / 2;

impl Shim {
    fn taken(&self) -> u64 {
        self.all.len() as u64
    }

    fn take(&mut self, piece: &Piece) {
        let wanted = piece.offset + piece.bytes.len() as u64;
        if !self.ended && piece.offset <= self.taken() && wanted >= self.taken() {
            let known = usize::try_from(self.taken() - piece.offset).unwrap();
            let fresh = &piece.bytes[known..];
            let fits = fresh.len().min(ROOM_BYTES - self.waiting);
            self.all.extend_from_slice(&fresh[..fits]);
            self.waiting += fits;
            self.ended = piece.end && fits == fresh.len();
        }
        let full = piece.offset <= self.taken() && self.taken() < wanted && !self.ended;
        self.room_is_awaited |= full;
        self.answers.push_back((self.taken(), full, self.ended));
    }

    /// The command reads so many bytes.
    fn read(&mut self, bytes: usize) {
        self.waiting -= bytes.min(self.waiting);
        if self.waiting < ROOM_BYTES && std::mem::take(&mut self.room_is_awaited) {
            self.answers.push_back((self.taken(), false, self.ended));
        }
    }
}

/// The same numbers in every run, in no order.
fn dice(state: &mut u64, below: usize) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    usize::try_from(*state >> 33).unwrap() % below
}

fn feed_all(seed: u64) {
    let mut state = seed;
    let input: Bytes = (0..900_000_u32).map(|at| (at / 251) as u8).collect();
    let (mut feed, mut shim) = (Feed::default(), Shim::default());
    let (mut given, mut sequence, mut steps) = (0, 0, 0);
    while !shim.ended || feed.oldest().is_some() {
        steps += 1;
        assert!(
            steps < 100_000,
            "it stands still at {} of {given}",
            shim.taken()
        );
        match dice(&mut state, 8) {
            0 if given < input.len() => {
                let to = input.len().min(given + dice(&mut state, 150_000));
                sequence += 1;
                let bytes = input.slice(given..to);
                feed.add(StreamSeq(sequence), given as u64, bytes, to == input.len());
                given = to;
            }
            1 => shim.read(dice(&mut state, 60_000)),
            2 if dice(&mut state, 20) == 0 => {
                // Another connection: what was under way is lost, and some of it arrives late.
                shim.answers.clear();
                shim.room_is_awaited = false;
                feed.begin_anew();
            }
            _ => {
                if let Some((offset, full, closed)) = shim.answers.pop_front() {
                    feed.answered(offset, full, closed);
                }
            }
        }
        assert!(!feed.has_gap());
        for piece in feed.next() {
            shim.take(&piece);
        }
    }
    assert!(shim.all == input, "seed {seed}");
}

#[test]
fn every_byte_is_taken_once_and_the_end_behind_them() {
    for seed in 0..40 {
        feed_all(seed);
    }
}

#[test]
fn an_order_is_needed_until_all_of_it_is_taken() {
    let mut feed = Feed::default();
    feed.add(StreamSeq(4), 10, Bytes::from_static(b"abc"), false);
    feed.add(StreamSeq(6), 13, Bytes::new(), true);
    let piece = |offset, bytes, end| Piece {
        offset,
        bytes: Bytes::from_static(bytes),
        end,
    };
    assert_eq!(feed.next(), [piece(10, b"abc", false)]);
    assert_eq!(feed.next(), [], "one at a time");
    feed.answered(12, true, false);
    assert_eq!(feed.next(), [], "there is no room");
    feed.answered(12, false, false);
    assert_eq!(feed.oldest(), Some(StreamSeq(4)));
    assert_eq!(feed.next(), [piece(12, b"c", false)]);
    feed.answered(13, false, false);
    assert_eq!(feed.oldest(), Some(StreamSeq(6)));
    assert_eq!(feed.next(), [piece(13, b"", true)]);
    feed.answered(13, false, true);
    assert_eq!((feed.oldest(), feed.is_waiting()), (None, false));
    feed.add(StreamSeq(7), 13, Bytes::from_static(b"late"), false);
    assert_eq!(feed.oldest(), None, "nobody takes it");
}

#[test]
fn what_is_to_be_given_again_may_come_last() {
    let mut feed = Feed::default();
    feed.add(StreamSeq(u64::MAX), 13, Bytes::new(), true);
    feed.next();
    feed.answered(10, false, false);
    assert!(feed.has_gap());
    feed.add(StreamSeq(4), 10, Bytes::from_static(b"abc"), false);
    assert!(!feed.has_gap());
    assert_eq!(feed.next()[0].offset, 10);
    feed.answered(13, false, false);
    assert!(feed.next()[0].end);
}

#[test]
fn a_shim_that_has_less_than_it_should_is_noticed() {
    let mut feed = Feed::default();
    feed.add(StreamSeq(4), 10, Bytes::from_static(b"abc"), false);
    assert!(!feed.has_gap(), "nothing is known yet");
    feed.next();
    feed.answered(7, false, false);
    assert!(feed.has_gap());
}
