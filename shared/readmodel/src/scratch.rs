//! A place beside the tables in which they are folded anew: to be compared with them, or to take
//! their place.
//!
//! How an audit compares without stopping anybody: first it copies the live tables and their
//! positions, in one transaction, so the copy (the *image*) is what the tables were at exactly one
//! position of the log. Then the log is folded into a schema of its own (the *fold*) up to that
//! position and not beyond. Both stand still from then on, however the projector goes on, and no
//! transaction stays open for the length of the fold. It costs the room of the tables twice.
//!
//! What is left of an audit that was killed is removed by the next one.

mod compare;
mod swap;

use std::collections::BTreeMap;

use async_recursion::async_recursion as boxed;
use rdev_contract::id::ExecId;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, IsolationLevel, Transaction};

use crate::address::{PostgresUrl, holding_settings};
use crate::failure::{explain, is_unavailable};
use crate::migrate::{MigrateError, migrate};
use crate::pool::Database;
use crate::position::{FOLD_VERSION, Position, place};
use crate::sql;
use crate::sql::audit;

pub use compare::{Comparison, DIFFERENCES_MAX_COUNT, LogHorizon, RowDifference, TableCount};
pub use swap::Swap;

/// Not folded from messages: how far the fold is, and which migrations made it.
const NOT_FOLDED: [&str; 2] = ["positions", "refinery_schema_history"];
/// Names in one statement.
const NOTED_AT_ONCE: usize = 10_000;
/// PostgreSQL cuts longer names.
const SCHEMA_NAME_MAX_BYTES: usize = 40;

/// Why there is nothing to compare, or nothing was swapped. The live tables are as before.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// PostgreSQL is away, or others hold what is needed. Trying again can help.
    #[error("PostgreSQL is not available: {0} (RDEV_POSTGRES_URL says where it is)")]
    Unavailable(String),
    /// Only one at a time.
    #[error("another audit of these tables is under way")]
    Busy,
    /// The tables are those of another build.
    #[error(
        "the table {table} does not have the columns that this build makes: {detail}; use the \
         build of the projector, or bring the tables up to date by starting it"
    )]
    Shape {
        /// Which.
        table: String,
        /// What differs.
        detail: String,
    },
    /// The tables were migrated by a newer build.
    #[error("the tables have migration {live}, this build knows {own}: use the newer build")]
    Newer {
        /// Of the tables.
        live: i64,
        /// Of this build.
        own: i64,
    },
    /// The tables of the fold cannot be made.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// A statement was refused.
    #[error("PostgreSQL refuses: {0}")]
    Refused(String),
}

impl From<tokio_postgres::Error> for ScratchError {
    fn from(error: tokio_postgres::Error) -> Self {
        if is_unavailable(&error) {
            Self::Unavailable(explain(&error))
        } else {
            Self::Refused(explain(&error))
        }
    }
}

/// A table as the catalog has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) type_name: String,
    pub(crate) is_key: bool,
}

impl Table {
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.is_key)
    }

    fn is_folded(&self) -> bool {
        !NOT_FOLDED.contains(&self.name.as_str()) && self.keys().next().is_some()
    }
}

/// Names of the schemas.
#[derive(Debug, Clone)]
pub(crate) struct Schemas {
    pub(crate) live: String,
    pub(crate) image: String,
    pub(crate) fold: String,
    /// Where swapped tables go, until they are dropped.
    pub(crate) old: String,
}

impl Schemas {
    fn beside(live: String) -> Self {
        let plain: String = live
            .chars()
            .map(|letter| {
                if letter.is_ascii_alphanumeric() {
                    letter
                } else {
                    '_'
                }
            })
            .take(SCHEMA_NAME_MAX_BYTES)
            .collect();
        let of = |role: &str| format!("rdev_audit_{plain}_{role}").to_ascii_lowercase();
        Self {
            live,
            image: of("image"),
            fold: of("fold"),
            old: of("old"),
        }
    }

    fn made(&self) -> [&str; 3] {
        [&self.image, &self.fold, &self.old]
    }
}

/// Schemas beside the tables, and the right to them.
pub struct Scratch {
    client: Client,
    connection: JoinHandle<()>,
    schemas: Schemas,
    fold_url: PostgresUrl,
    tables: Vec<Table>,
}

/// The tables as they were at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Up to where the log was in them; `None` if there is no such table.
    pub positions: Option<Vec<Position>>,
    /// Tables that are not there at all.
    pub absent: Vec<String>,
    /// No row was made by the fold of an older build.
    pub is_current: bool,
}

impl Scratch {
    /// Makes the schemas beside the tables of this database, with empty tables to fold into.
    ///
    /// # Errors
    /// See [`ScratchError`].
    #[boxed]
    pub async fn create(url: &PostgresUrl) -> Result<Self, ScratchError> {
        let mut settings = holding_settings();
        // Copying and comparing take as long as they take.
        settings.push(("statement_timeout", "0".to_owned()));
        settings.push(("idle_in_transaction_session_timeout", "0".to_owned()));
        // That nothing was left over, or that it is dropped, is no news.
        settings.push(("client_min_messages", "warning".to_owned()));
        let (client, connection) = url.connect("rdev-audit", &settings).await?;
        let connection = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = explain(&error), "the connection of the audit ended");
            }
        });
        let live: Option<String> = client
            .query_one(audit::CURRENT_SCHEMA, &[])
            .await?
            .try_get(0)?;
        let live = live.ok_or_else(|| {
            ScratchError::Refused("the address leads to no schema that exists".to_owned())
        })?;
        if !client
            .query_one(audit::AUDIT_LOCK, &[])
            .await?
            .try_get::<_, bool>(0)?
        {
            return Err(ScratchError::Busy);
        }
        let schemas = Schemas::beside(live);
        for schema in schemas.made() {
            client.batch_execute(&audit::schema_made(schema)).await?;
        }
        let fold_url = url.in_schema(&schemas.fold);
        migrate(&fold_url).await?;
        let tables = tables_of(&client, &schemas.fold).await?;
        Ok(Self {
            client,
            connection,
            schemas,
            fold_url,
            tables: tables.into_values().collect(),
        })
    }

    /// The tables to fold into.
    #[must_use]
    pub fn fold(&self) -> Database {
        Database::for_writing(&self.fold_url)
    }

    /// Copies the live tables, and says up to where the log was in them. `is_strict`: refuses
    /// tables of another shape than this build's.
    ///
    /// # Errors
    /// See [`ScratchError`].
    #[boxed]
    pub async fn image(&mut self, is_strict: bool) -> Result<Image, ScratchError> {
        let transaction = self
            .client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .start()
            .await?;
        let live = tables_of(&transaction, &self.schemas.live).await?;
        let (positions, is_current) = match live.get("positions") {
            Some(table) => (
                Some(positions_of(&transaction).await?),
                is_current(&transaction, table).await?,
            ),
            None => (None, true),
        };
        let mut absent = Vec::new();
        for table in self.tables.iter().filter(|table| table.is_folded()) {
            let found = live.get(&table.name);
            match found {
                Some(found) if is_strict => same_shape(table, found)?,
                Some(_) => {}
                None => absent.push(table.name.clone()),
            }
            let statement = audit::imaged(&self.schemas, table, found);
            transaction.batch_execute(&statement).await?;
        }
        let notes = audit::notes_made(&self.schemas);
        transaction.batch_execute(&notes).await?;
        transaction.commit().await?;
        Ok(Image {
            positions,
            absent,
            is_current,
        })
    }

    /// Notes execs that were folded whole although the log does not hold all of them: they have not
    /// expired. Behind [`Self::image`].
    ///
    /// # Errors
    /// See [`ScratchError`].
    #[boxed]
    pub async fn note_archived(&self, execs: &[ExecId]) -> Result<(), ScratchError> {
        let statement = audit::archived_noted(&self.schemas);
        for execs in execs.chunks(NOTED_AT_ONCE) {
            let projects: Vec<_> = execs.iter().map(|exec| exec.project.as_str()).collect();
            let sessions: Vec<_> = execs.iter().map(|exec| exec.session.uuid()).collect();
            let streams: Vec<_> = execs.iter().map(|exec| exec.stream.as_str()).collect();
            self.client
                .execute(&statement, &[&projects, &sessions, &streams])
                .await?;
        }
        Ok(())
    }

    /// Notes what the logs still hold: tells what is expired.
    async fn note(&self, horizons: &[LogHorizon]) -> Result<(), ScratchError> {
        let statement = audit::log_noted(&self.schemas);
        for horizon in horizons {
            let (log, created_at) = (horizon.log, horizon.identity.timestamp());
            let first = crate::position::signed(horizon.first.0);
            self.client
                .execute(
                    &statement,
                    &[
                        &log,
                        &horizon.holds_sessions,
                        &created_at,
                        &first,
                        &horizon.oldest,
                    ],
                )
                .await?;
        }
        let statement = audit::expired_noted(&self.schemas);
        self.client.batch_execute(&statement).await?;
        Ok(())
    }

    fn folded(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter().filter(|table| table.is_folded())
    }

    /// Removes everything that was made.
    ///
    /// # Errors
    /// See [`ScratchError`].
    #[boxed]
    pub async fn remove(self) -> Result<(), ScratchError> {
        for schema in self.schemas.made() {
            let statement = audit::schema_dropped(schema);
            self.client.batch_execute(&statement).await?;
        }
        drop(self.client);
        let _ = self.connection.await;
        Ok(())
    }
}

async fn tables_of<C: tokio_postgres::GenericClient + Sync>(
    client: &C,
    schema: &str,
) -> Result<BTreeMap<String, Table>, ScratchError> {
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    for row in client.query(audit::COLUMNS, &[&schema]).await? {
        let name: String = row.try_get("table_name")?;
        let column = Column {
            name: row.try_get("column_name")?,
            type_name: row.try_get("column_type")?,
            is_key: row.try_get("is_key")?,
        };
        let table = tables.entry(name.clone()).or_insert(Table {
            name,
            columns: Vec::new(),
        });
        table.columns.push(column);
    }
    Ok(tables)
}

async fn is_current(
    transaction: &Transaction<'_>,
    positions: &Table,
) -> Result<bool, ScratchError> {
    let names = |column: &Column| column.name == "fold_version";
    if !positions.columns.iter().any(names) {
        return Ok(false);
    }
    let row = transaction
        .query_one(sql::FOLD_IS_CURRENT, &[&FOLD_VERSION])
        .await?;
    Ok(row.try_get(0)?)
}

async fn positions_of(transaction: &Transaction<'_>) -> Result<Vec<Position>, ScratchError> {
    let mut positions = Vec::new();
    for row in transaction.query(sql::POSITIONS, &[]).await? {
        positions.push(Position {
            stream: row.try_get("log")?,
            place: place(&row)?,
        });
    }
    Ok(positions)
}

fn same_shape(own: &Table, live: &Table) -> Result<(), ScratchError> {
    let columns = |table: &Table| -> BTreeMap<String, String> {
        let columns = table.columns.iter();
        columns
            .map(|column| (column.name.clone(), column.type_name.clone()))
            .collect()
    };
    let (expected, found) = (columns(own), columns(live));
    if expected == found {
        return Ok(());
    }
    let lacks = expected
        .iter()
        .find(|(name, of)| found.get(*name) != Some(of));
    let has = found
        .iter()
        .find(|(name, of)| expected.get(*name) != Some(of));
    let detail = match (lacks, has) {
        (Some((name, of)), _) => format!("it lacks {name} {of}"),
        (None, Some((name, of))) => format!("it has {name} {of}"),
        (None, None) => "their order".to_owned(),
    };
    Err(ScratchError::Shape {
        table: own.name.clone(),
        detail,
    })
}
