//! The run: given output in any chunking, then numbered events whose joined bytes are that output.

use proptest::prelude::*;
use rdev_contract::envelope::{self, Body, Chain, Head, Message};
use rdev_contract::event::AgentLine;
use rdev_contract::position::StreamSeq;
use uuid::Uuid;

use rdev_contract::agent::Agent;

use super::*;
use crate::exec::next_after;
use crate::fragment::FragmentJoiner;

const CLAUDE: Format = Format::Agent(Agent::Claude);

const NO_TIME: Duration = Duration::ZERO;
const LINES: Format = Format::Lines { merge: false };

/// What a reader of the log has: numbers and bytes, checked as they come.
#[derive(Debug, Default, Clone)]
struct Reader {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    names: Vec<String>,
    to: Offsets,
    next: EventNo,
    joiner: FragmentJoiner,
}

impl Reader {
    fn new() -> Self {
        Self {
            next: EventNo::FIRST,
            ..Self::default()
        }
    }

    /// Reads the batch as it would come back from the log.
    fn read(&mut self, batch: &Batch) {
        assert!(batch.events.encoded_bytes() <= BATCH_MAX_ENCODED_BYTES);
        assert_eq!(batch.first, self.next, "numbers follow each other");
        let payload = payload_of(batch);
        let message = Message::decode(&payload).unwrap();
        for event in &message.events {
            self.read_event(event);
        }
        assert_eq!(next_after(&message), Some(batch.next));
        self.next = batch.next;
        self.to = batch.to;
        if !self.joiner.is_waiting() {
            let account = (self.stdout.len() as u64, self.stderr.len() as u64);
            assert_eq!(
                (batch.to.stdout, batch.to.stderr),
                account,
                "offsets are exact"
            );
        }
    }

    fn read_event(&mut self, event: &rdev_contract::event::RawEvent<'_>) {
        let joined = event
            .fragment
            .as_ref()
            .map(|fragment| self.joiner.push(fragment).unwrap());
        let data = match joined {
            None => event.data.unwrap().get().to_owned(),
            Some(None) => return,
            Some(Some(data)) => data,
        };
        self.names.push(event.name.to_string());
        if event.name == "claude_event" {
            let line = AgentLine::of_data(&data).unwrap();
            self.stdout.extend(line.bytes());
            return;
        }
        let text: Text<'_> = serde_json::from_str(&data).unwrap();
        let is_stderr = event.name == "error" || text.stream == Some(OutputStream::Stderr);
        let bytes = text.bytes().unwrap();
        if is_stderr {
            self.stderr.extend(bytes);
        } else {
            self.stdout.extend(bytes);
        }
    }

    fn read_all(&mut self, run: &mut Run) {
        while let Some(batch) = run.take_batch() {
            self.read(&batch);
        }
        assert_eq!(run.pending_bytes(), 0);
    }
}

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

fn run_of(format: Format) -> Run {
    Run::new(format, Offsets::default(), EventNo::FIRST)
}

fn events_of(format: Format, stdout: &[u8]) -> Reader {
    let mut run = run_of(format);
    run.feed(OutputStream::Stdout, 0, stdout, NO_TIME).unwrap();
    run.finish();
    let mut reader = Reader::new();
    reader.read_all(&mut run);
    reader
}

fn events_json(run: &mut Run) -> String {
    let batch = run.take_batch().unwrap();
    let payload = payload_of(&batch);
    let payload = String::from_utf8(payload).unwrap();
    let (_, events) = payload.split_once("\"events\":").unwrap();
    events.strip_suffix('}').unwrap().to_owned()
}

#[test]
fn lines_become_output_in_order_of_arrival() {
    let mut run = run_of(LINES);
    run.feed(OutputStream::Stdout, 0, b"hello\n", NO_TIME)
        .unwrap();
    run.feed(OutputStream::Stderr, 0, b"\xff\n", NO_TIME)
        .unwrap();
    run.feed(OutputStream::Stdout, 6, b"end", NO_TIME).unwrap();
    run.finish();
    assert_eq!(
        events_json(&mut run),
        concat!(
            r#"[{"type":"output","data":{"line":"hello","stream":"stdout"}},"#,
            r#"{"type":"output","data":{"line_base64":"/w==","stream":"stderr"}},"#,
            r#"{"type":"output","data":{"line":"end","stream":"stdout","partial":true}}]"#
        )
    );
    assert!(run.take_batch().is_none());
    assert_eq!(run.next(), EventNo(4));
}

#[test]
fn claude_says_events_output_and_errors() {
    let mut run = run_of(CLAUDE);
    let stdout = b" {\"b\":1,\r\"type\":\"x\"} \r\nWarning: old\n[1]\n{\"z\":2}";
    run.feed(OutputStream::Stdout, 0, stdout, NO_TIME).unwrap();
    run.feed(OutputStream::Stderr, 0, b"oops\n", NO_TIME)
        .unwrap();
    run.finish();
    assert_eq!(
        events_json(&mut run),
        concat!(
            r#"[{"type":"claude_event","data":{"event": {"b":1, "type":"x"}  }},"#,
            r#"{"type":"output","data":{"line":"Warning: old","stream":"stdout"}},"#,
            r#"{"type":"output","data":{"line":"[1]","stream":"stdout"}},"#,
            r#"{"type":"error","data":{"line":"oops"}},"#,
            r#"{"type":"claude_event","data":{"event":{"z":2},"partial":true}}]"#
        )
    );
}

#[test]
fn a_line_cut_inside_its_json_is_partial_text() {
    let reader = events_of(CLAUDE, b"{\"a\":1}\n{\"type\":\"resu");
    assert_eq!(reader.names, ["claude_event", "output"]);
    assert_eq!(reader.stdout, b"{\"a\":1}\n{\"type\":\"resu");
}

#[test]
fn json_is_never_shown_before_its_newline() {
    let mut run = run_of(CLAUDE);
    run.feed(OutputStream::Stdout, 0, b"{\"a\"", NO_TIME)
        .unwrap();
    assert_eq!(run.partial_due(), None);
    run.flush_partials(Duration::from_secs(60));
    assert!(run.take_batch().is_none());
    run.feed(OutputStream::Stderr, 0, b"wait", NO_TIME).unwrap();
    assert_eq!(run.partial_due(), Some(crate::lines::PARTIAL_WAIT));
    run.flush_partials(Duration::from_secs(60));
    let batch = run.take_batch().unwrap();
    assert_eq!(batch.to, Offsets::new(0, 4));
}

#[test]
fn what_came_before_is_skipped_and_a_hole_is_refused() {
    let mut run = Run::new(LINES, Offsets::new(10, 0), EventNo(5));
    run.feed(OutputStream::Stdout, 0, b"0123456789ab\n", NO_TIME)
        .unwrap();
    run.feed(OutputStream::Stdout, 2, b"23456789ab\n", NO_TIME)
        .unwrap();
    let error = run
        .feed(OutputStream::Stdout, 14, b"x", NO_TIME)
        .unwrap_err();
    let expected = FeedError {
        stream: OutputStream::Stdout,
        expected: 13,
        found: 14,
    };
    assert_eq!(error, expected);
    let batch = run.take_batch().unwrap();
    assert_eq!((batch.first, batch.next), (EventNo(5), EventNo(6)));
    assert_eq!(batch.to, Offsets::new(13, 0));
    assert_eq!(run.received(), batch.to);
}

#[test]
fn a_long_claude_line_goes_as_parts_of_one_number() {
    let long = format!("{{\"text\":\"{}\"}}", "\\n".repeat(400_000));
    let output = format!("{{\"a\":1}}\n{long}\n{{\"b\":2}}\n");
    let mut run = run_of(CLAUDE);
    run.feed(OutputStream::Stdout, 0, output.as_bytes(), NO_TIME)
        .unwrap();
    let batches: Vec<Batch> = std::iter::from_fn(|| run.take_batch()).collect();
    assert!(batches.len() > 4);
    let parts = &batches[1..batches.len() - 1];
    let (last, others) = parts.split_last().unwrap();
    for part in others {
        assert_eq!((part.first, part.next), (EventNo(2), EventNo(2)));
        assert_eq!(
            part.to.stdout, 8,
            "a part that is not the last covers nothing"
        );
    }
    assert_eq!((last.first, last.next), (EventNo(2), EventNo(3)));
    let mut reader = Reader::new();
    batches.iter().for_each(|batch| reader.read(batch));
    assert_eq!(reader.stdout, output.as_bytes());
    assert_eq!(reader.names, ["claude_event"; 3]);
}

#[test]
fn a_take_over_in_the_middle_of_a_long_line_repeats_the_line() {
    let output = format!("{{\"a\":1}}\n{{\"text\":\"{}\"}}\n", "x".repeat(700_000));
    let mut first = run_of(CLAUDE);
    first
        .feed(OutputStream::Stdout, 0, output.as_bytes(), NO_TIME)
        .unwrap();
    let mut reader = Reader::new();
    for _ in 0..3 {
        reader.read(&first.take_batch().unwrap());
    }
    let mut second = Run::new(CLAUDE, reader.to, reader.next);
    let from = reader.to.stdout;
    let rest = &output.as_bytes()[usize::try_from(from).unwrap()..];
    second
        .feed(OutputStream::Stdout, from, rest, NO_TIME)
        .unwrap();
    reader.read_all(&mut second);
    assert_eq!(reader.stdout, output.as_bytes());
    assert_eq!(reader.next, EventNo(3));
}

#[test]
fn a_line_beyond_the_limit_is_text() {
    const LIMIT_BYTES: usize = 300_000;
    for (excess, is_event) in [(0, true), (1, false)] {
        let padding = "x".repeat(LIMIT_BYTES + excess - "{\"k\":\"\"}".len());
        let output = format!("{{\"k\":\"{padding}\"}}\n{{\"a\":1}}\n");
        let mut lines = AgentLines::new(0, LIMIT_BYTES);
        let (mut events, mut joined) = (Vec::new(), Vec::new());
        for chunk in output.as_bytes().chunks(70_000) {
            lines.feed(chunk, NO_TIME, &mut |said| match said {
                Said::Line(line) => {
                    joined.extend(line.bytes());
                    events.push(line.text().len());
                }
                Said::Piece(piece) => {
                    joined.extend_from_slice(piece.bytes);
                    joined.extend(if piece.partial { "" } else { "\n" }.bytes());
                }
            });
        }
        assert_eq!(joined, output.as_bytes());
        let expected = if is_event {
            vec![LIMIT_BYTES, 7]
        } else {
            vec![7]
        };
        assert_eq!(events, expected);
    }
}

/// Sizes that leave every amount of room behind, the empty line included.
#[test]
fn no_batch_is_too_long_whatever_fills_it() {
    let mut output = vec![b'\n'; 10_000];
    for bytes in [
        9_000, 0, 30_000, 1, 43_000, 2, 120_000, 3, 250_000, 0, 262_000,
    ] {
        for byte in [b'x', b'"', 0, 0xff] {
            output.extend(vec![byte; bytes / 4 + 1]);
            output.extend(b"\n\n");
        }
    }
    assert_eq!(events_of(LINES, &output).stdout, output);
    assert_eq!(events_of(CLAUDE, &output).stdout, output);
    let objects = "{}\n".repeat(20_000);
    let reader = events_of(CLAUDE, objects.as_bytes());
    assert_eq!(reader.stdout, objects.as_bytes());
}

#[test]
fn control_characters_fill_batches_no_further_than_text_does() {
    let mut output = vec![0_u8; 150_000];
    output.push(b'\n');
    output.extend(vec![b'"'; 150_000]);
    let reader = events_of(LINES, &output);
    assert_eq!(reader.stdout, output);
}

/// Chunks of output as a pod sends them; the flag chooses the stream.
fn chunks() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    let text = prop_oneof![
        3 => "[a-z é🎉\r\"]{0,9}".prop_map(String::into_bytes),
        3 => Just(b"\n".to_vec()),
        3 => "[a-z]{0,3}".prop_map(|text| format!("{{\"k\":\"{text}\"}}\n").into_bytes()),
        1 => Just(b"{\"k\":".to_vec()),
        1 => Just(b"1}".to_vec()),
        2 => prop::collection::vec(any::<u8>(), 0..5),
        1 => (0_usize..80_000).prop_map(|count| format!("{{\"k\":\"{}\"}}", "\\t".repeat(count)).into_bytes()),
        1 => (0_usize..50_000, any::<u8>()).prop_map(|(count, byte)| vec![byte; count]),
    ];
    prop::collection::vec((any::<bool>(), text), 0..40)
}

/// A pod's output, by stream.
#[derive(Debug, Default)]
struct Pod {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// One life of an executor: follows the pod from what the log holds, publishes `batches` at most.
fn live(format: Format, chunks: &[(bool, Vec<u8>)], reader: &mut Reader, batches: usize) -> bool {
    let mut run = Run::new(format, reader.to, reader.next);
    let mut pod = Pod::default();
    let mut published = 0;
    let mut now = Duration::ZERO;
    let mut publish = |run: &mut Run, reader: &mut Reader| {
        while published < batches {
            let Some(batch) = run.take_batch() else {
                return;
            };
            reader.read(&batch);
            published += 1;
        }
    };
    for (is_stderr, bytes) in chunks {
        let (stream, sent, from) = if *is_stderr {
            (OutputStream::Stderr, &mut pod.stderr, run.received().stderr)
        } else {
            (OutputStream::Stdout, &mut pod.stdout, run.received().stdout)
        };
        let offset = sent.len() as u64;
        sent.extend_from_slice(bytes);
        // The shim replays from where it is asked to, not from where chunks once began.
        let begin = offset.max(from.min(sent.len() as u64));
        let fresh = &sent[usize::try_from(begin).unwrap()..];
        run.feed(stream, begin, fresh, now).unwrap();
        now += Duration::from_millis(60);
        run.flush_partials(now);
        publish(&mut run, reader);
    }
    run.finish();
    publish(&mut run, reader);
    run.take_batch().is_none()
}

fn spaces_for_returns(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .map(|byte| if *byte == b'\r' { b' ' } else { *byte })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn joined_events_are_the_output_whatever_takes_over(
        chunks in chunks(),
        lives in prop::collection::vec(0_usize..6, 0..4),
        is_claude in any::<bool>(),
    ) {
        let format = if is_claude { CLAUDE } else { LINES };
        let mut reader = Reader::new();
        for batches in lives {
            live(format, &chunks, &mut reader, batches);
        }
        prop_assert!(live(format, &chunks, &mut reader, usize::MAX));
        let mut pod = Pod::default();
        for (is_stderr, bytes) in &chunks {
            let stream = if *is_stderr { &mut pod.stderr } else { &mut pod.stdout };
            stream.extend_from_slice(bytes);
        }
        prop_assert_eq!(reader.stderr, pod.stderr);
        if is_claude {
            prop_assert_eq!(spaces_for_returns(&reader.stdout), spaces_for_returns(&pod.stdout));
        } else {
            prop_assert_eq!(reader.stdout, pod.stdout);
        }
        prop_assert_eq!(reader.next, EventNo(reader.names.len() as u64 + 1));
    }
}
