//! The tables against the log: the log is folded anew beside them, by the projector's own code,
//! and compared row by row; or takes their place.
//!
//! What the tables are compared at is a copy of them, made in one transaction, and the position
//! that the copy holds: the projector goes on meanwhile and changes neither. An interrupted audit
//! leaves its schemas behind; the next one removes them.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rdev_bus::{Bus, BusConfig, LogStream, StreamIdentity};
use rdev_contract::position::StreamSeq;
use rdev_projector::replay::replay;
use rdev_readmodel::{
    Database, Image, LogHorizon, LogIdentity, PostgresUrl, RowDifference, Scratch, ScratchError,
    TableCount,
};
use serde::Serialize;

use super::Failure;
use super::report::{Told, per_second, verdict};

const LOGS: [LogStream; 2] = [LogStream::Session, LogStream::Exec];
/// Writers and the server read different clocks.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_mins(1);
/// Each waits some seconds for whoever reads or writes for long.
const SWAPS_MAX_COUNT: u32 = 10;

/// What was found out about the tables.
#[derive(Debug, Serialize)]
pub(super) struct TablesReport {
    verdict: &'static str,
    logs: Vec<LogPart>,
    tables: Vec<TableCount>,
    differences: Vec<RowDifference>,
    /// Rows that were kept because the log no longer holds what made them.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<u64>,
    notes: Vec<String>,
}

/// What was read of a stream of the log.
#[derive(Debug, Serialize)]
struct LogPart {
    log: &'static str,
    created_at: Timestamp,
    first: StreamSeq,
    position: StreamSeq,
    messages: u64,
    messages_per_second: u64,
}

/// Compares the tables with the log, at the position that they hold.
pub(super) async fn audit(
    bus: &Bus,
    config: &BusConfig,
    url: &PostgresUrl,
) -> Result<TablesReport, Failure> {
    let mut scratch = Scratch::create(url).await?;
    let found = compare(bus, config, &mut scratch).await;
    remove(scratch).await;
    found
}

/// Folds the log into new tables and puts them in the place of the old ones.
pub(super) async fn rebuild(
    bus: &Bus,
    config: &BusConfig,
    url: &PostgresUrl,
) -> Result<TablesReport, Failure> {
    let mut scratch = Scratch::create(url).await?;
    let done = replace(bus, config, &mut scratch).await;
    remove(scratch).await;
    done
}

async fn remove(scratch: Scratch) {
    if let Err(error) = scratch.remove().await {
        tracing::warn!(%error, "the schemas of this audit stay until the next one");
    }
}

async fn compare(
    bus: &Bus,
    config: &BusConfig,
    scratch: &mut Scratch,
) -> Result<TablesReport, Failure> {
    let image = scratch.image(true).await?;
    let mut notes = Vec::new();
    let fold = scratch.fold();
    let logs = fold_up_to(bus, &fold, &image, &mut notes).await?;
    fold.close();
    let found = scratch.compare(&horizons(bus, config).await?).await?;
    for table in image.absent {
        notes.push(format!("there is no table {table}"));
    }
    Ok(TablesReport {
        verdict: verdict(found.is_equal()),
        logs,
        tables: found.tables,
        differences: found.differences,
        kept: None,
        notes,
    })
}

async fn replace(
    bus: &Bus,
    config: &BusConfig,
    scratch: &mut Scratch,
) -> Result<TablesReport, Failure> {
    let image = scratch.image(false).await?;
    let mut notes = Vec::new();
    let fold = scratch.fold();
    let mut logs = fold_up_to(bus, &fold, &image, &mut notes).await?;
    let kept = scratch.keep_expired(&horizons(bus, config).await?).await?;
    let mut tries = 1;
    while let Err(error) = swap(bus, scratch, &fold, &mut logs).await {
        let may_pass = matches!(&error, Failure::Scratch(ScratchError::Unavailable(_)));
        if !may_pass || tries == SWAPS_MAX_COUNT {
            return Err(error);
        }
        tracing::info!(reason = %error, "the tables cannot be swapped yet");
        tries += 1;
    }
    fold.close();
    Ok(TablesReport {
        verdict: "rebuilt",
        logs,
        tables: Vec::new(),
        differences: Vec::new(),
        kept: Some(kept),
        notes,
    })
}

/// Catches up while the projector goes on, and then, for a moment, while it waits.
async fn swap(
    bus: &Bus,
    scratch: &mut Scratch,
    fold: &Database,
    logs: &mut [LogPart],
) -> Result<(), Failure> {
    for part in logs.iter_mut() {
        catch_up(bus, fold, part, None).await?;
    }
    let swap = scratch.begin_swap().await?;
    for part in logs.iter_mut() {
        let live = swap
            .positions
            .iter()
            .find(|position| position.stream == part.log);
        if let Some(live) = live {
            catch_up(bus, fold, part, Some(live.place.sequence)).await?;
        }
    }
    Ok(swap.commit().await?)
}

async fn catch_up(
    bus: &Bus,
    fold: &Database,
    part: &mut LogPart,
    up_to: Option<StreamSeq>,
) -> Result<(), Failure> {
    let Some(stream) = LOGS.into_iter().find(|log| log.name() == part.log) else {
        return Ok(());
    };
    let up_to = match up_to {
        Some(up_to) => up_to,
        None => bus.identity(stream).await?.last,
    };
    part.messages += replay(bus, fold, stream, up_to).await?;
    part.position = part.position.max(up_to);
    Ok(())
}

/// Folds both streams up to where the image is.
async fn fold_up_to(
    bus: &Bus,
    fold: &Database,
    image: &Image,
    notes: &mut Vec<String>,
) -> Result<Vec<LogPart>, Failure> {
    let mut parts = Vec::new();
    for log in LOGS {
        let identity = bus.identity(log).await?;
        let position = target(log, identity, image, notes);
        let began = Instant::now();
        let messages = replay(bus, fold, log, position).await?;
        parts.push(LogPart {
            log: log.name(),
            created_at: identity.created_at,
            first: identity.first,
            position,
            messages,
            messages_per_second: per_second(messages, began.elapsed()),
        });
    }
    Ok(parts)
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

async fn horizons(bus: &Bus, config: &BusConfig) -> Result<Vec<LogHorizon>, Failure> {
    let mut horizons = Vec::new();
    for log in LOGS {
        let identity = bus.identity(log).await?;
        horizons.push(LogHorizon {
            log: log.name(),
            holds_sessions: log == LogStream::Session,
            identity: LogIdentity::created_at(identity.created_at),
            first: identity.first,
            oldest: oldest(config.facts_ttl),
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

impl Told for TablesReport {
    fn is_equal(&self) -> bool {
        self.tables
            .iter()
            .all(|table| table.missing + table.extra + table.different == 0)
    }

    fn text(&self) -> String {
        // Writing to a String cannot fail.
        let mut text = format!("tables: {}\n", self.verdict);
        for log in &self.logs {
            let _ = writeln!(
                text,
                "  {}: {} messages up to {}, {} messages/s; it begins at {}",
                log.log, log.messages, log.position, log.messages_per_second, log.first
            );
        }
        for table in &self.tables {
            let _ = writeln!(
                text,
                "  {}: {} rows, {} in the log; {} missing, {} extra, {} different, {} expired",
                table.table,
                table.rows,
                table.folded,
                table.missing,
                table.extra,
                table.different,
                table.expired
            );
        }
        if let Some(kept) = self.kept {
            let _ = writeln!(text, "  {kept} rows kept that the log no longer holds");
        }
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        for row in &self.differences {
            let _ = write!(text, "  {}: {} {}", row.what, row.table, row.key);
            if !row.columns.is_empty() {
                let _ = write!(text, " in {}", row.columns.join(", "));
            }
            text.push('\n');
        }
        text
    }
}
