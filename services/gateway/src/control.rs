//! Orders for an exec that has been asked for: end it, signal it, give it input, resize its terminal.
//!
//! Invariant: 202 is answered when the order is in the log; whoever has the exec then carries it out,
//! whatever crashes. A queued exec needs no order to end: its end is written behind its command, if
//! nobody has started it by then.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, TryStreamExt};
use rdev_bus::append::{AppendError, ExecWriter};
use rdev_bus::control::OrderError;
use rdev_bus::{Bus, LogStream};
use rdev_contract::as_of::WrittenTo;
use rdev_contract::control::{ControlMessage, Given, Order, SignalName};
use rdev_contract::envelope::Recorded;
use rdev_contract::event::{Complete, Kind, Outcome, Requester};
use rdev_contract::http::{SignalRequest, StdinAccepted, TerminalRequest};
use rdev_contract::id::{ExecId, ProjectId, SessionId};
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::{Filter, parse_exec};
use rdev_contract::trail::TrailMessage;
use rdev_domain::control::{self, Addition, Kept, Piece, STDIN_ORDER_MAX_BYTES};
use rdev_domain::exec::ExecState;
use rdev_domain::request::terminal_size;
use serde::Deserialize;
use tokio::time::Instant;

use crate::execs::{state_of, view};
use crate::problem::ApiError;
use crate::request::{By, InExec, Options, RawBody, StrictJson};
use crate::screen::terminal_of;
use crate::state::{Gateway, now};

/// An append that is not acknowledged by then may have happened or not.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a piece of input waits for the command to read what is before it: clients that only send
/// one after the other need no patience of their own.
const ROOM_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks whether there is room; doubles up to the maximum.
const ROOM_DELAY_MIN: Duration = Duration::from_millis(10);
const ROOM_DELAY_MAX: Duration = Duration::from_millis(200);
/// Execs of a session that are canceled at once.
const CANCELED_AT_ONCE: usize = 16;

const EXEC_COMPLETE: ApiError = ApiError::Conflict {
    code: "exec_complete",
    detail: "the exec has ended: nothing can be ordered of it any more",
};

/// `POST …/execs/{stream}/cancel`: the exec ends, and all its processes with it.
pub(crate) async fn cancel(
    State(gateway): State<Gateway>,
    InExec(exec): InExec,
    By(by): By,
) -> Result<Response, ApiError> {
    let bus = gateway.log.connected()?;
    let canceled = cancel_exec(&gateway, bus, &exec, &by, "").await?;
    accepted(&gateway, &exec, canceled).await
}

/// `POST …/execs/{stream}/signal`: every process of the exec gets a signal.
pub(crate) async fn signal(
    State(gateway): State<Gateway>,
    InExec(exec): InExec,
    By(by): By,
    StrictJson(request): StrictJson<SignalRequest>,
) -> Result<Response, ApiError> {
    let signal: SignalName = request
        .signal
        .parse()
        .map_err(|error| ApiError::invalid("invalid_signal", format!("signal: {error}")))?;
    let bus = gateway.log.connected()?;
    let decide = |state: &ExecState, given: &Given| {
        if state.claim.is_none() {
            return Err(ApiError::Conflict {
                code: "exec_not_started",
                detail: "the exec has not been started: there is nothing to signal yet",
            });
        }
        Ok(Some(control::signal(given, signal)))
    };
    order(&gateway, bus, &exec, &by, decide).await?;
    accepted(&gateway, &exec, None).await
}

/// `POST …/execs/{stream}/resize`: the terminal of the exec gets another size.
pub(crate) async fn resize(
    State(gateway): State<Gateway>,
    InExec(exec): InExec,
    By(by): By,
    StrictJson(request): StrictJson<TerminalRequest>,
) -> Result<Response, ApiError> {
    let size = terminal_size(&request)?;
    let bus = gateway.log.connected()?;
    let decide = |state: &ExecState, given: &Given| {
        terminal_of(state)?;
        Ok(Some(control::resize(given, size)))
    };
    order(&gateway, bus, &exec, &by, decide).await?;
    accepted(&gateway, &exec, None).await
}

/// Which piece of standard input the body is.
#[derive(Deserialize)]
pub(crate) struct StdinOptions {
    offset: u64,
    #[serde(default)]
    end: bool,
}

/// `POST …/execs/{stream}/stdin`: the body goes to the command's standard input.
pub(crate) async fn stdin(
    State(gateway): State<Gateway>,
    InExec(exec): InExec,
    Options(options): Options<StdinOptions>,
    By(by): By,
    RawBody(bytes): RawBody,
) -> Result<Response, ApiError> {
    if bytes.len() > STDIN_ORDER_MAX_BYTES {
        return Err(ApiError::StdinTooLarge);
    }
    let bus = gateway.log.connected()?;
    let piece = Piece {
        offset: options.offset,
        bytes: &bytes,
        end: options.end,
    };
    let decide = |state: &ExecState, given: &Given| {
        control::stdin(&state.command.spec, given, &piece).map_err(ApiError::StdinRefused)
    };
    let until = Instant::now() + ROOM_WITHIN;
    let mut delay = ROOM_DELAY_MIN;
    let given = loop {
        match order(&gateway, bus, &exec, &by, decide).await {
            Err(ApiError::StdinFull { .. }) if Instant::now() < until => {
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(ROOM_DELAY_MAX);
            }
            other => break other?,
        }
    };
    let body = StdinAccepted {
        next_offset: given.stdin.to,
        ended: given.stdin.ended,
    };
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

/// 202 with the exec as it is now.
async fn accepted(
    gateway: &Gateway,
    exec: &ExecId,
    written: Option<StreamSeq>,
) -> Result<Response, ApiError> {
    let state = state_of(&gateway.history()?, exec).await?;
    let state = state.ok_or(ApiError::NotFound("exec"))?;
    let body = Json(view(&state)?);
    let Some(sequence) = written else {
        return Ok((StatusCode::ACCEPTED, body).into_response());
    };
    let token = gateway
        .projection
        .token(&gateway.log, WrittenTo::Execs, sequence);
    Ok((StatusCode::ACCEPTED, token.await, body).into_response())
}

/// Cancels every exec of a session that has not ended. None is left out that was accepted before the
/// call.
pub(crate) async fn cancel_all(
    gateway: &Gateway,
    project: &ProjectId,
    session: SessionId,
    by: &Requester,
) -> Result<(), ApiError> {
    let bus = gateway.log.connected()?;
    let mut open = std::collections::HashSet::new();
    let commands = Filter::session_kind(project, session, Kind::Command);
    bus.read_through(LogStream::Exec, &commands, |command| {
        open.extend(parse_exec(&command.value.subject).map(|(exec, _)| exec));
    })
    .await?;
    let ends = Filter::session_kind(project, session, Kind::Complete);
    bus.read_through(LogStream::Exec, &ends, |end| {
        if let Ok((exec, _)) = parse_exec(&end.value.subject) {
            open.remove(&exec);
        }
    })
    .await?;
    futures::stream::iter(open)
        .map(Ok)
        .try_for_each_concurrent(CANCELED_AT_ONCE, async |exec| {
            match cancel_exec(gateway, bus, &exec, by, "the session was ended").await {
                // It ended by itself.
                Ok(_) | Err(ApiError::Conflict { .. } | ApiError::NotFound(_)) => Ok(()),
                Err(error) => Err(error),
            }
        })
        .await
}

/// Cancels one exec. Gives the place of its end if it was queued: it has ended then.
async fn cancel_exec(
    gateway: &Gateway,
    bus: &Bus,
    exec: &ExecId,
    by: &Requester,
    reason: &str,
) -> Result<Option<StreamSeq>, ApiError> {
    let mut is_noted = false;
    loop {
        let state = open_exec(gateway, exec).await?;
        if state.claim.is_some() {
            let decide = |_: &ExecState, given: &Given| Ok(control::cancel(given, reason));
            order(gateway, bus, exec, by, decide).await?;
            return Ok(None);
        }
        if !is_noted {
            let reason = reason.to_owned();
            note(bus, exec, by, &Order::Cancel { reason }).await?;
            is_noted = true;
        }
        // Whoever starts it meanwhile is written first, and is looked at then.
        if let Some(end) = end_queued(bus, &state, reason).await? {
            remove_orders(bus, exec).await;
            return Ok(Some(end));
        }
    }
}

/// Ends an exec that nobody has started; `None` if somebody has by now.
async fn end_queued(
    bus: &Bus,
    state: &ExecState,
    reason: &str,
) -> Result<Option<StreamSeq>, ApiError> {
    let tail = Recorded {
        sequence: state.tail,
        value: state.chain.clone(),
    };
    let mut writer = ExecWriter::new(bus.clone(), state.exec.clone(), None, 0, tail);
    let complete = Complete::without_process(Outcome::Canceled, reason);
    let append = writer.append_end(state.next, state.to, &complete, now());
    match tokio::time::timeout(ANSWER_WITHIN, append).await {
        Ok(Ok(sequence)) => Ok(Some(sequence)),
        Ok(Err(AppendError::Fenced { .. } | AppendError::Vanished)) => Ok(None),
        Ok(Err(AppendError::Encoding(reason))) => Err(ApiError::internal(reason)),
        Err(_) => Err(ApiError::OutcomeUnknown),
    }
}

/// The exec, if something may be ordered of it.
pub(crate) async fn open_exec(gateway: &Gateway, exec: &ExecId) -> Result<ExecState, ApiError> {
    match state_of(&gateway.history()?, exec).await? {
        Some(state) if state.complete.is_none() => Ok(state),
        Some(_) => Err(EXEC_COMPLETE),
        None => match gateway.read_model.exec(exec).await? {
            Some(_) => Err(EXEC_COMPLETE),
            None => Err(ApiError::NotFound("exec")),
        },
    }
}

/// Gives the order that `decide` makes of what was given before; none if there is nothing to add.
/// Returns what all orders come to then.
async fn order(
    gateway: &Gateway,
    bus: &Bus,
    exec: &ExecId,
    by: &Requester,
    decide: impl Fn(&ExecState, &Given) -> Result<Option<Addition>, ApiError>,
) -> Result<Given, ApiError> {
    let mut is_noted = false;
    loop {
        let state = open_exec(gateway, exec).await?;
        let last = bus.last_order(exec).await?;
        let (after, before) = match last {
            Some(last) => (last.sequence, last.value.given),
            None => (StreamSeq(0), control::given_with(&state.command.spec)),
        };
        let Some(addition) = decide(&state, &before)? else {
            return Ok(before);
        };
        let given = addition.given;
        let stored = give(bus, &state, by, after, &before, addition, &mut is_noted).await?;
        if stored.is_some() {
            return Ok(given);
        }
        // What the other one added decides anew.
    }
}

/// Stores an order behind the one at `after`; `None` if there is another one there. What is wanted is
/// noted once, however often it is tried.
pub(crate) async fn give(
    bus: &Bus,
    state: &ExecState,
    by: &Requester,
    after: StreamSeq,
    before: &Given,
    addition: Addition,
    is_noted: &mut bool,
) -> Result<Option<Recorded<ControlMessage>>, ApiError> {
    let exec = &state.exec;
    check_room(bus, state, before, &addition).await?;
    let Addition { order, given } = addition;
    if !*is_noted {
        note(bus, exec, by, &order).await?;
        *is_noted = true;
    }
    let value = ControlMessage::new(exec, now(), by.clone(), given, order);
    match bus.give(exec, &value, after).await {
        Ok(sequence) => {
            if after == StreamSeq(0) {
                refuse_if_late(bus, exec).await?;
            }
            Ok(Some(Recorded { sequence, value }))
        }
        Err(OrderError::Raced) => Ok(None),
        Err(error @ OrderError::Unavailable(_)) => {
            tracing::warn!(stream.id = %exec.stream, %error, "order not given");
            Err(ApiError::LogUnavailable)
        }
        Err(error @ OrderError::Unknown(_)) => {
            tracing::warn!(stream.id = %exec.stream, %error, "order perhaps not given");
            Err(ApiError::OutcomeUnknown)
        }
        Err(error @ OrderError::Encoding(_)) => Err(ApiError::internal(error)),
    }
}

/// No order is given, nor carried out here, of which it is not written who wanted it.
async fn note(bus: &Bus, exec: &ExecId, by: &Requester, order: &Order) -> Result<(), ApiError> {
    let note = TrailMessage::new(exec, now(), by.clone(), order);
    Ok(bus.note_order(exec, &note).await?)
}

/// To cancel is always possible, and is kept once.
async fn check_room(
    bus: &Bus,
    state: &ExecState,
    before: &Given,
    addition: &Addition,
) -> Result<(), ApiError> {
    let (given, is_started) = (&addition.given, state.claim.is_some());
    let at_first = control::given_with(&state.command.spec);
    if given.canceled != before.canceled || Kept::of_all(given, &at_first).fits(is_started) {
        return Ok(());
    }
    let oldest = bus.oldest_order(&state.exec).await?;
    if oldest.is_none_or(|oldest| Kept::since(&oldest.value, given).fits(is_started)) {
        return Ok(());
    }
    if given.stdin.to > before.stdin.to {
        let next_offset = before.stdin.to;
        return Err(ApiError::StdinFull { next_offset });
    }
    Err(ApiError::OrdersFull)
}

/// The first order of an exec may come behind its end, when whoever ended it has removed all orders
/// that it knew of: nobody would carry it out. (A later one is refused by the log, because the one before
/// it is gone.)
async fn refuse_if_late(bus: &Bus, exec: &ExecId) -> Result<(), ApiError> {
    let tail = bus.tail(exec).await.map_err(|error| {
        tracing::warn!(stream.id = %exec.stream, %error, "order perhaps given too late");
        ApiError::OutcomeUnknown
    })?;
    let is_open = tail.is_some_and(|tail| {
        parse_exec(&tail.value.subject).is_ok_and(|(_, kind)| kind != Kind::Complete.token())
    });
    if is_open {
        return Ok(());
    }
    remove_orders(bus, exec).await;
    Err(EXEC_COMPLETE)
}

/// What cannot be removed now goes when its time is over.
async fn remove_orders(bus: &Bus, exec: &ExecId) {
    if let Err(error) = bus.remove_orders(exec, None).await {
        tracing::warn!(stream.id = %exec.stream, %error, "orders of an ended exec are left behind");
    }
}
