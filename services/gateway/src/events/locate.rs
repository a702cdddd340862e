//! Asks the log what [`super::place`] needs to decide. Everything at the leader: what a replica
//! does not have yet must not look like something that never was.

use rdev_bus::{Bus, LogStream, ReadError, Stored};
use rdev_contract::cursor::Cursor;
use rdev_contract::envelope::{Message, Recorded};
use rdev_contract::event::{Kind, Resumed};
use rdev_contract::id::ExecId;
use rdev_contract::position::{EventNo, StreamSeq};
use rdev_contract::subject::{Filter, parse_exec};

use super::place::{Known, Span, Tail};

/// What the log says of this exec around this cursor.
pub(super) async fn look(bus: &Bus, exec: &ExecId, cursor: &Cursor) -> Result<Known, ReadError> {
    let stored = bus.tail(exec).await?;
    let tail = stored.as_ref().map(tail);
    let tail_sequence = tail.map(|tail| tail.sequence);
    // The stream's own end only matters to a cursor that is not within the exec.
    let stream_last = match tail_sequence {
        Some(sequence) if cursor.sequence <= sequence => sequence,
        Some(_) | None => bus.identity(LogStream::Exec).await?.last,
    };
    let at = if cursor.sequence == StreamSeq(0) {
        None
    } else if tail_sequence == Some(cursor.sequence) {
        stored
    } else if tail_sequence.is_some_and(|tail| cursor.sequence < tail) {
        bus.at_leader(LogStream::Exec, cursor.sequence).await?
    } else {
        None
    };
    let at = at.and_then(|message| span(exec, &message.value));
    Ok(Known {
        tail,
        at,
        stream_last,
    })
}

/// Number of the first event that is left behind `after`; none if there is no event there.
pub(super) async fn first_available(
    bus: &Bus,
    exec: &ExecId,
    after: StreamSeq,
    shown: EventNo,
) -> Result<Option<EventNo>, ReadError> {
    let filter = Filter::exec(exec);
    let mut after = after;
    loop {
        let page = bus.read_page(LogStream::Exec, &filter, after).await?;
        let spans = page
            .messages
            .iter()
            .filter_map(|message| span(exec, &message.value));
        let mut numbers = spans.map(|span| (span.first.max(shown.plus(1)), span.last));
        if let Some((first, _)) = numbers.find(|(first, last)| first <= last) {
            return Ok(Some(first));
        }
        match page.messages.last() {
            Some(last) if page.more => after = last.sequence,
            Some(_) | None => return Ok(None),
        }
    }
}

fn tail(stored: &Recorded<Stored>) -> Tail {
    let Recorded { sequence, value } = stored;
    let message = Message::decode(&value.payload).ok();
    let kind = message
        .as_ref()
        .and_then(|message| message.head.known_kind());
    let last = message.as_ref().and_then(|message| match kind? {
        Kind::Command | Kind::Started => Some(EventNo(0)),
        Kind::Resumed => {
            let resumed: Resumed = message.fact().ok()?;
            Some(EventNo(resumed.from.next.0.saturating_sub(1)))
        }
        Kind::Output | Kind::Claude | Kind::Complete => span_of(message).map(|span| span.last),
    });
    Tail {
        sequence: *sequence,
        last,
        is_complete: kind == Some(Kind::Complete),
    }
}

/// The events of a stored message, if it is of this exec and has any.
fn span(exec: &ExecId, stored: &Stored) -> Option<Span> {
    let (owner, _) = parse_exec(&stored.subject).ok()?;
    if owner != *exec {
        return None;
    }
    span_of(&Message::decode(&stored.payload).ok()?)
}

fn span_of(message: &Message<'_>) -> Option<Span> {
    let first = message.head.first?;
    let is_part = |fragment: &rdev_contract::event::Fragment<'_>| !fragment.last;
    let whole = message
        .events
        .iter()
        .filter(|event| !event.fragment.as_ref().is_some_and(is_part));
    let count = whole.count() as u64;
    let begins_whole = message.events.first().is_some_and(|event| {
        event
            .fragment
            .as_ref()
            .is_none_or(|fragment| fragment.index == 0)
    });
    Some(Span {
        first,
        last: EventNo((first.0 + count).saturating_sub(1)),
        begins_whole,
    })
}
