//! What is written, byte for byte.

use rdev_contract::sse::{Connected, frame_name};

use super::*;

const fn id(sequence: u64, number: u64) -> Id<'static> {
    Id {
        sequence: StreamSeq(sequence),
        number: EventNo(number),
        tag: "9f3a61c2",
    }
}

fn text(writer: &mut FrameWriter) -> String {
    String::from_utf8(writer.take().to_vec()).unwrap()
}

const DATA: &str = r#"{"line":"hello","stream":"stdout"}"#;

#[test]
fn an_event_of_the_log() {
    let mut writer = FrameWriter::new(Format::Sse);
    writer.event(id(48213, 17), "output", Added::default(), DATA);
    assert_eq!(
        text(&mut writer),
        "id: 48213-17-9f3a61c2\nevent: output\n\
         data: {\"line\":\"hello\",\"stream\":\"stdout\"}\n\n"
    );
    let mut writer = FrameWriter::new(Format::JsonLines);
    writer.event(id(48213, 17), "output", Added::default(), DATA);
    assert_eq!(
        text(&mut writer),
        "{\"id\":\"48213-17-9f3a61c2\",\"event\":\"output\",\
         \"data\":{\"line\":\"hello\",\"stream\":\"stdout\"}}\n"
    );
}

#[test]
fn among_several_execs_each_says_which() {
    let stream: StreamId = "one".parse().unwrap();
    let added = Added {
        stream: Some(&stream),
        at: None,
    };
    let mut writer = FrameWriter::new(Format::Sse);
    writer.event(id(1, 1), "output", added, DATA);
    writer.event(id(1, 2), "output", added, "{ }");
    writer.event(id(1, 3), "output", added, "null");
    let text = text(&mut writer);
    let data: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .collect();
    let first = r#"{"stream_id":"one","line":"hello","stream":"stdout"}"#;
    assert_eq!(data, [first, r#"{"stream_id":"one" }"#, "null"]);
}

#[test]
fn each_says_when_if_asked_to() {
    let stream: StreamId = "one".parse().unwrap();
    let at = Some("2026-11-22T14:28:20.215624Z");
    let mut writer = FrameWriter::new(Format::JsonLines);
    writer.event(id(1, 1), "output", Added { stream: None, at }, DATA);
    let stream = Some(&stream);
    writer.event(id(1, 2), "output", Added { stream, at }, "{}");
    let time = "\"at\":\"2026-11-22T14:28:20.215624Z\"";
    assert_eq!(
        text(&mut writer),
        format!(
            "{{\"id\":\"1-1-9f3a61c2\",\"event\":\"output\",\"data\":{{{time},\
             \"line\":\"hello\",\"stream\":\"stdout\"}}}}\n\
             {{\"id\":\"1-2-9f3a61c2\",\"event\":\"output\",\"data\":{{\"stream_id\":\"one\",{time}}}}}\n"
        )
    );
}

#[test]
fn the_first_frame() {
    let mut writer = FrameWriter::new(Format::Sse);
    let connected = Connected {
        session_id: "s".to_owned(),
        stream_id: "x".to_owned(),
        reconnecting: false,
    };
    writer.own(id(0, 0), frame_name::CONNECTED, Some(1000), &connected);
    assert_eq!(
        text(&mut writer),
        "id: 0-0-9f3a61c2\nevent: connected\nretry: 1000\n\
         data: {\"session_id\":\"s\",\"stream_id\":\"x\",\"reconnecting\":false}\n\n"
    );
}

#[test]
fn nothing_in_data_or_name_ends_a_frame() {
    let data = "{\"a\":\r\n1,\"b\":\"data: x\\n\\n\"}";
    let mut writer = FrameWriter::new(Format::Sse);
    writer.event(id(1, 1), "x\n\nevent", Added::default(), data);
    assert_eq!(
        text(&mut writer),
        "id: 1-1-9f3a61c2\nevent: output\ndata: {\"a\":  1,\"b\":\"data: x\\n\\n\"}\n\n"
    );
}

#[test]
fn the_first_frames_are_left_out() {
    for format in [Format::Sse, Format::JsonLines] {
        let mut writer = FrameWriter::new(format);
        for number in 1..=3 {
            writer.event(id(1, number), "output", Added::default(), DATA);
        }
        let frames = writer.take();
        writer.event(id(1, 3), "output", Added::default(), DATA);
        assert_eq!(format.skip(&frames, 2), writer.take());
        assert_eq!(format.skip(&frames, 0), frames);
        assert!(format.skip(&frames, 3).is_empty());
        assert!(format.skip(&frames, 4).is_empty());
    }
}

#[test]
fn numbers_are_written_as_to_string_does() {
    for value in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX - 1, u64::MAX] {
        let mut out = Vec::new();
        decimal(&mut out, value);
        assert_eq!(out, value.to_string().into_bytes());
    }
}
