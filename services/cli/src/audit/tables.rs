//! The tables against log and archive: both are folded anew beside them, by the projector's own code,
//! and compared row by row; or take their place.
//!
//! What the tables are compared at is a copy of them, made in one transaction, and the position
//! that the copy holds: the projector goes on meanwhile and changes neither. An interrupted audit
//! leaves its schemas behind; the next one removes them.

use std::fmt::Write as _;

use jiff::Timestamp;
use rdev_contract::position::StreamSeq;
use rdev_projector::rebuild::{self, FoldedLog, fold_up_to, horizons, remove};
use rdev_readmodel::{PostgresUrl, RowDifference, Scratch, TableCount};
use serde::Serialize;

use super::report::{Told, per_second, verdict};
use super::{Failure, Sources};

/// What was found out about the tables.
#[derive(Debug, Serialize)]
pub(super) struct TablesReport {
    verdict: &'static str,
    logs: Vec<LogPart>,
    tables: Vec<TableCount>,
    differences: Vec<RowDifference>,
    /// Rows that were kept because neither log nor archive holds what made them.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<u64>,
    /// Objects of the archive that cannot be read, and why.
    damaged: Vec<String>,
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
    /// Of which the log has forgotten something, and the archive has everything.
    archived_execs: usize,
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
            archived_execs: log.archived_execs,
            messages_per_second: per_second(log.messages, log.took),
        }
    }
}

/// Compares the tables with log and archive, at the position that they hold.
pub(super) async fn audit(sources: &Sources, url: &PostgresUrl) -> Result<TablesReport, Failure> {
    let mut scratch = Scratch::create(url).await?;
    let found = compare(sources, &mut scratch).await;
    remove(scratch).await;
    found
}

/// Folds log and archive into new tables and puts them in the place of the old ones.
pub(super) async fn rebuild(sources: &Sources, url: &PostgresUrl) -> Result<TablesReport, Failure> {
    let Sources {
        bus,
        archive,
        config,
    } = sources;
    let done = rebuild::rebuild(bus, archive.as_ref(), config.facts_ttl, url).await?;
    Ok(TablesReport {
        verdict: "rebuilt",
        logs: done.fold.logs.iter().map(LogPart::of).collect(),
        tables: Vec::new(),
        differences: Vec::new(),
        kept: Some(done.kept),
        damaged: done.fold.damaged,
        notes: done.fold.notes,
    })
}

async fn compare(sources: &Sources, scratch: &mut Scratch) -> Result<TablesReport, Failure> {
    let Sources {
        bus,
        archive,
        config,
    } = sources;
    let image = scratch.image(true).await?;
    if !image.is_current {
        return Err(Failure::Outdated);
    }
    let tables = scratch.fold();
    let mut fold = fold_up_to(bus, archive.as_ref(), &tables, &image).await?;
    tables.close();
    scratch.note_archived(&fold.archived).await?;
    let horizons = horizons(bus, config.facts_ttl).await?;
    let found = scratch.compare(&horizons).await?;
    for table in image.absent {
        fold.notes.push(format!("there is no table {table}"));
    }
    Ok(TablesReport {
        verdict: verdict(found.is_equal() && fold.damaged.is_empty()),
        logs: fold.logs.iter().map(LogPart::of).collect(),
        tables: found.tables,
        differences: found.differences,
        kept: None,
        damaged: fold.damaged,
        notes: fold.notes,
    })
}

impl Told for TablesReport {
    fn is_equal(&self) -> bool {
        let is_equal = |table: &TableCount| table.missing + table.extra + table.different == 0;
        self.damaged.is_empty() && self.tables.iter().all(is_equal)
    }

    fn text(&self) -> String {
        // Writing to a String cannot fail.
        let mut text = format!("tables: {}\n", self.verdict);
        for log in &self.logs {
            let _ = writeln!(
                text,
                "  {}: {} messages up to {}, {} messages/s; it begins at {}, {} execs are from \
                 the archive",
                log.log,
                log.messages,
                log.position,
                log.messages_per_second,
                log.first,
                log.archived_execs
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
            let _ = writeln!(
                text,
                "  {kept} rows kept that neither log nor archive holds"
            );
        }
        for damaged in &self.damaged {
            let _ = writeln!(text, "  different: {damaged}");
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
