//! Folds log and archive anew: into tables beside those that are in use, to be compared with them or to
//! take their place. For audits, and for tables whose rows an older build made.
//!
//! Invariant: whatever goes wrong, the tables in use are as before.

use std::time::{Duration, Instant};

use async_recursion::async_recursion as boxed;
use jiff::{SignedDuration, Timestamp};
use rdev_archive::Archive;
use rdev_bus::{Bus, LogStream, ReadError, StreamIdentity};
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_readmodel::{
    Database, Image, LogHorizon, LogIdentity, PostgresUrl, Scratch, ScratchError,
};

use crate::replay::{ReplayError, replay};

const LOGS: [LogStream; 2] = [LogStream::Session, LogStream::Exec];
/// Writers and the server read different clocks.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_mins(1);
/// Each waits some seconds for whoever reads or writes for long.
const SWAPS_MAX_COUNT: u32 = 10;

/// Why the tables were not folded anew.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The log does not answer.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The log cannot be folded.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The tables cannot be made or swapped.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
}

/// What was folded of one stream of the log.
#[derive(Debug, Clone, Copy)]
pub struct FoldedLog {
    /// Which.
    pub stream: LogStream,
    /// What it was when the fold began.
    pub identity: StreamIdentity,
    /// Up to where it is in the fold.
    pub position: StreamSeq,
    /// Messages that took.
    pub messages: u64,
    /// Execs of which it has forgotten something, and the archive has everything.
    pub archived_execs: usize,
    /// How long the first of it took, without catching up.
    pub took: Duration,
}

/// Tables that hold the log up to the places where the image is.
#[derive(Debug, Clone, Default)]
pub struct Fold {
    /// By stream.
    pub logs: Vec<FoldedLog>,
    /// Execs that the archive had to help out with.
    pub archived: Vec<ExecId>,
    /// Objects of the archive that cannot be read, and why.
    pub damaged: Vec<String>,
    /// What is not as one would think, for people.
    pub notes: Vec<String>,
}

/// Tables that took the place of others.
#[derive(Debug, Clone)]
pub struct Rebuilt {
    /// What they were folded from.
    pub fold: Fold,
    /// Rows that were kept because neither log nor archive holds what made them.
    pub kept: u64,
}

/// Folds log and archive into new tables and puts them in the place of the old ones, at once; the projector
/// and readers go on meanwhile. `facts_ttl`: how long the log keeps what rows are made of.
///
/// # Errors
/// See [`RebuildError`].
#[boxed]
pub async fn rebuild(
    bus: &Bus,
    archive: Option<&Archive>,
    facts_ttl: Duration,
    url: &PostgresUrl,
) -> Result<Rebuilt, RebuildError> {
    let mut scratch = Scratch::create(url).await?;
    let done = replace(bus, archive, facts_ttl, &mut scratch).await;
    remove(scratch).await;
    done
}

/// Removes what an audit or a rebuild has made.
#[boxed]
pub async fn remove(scratch: Scratch) {
    if let Err(error) = scratch.remove().await {
        tracing::warn!(%error, "the schemas of this audit stay until the next one");
    }
}

async fn replace(
    bus: &Bus,
    archive: Option<&Archive>,
    facts_ttl: Duration,
    scratch: &mut Scratch,
) -> Result<Rebuilt, RebuildError> {
    let image = scratch.image(false).await?;
    let tables = scratch.fold();
    let mut fold = fold_up_to(bus, archive, &tables, &image).await?;
    scratch.note_archived(&fold.archived).await?;
    let horizons = horizons(bus, facts_ttl).await?;
    let kept = scratch.keep_expired(&horizons).await?;
    let mut tries = 1;
    while let Err(error) = swap(bus, scratch, &tables, &mut fold.logs).await {
        let may_pass = matches!(&error, RebuildError::Scratch(ScratchError::Unavailable(_)));
        if !may_pass || tries == SWAPS_MAX_COUNT {
            return Err(error);
        }
        tracing::info!(reason = %error, "the tables cannot be swapped yet");
        tries += 1;
    }
    tables.close();
    Ok(Rebuilt { fold, kept })
}

/// Catches up while the projector goes on, and then, for a moment, while it waits.
async fn swap(
    bus: &Bus,
    scratch: &mut Scratch,
    tables: &Database,
    logs: &mut [FoldedLog],
) -> Result<(), RebuildError> {
    for log in logs.iter_mut() {
        let last = bus.identity(log.stream).await?.last;
        catch_up(bus, tables, log, last).await?;
    }
    let swap = scratch.begin_swap().await?;
    for log in logs.iter_mut() {
        let live = swap
            .positions
            .iter()
            .find(|position| position.stream == log.stream.name());
        if let Some(live) = live {
            catch_up(bus, tables, log, live.place.sequence).await?;
        }
    }
    Ok(swap.commit().await?)
}

async fn catch_up(
    bus: &Bus,
    tables: &Database,
    log: &mut FoldedLog,
    up_to: StreamSeq,
) -> Result<(), RebuildError> {
    // What came meanwhile, the log still holds.
    log.messages += replay(bus, None, tables, log.stream, up_to).await?.messages;
    log.position = log.position.max(up_to);
    Ok(())
}

/// Folds both streams up to where the image is.
///
/// # Errors
/// See [`RebuildError`].
#[boxed]
pub async fn fold_up_to(
    bus: &Bus,
    archive: Option<&Archive>,
    tables: &Database,
    image: &Image,
) -> Result<Fold, RebuildError> {
    let mut fold = Fold::default();
    for stream in LOGS {
        let identity = bus.identity(stream).await?;
        let position = target(stream, identity, image, &mut fold.notes);
        let began = Instant::now();
        let replayed = replay(bus, archive, tables, stream, position).await?;
        fold.logs.push(FoldedLog {
            stream,
            identity,
            position,
            messages: replayed.messages,
            archived_execs: replayed.archived.len(),
            took: began.elapsed(),
        });
        fold.archived.extend(replayed.archived);
        fold.damaged.extend(replayed.damaged);
    }
    Ok(fold)
}

/// Up to where the log has to be folded to be what the image is.
fn target(
    log: LogStream,
    identity: StreamIdentity,
    image: &Image,
    notes: &mut Vec<String>,
) -> StreamSeq {
    let Some(positions) = &image.positions else {
        // There are no tables: whatever the log makes is missing.
        return identity.last;
    };
    let found = positions
        .iter()
        .find(|position| position.stream == log.name());
    let Some(found) = found else {
        notes.push(format!("nothing of {} was ever projected", log.name()));
        return StreamSeq(0);
    };
    if found.place.log != LogIdentity::created_at(identity.created_at) {
        notes.push(format!(
            "{} was created anew and is not projected yet: what the tables hold is of its former \
             life",
            log.name()
        ));
        return StreamSeq(0);
    }
    if found.place.sequence > identity.last {
        notes.push(format!(
            "{} ends at {}, but the tables hold it up to {}: it was restored from an older copy",
            log.name(),
            identity.last,
            found.place.sequence
        ));
    }
    found.place.sequence.min(identity.last)
}

/// What the logs still hold. `facts_ttl`: how long they keep what rows are made of.
///
/// # Errors
/// When the log does not answer.
#[boxed]
pub async fn horizons(bus: &Bus, facts_ttl: Duration) -> Result<Vec<LogHorizon>, ReadError> {
    let mut horizons = Vec::new();
    for log in LOGS {
        let identity = bus.identity(log).await?;
        horizons.push(LogHorizon {
            log: log.name(),
            holds_sessions: log == LogStream::Session,
            identity: LogIdentity::created_at(identity.created_at),
            first: identity.first,
            oldest: oldest(facts_ttl),
        });
    }
    Ok(horizons)
}

/// What was written before this is gone from the log.
fn oldest(ttl: Duration) -> Timestamp {
    let ttl = SignedDuration::try_from(ttl).unwrap_or(SignedDuration::MAX);
    Timestamp::now()
        .checked_sub(ttl)
        .and_then(|oldest| oldest.checked_add(CLOCK_SLACK))
        .unwrap_or(Timestamp::MIN)
}
