//! Connections to PostgreSQL, made when they are needed.

use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};

use crate::address::{CONNECT_TIMEOUT, PostgresUrl, working_settings};

/// Queries take about a millisecond, so a few connections serve hundreds of requests a second, and
/// many replicas fit PostgreSQL's default of 100 connections.
const READER_CONNECTIONS: usize = 8;
/// The projector writes from two followers.
const WRITER_CONNECTIONS: usize = 4;
/// A request that waits longer than this for a free connection is better told so.
const WAIT_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections of one role to one database. Cheap to clone; no connection is made before the
/// first use, so a database that is down stops nobody from starting.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
}

impl Database {
    /// For queries.
    ///
    /// # Panics
    /// Never in practice: only without a runtime, and one is named here.
    #[must_use]
    pub fn for_reading(url: &PostgresUrl) -> Self {
        Self::new(url, "rdev-gateway", &working_settings(), READER_CONNECTIONS)
    }

    /// For the projector. A commit is not waited for until it is on disk: what PostgreSQL forgets
    /// in a crash, it forgets together with the position, and it is read from the log again.
    #[must_use]
    pub fn for_writing(url: &PostgresUrl) -> Self {
        let mut settings = working_settings();
        settings.push(("synchronous_commit", "off".to_owned()));
        Self::new(url, "rdev-projector", &settings, WRITER_CONNECTIONS)
    }

    fn new(url: &PostgresUrl, role: &str, settings: &[(&str, String)], connections: usize) -> Self {
        let config = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(url.config(role, settings), url.connector(), config);
        let timeouts = Timeouts {
            wait: Some(WAIT_TIMEOUT),
            create: Some(CONNECT_TIMEOUT),
            recycle: Some(CONNECT_TIMEOUT),
        };
        let pool = Pool::builder(manager)
            .max_size(connections)
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .build();
        #[expect(
            clippy::expect_used,
            reason = "building fails only where no runtime is named"
        )]
        let pool = pool.expect("a pool with a runtime");
        Self { pool }
    }

    /// How many connections there are, by state, for those who count: `used`, `idle`, `max`, and how
    /// many requests are `waiting` for one.
    #[must_use]
    pub fn connections(&self) -> [(&'static str, usize); 4] {
        let status = self.pool.status();
        [
            ("used", status.size.saturating_sub(status.available)),
            ("idle", status.available),
            ("waiting", status.waiting),
            ("max", status.max_size),
        ]
    }

    pub(crate) fn is_busy(&self) -> bool {
        let status = self.pool.status();
        status.available == 0 && status.size >= status.max_size
    }

    pub(crate) async fn client(&self) -> Result<deadpool_postgres::Client, PoolError> {
        self.pool.get().await
    }

    /// Closes all connections that are not in use; the others when they are given back.
    pub fn close(&self) {
        self.pool.close();
    }
}
