//! Brings the tables to the shape that this build expects.

use std::time::Duration;

use crate::address::{PostgresUrl, holding_settings};
use crate::failure::{explain, is_unavailable};
use crate::sql;
use async_recursion::async_recursion as boxed;

mod embedded {
    refinery::embed_migrations!("../../migrations");
}

/// How long one start waits for another's migrations. Building an index may take minutes.
const LOCK_WAIT: Duration = Duration::from_secs(600);

/// Why the tables are not as this build expects.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// PostgreSQL is away, or another start takes very long. Trying again can help.
    #[error("PostgreSQL is not available for migrations: {0}")]
    Unavailable(String),
    /// The database has another history: a changed migration, or tables of somebody else. Trying again
    /// does not help.
    #[error("the migrations do not fit the database: {0}; give rdev a database of its own")]
    Failed(String),
}

/// Applies the migrations that are missing and says how many that were. Several may start at once:
/// they take turns.
///
/// # Errors
/// See [`MigrateError`].
#[boxed]
pub async fn migrate(url: &PostgresUrl) -> Result<usize, MigrateError> {
    let unavailable = |error: tokio_postgres::Error| MigrateError::Unavailable(explain(&error));
    let mut settings = holding_settings();
    settings.push(("statement_timeout", "0".to_owned()));
    settings.push(("lock_timeout", LOCK_WAIT.as_millis().to_string()));
    let (mut client, connection) = url
        .connect("rdev-migrations", &settings)
        .await
        .map_err(unavailable)?;
    // Ends when `client` is dropped; whatever goes wrong in it reaches the client's calls.
    let connection = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection for migrations ended");
        }
    });
    client
        .execute(sql::MIGRATIONS_LOCK, &[])
        .await
        .map_err(unavailable)?;
    let outcome = embedded::migrations::runner()
        // Of a newer build, after a rollout was taken back: they only add (docs/migrations.md).
        .set_abort_missing(false)
        .run_async(&mut client)
        .await;
    // The lock goes with the connection.
    drop(client);
    let _ = connection.await;
    match outcome {
        Ok(report) => Ok(report.applied_migrations().len()),
        Err(error) => Err(sorted(&error)),
    }
}

fn sorted(error: &refinery::Error) -> MigrateError {
    let cause = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    match cause {
        Some(cause) if is_unavailable(cause) => MigrateError::Unavailable(explain(cause)),
        Some(cause) => MigrateError::Failed(format!("{error}: {}", explain(cause))),
        None => MigrateError::Failed(error.to_string()),
    }
}
