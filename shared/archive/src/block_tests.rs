//! What is exported is read again, byte for byte, in any pages; what is damaged is not.

use proptest::prelude::*;
use rdev_contract::agent::Agent;
use rdev_contract::envelope::{Body, Chain, Head, PAYLOAD_VERSION, encode};
use rdev_contract::event::{Event, EventBatch, Fragment, OutputStream, Text};

use super::*;
use crate::footer::Trailer;

fn exec() -> ExecId {
    ExecId {
        project: "demo".parse().unwrap(),
        session: "0192f0c1-0000-7000-8000-000000000001".parse().unwrap(),
        stream: "one".parse().unwrap(),
    }
}

fn log() -> LogIdentity {
    LogIdentity::created_at("2026-11-22T06:21:00.123456Z".parse().unwrap())
}

/// What an exec printed with one message.
#[derive(Debug, Clone, Copy)]
enum Printed {
    /// Lines of one length on a stream.
    Lines(OutputStream, usize, usize),
    /// A line of claude's in so many parts; the event is one.
    Parts(u32, usize),
}

/// The messages of an exec, as they are in the log.
fn messages(printed: &[Printed]) -> Vec<Recorded<Stored>> {
    let mut made = Made::default();
    made.push(Kind::Command, None, &[]);
    for printed in printed {
        match printed {
            Printed::Lines(stream, count, length) => made.lines(*stream, *count, *length),
            Printed::Parts(parts, length) => made.parts(*parts, *length),
        }
    }
    made.messages
}

#[derive(Default)]
struct Made {
    messages: Vec<Recorded<Stored>>,
    next: u64,
    to: Offsets,
}

impl Made {
    fn lines(&mut self, stream: OutputStream, count: usize, length: usize) {
        let line = "x".repeat(length);
        let event = || Event::Output(Text::of(line.as_bytes(), Some(stream), false));
        let events: Vec<_> = (0..count).map(|_| event()).collect();
        let bytes = (count * (length + 1)) as u64;
        match stream {
            OutputStream::Stdout => self.to.stdout += bytes,
            OutputStream::Stderr => self.to.stderr += bytes,
        }
        self.push(Kind::Output, Some(count as u64), &events);
    }

    fn parts(&mut self, parts: u32, length: usize) {
        let text = "y".repeat(length);
        for index in 0..parts {
            let last = index + 1 == parts;
            let event = Event::AgentFragment(
                Agent::Claude,
                Fragment {
                    index,
                    last,
                    text: text.as_str().into(),
                },
            );
            if last {
                self.to.stdout += u64::from(parts) * length as u64;
            }
            self.push(Kind::Claude, Some(u64::from(last)), &[event]);
        }
    }

    fn push(&mut self, kind: Kind, whole: Option<u64>, events: &[Event<'_>]) {
        let sequence = self.messages.len() as u64 * 3 + 5;
        let head = Head {
            v: PAYLOAD_VERSION,
            project: exec().project,
            session: exec().session,
            stream: exec().stream,
            kind: kind.token().to_owned(),
            claim: None,
            attempt: 1,
            first: whole.map(|_| EventNo(self.next + 1)),
            at: Timestamp::UNIX_EPOCH,
            to: whole.map(|_| self.to),
            prev: StreamSeq(sequence.saturating_sub(3)),
        };
        self.next += whole.unwrap_or(0);
        let mut batch = EventBatch::default();
        for event in events {
            batch.push(event).unwrap();
        }
        let encoded = encode(&head, &Body::Events(&batch), &Chain::default()).unwrap();
        let subject = rdev_contract::subject::Subject::exec(&exec(), kind);
        self.messages.push(Recorded {
            sequence: StreamSeq(sequence),
            value: Stored {
                subject: subject.as_str().to_owned(),
                payload: encoded.payload.into(),
                at: Timestamp::UNIX_EPOCH,
                trace: None,
            },
        });
    }
}

/// An object of these messages.
fn object(messages: &[Recorded<Stored>]) -> (Vec<u8>, Footer) {
    let mut writer = BlockWriter::new(exec(), log());
    let mut bytes = Vec::new();
    for message in messages {
        writer.push(message).unwrap();
        bytes.extend(writer.take());
    }
    let (rest, footer) = writer.finish(Vec::new()).unwrap();
    bytes.extend(rest);
    (bytes, footer)
}

/// Everything that is in an object, or what is wrong with it.
fn read_all(bytes: &[u8]) -> Result<(Footer, Vec<Recorded<Stored>>), String> {
    let trailer = Trailer::decode(bytes, bytes.len() as u64)?;
    let (at, length) = (trailer.at as usize, trailer.length as usize);
    let footer = Footer::decode(&trailer, &bytes[at..at + length])?;
    let mut messages = Vec::new();
    for block in &footer.blocks {
        let range = block.at as usize..block.at as usize + block.length as usize;
        messages.extend(read(&footer, block, &bytes[range])?);
    }
    Ok((footer, messages))
}

fn printed() -> impl Strategy<Value = Printed> {
    let stream = prop_oneof![Just(OutputStream::Stdout), Just(OutputStream::Stderr)];
    prop_oneof![
        (stream, 1..60_usize, 0..3_000_usize)
            .prop_map(|(stream, count, length)| Printed::Lines(stream, count, length)),
        (1..5_u32, 1..150_000_usize).prop_map(|(parts, length)| Printed::Parts(parts, length)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn an_object_holds_what_was_put_into_it(
        printed in prop::collection::vec(printed(), 0..40),
        at in 0..400_u64,
    ) {
        let messages = messages(&printed);
        let (bytes, footer) = object(&messages);
        let (found, back) = read_all(&bytes).unwrap();
        prop_assert_eq!(&found, &footer);
        prop_assert_eq!(&back, &messages);
        prop_assert_eq!(footer.messages, messages.len() as u64);
        prop_assert!(footer.blocks.iter().all(|block| block.lines < 1024 * 1024));

        // The block behind a place has the first message behind it, or the next one begins with it.
        let last = messages.last().unwrap().sequence;
        let wanted = messages.iter().find(|message| message.sequence > StreamSeq(at));
        match footer.block_behind(StreamSeq(at), last) {
            None => prop_assert!(wanted.is_none()),
            Some(block) => {
                let wanted = wanted.unwrap().sequence;
                let next = footer.blocks.get(block + 1).map(|block| block.first);
                prop_assert!(footer.blocks[block].first <= wanted || block == 0);
                prop_assert!(next.is_none_or(|next| wanted <= next));
            }
        }
    }

    #[test]
    fn reading_can_begin_where_the_footer_says(
        printed in prop::collection::vec(printed(), 0..40),
        part in 0.0..1.0_f64,
    ) {
        let messages = messages(&printed);
        let (_, footer) = object(&messages);
        let decoded: Vec<_> = messages
            .iter()
            .map(|message| (message.sequence, Message::decode(&message.value.payload).unwrap()))
            .collect();
        let end = decoded.last().and_then(|(_, message)| message.head.to).unwrap_or_default();
        for (stream, total) in [(OutputStream::Stdout, end.stdout), (OutputStream::Stderr, end.stderr)] {
            let first = (total as f64 * part) as u64;
            let begin = footer.before_output(stream, first);
            // No byte from `first` on is in what is passed over, and no line is begun in it.
            let passed: Vec<_> = decoded.iter().filter(|(at, _)| *at <= begin).collect();
            let to = passed.iter().filter_map(|(_, message)| message.head.to).next_back();
            let to = to.unwrap_or_default();
            let before = match stream {
                OutputStream::Stdout => to.stdout,
                OutputStream::Stderr => to.stderr,
            };
            prop_assert!(before <= first);
            let part = passed.last().and_then(|(_, message)| message.events.last());
            let part = part.and_then(|event| event.fragment.as_ref());
            prop_assert!(part.is_none_or(|part| part.last));
        }
        let events = decoded.iter().filter_map(|(_, message)| message.head.first);
        let last = events.max().unwrap_or(EventNo::FIRST);
        let number = EventNo((last.0 as f64 * part) as u64 + 1);
        let begin = footer.before_event(number);
        let passed = decoded.iter().filter(|(at, _)| *at <= begin);
        let firsts = passed.filter_map(|(_, message)| message.head.first);
        prop_assert!(firsts.max().is_none_or(|first| first <= number));
    }
}

#[test]
fn any_other_byte_is_found() {
    let messages = messages(&[
        Printed::Lines(OutputStream::Stdout, 3, 10),
        Printed::Parts(2, 20),
        Printed::Lines(OutputStream::Stderr, 1, 0),
    ]);
    let (bytes, _) = object(&messages);
    assert_eq!(read_all(&bytes).unwrap().1, messages);
    for index in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut changed = bytes.clone();
            changed[index] ^= 1 << bit;
            assert!(
                read_all(&changed).is_err(),
                "byte {index} of {}",
                bytes.len()
            );
        }
    }
    for length in 0..bytes.len() {
        assert!(read_all(&bytes[..length]).is_err(), "cut to {length}");
    }
}

#[test]
fn every_zstd_decoder_reads_an_object() {
    let messages = messages(&[Printed::Lines(OutputStream::Stdout, 10, 10_000); 20]);
    let (bytes, footer) = object(&messages);
    assert!(footer.blocks.len() > 5, "{} blocks", footer.blocks.len());
    assert!(bytes.len() < 20_000, "{} bytes", bytes.len());
    let lines = zstd::stream::decode_all(bytes.as_slice()).unwrap();
    let lines: Vec<_> = lines.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), messages.len() + 1);
    for (line, message) in lines.iter().zip(&messages) {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        assert_eq!(line["seq"], message.sequence.0);
        assert_eq!(line["subject"], message.value.subject);
    }
    let last: Footer = serde_json::from_slice(lines.last().unwrap()).unwrap();
    assert_eq!(last, footer);
}

#[test]
fn messages_of_others_are_refused() {
    let mut messages = messages(&[Printed::Lines(OutputStream::Stdout, 1, 1)]);
    messages[1].value.subject = messages[1].value.subject.replace(".one.", ".two.");
    let (bytes, _) = object(&messages);
    let refused = read_all(&bytes).unwrap_err();
    assert!(refused.contains("another exec"), "{refused}");
}
