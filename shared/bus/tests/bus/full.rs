//! A log that fills up: new commands are refused first, then bulk waits, and the end still fits.

use std::time::Duration;

use rdev_bus::append::Entry;
use rdev_bus::submit::{SubmitError, Submitted};
use rdev_contract::envelope::Body;
use rdev_contract::event::{Complete, Event, EventBatch, Kind, Outcome, OutputStream, Text};
use rdev_contract::position::{EventNo, Offsets};

use crate::{Log, command, exec_id, now, stored};

const LIMIT_BYTES: i64 = 2_000_000;
const PIECE_BYTES: usize = 100_000;
/// Before that there is room for sure.
const FIRST_LOOKED_FOR: EventNo = EventNo(16);
/// Longer than the bus trusts what it saw of the log.
const A_LOOK: Duration = Duration::from_millis(1100);

#[tokio::test]
async fn the_end_fits_when_nothing_else_does() {
    let log = Log::start_with(|config| config.log_max_bytes = LIMIT_BYTES).await;
    let (exec, mut writer) = log.written().await;
    let text = "x".repeat(PIECE_BYTES);
    let mut number = EventNo::FIRST;
    let waits = loop {
        let mut events = EventBatch::default();
        let piece = Text::of(text.as_bytes(), Some(OutputStream::Stdout), true);
        events.push(&Event::Output(piece)).expect("JSON");
        let entry = Entry {
            kind: Kind::Output,
            first: Some(number),
            to: Some(Offsets::default()),
            body: Body::Events(&events),
        };
        if number > FIRST_LOOKED_FOR {
            // Lets the bus look at the log before each piece.
            tokio::time::sleep(A_LOOK).await;
        }
        let waited = tokio::time::timeout(A_LOOK * 2, writer.append(entry, now())).await;
        match waited {
            Ok(stored) => drop(stored.expect("room")),
            Err(_) => break number,
        }
        number = number.plus(1);
        assert!(number < EventNo(100), "bulk never waits");
    };
    assert!(waits > EventNo(15), "waits at {waits}");
    let refused = log.bus.submit(&exec_id(), &command("true"), now()).await;
    assert!(matches!(refused, Err(SubmitError::Full(_))), "{refused:?}");
    // What was accepted when there was room is no less so.
    let again = log.bus.submit(&exec, &command("true"), now()).await;
    assert!(matches!(again, Ok(Submitted::Exists(_))), "{again:?}");
    // What was given up had not been sent, so the writer still knows the tail.
    let mut events = EventBatch::default();
    let end = Complete::without_process(Outcome::Lost, "for the test");
    events.push(&Event::Complete(&end)).expect("JSON");
    let entry = Entry {
        kind: Kind::Complete,
        first: Some(number),
        to: Some(Offsets::default()),
        body: Body::Events(&events),
    };
    writer.append(entry, now()).await.expect("room for a fact");
    let last = stored(&log.bus, &exec).await;
    assert!(
        last.last()
            .expect("messages")
            .value
            .subject
            .ends_with(".complete")
    );
}
