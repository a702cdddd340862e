//! One stored message as one line of JSON, and back: sequence, time, subject and payload are what they
//! were, byte for byte, so that the chain still verifies. Pure.
//!
//! A payload stands in its line as the JSON that it is, for `jq` and people; one that is not JSON on one
//! line, which no writer of ours makes, as base64.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use rdev_contract::envelope::{Recorded, Stored};
use rdev_contract::position::StreamSeq;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    seq: StreamSeq,
    at: Timestamp,
    #[serde(borrow)]
    subject: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    message: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// Writes a message behind `lines`, and its line end.
///
/// # Errors
/// None in practice: a line always can be written as JSON.
pub(crate) fn write(
    lines: &mut Vec<u8>,
    message: &Recorded<Stored>,
) -> Result<(), serde_json::Error> {
    let Stored {
        subject,
        payload,
        at,
        // Of what is archived every span has ended long ago.
        trace: _,
    } = &message.value;
    let json = json_of(payload);
    let line = Line {
        seq: message.sequence,
        at: *at,
        subject: Cow::Borrowed(subject),
        message: json,
        base64: json.is_none().then(|| STANDARD.encode(payload)),
    };
    serde_json::to_writer(&mut *lines, &line)?;
    lines.push(b'\n');
    Ok(())
}

/// The payload as JSON that stands in a line as it is.
fn json_of(payload: &[u8]) -> Option<&RawValue> {
    let json: &RawValue = serde_json::from_slice(payload).ok()?;
    let is_whole = json.get().len() == payload.len();
    // A field that is null is read as one that is not there.
    let is_null = json.get() == "null";
    (is_whole && !is_null && !payload.contains(&b'\n')).then_some(json)
}

/// Reads the messages of whole lines; payloads share their memory.
///
/// # Errors
/// Says what is wrong with which line.
pub(crate) fn read(lines: &Bytes) -> Result<Vec<Recorded<Stored>>, String> {
    let mut messages = Vec::new();
    for text in lines.split_inclusive(|byte| *byte == b'\n') {
        let number = messages.len() + 1;
        let wrong = |reason: &dyn std::fmt::Display| format!("line {number}: {reason}");
        let line: Line<'_> = serde_json::from_slice(text).map_err(|error| wrong(&error))?;
        let payload = match (line.message, &line.base64) {
            (Some(json), None) => lines.slice_ref(json.get().as_bytes()),
            (None, Some(base64)) => STANDARD
                .decode(base64)
                .map_err(|error| wrong(&error))?
                .into(),
            (Some(_), Some(_)) | (None, None) => return Err(wrong(&"not one payload")),
        };
        let value = Stored {
            subject: line.subject.into_owned(),
            payload,
            at: line.at,
            trace: None,
        };
        messages.push(Recorded {
            sequence: line.seq,
            value,
        });
    }
    Ok(messages)
}

/// A hash over messages, whatever form they stand in.
#[derive(Debug, Clone, Default)]
pub(crate) struct MessageHash(Sha256);

impl MessageHash {
    pub(crate) fn add(&mut self, message: &Recorded<Stored>) {
        let Recorded { sequence, value } = message;
        self.0.update(sequence.0.to_be_bytes());
        self.0.update(value.at.as_nanosecond().to_be_bytes());
        for text in [value.subject.as_bytes(), &value.payload] {
            self.0.update((text.len() as u64).to_be_bytes());
            self.0.update(text);
        }
    }

    pub(crate) fn sum(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(sequence: u64, subject: &str, payload: &[u8], nanosecond: i64) -> Recorded<Stored> {
        Recorded {
            sequence: StreamSeq(sequence),
            value: Stored {
                subject: subject.to_owned(),
                payload: payload.to_vec().into(),
                at: Timestamp::from_nanosecond(nanosecond.into()).unwrap(),
                trace: None,
            },
        }
    }

    fn back(messages: &[Recorded<Stored>]) -> Vec<Recorded<Stored>> {
        let mut lines = Vec::new();
        for message in messages {
            write(&mut lines, message).unwrap();
        }
        let count = lines.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(count, messages.len(), "a line each");
        read(&lines.into()).unwrap()
    }

    fn payloads() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64),
            "[ \r\n\t]?\\{\"a\":[ \n]?\"[^\"\\\\\\x00-\\x1f]{0,9}\"\\}[ \n]?"
                .prop_map(String::into_bytes),
            Just(b"null".to_vec()),
        ]
    }

    proptest! {
        #[test]
        fn messages_come_back_as_they_were(
            parts in prop::collection::vec(
                (any::<u64>(), "[a-z.*>\"\\\\]{0,9}", payloads(), any::<i64>()), 0..8
            ),
        ) {
            let messages: Vec<_> = parts
                .iter()
                .map(|(sequence, subject, payload, at)| message(*sequence, subject, payload, *at))
                .collect();
            prop_assert_eq!(back(&messages), messages);
        }

        #[test]
        fn another_message_has_another_hash(
            one in ("[ab]{0,2}", "[ab]{0,2}"), other in ("[ab]{0,2}", "[ab]{0,2}"),
        ) {
            let sum = |(subject, payload): &(String, String)| {
                let mut hash = MessageHash::default();
                hash.add(&message(1, subject, payload.as_bytes(), 0));
                hash.sum()
            };
            prop_assert_eq!(sum(&one) == sum(&other), one == other);
        }
    }

    #[test]
    fn a_payload_stands_in_its_line_as_it_is() {
        let mut lines = Vec::new();
        let payload = br#"{"v":1,"text":"a\u0000b","prev":3}"#;
        write(
            &mut lines,
            &message(7, "rdev.exec.a", payload, 1_000_000_001),
        )
        .unwrap();
        write(&mut lines, &message(8, "x", b"{}\n", 0)).unwrap();
        let expected = "{\"seq\":7,\"at\":\"1970-01-01T00:00:01.000000001Z\",\
            \"subject\":\"rdev.exec.a\",\"message\":{\"v\":1,\"text\":\"a\\u0000b\",\"prev\":3}}\n\
            {\"seq\":8,\"at\":\"1970-01-01T00:00:00Z\",\"subject\":\"x\",\"base64\":\"e30K\"}\n";
        assert_eq!(String::from_utf8(lines).unwrap(), expected);
    }

    #[test]
    fn what_is_no_line_of_ours_is_refused() {
        for lines in [
            "{\"seq\":1",
            "\n",
            r#"{"seq":1,"at":"1970-01-01T00:00:00Z","subject":"x"}"#,
            r#"{"seq":1,"at":"1970-01-01T00:00:00Z","subject":"x","base64":"?"}"#,
            r#"{"seq":1,"at":"1970-01-01T00:00:00Z","subject":"x","message":1,"base64":""}"#,
        ] {
            assert!(read(&Bytes::from(lines)).is_err(), "{lines}");
        }
    }
}
