//! Up to where the log is in the tables.

use async_recursion::async_recursion as boxed;
use rdev_contract::position::{LogIdentity, StreamSeq};

use crate::failure::{ReadError, WriteError};
use crate::pool::Database;
use crate::sql;

/// Which rows the same log makes: raised with every change of that, a column that is filled from
/// now on included. Tables with rows of an older fold are folded anew by the projector.
pub const FOLD_VERSION: i32 = 3;
/// Below that of every build.
const NO_FOLD: i32 = 0;

/// A place in a stream of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which life of the stream.
    pub log: LogIdentity,
    /// Everything up to here.
    pub sequence: StreamSeq,
}

/// Up to where one stream of the log is in the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The stream's name.
    pub stream: String,
    /// Up to where.
    pub place: Place,
}

/// PostgreSQL has no unsigned integers; 2^63 messages are never reached.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn place(row: &tokio_postgres::Row) -> Result<Place, tokio_postgres::Error> {
    let sequence: i64 = row.try_get("sequence")?;
    Ok(Place {
        log: LogIdentity::created_at(row.try_get("log_created_at")?),
        sequence: StreamSeq(u64::try_from(sequence).unwrap_or(0)),
    })
}

impl Database {
    /// All positions.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn positions(&self) -> Result<Vec<Position>, ReadError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(sql::POSITIONS).await?;
        let mut positions = Vec::new();
        for row in client.query(&statement, &[]).await? {
            positions.push(Position {
                stream: row.try_get("log")?,
                place: place(&row)?,
            });
        }
        Ok(positions)
    }

    /// Whether all rows were made of this log, by this build's fold ([`FOLD_VERSION`]) or a newer one.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn is_fold_current(&self) -> Result<bool, ReadError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(sql::FOLD_IS_CURRENT).await?;
        let row = client.query_one(&statement, &[&FOLD_VERSION]).await?;
        Ok(row.try_get(0)?)
    }

    /// Where to go on in this stream; `None` if nothing was ever read from it.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn position(&self, stream: &str) -> Result<Option<Place>, ReadError> {
        let positions = self.positions().await?;
        Ok(positions
            .into_iter()
            .find(|found| found.stream == stream)
            .map(|found| found.place))
    }

    /// Begins with a stream that nothing was read from before.
    ///
    /// # Errors
    /// [`WriteError::Moved`] when somebody else began; see [`WriteError`].
    #[boxed]
    pub async fn begin_position(&self, stream: &str, place: Place) -> Result<(), WriteError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(sql::POSITION_BEGIN).await?;
        let (log, sequence) = (place.log.timestamp(), signed(place.sequence.0));
        let count = client
            .execute(&statement, &[&stream, &log, &sequence, &FOLD_VERSION])
            .await?;
        moved(count)
    }

    /// Moves a position without writing rows, over messages that make none.
    ///
    /// # Errors
    /// [`WriteError::Moved`] when it is not at `from`; see [`WriteError`].
    #[boxed]
    pub async fn move_position(
        &self,
        stream: &str,
        from: Place,
        to: Place,
    ) -> Result<(), WriteError> {
        self.set_position(stream, from, to, FOLD_VERSION).await
    }

    /// Moves a position into another life of the stream. Rows of the former one are there, so they are
    /// of no build's fold until all are folded anew ([`Self::is_fold_current`]).
    ///
    /// # Errors
    /// See [`Self::move_position`].
    #[boxed]
    pub async fn begin_another_log(
        &self,
        stream: &str,
        from: Place,
        to: Place,
    ) -> Result<(), WriteError> {
        self.set_position(stream, from, to, NO_FOLD).await
    }

    async fn set_position(
        &self,
        stream: &str,
        from: Place,
        to: Place,
        fold: i32,
    ) -> Result<(), WriteError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(sql::POSITION_MOVE).await?;
        let count = client
            .execute(
                &statement,
                &[
                    &stream,
                    &from.log.timestamp(),
                    &signed(from.sequence.0),
                    &to.log.timestamp(),
                    &signed(to.sequence.0),
                    &fold,
                ],
            )
            .await?;
        moved(count)
    }
}

/// A compare-and-set changes exactly one row, or it has lost.
pub(crate) fn moved(count: u64) -> Result<(), WriteError> {
    if count == 1 {
        Ok(())
    } else {
        Err(WriteError::Moved)
    }
}
