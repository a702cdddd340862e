//! Commands in a terminal: golden payloads.

use rdev_contract::envelope::Head;
use rdev_contract::event::{Event, Kind, OutputStream, TerminalSize, Text, Work};
use rdev_contract::position::Offsets;

use super::{assert_batch_with, assert_fact, command, head};

#[test]
fn command_in_a_terminal() {
    let mut command = command(Work::Shell {
        command: "exec bash".to_owned(),
    });
    command.spec.merge = true;
    command.spec.tty = Some(TerminalSize {
        cols: 120,
        rows: 40,
    });
    assert_fact(Kind::Command, &command, golden!("command_terminal"));
}

#[test]
fn output_of_a_terminal() {
    let size = TerminalSize {
        cols: 80,
        rows: 1000,
    };
    let prompt = Text::of(b"\x1b[1m$\x1b[m ", Some(OutputStream::Stdout), true);
    let events = [Event::Resized(size), Event::Output(prompt)];
    let to = Offsets {
        resizes: 2,
        ..Offsets::new(4096, 0)
    };
    let head = Head {
        to: Some(to),
        ..head(Kind::Output)
    };
    let read = assert_batch_with(&head, &events, golden!("output_terminal"));
    assert_eq!(read[0].0, "resized");
    let data = read[0].1.as_deref().unwrap();
    assert_eq!(serde_json::from_str::<TerminalSize>(data).unwrap(), size);
}
