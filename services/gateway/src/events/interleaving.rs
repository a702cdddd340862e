//! Any interleaving of a writer, a tail and a reader shows every event once and in order.
//!
//! The log is a list of messages; replicas answer with what they have so far; the tail may lag
//! behind the log, keep little, and forget; the reader joins at any moment. What a gateway does
//! with a real log is these same calls ([`View::take_page`], [`View::take_turn`]) in some order.

use std::sync::Arc;

use futures::FutureExt;
use proptest::prelude::*;
use rdev_bus::{ReadError, Stored};
use rdev_contract::cursor::Cursor;
use rdev_contract::envelope::Recorded;
use rdev_contract::event::{Complete, Event, Kind, Outcome, OutputStream, Text};
use rdev_contract::id::{ExecId, StreamId};
use rdev_contract::position::StreamSeq;

use super::encode::Encoder;
use super::line::{self, Lookup};
use super::progress::Progress;
use super::ring::{Ring, Turn};
use super::sample::{
    STYLE, exec, fragment, frames, message, message_of, page, reader_behind, recorded,
};
use super::view::View;

/// What is stored next, by one of two execs.
#[derive(Debug, Clone)]
enum Write {
    /// A batch of so many lines.
    Lines(u8),
    /// A line of claude's in so many parts.
    Parts(u8),
    /// A message without numbers.
    Fact,
    /// The end.
    Complete,
}

/// Who does something next.
#[derive(Debug, Clone)]
enum Act {
    Write(usize, Write),
    /// The tail handles so many messages, if they are there.
    Tail(u8),
    /// The tail forgets what it keeps.
    Forget,
    /// The reader reads a page of so many messages, from a replica that is so many behind.
    Page(u8, u8, Fate),
    /// The reader looks at the ring.
    Look,
}

/// What becomes of a page that is read.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Taken,
    /// Another reader takes it as well.
    Shared,
    /// It does not come.
    Lost,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Taken),
        2 => Just(Fate::Shared),
        1 => Just(Fate::Lost),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let write = prop_oneof![
        6 => (1..5_u8).prop_map(Write::Lines),
        6 => (1..4_u8).prop_map(Write::Parts),
        3 => Just(Write::Fact),
        1 => Just(Write::Complete),
    ];
    prop_oneof![
        4 => (0..2_usize, write).prop_map(|(exec, write)| Act::Write(exec, write)),
        3 => (1..4_u8).prop_map(Act::Tail),
        1 => Just(Act::Forget),
        2 => (1..4_u8, 0..3_u8, fate())
            .prop_map(|(count, behind, fate)| Act::Page(count, behind, fate)),
        4 => Just(Act::Look),
    ]
}

/// One exec as its writer knows it.
struct Written {
    exec: ExecId,
    prev: u64,
    next: u64,
    /// Parts of a line that are still to be stored.
    parts: u8,
    index: u32,
    is_complete: bool,
}

impl Written {
    fn new(stream: &str) -> Self {
        Self {
            exec: exec(stream),
            prev: 0,
            next: 1,
            parts: 0,
            index: 0,
            is_complete: false,
        }
    }
}

/// A log of two execs of one session.
struct Log {
    messages: Vec<Recorded<Stored>>,
    sequence: u64,
    written: [Written; 2],
    /// Message, exec and number of each event that is read.
    events: Vec<(u64, usize, u64)>,
    /// Only what the first of them wrote is read.
    is_of_one: bool,
}

impl Log {
    fn new(is_of_one: bool) -> Self {
        Self {
            messages: Vec::new(),
            sequence: 0,
            written: [Written::new("one"), Written::new("two")],
            events: Vec::new(),
            is_of_one,
        }
    }

    /// So many events were stored whole with the last message.
    fn count(&mut self, exec: usize, events: u64) {
        let first = self.written[exec].next;
        self.written[exec].next += events;
        if exec == 0 || !self.is_of_one {
            let numbers = first..first + events;
            let sequence = self.sequence;
            self.events
                .extend(numbers.map(|number| (sequence, exec, number)));
        }
    }

    fn store(&mut self, exec: usize, kind: Kind, events: &[Event<'_>]) {
        // Other sessions' messages lie between.
        self.sequence += 1 + self.sequence % 3;
        let written = &mut self.written[exec];
        let payload = message_of(&written.exec, kind, written.prev, written.next, events);
        written.prev = self.sequence;
        if exec == 0 || !self.is_of_one {
            self.messages.push(recorded(self.sequence, &payload));
        }
    }

    fn write(&mut self, exec: usize, write: &Write) {
        if self.written[exec].is_complete {
            return;
        }
        // A line that was begun is ended before anything else, one part at a time.
        if self.written[exec].parts > 0 {
            return self.write_part(exec);
        }
        match write {
            Write::Lines(count) => {
                let text = Text::of(b"line", Some(OutputStream::Stdout), false);
                let events = vec![Event::Output(text); usize::from(*count)];
                self.store(exec, Kind::Output, &events);
                self.count(exec, u64::from(*count));
            }
            Write::Parts(count) => {
                self.written[exec].parts = *count;
                self.write_part(exec);
            }
            Write::Fact => self.store(exec, Kind::Resumed, &[]),
            Write::Complete => {
                let complete = Complete::without_process(Outcome::Lost, "gone");
                self.store(exec, Kind::Complete, &[Event::Complete(&complete)]);
                self.count(exec, 1);
                self.written[exec].is_complete = true;
            }
        }
    }

    fn write_part(&mut self, exec: usize) {
        let written = &mut self.written[exec];
        let (index, last) = (written.index, written.parts == 1);
        written.parts -= 1;
        written.index = if last { 0 } else { index + 1 };
        self.store(exec, Kind::Claude, &[fragment(index, last, "[")]);
        if last {
            self.count(exec, 1);
        }
    }

    fn behind(&self, position: StreamSeq) -> impl Iterator<Item = &Recorded<Stored>> {
        let new = move |message: &&Recorded<Stored>| message.sequence > position;
        self.messages.iter().filter(new)
    }

    /// With the beginnings of lines, as replays and tails have them.
    fn completed(
        &self,
        messages: Vec<Recorded<Stored>>,
        open: &[StreamId],
    ) -> Vec<Recorded<Stored>> {
        let completed = line::complete(self, messages, open).now_or_never();
        completed.expect("no waiting").expect("no error")
    }

    /// The reader reads so many messages, as far as a replica has them that lacks the last `lag`.
    fn read(&self, view: &mut View, count: usize, lag: usize, fate: Fate) {
        let all: Vec<_> = self.behind(view.position()).cloned().collect();
        let known = all.len().saturating_sub(lag);
        let encoder = view.encoder();
        let messages = self.completed(all[..known.min(count)].to_vec(), &encoder.open_lines());
        let page = page(encoder, &messages);
        let _other_readers = matches!(fate, Fate::Shared).then(|| Arc::clone(&page));
        match fate {
            Fate::Taken | Fate::Shared => view.take_page(page),
            Fate::Lost => {}
        }
    }

    fn end(&self) -> StreamSeq {
        self.messages
            .last()
            .map_or(StreamSeq(0), |message| message.sequence)
    }
}

impl Lookup for Log {
    async fn at(
        &self,
        _: &ExecId,
        sequence: StreamSeq,
    ) -> Result<Option<Recorded<Stored>>, ReadError> {
        let mut messages = self.messages.iter();
        Ok(messages
            .find(|message| message.sequence == sequence)
            .cloned())
    }
}

/// The tail of a gateway.
struct Tail {
    ring: Ring,
    encoder: Encoder,
}

impl Tail {
    /// One that was started when `floor` was the log's last message, in the middle of a line maybe.
    fn start(floor: StreamSeq) -> Self {
        Self {
            ring: Ring::new(floor),
            encoder: Encoder::new(STYLE),
        }
    }

    fn follow(&mut self, log: &Log, count: usize) {
        let head = self.ring.head();
        let messages = log.behind(head).take(count).cloned().collect();
        for message in log.completed(messages, &self.encoder.open_lines()) {
            self.ring.push(Arc::new(self.encoder.encode(&message)));
        }
    }
}

/// A reader of the first exec from its beginning on, or of both behind `position`.
fn reader(is_of_one: bool, position: StreamSeq) -> View {
    if is_of_one {
        return reader_behind(0, false);
    }
    let beginning = Cursor::beginning(&exec("none"));
    let progress = Progress::of_session(STYLE.format, beginning, position, None);
    View::new(STYLE, progress, false)
}

/// Message, exec and number of each event shown.
fn shown(frames: &[String]) -> Vec<(u64, usize, u64)> {
    let event = |frame: &String| {
        let id = frame.strip_prefix("id: ")?.lines().next()?;
        let mut parts = id.split('-');
        let sequence = parts.next()?.parse().ok()?;
        let number = parts.next()?.parse().ok()?;
        Some((sequence, usize::from(parts.next()? != "TAG"), number))
    };
    frames.iter().filter_map(event).collect()
}

proptest! {
    #[test]
    fn every_event_is_shown_once_and_in_order(
        is_of_one: bool,
        before in prop::collection::vec(act(), 0..12),
        start in any::<prop::sample::Index>(),
        begin in any::<prop::sample::Index>(),
        after in prop::collection::vec(act(), 0..40),
    ) {
        let mut log = Log::new(is_of_one);
        for act in &before {
            if let Act::Write(exec, write) = act {
                log.write(*exec, write);
            }
        }
        let mut sequences = vec![StreamSeq(0)];
        sequences.extend(log.messages.iter().map(|message| message.sequence));
        let mut tail = Tail::start(*start.get(&sequences));
        let begin = if is_of_one { StreamSeq(0) } else { *begin.get(&sequences) };
        let mut view = reader(is_of_one, begin);
        for act in &after {
            match act {
                Act::Write(exec, write) => log.write(*exec, write),
                Act::Tail(count) => tail.follow(&log, usize::from(*count)),
                Act::Forget => tail.ring.clear(),
                Act::Page(count, lag, fate) => {
                    log.read(&mut view, usize::from(*count), usize::from(*lag), *fate);
                }
                Act::Look => {
                    view.take_turn(&tail.ring);
                }
            }
        }
        while log.written.iter().any(|written| !written.is_complete) {
            log.write(0, &Write::Complete);
            log.write(1, &Write::Complete);
        }
        loop {
            match view.take_turn(&tail.ring) {
                Turn::Log(_) => log.read(&mut view, 1, 0, Fate::Taken),
                Turn::Pieces(_) => {}
                Turn::Wait if tail.ring.head() < log.end() => tail.follow(&log, 1),
                Turn::Wait => break,
            }
        }
        let frames = frames(&mut view);
        let expected = log.events.iter().filter(|(sequence, ..)| *sequence > begin.0);
        prop_assert!(shown(&frames).iter().eq(expected), "{:?}\n{:?}", frames, log.events);
    }
}

#[test]
fn a_ring_keeps_no_more_than_it_may() {
    let mut tail = Tail::start(StreamSeq(0));
    let text = "x".repeat(200 * 1024);
    for number in 1..=20 {
        let line = Event::Output(Text::of(text.as_bytes(), None, false));
        let payload = message(Kind::Output, number, &[line]);
        let piece = tail.encoder.encode(&recorded(number, &payload));
        tail.ring.push(Arc::new(piece));
    }
    assert!(matches!(tail.ring.turn(StreamSeq(14)), Turn::Log(_)));
    // What is taken at once is bounded as well.
    let Turn::Pieces(pieces) = tail.ring.turn(StreamSeq(16)) else {
        panic!("the latest pieces are kept");
    };
    assert_eq!(pieces.len(), 1);
    assert!(matches!(tail.ring.turn(StreamSeq(20)), Turn::Wait));
}
