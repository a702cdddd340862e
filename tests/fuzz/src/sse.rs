//! What readers get, read by a parser of others. Its input becomes an event's data as the log has it:
//! the text of an output line, or an agent's own line.

use eventsource_stream::{Event, Eventsource};
use futures::{FutureExt, StreamExt};
use rdev_contract::cursor::Cursor;
use rdev_contract::event::event_name;
use rdev_contract::id::StreamId;
use rdev_contract::position::{EventNo, StreamSeq};
use serde_json::value::RawValue;

use self::gateway::{Added, Format, FrameWriter, Id};

/// The gateway's own writer of frames; the gateway itself needs a server to be linked for nothing.
#[expect(dead_code, reason = "the gateway uses what is not used here")]
#[path = "../../../services/gateway/src/events/frame.rs"]
mod gateway;

pub(crate) const SEEDS: &[&[u8]] = &[
    b"data: x\n\nevent: complete\n\nid: 1-1-00000000\r\n\r\n",
    b"{\"type\":\"result\",\n\"x\":\"\\u2028\"}",
    b"\xef\xbb\xbfdata: {}\r\r",
    b"{ }",
    b"{\"line\":\"\\n\\nevent: complete\\n\\n\"}",
];

const TAG: &str = "9f3a61c2";

/// Every event arrives as itself, alone, with its id; nothing in it ends it or begins another.
pub fn sse(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let line = serde_json::json!({ "line": text, "stream": "stdout" }).to_string();
    let mut sent = vec![(event_name::OUTPUT, line)];
    if let Ok(object) = serde_json::from_slice::<&RawValue>(bytes)
        && object.get().starts_with('{')
    {
        sent.push((event_name::CLAUDE_EVENT, object.get().to_owned()));
    }
    for stream in [None, "a_b-C".parse::<StreamId>().ok()] {
        let mut writer = FrameWriter::new(Format::Sse);
        for (number, (name, data)) in sent.iter().enumerate() {
            let stream = stream.as_ref();
            writer.event(id(number), name, Added { stream, at: None }, data);
        }
        let read = parsed(&writer.take());
        assert_eq!(read.len(), sent.len(), "{read:?}");
        for (number, ((name, data), event)) in sent.iter().zip(&read).enumerate() {
            compare(number, name, data, stream.as_ref(), event);
        }
    }
}

fn compare(number: usize, name: &str, data: &str, stream: Option<&StreamId>, event: &Event) {
    let id = id(number);
    let cursor = event.id.parse::<Cursor>().ok();
    assert_eq!(cursor.map(|cursor| cursor.number), Some(id.number));
    assert_eq!(event.event, name);
    let plain = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    let Some(mut expected) = plain(data) else {
        return;
    };
    if let (Some(stream), Some(members)) = (stream, expected.as_object_mut()) {
        // A member of the data's own stands behind ours, and wins in any parser.
        members
            .entry("stream_id")
            .or_insert_with(|| stream.as_str().into());
    }
    assert_eq!(plain(&event.data), Some(expected));
}

fn id(number: usize) -> Id<'static> {
    Id {
        sequence: StreamSeq(48_213),
        number: EventNo(number as u64 + 1),
        tag: TAG,
    }
}

fn parsed(bytes: &[u8]) -> Vec<Event> {
    let whole = futures::stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
    let mut events = whole.eventsource();
    let mut read = Vec::new();
    while let Some(Some(Ok(event))) = events.next().now_or_never() {
        read.push(event);
    }
    read
}
