//! Messages as the log has them, and readers of them, for the tests of this station.

use std::sync::Arc;

use jiff::Timestamp;
use rdev_bus::{Pace, Stored};
use rdev_contract::agent::Agent;
use rdev_contract::cursor::Cursor;
use rdev_contract::envelope::{Body, Chain, Head, Message, PAYLOAD_VERSION, Recorded, encode};
use rdev_contract::event::{Event, EventBatch, Fragment, Kind};
use rdev_contract::id::ExecId;
use rdev_contract::position::{EventNo, StreamSeq};
use rdev_contract::subject::Subject;

use super::encode::{Encoder, Style};
use super::frame::Format;
use super::progress::Progress;
use super::replay::Page;
use super::view::View;

pub(super) fn exec(stream: &str) -> ExecId {
    ExecId {
        project: "demo".parse().unwrap(),
        session: "0192f0c1-0000-7000-8000-000000000001".parse().unwrap(),
        stream: stream.parse().unwrap(),
    }
}

/// Server-sent events as most readers want them.
pub(super) const STYLE: Style = Style {
    format: Format::Sse,
    stderr_as_output: false,
    with_stream: false,
    with_times: false,
};

/// The tag of the exec that messages are of unless said otherwise.
pub(super) fn tag() -> String {
    exec("one").tag()
}

pub(super) fn message(kind: Kind, first: u64, events: &[Event<'_>]) -> Vec<u8> {
    message_of(&exec("one"), kind, 0, first, events)
}

pub(super) fn message_of(
    exec: &ExecId,
    kind: Kind,
    prev: u64,
    first: u64,
    events: &[Event<'_>],
) -> Vec<u8> {
    let head = Head {
        v: PAYLOAD_VERSION,
        project: exec.project.clone(),
        session: exec.session,
        stream: exec.stream.clone(),
        kind: kind.token().to_owned(),
        claim: None,
        attempt: 1,
        first: kind.is_numbered().then_some(EventNo(first)),
        at: Timestamp::UNIX_EPOCH,
        to: None,
        prev: StreamSeq(prev),
    };
    let mut batch = EventBatch::default();
    for event in events {
        batch.push(event).unwrap();
    }
    encode(&head, &Body::Events(&batch), &Chain::default())
        .unwrap()
        .payload
}

pub(super) fn recorded(sequence: u64, payload: &[u8]) -> Recorded<Stored> {
    let subject = Message::decode(payload).map(|message| {
        let exec = message.head.exec();
        let kind = message.head.known_kind().unwrap_or(Kind::Output);
        Subject::exec(&exec, kind).as_str().to_owned()
    });
    let subject = subject.unwrap_or_default();
    let value = Stored {
        subject,
        payload: payload.to_vec().into(),
        at: Timestamp::UNIX_EPOCH,
        trace: None,
    };
    Recorded {
        sequence: StreamSeq(sequence),
        value,
    }
}

pub(super) fn fragment(index: u32, last: bool, text: &str) -> Event<'_> {
    Event::AgentFragment(
        Agent::Claude,
        Fragment {
            index,
            last,
            text: text.into(),
        },
    )
}

/// A reader that has seen the exec's events up to this number.
pub(super) fn reader_behind(number: u64, stderr_as_output: bool) -> View {
    let style = Style {
        stderr_as_output,
        ..STYLE
    };
    let cursor = Cursor {
        number: EventNo(number),
        ..Cursor::beginning(&exec("one"))
    };
    View::new(
        style,
        Progress::of_exec(style.format, cursor, StreamSeq(0)),
        true,
    )
}

/// A page of the log that goes on behind what `encoder` has encoded.
pub(super) fn page(mut encoder: Encoder, messages: &[Recorded<Stored>]) -> Arc<Page> {
    let pieces = messages.iter().map(|message| encoder.encode(message));
    Arc::new(Page {
        pieces: pieces.collect(),
        encoder,
        pace: Pace::default(),
        nothing_until: None,
    })
}

/// Gives a reader what follows in the log.
pub(super) fn read(view: &mut View, messages: &[Recorded<Stored>]) {
    let encoder = view.encoder();
    view.take_page(page(encoder, messages));
}

/// What waits to be sent, frame by frame, with the exec's tag as `TAG`.
pub(super) fn frames(view: &mut View) -> Vec<String> {
    let chunks: Vec<_> = std::iter::from_fn(|| view.out.pop()).collect();
    let text = String::from_utf8(chunks.concat()).unwrap();
    let text = text.replace(&tag(), "TAG");
    text.split_terminator("\n\n").map(str::to_owned).collect()
}
