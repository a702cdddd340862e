//! What can go wrong with PostgreSQL, sorted by what the caller should do about it.

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use crate::page::InvalidCursor;

/// Why a query was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// PostgreSQL is away or overloaded, or the tables are not there yet. Trying again can help.
    #[error("the read model is not available: {0}")]
    Unavailable(String),
    /// The cursor was not made by this list.
    #[error(transparent)]
    InvalidCursor(#[from] InvalidCursor),
    /// A bug: the query or a row is not what this build expects.
    #[error("the read model cannot be read: {0}")]
    Internal(String),
}

/// Why rows were not written. Nothing of the transaction was.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// PostgreSQL is away or overloaded. Trying again can help.
    #[error("PostgreSQL is not available: {0}")]
    Unavailable(String),
    /// A value cannot be stored, however often it is tried.
    #[error("PostgreSQL refuses a value: {0}")]
    Refused(String),
    /// Another projector moved the position: this one is not the active follower any more.
    #[error("the position was moved by somebody else")]
    Moved,
    /// A bug, or tables that are not those of this build.
    #[error("the read model cannot be written: {0}")]
    Internal(String),
}

enum Class {
    Unavailable,
    Refused,
    Internal,
}

/// SQLSTATE classes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn class(error: &tokio_postgres::Error) -> Class {
    let Some(code) = error.code() else {
        // Not an answer of the server. A conversion of ours that failed is a bug; all else is the
        // connection.
        let conversion = std::error::Error::source(error).is_some_and(|source| {
            source.is::<tokio_postgres::types::WrongType>()
                || source.is::<tokio_postgres::types::WasNull>()
        });
        return if conversion {
            Class::Internal
        } else {
            Class::Unavailable
        };
    };
    // Tables that a newer projector is about to migrate lack columns.
    let missing_tables = [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::INVALID_SCHEMA_NAME,
    ];
    let read_only = SqlState::READ_ONLY_SQL_TRANSACTION;
    if missing_tables.contains(code) || *code == read_only {
        return Class::Unavailable;
    }
    match code.code().get(..2) {
        // Data exception, integrity violation, program limit exceeded.
        Some("22" | "23" | "54") => Class::Refused,
        // Connection, invalid authorization or catalog (a server that is being set up), lock
        // conflicts, resources, operator intervention, system error.
        Some("08" | "28" | "3D" | "40" | "53" | "55" | "57" | "58") => Class::Unavailable,
        _ => Class::Internal,
    }
}

/// Whether trying again can help.
pub(crate) fn is_unavailable(error: &tokio_postgres::Error) -> bool {
    matches!(class(error), Class::Unavailable)
}

/// An error with its cause: `tokio_postgres::Error` alone says "db error".
pub(crate) fn explain(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(answer) => format!("{} (SQLSTATE {})", answer.message(), answer.code().code()),
        None => std::error::Error::source(error)
            .map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
    }
}

impl From<tokio_postgres::Error> for ReadError {
    fn from(error: tokio_postgres::Error) -> Self {
        match class(&error) {
            Class::Unavailable => Self::Unavailable(explain(&error)),
            Class::Refused | Class::Internal => Self::Internal(explain(&error)),
        }
    }
}

impl From<tokio_postgres::Error> for WriteError {
    fn from(error: tokio_postgres::Error) -> Self {
        match class(&error) {
            Class::Unavailable => Self::Unavailable(explain(&error)),
            Class::Refused => Self::Refused(explain(&error)),
            Class::Internal => Self::Internal(explain(&error)),
        }
    }
}

fn explain_pool(error: PoolError) -> String {
    match error {
        PoolError::Backend(error) => explain(&error),
        other @ (PoolError::Timeout(_)
        | PoolError::Closed
        | PoolError::NoRuntimeSpecified
        | PoolError::PostCreateHook(_)) => other.to_string(),
    }
}

impl From<PoolError> for ReadError {
    fn from(error: PoolError) -> Self {
        Self::Unavailable(explain_pool(error))
    }
}

impl From<PoolError> for WriteError {
    fn from(error: PoolError) -> Self {
        Self::Unavailable(explain_pool(error))
    }
}
