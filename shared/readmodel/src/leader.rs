//! One active projector at a time: a lock that its own connection holds. When the process, the
//! connection or the server dies, the lock is free and a stand-by takes it.
//!
//! The lock only keeps two from doing the same work. That nothing is written twice is what the
//! compare-and-set of the positions is for: a holder that has lost the lock without knowing it
//! changes nothing.

use std::time::Duration;

use async_recursion::async_recursion as boxed;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::address::{PostgresUrl, STATEMENT_TIMEOUT, holding_settings};
use crate::failure::{WriteError, explain};
use crate::sql;

/// How often a holder asks the server whether it is still there, and how long it waits for the
/// answer.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// A connection that waits for the lock.
pub struct StandBy {
    client: Client,
    connection: JoinHandle<()>,
}

/// The lock is held. Given up by [`Leadership::resign`], or with the process.
pub struct Leadership {
    client: Client,
    connection: JoinHandle<()>,
}

impl StandBy {
    /// Connects.
    ///
    /// # Errors
    /// See [`WriteError`].
    #[boxed]
    pub async fn connect(url: &PostgresUrl) -> Result<Self, WriteError> {
        let mut settings = holding_settings();
        settings.push((
            "statement_timeout",
            STATEMENT_TIMEOUT.as_millis().to_string(),
        ));
        let (client, connection) = url.connect("rdev-projector-lock", &settings).await?;
        let connection = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = explain(&error), "the connection for the lock ended");
            }
        });
        Ok(Self { client, connection })
    }

    /// Takes the lock if it is free; gives the stand-by back if not.
    ///
    /// # Errors
    /// See [`WriteError`]; the connection is of no use then.
    #[boxed]
    pub async fn try_lead(self) -> Result<Result<Leadership, Self>, WriteError> {
        let row = self.client.query_one(sql::LEADER_LOCK, &[]).await?;
        if row.try_get(0)? {
            Ok(Ok(Leadership {
                client: self.client,
                connection: self.connection,
            }))
        } else {
            Ok(Err(self))
        }
    }
}

impl Leadership {
    /// Returns when the lock is lost.
    pub async fn lost(&self) {
        loop {
            tokio::time::sleep(PING_INTERVAL).await;
            let ping = self.client.execute(sql::PING, &[]);
            match tokio::time::timeout(PING_INTERVAL, ping).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    /// Gives the lock up; it is free when this returns, unless the server is away.
    #[boxed]
    pub async fn resign(self) {
        // Not by closing alone: the server ends a connection when it comes to it.
        let unlocked = self.client.execute(sql::LEADER_UNLOCK, &[]);
        let _ = tokio::time::timeout(PING_INTERVAL, unlocked).await;
        drop(self.client);
        let _ = tokio::time::timeout(PING_INTERVAL, self.connection).await;
    }
}
