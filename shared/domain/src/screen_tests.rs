//! The screen: given events, what is shown; and that nothing of it is lost on the way to another
//! terminal.

use proptest::prelude::*;
use rdev_contract::envelope::{self, Body, Chain, Head};
use rdev_contract::event::{Event, EventBatch, Kind};
use uuid::Uuid;

use super::*;

const SIZE: TerminalSize = TerminalSize { cols: 12, rows: 4 };
const ALL: EventNo = EventNo(u64::MAX);

/// What happens to a terminal.
#[derive(Debug, Clone)]
enum Happens {
    Output(Vec<u8>),
    Resized(TerminalSize),
}

fn output(bytes: impl AsRef<[u8]>) -> Happens {
    Happens::Output(bytes.as_ref().to_vec())
}

/// The message with these events, the first of which has this number.
fn payload(first: u64, events: &[Happens]) -> Vec<u8> {
    let mut batch = EventBatch::default();
    for event in events {
        let event = match event {
            Happens::Output(bytes) => {
                Event::Output(Text::of(bytes, Some(OutputStream::Stdout), true))
            }
            Happens::Resized(size) => Event::Resized(*size),
        };
        batch.push(&event).unwrap();
    }
    let head = Head {
        v: envelope::PAYLOAD_VERSION,
        project: "demo".parse().unwrap(),
        session: rdev_contract::id::SessionId::new(Uuid::nil()),
        stream: "s".parse().unwrap(),
        kind: Kind::Output.to_string(),
        claim: None,
        attempt: 1,
        first: Some(EventNo(first)),
        at: "2026-11-22T06:21:00Z".parse().unwrap(),
        to: None,
        prev: StreamSeq(1),
    };
    envelope::encode(&head, &Body::Events(&batch), &Chain::default())
        .unwrap()
        .payload
}

/// Takes them as the message with this sequence.
fn take(
    screen: &mut Screen,
    sequence: u64,
    first: u64,
    events: &[Happens],
    last: EventNo,
) -> Result<(), ScreenError> {
    let payload = payload(first, events);
    let message = Recorded {
        sequence: StreamSeq(sequence),
        value: Message::decode(&payload).unwrap(),
    };
    screen.take(&message, last, &mut || true)
}

fn screen_of(size: TerminalSize, events: &[Happens]) -> Screen {
    let mut screen = Screen::new(size);
    take(&mut screen, 7, 1, events, ALL).unwrap();
    screen
}

fn shown(bytes: impl AsRef<[u8]>) -> Screen {
    screen_of(SIZE, &[output(bytes)])
}

fn ansi(screen: &Screen) -> String {
    String::from_utf8_lossy(&screen.ansi()).into_owned()
}

#[test]
fn rows_cursor_and_size_are_those_of_the_terminal() {
    let screen = shown("one  \r\n\x1b[31mtwo\x1b[m\r\n\x1b[?25l");
    assert_eq!(screen.lines(), ["one", "two", "", ""]);
    let (col, row, is_visible) = (0, 2, false);
    assert_eq!(
        screen.cursor(),
        Cursor {
            col,
            row,
            is_visible
        }
    );
    assert_eq!(screen.size(), SIZE);
    // A character that waits for the next row is still in this one.
    assert_eq!(shown("abcdefghijkl").cursor().col, 11);
    let larger = TerminalSize { cols: 20, rows: 2 };
    let events = [
        output("x\x1b[2;12Hy"),
        Happens::Resized(larger),
        output("z"),
    ];
    let screen = screen_of(SIZE, &events);
    assert_eq!((screen.size(), screen.lines().len()), (larger, 2));
    assert_eq!(screen.lines()[1], "           yz");
}

#[test]
fn only_what_follows_is_taken_and_only_up_to_the_event_that_is_asked_for() {
    let mut screen = Screen::new(SIZE);
    assert_eq!(screen.through(), (StreamSeq(0), EventNo(0)));
    let events = ["a", "b", "c"].map(output);
    take(&mut screen, 5, 1, &events, EventNo(2)).unwrap();
    assert_eq!(screen.lines()[0], "ab");
    assert_eq!(screen.through(), (StreamSeq(5), EventNo(2)));
    assert_eq!(screen.whole(), StreamSeq(0));
    take(&mut screen, 5, 1, &events, ALL).unwrap();
    take(&mut screen, 5, 1, &events, ALL).unwrap();
    assert_eq!(screen.lines()[0], "abc");
    assert_eq!(screen.whole(), StreamSeq(5));
    let gap = take(&mut screen, 9, 5, &[output("e")], ALL).unwrap_err();
    let (expected, found) = (EventNo(4), EventNo(5));
    assert_eq!(gap, ScreenError::Gap { expected, found });
    take(&mut screen, 8, 4, &[output("d")], ALL).unwrap();
    assert_eq!(screen.lines()[0], "abcd");
    assert_eq!(screen.through(), (StreamSeq(8), EventNo(4)));
}

#[test]
fn what_is_no_text_takes_one_place_and_marks_take_none() {
    assert_eq!(
        shown(b"a\xff\xfeb\xe2\x82c").lines()[0],
        "a\u{fffd}\u{fffd}b\u{fffd}c"
    );
    assert_eq!(
        shown("e\u{301}x\u{26a0}\u{fe0f}y").lines()[0],
        "ex\u{26a0}y"
    );
    assert_eq!(shown("\u{754c}z").cursor().col, 3);
}

#[test]
fn lines_are_drawn() {
    assert_eq!(
        shown("\x1b(0lqk\x1b(B+").lines()[0],
        "\u{250c}\u{2500}\u{2510}+"
    );
}

#[test]
fn nothing_that_was_begun_is_lost() {
    let whole = [
        "\x1b[31;1m",
        "\x1b[38:5:200m",
        "\x1b[?2004h",
        "\x1b(0",
        "\x1b]0;title\x1b\\",
        "\x1bP1;2q~\x1b\\",
        "\u{9b}2C",
        "\x1b]8;;http://x\x07",
    ];
    for sequence in whole {
        let bytes = format!("x{sequence}q").into_bytes();
        for cut in 1..bytes.len() {
            let first = shown(&bytes[..cut]);
            let second = screen_of(SIZE, &[output(first.ansi()), output(&bytes[cut..])]);
            let at_once = shown(&bytes);
            assert_eq!(second.ansi(), at_once.ansi(), "{sequence:?} cut at {cut}");
        }
    }
    // What has been carried out within a sequence is not carried out again.
    assert_eq!(shown(shown("x\x1b[3\n").ansi()).cursor().row, 1);
    // A picture that does not end takes bounded memory.
    let picture = format!("\x1bP{}", "q".repeat(3 * BEGUN_MAX_BYTES));
    assert!(shown(&picture).ansi().len() < 2 * BEGUN_MAX_BYTES);
}

#[test]
fn who_comes_back_types_as_before() {
    let modes = "\x1b[?1000;1006h\x1b[?2004h\x1b=\x1b[5 q\x1b[?1h";
    let told = ansi(&shown(modes));
    for sequence in [
        "\x1b[?1000h",
        "\x1b[?1006h",
        "\x1b[?2004h",
        "\x1b=",
        "\x1b[5 q",
        "\x1b[?1h",
    ] {
        assert!(told.contains(sequence), "{sequence:?} in {told:?}");
    }
    let off = format!("{modes}\x1b[?1000l\x1b>");
    let told = ansi(&shown(&off));
    assert!(!told.contains("\x1b[?1000h") && !told.contains("\x1b="));
    assert!(told.contains("\x1b[?1006h"));
    for reset in ["\x1bc", "\x1b[!p"] {
        let told = ansi(&shown(format!("{modes}{reset}")));
        assert!(!told.contains("\x1b[?2004h"), "{told:?}");
    }
}

#[test]
fn any_terminal_understands_it() {
    let told = ansi(&shown(
        "\x1b[38:5:200mzzzzzzzzzz\x1b[m\x1b[3g\x1b[1;5H\x1bH",
    ));
    assert!(told.contains("\x1b[38;5;200mzzzzzzzzzz"), "{told:?}");
    assert!(
        told.contains("\x1b[3g") && told.contains("\x1bH"),
        "{told:?}"
    );
    assert!(!told.contains(':'), "{told:?}");
}

#[test]
fn the_first_screen_comes_back_behind_the_second() {
    let first = shown("before\x1b[?1049h\x1b[Hinside");
    assert_eq!(first.lines()[0], "inside");
    let second = screen_of(SIZE, &[output(first.ansi()), output("\x1b[?1049l+")]);
    assert_eq!(second.lines()[0], "before+");
}

/// Three bytes that touch a million cells, over and over.
#[test]
fn who_does_not_want_to_wait_is_asked() {
    let size = TerminalSize {
        cols: TERMINAL_MAX,
        rows: TERMINAL_MAX,
    };
    let payload = payload(1, &[output("\x1b[J".repeat(1000))]);
    let message = Recorded {
        sequence: StreamSeq(7),
        value: Message::decode(&payload).unwrap(),
    };
    let mut asked = 0;
    let mut go_on = || {
        asked += 1;
        asked < 3
    };
    let error = Screen::new(size)
        .take(&message, ALL, &mut go_on)
        .unwrap_err();
    assert_eq!((error, asked), (ScreenError::GivenUp, 3));
    // A repetition is one row at most.
    let mut screen = Screen::new(SIZE);
    take(&mut screen, 1, 1, &[output("x\x1b[65535b")], ALL).unwrap();
    assert_eq!(screen.lines(), ["xxxxxxxxxxxx", "x", "", ""]);
}

#[test]
fn sizes_of_the_log_are_bounded() {
    let none = TerminalSize { cols: 0, rows: 0 };
    let far = TerminalSize {
        cols: u16::MAX,
        rows: u16::MAX,
    };
    let screen = screen_of(none, &[Happens::Resized(far)]);
    let largest = TerminalSize {
        cols: TERMINAL_MAX,
        rows: TERMINAL_MAX,
    };
    assert_eq!((Screen::new(none).size().cols, screen.size()), (1, largest));
}

fn happens() -> impl Strategy<Value = Happens> {
    let text = prop_oneof![
        4 => "[a-z é界🎉]{0,9}",
        2 => "\r\n|\n|\r|\t|\x08|\u{301}",
        3 => "\x1b\\[[0-9;:]{0,6}[@-~]",
        2 => "\x1b\\[[0-9]{1,2};[0-9]{1,2}[Hr]",
        1 => "\x1b\\[(1049|1047|47|6|7|25|1|2004)[hl]".prop_map(|text| text.replace('[', "[?")),
        1 => "\x1b\\[4[hl]|\x1b[78MDEHc=>]|\x1b[()][0B]|\x0e|\x0f",
        1 => "\x1b\\]0;[a-z]{0,9}(\x07|\x1b\\\\)",
        1 => "\x1b[\\[\\]P]?[0-9;?]{0,3}",
    ];
    let size = (1_u16..16, 1_u16..8);
    prop_oneof![
        20 => text.prop_map(output),
        2 => prop::collection::vec(any::<u8>(), 0..6).prop_map(output),
        1 => size.prop_map(|(cols, rows)| Happens::Resized(TerminalSize { cols, rows })),
    ]
}

fn state(screen: &Screen) -> (TerminalSize, Cursor, Vec<String>, String) {
    // Whether the last rows are blank because they were written or because they were not, the
    // emulator knows and nobody sees.
    let mut ansi = ansi(screen);
    while ansi.contains("\r\n\x1b[") {
        ansi = ansi.replace("\r\n\x1b[", "\x1b[");
    }
    (screen.size(), screen.cursor(), screen.lines(), ansi)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whoever comes back at any event sees from then on what who was always there sees.
    #[test]
    fn another_terminal_goes_on_as_this_one(
        events in prop::collection::vec(happens(), 1..30),
        cut in any::<prop::sample::Index>(),
    ) {
        let (before, after) = events.split_at(cut.index(events.len()));
        let mut stayed = screen_of(SIZE, before);
        let mut came = screen_of(stayed.size(), &[output(stayed.ansi())]);
        prop_assert_eq!(state(&came), state(&stayed));
        for (number, event) in after.iter().enumerate() {
            let number = number as u64;
            take(&mut stayed, 9, before.len() as u64 + 1 + number, std::slice::from_ref(event), ALL).unwrap();
            take(&mut came, 9, 2 + number, std::slice::from_ref(event), ALL).unwrap();
            prop_assert_eq!(state(&came), state(&stayed));
        }
    }

    /// Where the output was cut into events does not show.
    #[test]
    fn cuts_do_not_show(
        events in prop::collection::vec(happens(), 1..20),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9),
    ) {
        let mut pieces = Vec::new();
        for event in &events {
            match (event, pieces.last_mut()) {
                (Happens::Output(bytes), Some(Happens::Output(last))) => last.extend(bytes),
                _ => pieces.push(event.clone()),
            }
        }
        let mut cut = Vec::new();
        for piece in &pieces {
            let Happens::Output(bytes) = piece else {
                cut.push(piece.clone());
                continue;
            };
            let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            places.sort_unstable();
            let mut from = 0;
            for place in places.into_iter().chain([bytes.len()]) {
                cut.push(output(&bytes[from..place]));
                from = place;
            }
        }
        prop_assert_eq!(state(&screen_of(SIZE, &cut)), state(&screen_of(SIZE, &pieces)));
    }
}
