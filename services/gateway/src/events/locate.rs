//! Asks the log, and the archive behind it, what [`super::place`] needs to decide. That something is not there is only believed
//! of the leader: what a replica does not have yet must not look like something that never was.

use rdev_bus::live::Scope;
use rdev_bus::{LogStream, Pace, ReadError, Stored};
use rdev_contract::cursor::Cursor;
use rdev_contract::envelope::{Message, Recorded};
use rdev_contract::event::{Admitted, Kind, Resumed};
use rdev_contract::id::{ExecId, ProjectId, SessionId, StreamId};
use rdev_contract::position::{EventNo, StreamSeq};
use rdev_contract::subject::{Filter, parse_exec};

use super::place::{self, Known, Misplaced, Place, Span, Tail};
use crate::history::History;
use crate::problem::ApiError;

/// Where a reader of this exec continues. What the message of its cursor says is nearly always
/// enough, and is found at once however much the log holds.
pub(super) async fn place(
    history: &History,
    exec: &ExecId,
    cursor: &Cursor,
) -> Result<Result<Place, Misplaced>, ReadError> {
    let at = match cursor.sequence {
        StreamSeq(0) => None,
        sequence => history.at(exec, sequence).await?,
    };
    let at = at.and_then(|at| {
        let is_complete =
            parse_exec(&at.value.subject).is_ok_and(|(_, kind)| kind == Kind::Complete.token());
        Some((span(exec, &at.value)?, is_complete))
    });
    if let Some((span, is_complete)) = at
        && let Some(place) = place::within(cursor, span, is_complete)
    {
        return Ok(Ok(place));
    }
    let tail = history.tail(exec).await?.as_ref().map(tail);
    // The stream's own end only matters to a cursor that is not within the exec.
    let stream_last = match tail.map(|tail| tail.sequence) {
        Some(sequence) if cursor.sequence <= sequence => sequence,
        Some(_) | None => last(history).await?,
    };
    let known = Known {
        tail,
        at: at.map(|(span, _)| span),
        stream_last,
    };
    Ok(place::decide(cursor, &known))
}

/// The first event that is left of those behind `shown`, and the message that has it; none if there
/// is no event there.
pub(super) async fn first_available(
    history: &History,
    exec: &ExecId,
    after: StreamSeq,
    shown: EventNo,
) -> Result<Option<(StreamSeq, EventNo)>, ReadError> {
    let next = shown.plus(1);
    find(history, exec, after, |message| {
        let span = span(exec, &message.value)?;
        // Of a line that begins before what is left, there is no event.
        let lacks_line = !span.begins_whole && span.first > next;
        let first = span.first.plus(u64::from(lacks_line)).max(next);
        (first <= span.last).then_some((message.sequence, first))
    })
    .await
}

/// Where an exec's last `count` events begin: the id before them, and the message behind which
/// to read. As far back as they are left.
pub(super) async fn last_events(
    history: &History,
    exec: &ExecId,
    count: u64,
) -> Result<(Cursor, StreamSeq), ReadError> {
    let mut begin = (Cursor::beginning(exec), StreamSeq(0));
    let Some(mut stored) = history.tail(exec).await? else {
        return Ok(begin);
    };
    let Some(last) = tail(&stored).last else {
        return Ok(begin);
    };
    let shown = EventNo(last.0.saturating_sub(count));
    if shown.0 == 0 {
        return Ok(begin);
    }
    loop {
        if let Some(span) = span(exec, &stored.value)
            && span.begins_whole
        {
            let number = shown.max(EventNo(span.first.0 - 1));
            let cursor = Cursor {
                sequence: stored.sequence,
                number,
                tag: exec.tag(),
            };
            begin = (cursor, StreamSeq(stored.sequence.0 - 1));
            if span.first <= shown.plus(1) {
                return Ok(begin);
            }
        } else if begin.1 == StreamSeq(0) {
            // Nothing is to be shown of a message without events.
            let cursor = Cursor {
                sequence: stored.sequence,
                number: last,
                tag: exec.tag(),
            };
            begin = (cursor, stored.sequence);
        }
        let before = Message::decode(&stored.value.payload).map(|message| message.head.prev);
        let Ok(before @ StreamSeq(1..)) = before else {
            return Ok(begin);
        };
        match history.at(exec, before).await? {
            Some(message) => stored = message,
            None => return Ok(begin),
        }
    }
}

/// The last message of the whole log.
pub(super) async fn last(history: &History) -> Result<StreamSeq, ReadError> {
    Ok(history.bus().identity(LogStream::Exec).await?.last)
}

/// Where a reader of a session continues behind a cursor: the message behind which to read, and
/// the exec that the cursor is of.
pub(super) async fn in_session(
    history: &History,
    project: &ProjectId,
    session: SessionId,
    cursor: &Cursor,
) -> Result<(StreamSeq, StreamId), ApiError> {
    let at = match cursor.sequence {
        StreamSeq(0) => None,
        sequence => {
            let log = history.bus();
            log.message_at(LogStream::Exec, sequence).await?
        }
    };
    let owner = at
        .as_ref()
        .and_then(|at| parse_exec(&at.value.subject).ok());
    if let (Some(at), Some((exec, _))) = (&at, owner)
        && (&exec.project, exec.session) == (project, session)
        && exec.tag() == cursor.tag
        && let Some(position) = span(&exec, &at.value).and_then(|span| span.behind(cursor))
    {
        return Ok((position, exec.stream));
    }
    // It has expired, or the log was restored under other sequences.
    let Some(exec) = exec_with_tag(history, project, session, &cursor.tag).await? else {
        return Err(Misplaced::OtherExec.into());
    };
    let position = match place(history, &exec, cursor).await?? {
        Place::Behind(position) => position,
        Place::Beginning { .. } | Place::Finished | Place::Gone => {
            let message = message_with(history, &exec, cursor.number).await?;
            message.map_or(cursor.sequence, |sequence| StreamSeq(sequence.0 - 1))
        }
    };
    Ok((position, exec.stream))
}

/// The exec of a session whose cursors have this tag.
async fn exec_with_tag(
    history: &History,
    project: &ProjectId,
    session: SessionId,
    tag: &str,
) -> Result<Option<ExecId>, ReadError> {
    let filter = Filter::session_kind(project, session, Kind::Command);
    let bus = history.bus();
    let last = bus.last_at_leader(LogStream::Exec, &filter).await?;
    let end = last.map_or(StreamSeq(0), |last| last.sequence);
    let (mut after, mut pace) = (StreamSeq(0), Pace::default());
    while after < end {
        let commands = bus.read_paced(LogStream::Exec, &filter, after, end, &mut pace);
        let commands = commands.await?;
        let mut execs = commands
            .iter()
            .filter_map(|command| parse_exec(&command.value.subject).ok());
        if let Some((exec, _)) = execs.find(|(exec, _)| exec.tag() == tag) {
            return Ok(Some(exec));
        }
        match commands.last() {
            Some(last) => after = last.sequence,
            None => break,
        }
    }
    history.archived_with_tag(project, session, tag).await
}

/// The message that holds the exec's event with this number, wherever it is now.
async fn message_with(
    history: &History,
    exec: &ExecId,
    number: EventNo,
) -> Result<Option<StreamSeq>, ReadError> {
    find(history, exec, StreamSeq(0), |message| {
        let span = span(exec, &message.value)?;
        (span.first <= number && number <= span.last).then_some(message.sequence)
    })
    .await
}

/// What `look` finds first in the exec's messages behind `after`. It is known first where they end:
/// without that the server would look for one more in all that the log holds behind them.
async fn find<T>(
    history: &History,
    exec: &ExecId,
    mut after: StreamSeq,
    look: impl Fn(&Recorded<Stored>) -> Option<T>,
) -> Result<Option<T>, ReadError> {
    let end = history.end(&Scope::Exec(exec.clone())).await?;
    let mut pace = Pace::default();
    while after < end {
        let messages = history.paced(exec, after, end, &mut pace).await?;
        if let Some(found) = messages.iter().find_map(&look) {
            return Ok(Some(found));
        }
        match messages.last() {
            Some(last) => after = last.sequence,
            None => break,
        }
    }
    Ok(None)
}

fn tail(stored: &Recorded<Stored>) -> Tail {
    let Recorded { sequence, value } = stored;
    let message = Message::decode(&value.payload).ok();
    let kind = message
        .as_ref()
        .and_then(|message| message.head.known_kind());
    let last = message.as_ref().and_then(|message| match kind {
        Some(Kind::Command | Kind::Started) => Some(EventNo(0)),
        Some(Kind::Admitted) => {
            let admitted: Admitted = message.fact().ok()?;
            (admitted.command_seq == message.head.prev).then_some(EventNo(0))
        }
        Some(Kind::Resumed) => {
            let resumed: Resumed = message.fact().ok()?;
            Some(EventNo(resumed.from.next.0.saturating_sub(1)))
        }
        Some(Kind::Output | Kind::Claude | Kind::Codex | Kind::Approval | Kind::Complete)
        | None => span_of(message).map(|span| span.last),
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
