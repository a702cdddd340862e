//! The run of a command in a terminal: sizes stand between the bytes where they were set, whoever
//! takes over and whenever.

use proptest::prelude::*;
use rdev_contract::envelope::{self, Body, Chain, Head, Message};
use rdev_contract::position::StreamSeq;
use uuid::Uuid;

use super::*;
use crate::lines::TERMINAL_WAIT;

const NO_TIME: Duration = Duration::ZERO;

fn size(cols: u16) -> TerminalSize {
    TerminalSize { cols, rows: 24 }
}

fn begin() -> Run {
    Run::new(Format::Terminal, Offsets::default(), EventNo::FIRST)
}

/// Bytes and sizes in their order; bytes that follow each other are one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Bytes(Vec<u8>),
    Size(TerminalSize),
}

fn push(items: &mut Vec<Item>, item: Item) {
    match (items.last_mut(), item) {
        (Some(Item::Bytes(last)), Item::Bytes(more)) => last.extend(more),
        (_, Item::Bytes(none)) if none.is_empty() => {}
        (_, item) => items.push(item),
    }
}

/// Reads a batch as it would come back from the log.
fn read(batch: &Batch, items: &mut Vec<Item>) {
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
    let encoded = envelope::encode(&head, &Body::Events(&batch.events), &Chain::default());
    let payload = encoded.unwrap().payload;
    for event in Message::decode(&payload).unwrap().events {
        let data = event.data.unwrap().get();
        let item = if event.name == "resized" {
            Item::Size(serde_json::from_str(data).unwrap())
        } else {
            let text: Text<'_> = serde_json::from_str(data).unwrap();
            Item::Bytes(text.bytes().unwrap())
        };
        push(items, item);
    }
}

fn read_all(run: &mut Run) -> Vec<Item> {
    let mut items = Vec::new();
    while let Some(batch) = run.take_batch() {
        assert_eq!(batch.kind, Kind::Output);
        read(&batch, &mut items);
    }
    items
}

#[test]
fn a_size_comes_behind_the_text_that_waited() {
    let mut run = begin();
    run.resize(1, 0, size(80)).unwrap();
    run.feed(OutputStream::Stdout, 0, b"$ \xe2\x82", NO_TIME)
        .unwrap();
    run.resize(2, 4, size(120)).unwrap();
    let batch = run.take_batch().unwrap();
    assert_eq!((batch.first, batch.next), (EventNo(1), EventNo(4)));
    let resizes = 2;
    let to = Offsets {
        resizes,
        ..Offsets::new(4, 0)
    };
    assert_eq!((batch.to, run.received()), (to, to));
    let mut items = Vec::new();
    read(&batch, &mut items);
    let bytes = Item::Bytes(b"$ \xe2\x82".to_vec());
    assert_eq!(items, [Item::Size(size(80)), bytes, Item::Size(size(120))]);
}

#[test]
fn what_is_typed_is_echoed_soon() {
    let mut run = begin();
    run.feed(OutputStream::Stdout, 0, b"l", NO_TIME).unwrap();
    assert_eq!(run.partial_due(), Some(TERMINAL_WAIT));
    assert!(TERMINAL_WAIT <= Duration::from_millis(10));
    run.flush_partials(TERMINAL_WAIT);
    assert_eq!(read_all(&mut run), [Item::Bytes(b"l".to_vec())]);
}

#[test]
fn a_size_that_came_before_is_skipped_and_one_that_misses_something_is_refused() {
    let resizes = 2;
    let from = Offsets {
        resizes,
        ..Offsets::new(10, 0)
    };
    let mut run = Run::new(Format::Terminal, from, EventNo(5));
    run.resize(1, 0, size(80)).unwrap();
    run.resize(2, 10, size(90)).unwrap();
    assert!(run.take_batch().is_none());
    for (number, offset) in [(4, 10), (3, 9), (3, 11)] {
        let error = run.resize(number, offset, size(100)).unwrap_err();
        let received = from;
        assert_eq!(
            error,
            ResizeError {
                number,
                offset,
                received
            }
        );
    }
    run.resize(3, 10, size(100)).unwrap();
    assert_eq!(read_all(&mut run), [Item::Size(size(100))]);
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let item = prop_oneof![
        3 => "[a-z\r\n\u{1b}é]{0,9}".prop_map(|text| Item::Bytes(text.into_bytes())),
        1 => prop::collection::vec(any::<u8>(), 0..5).prop_map(Item::Bytes),
        2 => (1_u16..200).prop_map(|cols| Item::Size(size(cols))),
    ];
    prop::collection::vec(item, 0..30)
}

/// One life of an executor: follows the pod from what the log holds, publishes `batches` at most.
fn live(
    items: &[Item],
    from: (Offsets, EventNo),
    batches: usize,
    log: &mut Vec<Item>,
) -> (Offsets, EventNo) {
    let mut run = Run::new(Format::Terminal, from.0, from.1);
    let (mut held, mut published) = (from, 0);
    let mut publish = |run: &mut Run, log: &mut Vec<Item>| {
        while published < batches
            && let Some(batch) = run.take_batch()
        {
            read(&batch, log);
            held = (batch.to, batch.next);
            published += 1;
        }
    };
    let (mut offset, mut number, mut now) = (0, 0, NO_TIME);
    for item in items {
        match item {
            Item::Bytes(bytes) => {
                // The shim replays from where it is asked to.
                let end = offset + bytes.len() as u64;
                let begin = run.received().stdout.clamp(offset, end);
                let fresh = &bytes[usize::try_from(begin - offset).unwrap()..];
                run.feed(OutputStream::Stdout, begin, fresh, now).unwrap();
                offset = end;
            }
            Item::Size(size) => {
                number += 1;
                run.resize(number, offset, *size).unwrap();
            }
        }
        now += Duration::from_millis(6);
        run.flush_partials(now);
        publish(&mut run, log);
    }
    run.finish();
    publish(&mut run, log);
    held
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_size_is_in_the_log_once_and_in_its_place(
        items in items(),
        lives in prop::collection::vec(0_usize..4, 0..5),
    ) {
        let mut log = Vec::new();
        let mut held = (Offsets::default(), EventNo::FIRST);
        for batches in lives.into_iter().chain([usize::MAX]) {
            held = live(&items, held, batches, &mut log);
        }
        let mut expected = Vec::new();
        items.into_iter().for_each(|item| push(&mut expected, item));
        prop_assert_eq!(log, expected);
    }
}
