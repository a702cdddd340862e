//! Pages of the log for readers who are not up to date.
//!
//! A page is read and encoded once for all who ask for it at the same time, as readers do whose
//! gateway was replaced. Pages are read on a connection of their own: a server answers the requests
//! of one connection one after another, and what is live must not queue behind replays.
//!
//! Invariant: at most [`PAGES_AT_ONCE`] are read at a time by all readers together, in the order
//! in which they asked; a reader asks for the next page when the one before was sent.

use std::sync::Arc;

use futures::FutureExt;
use rdev_bus::live::Scope;
use rdev_bus::{Bus, LogStream, Pace, ReadError, Stored};
use rdev_contract::envelope::Recorded;
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Filter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::encode::{Encoder, Piece, Style};
use super::line;
use crate::flights::{Flight, Flights};
use crate::history::{History, Past};
use crate::state::Log;

/// Enough to keep the server busy also where it is far away; with pages of 256 KiB 16 MiB.
const PAGES_AT_ONCE: usize = 64;

/// What follows in the log, as a reader gets it.
pub(super) type Answer = Result<Arc<Page>, ReadError>;

/// Reads pages for all readers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Replays {
    log: Log,
    past: Past,
    permits: Arc<Semaphore>,
    flights: Flights<Wanted, Answer>,
}

/// What follows in the log, encoded.
#[derive(Debug)]
pub(super) struct Page {
    /// In order, but for the beginnings of lines ([`line`]).
    pub(super) pieces: Vec<Piece>,
    /// What has encoded them: the beginning of a line may be in it.
    pub(super) encoder: Encoder,
    /// How the next page is to be asked for.
    pub(super) pace: Pace,
    /// The leader has nothing between what was asked for and this.
    pub(super) nothing_until: Option<StreamSeq>,
}

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) scope: Scope,
    pub(super) style: Style,
    pub(super) after: StreamSeq,
    /// The log is known to go on up to here: only the leader can say that nothing is left of it.
    pub(super) floor: StreamSeq,
    pub(super) pace: Pace,
}

impl Replays {
    /// Reads on this connection to the log, and in this archive.
    pub(crate) fn new(log: Log, past: Past) -> Self {
        Self {
            log,
            past,
            permits: Arc::new(Semaphore::new(PAGES_AT_ONCE)),
            flights: Flights::default(),
        }
    }

    /// The log on the connection, with the archive behind it, and the right to read one page for as
    /// long as the permit is held.
    pub(crate) async fn turn(&self) -> Result<(History, OwnedSemaphorePermit), ReadError> {
        let unavailable = |reason: &str| ReadError(reason.to_owned());
        let bus = self.log.0.as_ref().ok_or_else(|| unavailable("no log"))?;
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|error| unavailable(&error.to_string()))?;
        Ok((History::new(bus, &self.past), permit))
    }

    /// What follows of an exec that goes on up to `floor`, as it is stored; nothing if that has
    /// expired.
    pub(crate) async fn exec_page(
        &self,
        exec: &ExecId,
        after: StreamSeq,
        floor: StreamSeq,
        pace: &mut Pace,
    ) -> Result<Vec<Recorded<Stored>>, ReadError> {
        let (history, page) = self.log_page(exec, after, floor, pace).await?;
        let scope = Scope::Exec(exec.clone());
        if !history.may_lack(&scope, after, &page) {
            return Ok(page);
        }
        history.fill(&scope, after, floor, page, pace).await
    }

    /// The same of the log alone, and the archive to look into next, for which no other reader has
    /// to wait. Only the leader can say that nothing is left.
    pub(crate) async fn log_page(
        &self,
        exec: &ExecId,
        after: StreamSeq,
        floor: StreamSeq,
        pace: &mut Pace,
    ) -> Result<(History, Vec<Recorded<Stored>>), ReadError> {
        let (history, _permit) = self.turn().await?;
        let (log, filter) = (LogStream::Exec, Filter::exec(exec));
        let bus = history.bus();
        let page = bus.read_paced(log, &filter, after, floor, pace).await?;
        if page.is_empty() {
            check_nothing_left(bus, &filter, after).await?;
        }
        Ok((history, page))
    }

    /// What follows in the log. `encoder` is that of the page before, because a line may go on.
    pub(super) fn page(&self, wanted: Wanted, encoder: Encoder) -> Flight<Answer> {
        let replays = self.clone();
        if encoder.is_within_line() {
            // No two readers' beginnings are the same.
            return replays.read(wanted, encoder).boxed().shared();
        }
        self.flights
            .join(wanted.clone(), || replays.read(wanted, encoder))
    }

    async fn read(self, wanted: Wanted, mut encoder: Encoder) -> Answer {
        let Wanted {
            scope,
            style: _,
            after,
            floor,
            mut pace,
        } = wanted;
        let filter = scope.stored();
        let (history, mut permit) = self.turn().await?;
        let bus = history.bus();
        let found = bus.read_paced(LogStream::Exec, &filter, after, floor, &mut pace);
        let mut found = found.await?;
        if history.may_lack(&scope, after, &found) {
            // Nobody waits for the log because the archive is slow.
            drop(permit);
            let filled = history.fill(&scope, after, floor, found, &mut pace);
            found = filled.await?;
            permit = self.turn().await?.1;
        }
        let mut nothing_until = None;
        if found.is_empty() {
            check_nothing_left(bus, &filter, after).await?;
            // It has expired since.
            nothing_until = Some(floor);
        }
        let messages = line::complete(&history, found, &encoder.open_lines()).await?;
        drop(permit);
        let pieces = messages.iter().map(|message| encoder.encode(message));
        Ok(Arc::new(Page {
            pieces: pieces.collect(),
            encoder,
            pace,
            nothing_until,
        }))
    }
}

/// A replica has nothing behind `after`; nor has the leader.
async fn check_nothing_left(bus: &Bus, filter: &Filter, after: StreamSeq) -> Result<(), ReadError> {
    let last = bus.last_at_leader(LogStream::Exec, filter).await?;
    if last.is_some_and(|last| last.sequence > after) {
        return Err(ReadError("a replica lags behind its leader".to_owned()));
    }
    Ok(())
}
