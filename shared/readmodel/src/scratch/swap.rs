//! The fold takes the place of the tables, in one transaction: a reader sees the old tables or the
//! new ones. The projector is held up from [`Scratch::begin_swap`] on, for as long as the fold
//! needs for the last messages; then it finds the position where it left it and goes on, or is
//! refused by the compare-and-set and begins again at the position that it finds.

use async_recursion::async_recursion as boxed;
use tokio_postgres::Transaction;

use super::{LogHorizon, Scratch, ScratchError, Table, positions_of, tables_of};
use crate::position::Position;
use crate::sql;
use crate::sql::audit;

/// A swap that has begun: the projector waits. Dropped without [`Swap::commit`], nothing happened.
pub struct Swap<'a> {
    transaction: Transaction<'a>,
    live: Vec<Table>,
    fold: Vec<Table>,
    schemas: super::Schemas,
    /// Up to where the log is in the live tables. The fold must reach it: nobody's time goes back.
    pub positions: Vec<Position>,
}

impl Scratch {
    /// Brings over what the log no longer holds; the fold must stand where the image stands.
    ///
    /// # Errors
    /// See [`ScratchError`].
    #[boxed]
    pub async fn keep_expired(&self, horizons: &[LogHorizon]) -> Result<u64, ScratchError> {
        self.note(horizons).await?;
        let mut kept = 0;
        for table in self.folded() {
            let statement = audit::gone_kept(&self.schemas, table);
            kept += self.client.execute(&statement, &[]).await?;
            if let Some(statement) = audit::parts_kept(&self.schemas, table) {
                kept += self.client.execute(&statement, &[]).await?;
            }
        }
        Ok(kept)
    }

    /// Holds the projector up, and migrations too.
    ///
    /// # Errors
    /// [`ScratchError::Unavailable`] when somebody holds a lock for long: try again. See
    /// [`ScratchError`].
    #[boxed]
    pub async fn begin_swap<'a>(&'a mut self) -> Result<Swap<'a>, ScratchError> {
        // Goes with the connection.
        self.client.execute(sql::MIGRATIONS_LOCK, &[]).await?;
        let transaction = self.client.transaction().await?;
        transaction.batch_execute(audit::SWAP_LOCK_TIMEOUT).await?;
        let live = tables_of(&transaction, &self.schemas.live).await?;
        if live.contains_key("refinery_schema_history") {
            let (live, own) = (
                version(&transaction, &self.schemas.live).await?,
                version(&transaction, &self.schemas.fold).await?,
            );
            if live > own {
                return Err(ScratchError::Newer { live, own });
            }
        }
        let mut positions = Vec::new();
        if live.contains_key("positions") {
            let statement = audit::positions_locked(&self.schemas);
            transaction.batch_execute(&statement).await?;
            positions = positions_of(&transaction).await?;
        }
        Ok(Swap {
            transaction,
            live: live.into_values().collect(),
            fold: self.tables.clone(),
            schemas: self.schemas.clone(),
            positions,
        })
    }
}

impl Swap<'_> {
    /// Makes it happen.
    ///
    /// # Errors
    /// See [`Scratch::begin_swap`].
    pub async fn commit(self) -> Result<(), ScratchError> {
        let Self {
            transaction,
            live,
            fold,
            schemas,
            ..
        } = self;
        for row in transaction.query(audit::GRANTS, &[&schemas.live]).await? {
            let table: String = row.try_get("table_name")?;
            if !fold.iter().any(|own| own.name == table) {
                continue;
            }
            let grantee: Option<String> = row.try_get("grantee")?;
            let (privilege, is_grantable): (String, bool) =
                (row.try_get("privilege_type")?, row.try_get("is_grantable")?);
            let grantee = grantee.as_deref();
            let statement =
                audit::granted(&schemas.fold, &table, &privilege, grantee, is_grantable);
            transaction.batch_execute(&statement).await?;
        }
        let moves = live
            .iter()
            .filter(|table| fold.iter().any(|own| own.name == table.name))
            .map(|table| audit::moved(&table.name, &schemas.live, &schemas.old));
        let fills = fold
            .iter()
            .map(|table| audit::moved(&table.name, &schemas.fold, &schemas.live));
        for statement in moves.chain(fills) {
            transaction.batch_execute(&statement).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

async fn version(transaction: &Transaction<'_>, schema: &str) -> Result<i64, ScratchError> {
    let row = transaction.query_one(&audit::version(schema), &[]).await?;
    Ok(row.try_get("version")?)
}
