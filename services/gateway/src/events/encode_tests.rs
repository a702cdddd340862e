//! What becomes of messages that were really encoded for the log, and what a reader is shown.

use rdev_contract::agent::Agent;
use rdev_contract::event::{AgentLine, Complete, Event, Kind, Outcome, OutputStream, Text};

use super::super::sample::{
    STYLE, exec, fragment as part, frames, message, read, reader_behind, recorded, tag,
};
use super::*;

fn line(text: &str) -> Event<'_> {
    Event::Output(Text::of(text.as_bytes(), Some(OutputStream::Stdout), false))
}

/// The frames of a reader that has seen events up to `number` and is given these messages.
fn shown(number: u64, messages: &[(u64, Vec<u8>)]) -> Vec<String> {
    let mut view = reader_behind(number, false);
    for (sequence, payload) in messages {
        read(&mut view, &[recorded(*sequence, payload)]);
    }
    frames(&mut view)
}

#[test]
fn a_batch_becomes_frames_with_consecutive_ids() {
    let batch = message(Kind::Output, 1, &[line("a"), line("b\u{1F600}")]);
    let mut view = reader_behind(0, false);
    read(&mut view, &[recorded(12, &batch)]);
    view.own("heartbeat", None, &[0; 0]);
    assert_eq!(
        frames(&mut view),
        [
            "id: 12-1-TAG\nevent: output\ndata: {\"line\":\"a\",\"stream\":\"stdout\"}",
            "id: 12-2-TAG\nevent: output\ndata: {\"line\":\"b\u{1F600}\",\"stream\":\"stdout\"}",
            "id: 12-2-TAG\nevent: heartbeat\ndata: []"
        ]
    );
}

#[test]
fn what_was_shown_is_not_shown_again() {
    let payload = message(Kind::Output, 4, &[line("a"), line("b"), line("c")]);
    let frames = shown(
        5,
        &[(12, payload.clone()), (12, payload.clone()), (13, payload)],
    );
    assert_eq!(frames.len(), 1, "{frames:?}");
    assert!(frames[0].starts_with("id: 12-6-TAG\n"));
}

#[test]
fn a_jump_in_numbers_is_one_gap() {
    let frames = shown(
        2,
        &[(30, message(Kind::Output, 10, &[line("j"), line("k")]))],
    );
    let gap = "{\"requested\":3,\"first_available\":10,\"reason\":\"expired\"}";
    assert_eq!(frames[0], format!("id: 30-9-TAG\nevent: gap\ndata: {gap}"));
    assert!(frames[1].starts_with("id: 30-10-TAG\nevent: output\n"));
    assert_eq!(frames.len(), 3);
}

#[test]
fn nothing_left_is_a_gap_to_nowhere() {
    let mut view = reader_behind(2, false);
    view.progress.gone(&mut view.out);
    let gap = "{\"requested\":3,\"first_available\":null,\"reason\":\"expired\"}";
    let expected = format!("id: 0-2-TAG\nevent: gap\ndata: {gap}");
    assert_eq!(frames(&mut view), [expected]);
}

#[test]
fn a_message_that_cannot_be_read_is_told() {
    let frames = shown(
        0,
        &[
            (3, b"not json".to_vec()),
            (4, message(Kind::Output, 2, &[line("b")])),
        ],
    );
    assert!(frames[0].ends_with("\"reason\":\"unreadable\"}"));
}

#[test]
fn claude_lines_keep_their_bytes() {
    let text = r#" {"type":"x", "a":1.50,"a":"\u0000"} "#;
    let line = AgentLine::parse(text.as_bytes(), false).unwrap();
    let frames = shown(
        0,
        &[(
            1,
            message(Kind::Claude, 1, &[Event::Agent(Agent::Claude, line)]),
        )],
    );
    let expected = format!("id: 1-1-TAG\nevent: claude_event\ndata: {{\"event\":{text}}}");
    assert_eq!(frames, [expected]);
}

#[test]
fn parts_of_a_line_are_joined_and_begin_anew() {
    let frames = shown(
        0,
        &[
            (
                1,
                message(Kind::Claude, 1, &[part(0, false, "{\"event\":")]),
            ),
            // Taken over in the middle: the line is repeated.
            (
                3,
                message(Kind::Claude, 1, &[part(0, false, "{\"event\":{\"a\"")]),
            ),
            (4, message(Kind::Claude, 1, &[part(1, true, ":1}}")])),
        ],
    );
    let expected = "id: 4-1-TAG\nevent: claude_event\ndata: {\"event\":{\"a\":1}}";
    assert_eq!(frames, [expected]);
}

#[test]
fn a_line_without_its_beginning_is_a_gap() {
    let complete = Complete::without_process(Outcome::Lost, "gone");
    let mut view = reader_behind(0, false);
    read(
        &mut view,
        &[
            recorded(4, &message(Kind::Claude, 1, &[part(1, true, ":1}}")])),
            recorded(
                5,
                &message(Kind::Complete, 2, &[Event::Complete(&complete)]),
            ),
        ],
    );
    assert!(view.is_over());
    let frames = frames(&mut view);
    assert!(
        frames[0].starts_with("id: 5-1-TAG\nevent: gap\n"),
        "{frames:?}"
    );
    assert!(
        frames[1].starts_with("id: 5-2-TAG\nevent: complete\n"),
        "{frames:?}"
    );
}

#[test]
fn a_line_that_never_ends_is_not_waited_for() {
    let complete = Complete::without_process(Outcome::Lost, "gone");
    let mut encoder = Encoder::new(STYLE);
    encoder.encode(&recorded(
        1,
        &message(Kind::Claude, 1, &[part(0, false, "{")]),
    ));
    assert_eq!(encoder.open_lines(), [exec("one").stream]);
    encoder.encode(&recorded(
        2,
        &message(Kind::Complete, 1, &[Event::Complete(&complete)]),
    ));
    assert!(encoder.open_lines().is_empty());
}

#[test]
fn errors_are_renamed_where_asked_for() {
    let error = Event::Error(Text::of(b"oops", None, false));
    let payload = message(Kind::Claude, 1, std::slice::from_ref(&error));
    for (stderr_as_output, name) in [(false, "event: error\n"), (true, "event: output\n")] {
        let mut view = reader_behind(0, stderr_as_output);
        read(&mut view, &[recorded(1, &payload)]);
        assert!(frames(&mut view)[0].contains(name));
    }
}

#[test]
fn facts_without_numbers_are_not_shown() {
    for kind in [Kind::Command, Kind::Started, Kind::Resumed] {
        assert!(shown(0, &[(1, message(kind, 1, &[]))]).is_empty());
    }
}

#[test]
fn the_tag_is_that_of_the_exec() {
    let mut encoder = Encoder::new(STYLE);
    let piece = encoder.encode(&recorded(1, &message(Kind::Started, 1, &[])));
    assert_eq!(piece.content.map(|content| content.tag), Some(tag()));
}
