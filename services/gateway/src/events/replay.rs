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
use rdev_contract::position::StreamSeq;
use tokio::sync::Semaphore;

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

/// What follows in the log.
#[derive(Debug, Default)]
pub(super) struct LogPage {
    pub(super) messages: Vec<Recorded<Stored>>,
    /// More followed when it was read.
    pub(super) more: bool,
    /// The leader has nothing between what was asked for and this.
    pub(super) nothing_until: Option<StreamSeq>,
}

impl Replays {
    /// The messages behind `after`. A reader that knows that the log went on up to `floor` is
    /// never told too early that nothing follows: only the leader can say so.
    pub(super) fn page(
        &self,
        bus: &Bus,
        scope: &Scope,
        after: StreamSeq,
        floor: Option<StreamSeq>,
        messages: usize,
    ) -> BoxFuture<'static, Result<LogPage, ReadError>> {
        let (permits, bus, filter) = (Arc::clone(&self.0), bus.clone(), scope.stored());
        async move {
            let _permit = permits.acquire().await;
            let page = bus
                .read_some(LogStream::Exec, &filter, after, messages)
                .await?;
            let mut page = LogPage {
                messages: page.messages,
                more: page.more,
                nothing_until: None,
            };
            if page.messages.is_empty() && floor.is_some() {
                let last = bus.last_at_leader(LogStream::Exec, &filter).await?;
                if last.is_some_and(|last| last.sequence > after) {
                    return Err(ReadError("a replica lags behind its leader".to_owned()));
                }
                // It has expired since.
                page.nothing_until = floor;
            }
            Ok(page)
        }
        .boxed()
    }
}
