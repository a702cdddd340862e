//! The chain: an auditor finds any changed byte, and the first changed message.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use proptest::prelude::*;
use rdev_contract::envelope::{
    Body, Chain, Encoded, Head, PAYLOAD_VERSION, encode, previous, verify_chain,
};
use rdev_contract::event::{Event, EventBatch, Kind, OutputStream, Text};
use rdev_contract::id::SessionId;
use rdev_contract::position::{EventNo, Offsets, StreamSeq};

fn message(number: u64, line: &[u8], previous: &Chain) -> Encoded {
    let mut events = EventBatch::default();
    let text = Text::of(line, Some(OutputStream::Stdout), false);
    events.push(&Event::Output(text)).unwrap();
    let head = Head {
        v: PAYLOAD_VERSION,
        project: "demo".parse().unwrap(),
        session: "01935bd0-7a3c-7000-8000-5f1e2d3c4b5a"
            .parse::<SessionId>()
            .unwrap(),
        stream: "s".parse().unwrap(),
        kind: Kind::Output.to_string(),
        claim: None,
        attempt: 1,
        first: Some(EventNo(number)),
        at: "2026-11-22T06:21:00Z".parse().unwrap(),
        to: Some(Offsets::new(number * 10, 0)),
        prev: StreamSeq(number),
    };
    encode(&head, &Body::Events(&events), previous).unwrap()
}

#[test]
fn every_flipped_bit_of_every_byte_is_found() {
    // The text looks like a chain value of its own.
    let line = br#"","chain":"00"#;
    let previous = message(1, b"before", &Chain::default()).chain;
    let payload = message(2, line, &previous).payload;
    assert!(verify_chain(&payload, &previous));
    for index in 0..payload.len() {
        for bit in 0..8 {
            let mut changed = payload.clone();
            changed[index] ^= 1 << bit;
            assert!(
                !verify_chain(&changed, &previous),
                "byte {index}, bit {bit}"
            );
        }
    }
}

#[test]
fn removed_added_and_missing_bytes_are_found() {
    let payload = message(1, b"line", &Chain::default()).payload;
    for index in 0..payload.len() {
        let mut shorter = payload.clone();
        shorter.remove(index);
        assert!(!verify_chain(&shorter, &Chain::default()));
        assert!(!verify_chain(&payload[..index], &Chain::default()));
        let mut longer = payload.clone();
        longer.insert(index, b' ');
        assert!(!verify_chain(&longer, &Chain::default()));
    }
    assert!(!verify_chain(b"", &Chain::default()));
    assert!(!verify_chain(b"{}", &Chain::default()));
}

#[test]
fn messages_cannot_be_exchanged_or_left_out() {
    let one = message(1, b"one", &Chain::default());
    let two = message(2, b"two", &one.chain);
    let three = message(3, b"three", &two.chain);
    assert!(verify_chain(&three.payload, &two.chain));
    assert!(
        !verify_chain(&three.payload, &one.chain),
        "two was left out"
    );
    assert!(
        !verify_chain(&two.payload, &Chain::default()),
        "two was moved to the front"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_line_verifies_and_any_other_line_does_not(
        line in prop::collection::vec(any::<u8>(), 0..200),
        other in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        prop_assume!(line != other);
        let encoded = message(1, &line, &Chain::default());
        prop_assert!(verify_chain(&encoded.payload, &Chain::default()));
        let forged = message(1, &other, &Chain::default());
        prop_assert_ne!(&encoded.chain, &forged.chain);
        let with_old_chain = String::from_utf8(forged.payload).unwrap()
            .replace(forged.chain.as_str(), encoded.chain.as_str());
        prop_assert!(!verify_chain(with_old_chain.as_bytes(), &Chain::default()));
    }
}

#[test]
fn the_predecessor_is_found_in_the_head_alone() {
    for number in [0, 1, 9, 48_213, u64::MAX / 10] {
        let payload = message(number, br#"",\"prev\":7,\"chain\":\""#, &Chain::default()).payload;
        assert_eq!(previous(&payload), Some(StreamSeq(number)));
    }
    for other in [
        "",
        "{}",
        r#"{"prev":1}"#,
        r#"{"v":1,"prev":,"chain":""}"#,
        r#"{"v":1,"prev":"1","chain":""}"#,
        r#"{"v":1,"prev":99999999999999999999,"chain":""}"#,
    ] {
        assert_eq!(previous(other.as_bytes()), None, "{other}");
    }
}
