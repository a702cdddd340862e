//! The station `screen`: `GET …/execs/{stream}/screen` shows what the terminal of an exec shows, and
//! up to which event. Who comes back draws it and goes on reading behind that event.
//!
//! [`draw`] folds the log, [`drawn`] remembers what was drawn. Invariant: the answer depends on the
//! log alone; what is remembered only saves time.

mod draw;
mod drawn;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rdev_contract::cursor::{Cursor, InvalidCursor};
use rdev_contract::event::TerminalSize;
use rdev_contract::http::{CursorView, ScreenView};
use rdev_contract::id::ExecId;
use rdev_contract::position::{EventNo, StreamSeq};
use rdev_domain::exec::ExecState;
use rdev_domain::screen::Screen;
use serde::Deserialize;

use self::draw::Source;
use crate::events::{Misplaced, check_tag};
use crate::execs::state_of;
use crate::problem::ApiError;
use crate::request::{InExec, Options};
use crate::state::Gateway;

pub(crate) use self::draw::Screens;

/// In an answer without a body to say it in.
const NEXT: HeaderName = HeaderName::from_static("rdev-next");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Which screen.
#[derive(Deserialize)]
pub(crate) struct ScreenOptions {
    /// As it was after this event; as it is now where it is not said.
    at: Option<String>,
}

/// `GET …/execs/{stream}/screen`: JSON, or with `Accept: text/plain` the rows alone.
pub(crate) async fn get(
    State(gateway): State<Gateway>,
    InExec(exec): InExec,
    Options(options): Options<ScreenOptions>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let at = options.at.map(|text| place(&text, &exec)).transpose()?;
    let Some(state) = state_of(&gateway.history()?, &exec).await? else {
        return Err(gone(&gateway, &exec).await);
    };
    let size = terminal_of(&state)?;
    let now = EventNo(state.next.0.saturating_sub(1));
    let until = at.map_or(now, |at| at.number);
    if until > now {
        return Err(Misplaced::BeyondEnd.into());
    }
    let source = Source {
        exec,
        size,
        command: state.command_seq,
        tail: state.tail,
        until,
    };
    let is_text = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/plain"));
    let tag = source.exec.tag();
    let screens = &gateway.screens;
    let show = move |screen: &Screen| {
        if is_text {
            shown_as_text(screen, tag)
        } else {
            Json(shown(screen, tag)).into_response()
        }
    };
    let mut response = screens.draw(&gateway.replays, source, show).await?;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    Ok(response)
}

/// The size that the exec's terminal began with.
pub(crate) fn terminal_of(state: &ExecState) -> Result<TerminalSize, ApiError> {
    state.command.spec.tty.ok_or(ApiError::Conflict {
        code: "no_terminal",
        detail: "this exec has no terminal: ask for one with tty when it is posted",
    })
}

fn place(text: &str, exec: &ExecId) -> Result<Cursor, ApiError> {
    let at = text.parse::<Cursor>().map_err(|error: InvalidCursor| {
        ApiError::invalid("invalid_event_id", format!("at: {error}"))
    })?;
    check_tag(&at, exec)?;
    Ok(at)
}

/// What the log holds nothing of: expired, or there never was such an exec.
async fn gone(gateway: &Gateway, exec: &ExecId) -> ApiError {
    match gateway.read_model.exec(exec).await {
        Ok(Some(_)) => ApiError::Expired {
            requested: EventNo::FIRST.0,
            first_available: None,
        },
        Ok(None) => ApiError::NotFound("exec"),
        Err(error) => error.into(),
    }
}

fn shown(screen: &Screen, tag: String) -> ScreenView {
    let (size, cursor) = (screen.size(), screen.cursor());
    let (ansi, ansi_base64) = match String::from_utf8(screen.ansi()) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
    };
    ScreenView {
        next: next(screen, tag).to_string(),
        cols: size.cols,
        rows: size.rows,
        cursor: CursorView {
            col: cursor.col,
            row: cursor.row,
            visible: cursor.is_visible,
        },
        lines: screen.lines(),
        ansi,
        ansi_base64,
    }
}

fn shown_as_text(screen: &Screen, tag: String) -> Response {
    let mut text = screen.lines().join("\n");
    text.push('\n');
    let mut response = text.into_response();
    if let Ok(next) = HeaderValue::try_from(next(screen, tag).to_string()) {
        response.headers_mut().insert(NEXT, next);
    }
    response
}

fn next(screen: &Screen, tag: String) -> Cursor {
    let (sequence, number): (StreamSeq, EventNo) = screen.through();
    Cursor {
        sequence,
        number,
        tag,
    }
}
