//! The tables against the log: the log is folded anew beside them, by the projector's own code,
//! and compared row by row; or takes their place.
//!
//! What the tables are compared at is a copy of them, made in one transaction, and the position
//! that the copy holds: the projector goes on meanwhile and changes neither. An interrupted audit
//! leaves its schemas behind; the next one removes them.

use std::fmt::Write as _;

use jiff::Timestamp;
use rdev_bus::{Bus, BusConfig};
use rdev_contract::position::StreamSeq;
use rdev_projector::rebuild::{self, Fold, FoldedLog, fold_up_to, horizons, remove};
use rdev_readmodel::{PostgresUrl, RowDifference, Scratch, TableCount};
use serde::Serialize;

use super::Failure;
use super::report::{Told, per_second, verdict};

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

impl LogPart {
    fn of(log: &FoldedLog) -> Self {
        Self {
            log: log.stream.name(),
            created_at: log.identity.created_at,
            first: log.identity.first,
            position: log.position,
            messages: log.messages,
            messages_per_second: per_second(log.messages, log.took),
        }
    }
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
    let done = rebuild::rebuild(bus, config.facts_ttl, url).await?;
    Ok(TablesReport {
        verdict: "rebuilt",
        logs: done.fold.logs.iter().map(LogPart::of).collect(),
        tables: Vec::new(),
        differences: Vec::new(),
        kept: Some(done.kept),
        notes: done.fold.notes,
    })
}

async fn compare(
    bus: &Bus,
    config: &BusConfig,
    scratch: &mut Scratch,
) -> Result<TablesReport, Failure> {
    let image = scratch.image(true).await?;
    if !image.is_current {
        return Err(Failure::Outdated);
    }
    let tables = scratch.fold();
    let Fold { logs, mut notes } = fold_up_to(bus, &tables, &image).await?;
    tables.close();
    let horizons = horizons(bus, config.facts_ttl).await?;
    let found = scratch.compare(&horizons).await?;
    for table in image.absent {
        notes.push(format!("there is no table {table}"));
    }
    Ok(TablesReport {
        verdict: verdict(found.is_equal()),
        logs: logs.iter().map(LogPart::of).collect(),
        tables: found.tables,
        differences: found.differences,
        kept: None,
        notes,
    })
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
