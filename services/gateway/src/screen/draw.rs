//! Draws a screen from the log: reads on from where a screen that is remembered ends, or from the
//! exec's first message.
//!
//! Invariants: memory is bounded by [`DRAWN_AT_ONCE`] screens and pages besides those that are
//! remembered; a request ends in time, and what it has drawn until then is not drawn again.
//! About 15 MB of output are drawn in a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::Response;
use rdev_bus::{Pace, Stored};
use rdev_contract::cursor::Cursor;
use rdev_contract::envelope::{Message, Recorded};
use rdev_contract::event::TerminalSize;
use rdev_contract::id::ExecId;
use rdev_contract::position::{EventNo, StreamSeq};
use rdev_domain::screen::{Screen, ScreenError};
use tokio::sync::Semaphore;

use super::drawn::Drawn;
use crate::events::Replays;
use crate::problem::{ApiError, FirstAvailable};

/// Drawing takes a processor each; the rest of the gateway is to have some too.
const DRAWN_AT_ONCE: usize = 2;
/// How long a request may wait for its turn and draw: shorter than what proxies cut.
const DRAWING_MAX: Duration = Duration::from_secs(10);
/// How long the log may fail meanwhile: a replica that lags is up to date by then.
const PATIENCE: Duration = Duration::from_secs(2);
const LOG_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Which screen, and where in the log it is.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) exec: ExecId,
    /// The size that the terminal began with.
    pub(super) size: TerminalSize,
    /// The exec's first message.
    pub(super) command: StreamSeq,
    /// The exec's last message when the request came.
    pub(super) tail: StreamSeq,
    /// The last event that it is to include.
    pub(super) until: EventNo,
}

/// The right to draw, and what was drawn. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Screens {
    turns: Arc<Semaphore>,
    drawn: Arc<Drawn>,
}

impl Default for Screens {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(DRAWN_AT_ONCE)),
            drawn: Arc::default(),
        }
    }
}

impl Screens {
    /// Draws a screen, shows it, and remembers it.
    pub(super) async fn draw(
        &self,
        replays: &Replays,
        source: Source,
        show: impl FnOnce(&Screen) -> Response + Send + 'static,
    ) -> Result<Response, ApiError> {
        let began = Instant::now();
        let turn = tokio::time::timeout(DRAWING_MAX, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| ApiError::ScreenNotReady)?;
        let drawn = self.drawn.take(&source.exec, source.until);
        let mut screen = drawn.unwrap_or_else(|| Screen::new(source.size));
        let mut pace = Pace::default();
        while screen.through().1 < source.until {
            let page = if began.elapsed() > DRAWING_MAX {
                Err(ApiError::ScreenNotReady)
            } else {
                read_page(replays, &source, screen.whole(), &mut pace).await
            };
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    self.drawn.keep(source.exec, screen);
                    return Err(error);
                }
            };
            let (until, tag) = (source.until, source.exec.tag());
            let folded = tokio::task::spawn_blocking(move || fold(screen, &page, until, &tag));
            screen = folded.await.map_err(ApiError::internal)??;
        }
        let showing = tokio::task::spawn_blocking(move || (show(&screen), screen));
        let (response, screen) = showing.await.map_err(ApiError::internal)?;
        self.drawn.keep(source.exec, screen);
        Ok(response)
    }
}

/// What follows in the log; nothing if that has expired. An outage of the log is waited for.
async fn read_page(
    replays: &Replays,
    source: &Source,
    whole: StreamSeq,
    pace: &mut Pace,
) -> Result<Vec<Recorded<Stored>>, ApiError> {
    let began = Instant::now();
    loop {
        let after = whole.max(source.command);
        let page = replays.exec_page(&source.exec, after, source.tail, pace);
        match page.await {
            Err(error) if began.elapsed() < PATIENCE => {
                tracing::debug!(%error, "waiting for the log");
                tokio::time::sleep(LOG_RETRY_DELAY).await;
            }
            page => return Ok(page?),
        }
    }
}

fn fold(
    mut screen: Screen,
    page: &[Recorded<Stored>],
    until: EventNo,
    tag: &str,
) -> Result<Screen, ApiError> {
    let began = Instant::now();
    for Recorded { sequence, value } in page {
        let message = Message::decode(&value.payload).map_err(ApiError::internal)?;
        let message = Recorded {
            sequence: *sequence,
            value: message,
        };
        let mut go_on = || began.elapsed() < DRAWING_MAX;
        let taken = screen.take(&message, until, &mut go_on);
        taken.map_err(|error| refused(&error, *sequence, tag))?;
    }
    if page.is_empty() {
        return Err(ApiError::Expired {
            requested: screen.through().1.plus(1).0,
            first_available: None,
        });
    }
    Ok(screen)
}

fn refused(error: &ScreenError, sequence: StreamSeq, tag: &str) -> ApiError {
    match error {
        ScreenError::Gap { expected, found } => ApiError::Expired {
            requested: expected.0,
            first_available: Some(FirstAvailable {
                number: found.0,
                before: Cursor {
                    sequence,
                    number: EventNo(found.0.saturating_sub(1)),
                    tag: tag.to_owned(),
                },
            }),
        },
        ScreenError::GivenUp => ApiError::Conflict {
            code: "screen_too_costly",
            detail: "what this terminal printed takes too long to draw: read its events",
        },
        ScreenError::Unreadable(_) => ApiError::internal(error),
    }
}
