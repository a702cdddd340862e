//! A real PostgreSQL for each test.

use rdev_embedded::{Durability, Postgres, PostgresOptions};
use rdev_readmodel::PostgresUrl;
use tempfile::TempDir;

pub(crate) struct TestServer {
    pub(crate) server: Postgres,
    pub(crate) url: PostgresUrl,
    _directory: TempDir,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = PostgresOptions::new(directory.path());
        options.durability = Durability::Fast;
        // What is committed survives the end of the server, though not of the machine.
        options.settings = vec![("synchronous_commit".into(), "on".into())];
        let server = Postgres::start(options).await.unwrap();
        let url = server.url().parse().unwrap();
        Self {
            server,
            url,
            _directory: directory,
        }
    }

    pub(crate) async fn stop(mut self) {
        self.server.stop().await;
    }
}
