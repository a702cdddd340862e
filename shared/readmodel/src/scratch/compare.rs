//! Image and fold, row by row, both ways.

use async_recursion::async_recursion as boxed;
use jiff::Timestamp;
use rdev_contract::position::StreamSeq;
use serde::Serialize;
use serde_json::Value;

use super::{Scratch, ScratchError};
use crate::sql::audit;
use rdev_contract::position::LogIdentity;

/// A report is read by people or kept: behind so many rows the counts say the rest.
pub const DIFFERENCES_MAX_COUNT: i64 = 1000;

/// What a stream of the log still holds. To be asked for behind the fold: what expires meanwhile
/// was folded, and what was not folded had expired.
#[derive(Debug, Clone, Copy)]
pub struct LogHorizon {
    /// Its name.
    pub log: &'static str,
    /// Facts of sessions, which are kept for ever; else those of execs.
    pub holds_sessions: bool,
    /// Which life of it.
    pub identity: LogIdentity,
    /// Its first message.
    pub first: StreamSeq,
    /// What was written before this has expired.
    pub oldest: Timestamp,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// By table.
    pub tables: Vec<TableCount>,
    /// The first [`DIFFERENCES_MAX_COUNT`] rows that differ.
    pub differences: Vec<RowDifference>,
}

/// What became of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableCount {
    /// Its name.
    pub table: String,
    /// Rows that are in use.
    pub rows: i64,
    /// Rows that the log makes.
    pub folded: i64,
    /// Rows that the log makes and that are not there.
    pub missing: i64,
    /// Rows that are there and that the log does not make.
    pub extra: i64,
    /// Rows with other values.
    pub different: i64,
    /// Rows that the log no longer holds, or holds in part.
    pub expired: i64,
}

/// A row that is not what the log says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RowDifference {
    /// The table.
    pub table: String,
    /// `missing`, `extra` or `different`.
    pub what: String,
    /// Its primary key.
    pub key: Value,
    /// Columns with other values.
    pub columns: Vec<String>,
}

impl Comparison {
    /// Whether no row differs. What has expired does not.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.tables
            .iter()
            .all(|table| table.missing == 0 && table.extra == 0 && table.different == 0)
    }
}

impl Scratch {
    /// Compares the image with what was folded.
    ///
    /// # Errors
    /// See [`ScratchError`].
    #[boxed]
    pub async fn compare(&self, horizons: &[LogHorizon]) -> Result<Comparison, ScratchError> {
        self.note(horizons).await?;
        let mut tables = Vec::new();
        for table in self.folded() {
            let statement = audit::compared(&self.schemas, table);
            self.client.batch_execute(&statement).await?;
            let statement = audit::counted(&self.schemas, table);
            let row = self.client.query_one(&statement, &[]).await?;
            tables.push(TableCount {
                table: table.name.clone(),
                rows: row.try_get("rows")?,
                folded: row.try_get("folded")?,
                missing: row.try_get("missing")?,
                extra: row.try_get("extra")?,
                different: row.try_get("different")?,
                expired: row.try_get("expired")?,
            });
        }
        let statement = audit::differences(&self.schemas);
        let mut differences = Vec::new();
        for row in self
            .client
            .query(&statement, &[&DIFFERENCES_MAX_COUNT])
            .await?
        {
            differences.push(RowDifference {
                table: row.try_get("table_name")?,
                what: row.try_get("what")?,
                key: row.try_get("key")?,
                columns: row.try_get("columns")?,
            });
        }
        Ok(Comparison {
            tables,
            differences,
        })
    }
}
