//! Pages of the log for readers who are not up to date.
//!
//! Invariant: at most [`PAGES_AT_ONCE`] are read at a time by all readers together, in the order
//! in which they asked; a reader asks for the next page when the one before was sent.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use rdev_bus::live::Scope;
use rdev_bus::{Bus, LogStream, ReadError, Stored};
use rdev_contract::envelope::Recorded;
use rdev_contract::id::StreamId;
use rdev_contract::position::StreamSeq;
use tokio::sync::Semaphore;

use super::line;

/// Enough to keep the server and the network busy; with pages of 256 KiB a few megabytes, and few
/// enough that live messages do not queue behind replays on the connection that they share.
const PAGES_AT_ONCE: usize = 16;

/// The right to read pages. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Replays(Arc<Semaphore>);

impl Default for Replays {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PAGES_AT_ONCE)))
    }
}

impl Replays {
    /// The right to read one page, as long as it is held.
    pub(crate) async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.0.acquire().await.ok()
    }
}

/// What follows in the log.
#[derive(Debug, Default)]
pub(super) struct LogPage {
    /// In order, but for the beginnings of lines ([`line`]).
    pub(super) messages: Vec<Recorded<Stored>>,
    /// More followed when it was read.
    pub(super) more: bool,
    /// The leader has nothing between what was asked for and this.
    pub(super) nothing_until: Option<StreamSeq>,
}

/// Which page.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) after: StreamSeq,
    /// The log is known to go on up to here: only the leader can say that nothing is left of it.
    pub(super) floor: StreamSeq,
    /// So many messages at most.
    pub(super) messages: usize,
    /// The execs of whose last line the reader has the beginning.
    pub(super) open_lines: Vec<StreamId>,
}

impl Replays {
    /// What follows in the log.
    pub(super) fn page(
        &self,
        bus: &Arc<Bus>,
        scope: &Scope,
        wanted: Wanted,
    ) -> BoxFuture<'static, Result<LogPage, ReadError>> {
        let (permits, bus, filter) = (Arc::clone(&self.0), Arc::clone(bus), scope.stored());
        async move {
            let _permit = permits.acquire().await;
            let Wanted {
                after,
                floor,
                messages,
                open_lines,
            } = wanted;
            let page = bus
                .read_some(LogStream::Exec, &filter, after, messages)
                .await?;
            if page.messages.is_empty() && after < floor {
                let last = bus.last_at_leader(LogStream::Exec, &filter).await?;
                if last.is_some_and(|last| last.sequence > after) {
                    return Err(ReadError("a replica lags behind its leader".to_owned()));
                }
                // It has expired since.
                return Ok(LogPage {
                    nothing_until: Some(floor),
                    ..LogPage::default()
                });
            }
            Ok(LogPage {
                messages: line::complete(&*bus, page.messages, &open_lines).await?,
                more: page.more,
                nothing_until: None,
            })
        }
        .boxed()
    }
}
