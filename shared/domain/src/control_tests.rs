//! Orders one after the other, as clients send and repeat them.

use jiff::Timestamp;
use proptest::prelude::*;
use rdev_contract::event::{Requester, Work};
use rdev_contract::id::ExecId;

use super::*;

fn spec(stdin: Option<&str>, stdin_open: bool) -> CommandSpec {
    let command = "cat".to_owned();
    CommandSpec {
        stdin: stdin.map(str::to_owned),
        stdin_open,
        ..CommandSpec::new(Work::Shell { command }, 60)
    }
}

fn piece(offset: u64, text: &str, end: bool) -> Piece<'_> {
    Piece {
        offset,
        bytes: text.as_bytes(),
        end,
    }
}

fn message(addition: &Addition) -> ControlMessage {
    let exec = ExecId {
        project: "demo".parse().unwrap(),
        session: "01930000-0000-7000-8000-000000000001".parse().unwrap(),
        stream: "s".parse().unwrap(),
    };
    let (at, by) = (Timestamp::UNIX_EPOCH, Requester::default());
    ControlMessage::new(&exec, at, by, addition.given, addition.order.clone())
}

#[test]
fn what_is_ordered_is_counted() {
    let before = given_with(&spec(None, false));
    let first = signal(&before, SignalName::Hup);
    let second = cancel(&first.given, "why").unwrap();
    assert_eq!((first.given.number, second.given.number), (1, 2));
    assert!(!first.given.canceled && second.given.canceled);
    assert_eq!(cancel(&second.given, ""), None, "once is enough");
    assert_eq!(signal(&second.given, SignalName::Kill).given.number, 3);
}

#[test]
fn input_of_the_command_itself_counts() {
    let spec = spec(Some("né\n"), true);
    let before = given_with(&spec);
    assert_eq!((before.stdin.to, before.stdin.ended), (4, false));
    let next = stdin(&spec, &before, &piece(4, "more", false)).unwrap();
    assert_eq!(next.unwrap().given.stdin.to, 8);
}

#[test]
fn a_piece_that_was_given_before_adds_nothing() {
    let spec = spec(None, true);
    let give = |before: &Given, piece| stdin(&spec, before, &piece);
    let first = give(&given_with(&spec), piece(0, "abcd", false));
    let before = first.unwrap().unwrap().given;
    for known in [piece(0, "abcd", false), piece(1, "", false)] {
        assert_eq!(give(&before, known), Ok(None));
    }
    let overlap = give(&before, piece(2, "cdef", true)).unwrap().unwrap();
    let order = Order::Stdin {
        offset: 4,
        input: Input::of(b"ef"),
        end: true,
    };
    assert_eq!(overlap.order, order);
    let before = overlap.given;
    assert_eq!((before.stdin.to, before.stdin.ended), (6, true));
    assert_eq!(give(&before, piece(2, "cdef", true)), Ok(None));
    assert_eq!(give(&before, piece(6, "", true)), Ok(None));
}

#[test]
fn the_end_may_come_alone() {
    let spec = spec(None, true);
    let end = stdin(&spec, &given_with(&spec), &piece(0, "", true));
    let end = end.unwrap().unwrap();
    assert!(end.given.stdin.ended);
    assert!(matches!(end.order, Order::Stdin { end: true, .. }));
}

#[test]
fn what_does_not_continue_is_refused() {
    let spec = spec(Some("abcd"), true);
    let given = given_with(&spec);
    let gap = Err(StdinRefused::Gap { next_offset: 4 });
    let closed = Err(StdinRefused::Closed { next_offset: 4 });
    assert_eq!(stdin(&spec, &given, &piece(5, "x", false)), gap);
    assert_eq!(stdin(&spec, &given, &piece(0, "ab", true)), gap);
    assert_eq!(stdin(&spec, &given, &piece(u64::MAX, "", true)), gap);
    let ended = stdin(&spec, &given, &piece(4, "", true)).unwrap();
    let ended = ended.unwrap().given;
    assert_eq!(stdin(&spec, &ended, &piece(4, "x", false)), closed);
    assert_eq!(stdin(&spec, &ended, &piece(3, "dx", true)), closed);
    let not_open = CommandSpec {
        stdin_open: false,
        ..spec
    };
    let given = given_with(&not_open);
    assert_eq!(stdin(&not_open, &given, &piece(4, "", true)), closed);
}

#[test]
fn as_much_is_kept_as_may_be() {
    let kept = |orders, stdin_bytes| Kept {
        orders,
        stdin_bytes,
    };
    let (most, most_bytes) = (ORDERS_KEPT_MAX_COUNT, STDIN_KEPT_MAX_BYTES);
    for (more, is_fine) in [(-1, true), (0, true), (1, false)] {
        let add = |to: u64| to.wrapping_add_signed(more);
        assert_eq!(kept(add(most), 0).fits(true), is_fine);
        assert_eq!(kept(1, add(most_bytes)).fits(true), is_fine);
        let queued = add(STDIN_KEPT_QUEUED_MAX_BYTES);
        assert_eq!(kept(1, queued).fits(false), is_fine);
        assert!(kept(1, queued).fits(true));
    }
}

#[test]
fn what_is_kept_is_counted_from_the_oldest_order() {
    let spec = spec(Some("first"), true);
    let at_first = given_with(&spec);
    let first = stdin(&spec, &at_first, &piece(5, "abcd", false));
    let first = first.unwrap().unwrap();
    let second = signal(&first.given, SignalName::Hup);
    let third = stdin(&spec, &second.given, &piece(9, "ef", false));
    let third = third.unwrap().unwrap();
    let kept = |orders, stdin_bytes| Kept {
        orders,
        stdin_bytes,
    };
    assert_eq!(Kept::of_all(&third.given, &at_first), kept(3, 6));
    let since = |oldest| Kept::since(&message(oldest), &third.given);
    assert_eq!(since(&first), kept(3, 6));
    assert_eq!(since(&second), kept(2, 2));
    assert_eq!(since(&third), kept(1, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A client that repeats, overlaps and skips at will gives each byte once.
    #[test]
    fn input_has_no_gap_and_no_repeat(pieces in prop::collection::vec((0_u64..60, 0_usize..20), 1..60)) {
        let whole: Vec<u8> = (0..80).collect();
        let spec = spec(None, true);
        let (mut given, mut joined) = (given_with(&spec), Vec::new());
        for (offset, length) in pieces {
            let from = usize::try_from(offset).unwrap();
            let piece = Piece { offset, bytes: &whole[from..from + length], end: false };
            match stdin(&spec, &given, &piece) {
                Ok(Some(Addition { order: Order::Stdin { offset, input, .. }, given: after })) => {
                    prop_assert_eq!(offset, joined.len() as u64);
                    joined.extend(input.bytes().unwrap());
                    given = after;
                }
                Ok(Some(other)) => prop_assert!(false, "{other:?}"),
                Ok(None) => prop_assert!(offset + length as u64 <= given.stdin.to),
                Err(refused) => {
                    prop_assert!(offset > given.stdin.to);
                    prop_assert_eq!(refused.next_offset(), given.stdin.to);
                }
            }
        }
        prop_assert_eq!(&joined[..], &whole[..joined.len()]);
        prop_assert_eq!(given.stdin.to, joined.len() as u64);
    }
}
