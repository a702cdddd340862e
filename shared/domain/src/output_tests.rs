//! Given what a run made of output, then its bytes are that output, from wherever one begins.

use std::time::Duration;

use proptest::prelude::*;
use rdev_contract::envelope::{self, Body, Chain};
use rdev_contract::position::{EventNo, StreamSeq};
use uuid::Uuid;

use rdev_contract::agent::Agent;

use super::*;
use crate::run::{Batch, Format, Run};

const CLAUDE: Format = Format::Agent(Agent::Claude);

const LINES: Format = Format::Lines { merge: false };

fn payload_of(batch: &Batch) -> Vec<u8> {
    let head = Head {
        v: envelope::PAYLOAD_VERSION,
        project: "demo".parse().unwrap(),
        session: rdev_contract::id::SessionId::new(Uuid::nil()),
        stream: "s".parse().unwrap(),
        kind: batch.kind.to_string(),
        claim: None,
        attempt: 1,
        first: Some(batch.first),
        at: "2026-11-22T06:21:00Z".parse().unwrap(),
        to: Some(batch.to),
        prev: StreamSeq(1),
    };
    envelope::encode(&head, &Body::Events(&batch.events), &Chain::default())
        .unwrap()
        .payload
}

/// Every message of a run that was fed these chunks; a batch is taken after each, so that there are
/// many.
fn messages(format: Format, chunks: &[(OutputStream, Vec<u8>)]) -> Vec<Vec<u8>> {
    let mut run = Run::new(format, Offsets::default(), EventNo::FIRST);
    let mut payloads = Vec::new();
    let mut now = Duration::ZERO;
    for (stream, bytes) in chunks {
        let at = offset(run.received(), *stream);
        run.feed(*stream, at, bytes, now).unwrap();
        now += Duration::from_millis(60);
        run.flush_partials(now);
        payloads.extend(std::iter::from_fn(|| run.take_batch()).map(|batch| payload_of(&batch)));
    }
    run.finish();
    payloads.extend(std::iter::from_fn(|| run.take_batch()).map(|batch| payload_of(&batch)));
    payloads
}

fn printed(chunks: &[(OutputStream, Vec<u8>)], stream: OutputStream) -> Vec<u8> {
    let of_stream = chunks.iter().filter(|(found, _)| *found == stream);
    of_stream.flat_map(|(_, bytes)| bytes.clone()).collect()
}

/// All stretches from the message with this index on, and what they say.
fn joined(payloads: &[Vec<u8>], stream: OutputStream) -> Vec<Stretch> {
    let mut joiner = OutputJoiner::new(stream);
    let take = |payload: &Vec<u8>| {
        let message = Message::decode(payload).unwrap();
        joiner.take(&message).unwrap()
    };
    payloads.iter().filter_map(take).collect()
}

fn long_line() -> Vec<u8> {
    format!("{{\"text\":\"{}\"}}\n", "x".repeat(700_000)).into_bytes()
}

#[test]
fn bytes_are_those_that_were_printed() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let chunks = [
        (OutputStream::Stdout, every_byte.clone()),
        (OutputStream::Stderr, b"half of \xC3".to_vec()),
        (OutputStream::Stdout, b"no last newline".to_vec()),
    ];
    let payloads = messages(LINES, &chunks);
    for stream in [OutputStream::Stdout, OutputStream::Stderr] {
        let stretches = joined(&payloads, stream);
        assert_eq!(stretches[0].begin, 0);
        let bytes: Vec<u8> = stretches.into_iter().flat_map(|one| one.bytes).collect();
        assert_eq!(bytes, printed(&chunks, stream));
    }
}

#[test]
fn a_long_line_comes_with_its_last_part() {
    let mut output = b"{\"a\":1}\n".to_vec();
    output.extend(long_line());
    output.extend(b"{\"b\":2}");
    let payloads = messages(CLAUDE, &[(OutputStream::Stdout, output.clone())]);
    let stretches = joined(&payloads, OutputStream::Stdout);
    let begins: Vec<_> = stretches.iter().map(|one| one.begin).collect();
    assert_eq!(begins, [0, 8, 8 + long_line().len() as u64]);
    let bytes: Vec<u8> = stretches.into_iter().flat_map(|one| one.bytes).collect();
    assert_eq!(bytes, output);
    assert_eq!(joined(&payloads, OutputStream::Stderr), []);
}

#[test]
fn a_line_without_its_beginning_is_a_hole() {
    let mut output = long_line();
    output.extend(b"{\"b\":2}\n");
    let payloads = messages(CLAUDE, &[(OutputStream::Stdout, output)]);
    let stretches = joined(&payloads[1..], OutputStream::Stdout);
    let rest = Stretch {
        begin: long_line().len() as u64,
        bytes: b"{\"b\":2}\n".to_vec(),
    };
    assert_eq!(stretches, [rest]);
}

/// Whoever takes over repeats the line from its first part.
#[test]
fn a_line_that_was_begun_twice_comes_once() {
    let mut output = b"{\"a\":1}\n".to_vec();
    output.extend(long_line());
    let mut payloads = messages(CLAUDE, &[(OutputStream::Stdout, output.clone())]);
    payloads.truncate(3);
    let last = Message::decode(&payloads[2]).unwrap();
    let (to, next) = (last.head.to.unwrap(), last.head.first.unwrap());
    assert_eq!((to.stdout, next), (8, EventNo(2)));
    let mut second = Run::new(CLAUDE, to, next);
    let rest = &output[8..];
    second
        .feed(OutputStream::Stdout, 8, rest, Duration::ZERO)
        .unwrap();
    second.finish();
    payloads.extend(std::iter::from_fn(|| second.take_batch()).map(|batch| payload_of(&batch)));
    let stretches = joined(&payloads, OutputStream::Stdout);
    let begins: Vec<_> = stretches.iter().map(|one| one.begin).collect();
    assert_eq!(begins, [0, 8]);
    let bytes: Vec<u8> = stretches.into_iter().flat_map(|one| one.bytes).collect();
    assert_eq!(bytes, output);
}

#[test]
fn nobody_begins_in_the_middle_of_a_line() {
    let payloads = messages(CLAUDE, &[(OutputStream::Stdout, long_line())]);
    for payload in &payloads[..payloads.len() - 1] {
        let part = Message::decode(payload).unwrap();
        assert!(!ends_before(&part, OutputStream::Stdout, 0));
        assert!(!is_before(&part.head, OutputStream::Stdout, 0));
    }
    let last = Message::decode(payloads.last().unwrap()).unwrap();
    let end = long_line().len() as u64;
    assert!(ends_before(&last, OutputStream::Stdout, end));
    assert!(!ends_before(&last, OutputStream::Stdout, end - 1));
}

#[test]
fn offsets_that_cannot_be_are_told() {
    let payloads = messages(LINES, &[(OutputStream::Stdout, b"hello\n".to_vec())]);
    let mut message = Message::decode(&payloads[0]).unwrap();
    message.head.to = Some(Offsets::default());
    let mut joiner = OutputJoiner::new(OutputStream::Stdout);
    let error = joiner.take(&message).unwrap_err().to_string();
    assert!(error.contains("6 bytes"), "{error}");
    message.head.to = None;
    assert!(matches!(joiner.take(&message), Err(OutputError::NoOffsets)));
}

fn chunks() -> impl Strategy<Value = Vec<(OutputStream, Vec<u8>)>> {
    let stream = prop_oneof![Just(OutputStream::Stdout), Just(OutputStream::Stderr)];
    let bytes = prop_oneof![
        3 => "[a-zé🎉\r\"]{0,9}".prop_map(String::into_bytes),
        3 => Just(b"\n".to_vec()),
        2 => "[a-z]{0,3}".prop_map(|text| format!("{{\"k\":\"{text}\"}}\n").into_bytes()),
        2 => prop::collection::vec(any::<u8>(), 0..5),
        1 => (0_usize..300_000).prop_map(|count| format!("{{\"k\":\"{}\"}}\n", "y".repeat(count)).into_bytes()),
    ];
    prop::collection::vec((stream, bytes), 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whoever reads from the last message that ends before `first` finds the same bytes behind
    /// it as whoever reads all, and may leave out what is before by its head.
    #[test]
    fn from_wherever_one_begins(
        chunks in chunks(),
        is_claude in any::<bool>(),
        is_stderr in any::<bool>(),
        place in 0.0_f64..1.0,
    ) {
        let format = if is_claude { CLAUDE } else { LINES };
        let stream = if is_stderr { OutputStream::Stderr } else { OutputStream::Stdout };
        let payloads = messages(format, &chunks);
        let mut all = printed(&chunks, stream);
        if is_claude && !is_stderr {
            // The one thing that the log does not keep: a CR between tokens.
            let log: Vec<u8> = joined(&payloads, stream).into_iter().flat_map(|one| one.bytes).collect();
            prop_assert_eq!(log.len(), all.len());
            all = log;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "any place will do")]
        let first = (all.len() as f64 * place) as usize;
        let decoded: Vec<_> = payloads.iter().map(|payload| Message::decode(payload).unwrap()).collect();
        let begin = decoded.iter().rposition(|message| ends_before(message, stream, first as u64));
        let mut joiner = OutputJoiner::new(stream);
        let (mut found, mut position) = (Vec::new(), first as u64);
        for message in &decoded[begin.map_or(0, |index| index + 1)..] {
            if is_before(&message.head, stream, position) {
                continue;
            }
            let Some(stretch) = joiner.take(message).unwrap() else { continue };
            if stretch.end() <= position {
                continue;
            }
            prop_assert!(stretch.begin <= position, "a hole before {}", stretch.begin);
            let skipped = usize::try_from(position - stretch.begin).unwrap();
            found.extend_from_slice(&stretch.bytes[skipped..]);
            position = stretch.end();
        }
        prop_assert_eq!(found, &all[first..]);
    }
}
