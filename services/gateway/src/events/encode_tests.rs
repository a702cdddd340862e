//! What a reader is shown of messages that were really encoded for the log.

use jiff::Timestamp;
use rdev_contract::envelope::{Body, Chain, Head, PAYLOAD_VERSION, encode};
use rdev_contract::event::{
    ClaudeLine, Complete, Event, EventBatch, Fragment, Kind, Outcome, OutputStream, Text,
};
use rdev_contract::id::ExecId;

use super::*;

fn exec() -> ExecId {
    ExecId {
        project: "demo".parse().unwrap(),
        session: "0192f0c1-0000-7000-8000-000000000001".parse().unwrap(),
        stream: "one".parse().unwrap(),
    }
}

fn message(kind: Kind, first: u64, events: &[Event<'_>]) -> Vec<u8> {
    let exec = exec();
    let head = Head {
        v: PAYLOAD_VERSION,
        project: exec.project,
        session: exec.session,
        stream: exec.stream,
        kind: kind.token().to_owned(),
        claim: None,
        attempt: 1,
        first: Some(EventNo(first)),
        at: Timestamp::UNIX_EPOCH,
        to: None,
        prev: StreamSeq(0),
    };
    let mut batch = EventBatch::default();
    for event in events {
        batch.push(event).unwrap();
    }
    encode(&head, &Body::Events(&batch), &Chain::default())
        .unwrap()
        .payload
}

fn line(text: &str) -> Event<'_> {
    Event::Output(Text::of(text.as_bytes(), Some(OutputStream::Stdout), false))
}

fn part(index: u32, last: bool, text: &str) -> Event<'_> {
    Event::ClaudeFragment(Fragment {
        index,
        last,
        text: text.into(),
    })
}

fn at(number: u64) -> Encoder {
    let cursor = Cursor {
        number: EventNo(number),
        ..Cursor::beginning(&exec())
    };
    Encoder::new(&cursor, false)
}

fn frames(encoder: &mut Encoder) -> Vec<String> {
    let text = String::from_utf8(encoder.take()).unwrap();
    let text = text.replace(&exec().tag(), "TAG");
    text.split_terminator("\n\n").map(str::to_owned).collect()
}

#[test]
fn a_batch_becomes_frames_with_consecutive_ids() {
    let mut encoder = at(0);
    encoder.message(
        StreamSeq(12),
        &message(Kind::Output, 1, &[line("a"), line("b\u{1F600}")]),
    );
    assert_eq!(
        frames(&mut encoder),
        [
            "id: 12-1-TAG\nevent: output\ndata: {\"line\":\"a\",\"stream\":\"stdout\"}",
            "id: 12-2-TAG\nevent: output\ndata: {\"line\":\"b\u{1F600}\",\"stream\":\"stdout\"}",
        ]
    );
    encoder.own("heartbeat", None, &[0; 0]);
    assert_eq!(
        frames(&mut encoder),
        ["id: 12-2-TAG\nevent: heartbeat\ndata: []"]
    );
}

#[test]
fn what_was_shown_is_not_shown_again() {
    let payload = message(Kind::Output, 4, &[line("a"), line("b"), line("c")]);
    let mut encoder = at(5);
    encoder.message(StreamSeq(12), &payload);
    encoder.message(StreamSeq(12), &payload);
    let frames = frames(&mut encoder);
    assert_eq!(frames.len(), 1, "{frames:?}");
    assert!(frames[0].starts_with("id: 12-6-TAG\n"));
}

#[test]
fn a_jump_in_numbers_is_one_gap() {
    let mut encoder = at(2);
    encoder.message(
        StreamSeq(30),
        &message(Kind::Output, 10, &[line("j"), line("k")]),
    );
    let frames = frames(&mut encoder);
    let gap = "{\"requested\":3,\"first_available\":10,\"reason\":\"expired\"}";
    assert_eq!(frames[0], format!("id: 30-9-TAG\nevent: gap\ndata: {gap}"));
    assert!(frames[1].starts_with("id: 30-10-TAG\nevent: output\n"));
    assert_eq!(frames.len(), 3);
}

#[test]
fn nothing_left_is_a_gap_to_nowhere() {
    let mut encoder = at(2);
    encoder.gap(StreamSeq(7), None);
    let gap = "{\"requested\":3,\"first_available\":null,\"reason\":\"expired\"}";
    assert_eq!(
        frames(&mut encoder),
        [format!("id: 7-2-TAG\nevent: gap\ndata: {gap}")]
    );
}

#[test]
fn a_message_that_cannot_be_read_is_told() {
    let mut encoder = at(0);
    encoder.message(StreamSeq(3), b"not json");
    encoder.message(StreamSeq(4), &message(Kind::Output, 2, &[line("b")]));
    assert!(frames(&mut encoder)[0].ends_with("\"reason\":\"unreadable\"}"));
}

#[test]
fn claude_lines_keep_their_bytes() {
    let text = r#" {"type":"x", "a":1.50,"a":"\u0000"} "#;
    let line = ClaudeLine::parse(text.as_bytes(), false).unwrap();
    let mut encoder = at(0);
    encoder.message(
        StreamSeq(1),
        &message(Kind::Claude, 1, &[Event::Claude(line)]),
    );
    let expected = format!("id: 1-1-TAG\nevent: claude_event\ndata: {{\"event\":{text}}}");
    assert_eq!(frames(&mut encoder), [expected]);
}

#[test]
fn parts_of_a_line_are_joined_and_begin_anew() {
    let mut encoder = at(0);
    encoder.message(
        StreamSeq(1),
        &message(Kind::Claude, 1, &[part(0, false, "{\"event\":")]),
    );
    // Taken over in the middle: the line is repeated.
    encoder.message(
        StreamSeq(3),
        &message(Kind::Claude, 1, &[part(0, false, "{\"event\":{\"a\"")]),
    );
    encoder.message(
        StreamSeq(4),
        &message(Kind::Claude, 1, &[part(1, true, ":1}}")]),
    );
    let expected = "id: 4-1-TAG\nevent: claude_event\ndata: {\"event\":{\"a\":1}}";
    assert_eq!(frames(&mut encoder), [expected]);
}

#[test]
fn a_line_without_its_beginning_is_a_gap() {
    let mut encoder = at(0);
    encoder.message(
        StreamSeq(4),
        &message(Kind::Claude, 1, &[part(1, true, ":1}}")]),
    );
    let complete = Complete::without_process(Outcome::Lost, "gone");
    encoder.message(
        StreamSeq(5),
        &message(Kind::Complete, 2, &[Event::Complete(&complete)]),
    );
    let frames = frames(&mut encoder);
    assert!(
        frames[0].starts_with("id: 5-1-TAG\nevent: gap\n"),
        "{frames:?}"
    );
    assert!(
        frames[1].starts_with("id: 5-2-TAG\nevent: complete\n"),
        "{frames:?}"
    );
    assert!(encoder.is_complete());
}

#[test]
fn errors_are_renamed_where_asked_for() {
    let error = Event::Error(Text::of(b"oops", None, false));
    let payload = message(Kind::Claude, 1, std::slice::from_ref(&error));
    let mut original = at(0);
    original.message(StreamSeq(1), &payload);
    assert!(frames(&mut original)[0].contains("event: error\n"));
    let mut renamed = Encoder::new(&Cursor::beginning(&exec()), true);
    renamed.message(StreamSeq(1), &payload);
    assert!(frames(&mut renamed)[0].contains("event: output\n"));
}

#[test]
fn facts_without_numbers_are_not_shown() {
    let mut encoder = at(0);
    for kind in [Kind::Command, Kind::Started, Kind::Resumed] {
        encoder.message(StreamSeq(1), &message(kind, 1, &[]));
    }
    assert_eq!(encoder.waiting_bytes(), 0);
}
