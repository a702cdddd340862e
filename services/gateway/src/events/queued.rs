//! Tells a reader of one exec where that stands, as long as it waits for its turn.
//!
//! Invariant: the events have no number and the id in force: nothing of them is in the log, and a
//! reader that comes back is told anew.

use std::time::Duration;

use rdev_contract::id::ExecId;
use rdev_contract::queue::QueuePlace;
use tokio::sync::watch;
use tokio::time::Instant;

use super::view::View;
use crate::queue::{Line, Standing};

/// A place that changes more often is not told more often.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// The place of one exec, and what its reader knows of it.
#[derive(Debug)]
pub(super) struct Queued {
    line: Line,
    exec: ExecId,
    ticks: watch::Receiver<()>,
    told: Option<(QueuePlace, Instant)>,
}

impl Queued {
    pub(super) fn new(line: &Line, exec: ExecId) -> Self {
        Self {
            line: line.clone(),
            exec,
            ticks: line.watch(),
            told: None,
        }
    }

    /// Waits until there may be news.
    pub(super) async fn changed(&mut self) {
        if self.ticks.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// A place that the reader does not know yet; none is said after the exec has begun to speak.
    pub(super) fn news(&mut self, now: Instant) -> Option<QueuePlace> {
        let Standing::Waits(place) = self.line.standing(&self.exec) else {
            return None;
        };
        let is_news = self
            .told
            .as_ref()
            .is_none_or(|(told, at)| *told != place && now.duration_since(*at) >= TELL_INTERVAL);
        is_news.then(|| {
            self.told = Some((place.clone(), now));
            place
        })
    }

    /// Whether the exec that the reader sees waits no more.
    pub(super) fn is_over(&self, view: &View) -> bool {
        match self.line.standing(&self.exec) {
            Standing::Waits(_) | Standing::Passes => view.progress.has_shown(),
            Standing::Gone(position) => view.has_messages() && view.position() <= position,
        }
    }
}
