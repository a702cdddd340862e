//! Messages that could not be projected: where they are and why, for people who look after it.

use async_recursion::async_recursion as boxed;
use jiff::Timestamp;
use rdev_contract::position::{LogIdentity, StreamSeq};

use crate::failure::ReadError;
use crate::page::PageLimit;
use crate::pool::Database;
use crate::position::Place;
use crate::sql;

/// A message that could not be projected. The table `poison` has what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoisonedAt {
    /// The stream's name.
    pub stream: String,
    /// Where in it.
    pub place: Place,
    /// Where it was published to.
    pub subject: String,
    /// When the server stored it.
    pub stored_at: Timestamp,
    /// Why it cannot be projected.
    pub reason: String,
}

impl Database {
    /// How many messages of this stream, or of all, could not be projected.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn poison_count(&self, stream: Option<&str>) -> Result<u64, ReadError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(sql::POISON_COUNT).await?;
        let row = client.query_one(&statement, &[&stream]).await?;
        let count: i64 = row.try_get("messages")?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Those messages, newest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn poison(&self, limit: PageLimit) -> Result<Vec<PoisonedAt>, ReadError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(sql::POISON_LIST).await?;
        let limit = i64::try_from(limit.items()).unwrap_or(i64::MAX);
        let mut found = Vec::new();
        for row in client.query(&statement, &[&limit]).await? {
            let sequence: i64 = row.try_get("sequence")?;
            found.push(PoisonedAt {
                stream: row.try_get("log")?,
                place: Place {
                    log: LogIdentity::created_at(row.try_get("log_created_at")?),
                    sequence: StreamSeq(u64::try_from(sequence).unwrap_or(0)),
                },
                subject: row.try_get("subject")?,
                stored_at: row.try_get("stored_at")?,
                reason: row.try_get("reason")?,
            });
        }
        Ok(found)
    }
}
