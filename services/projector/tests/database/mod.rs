//! A real PostgreSQL for each test, and its tables as text.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fmt::Write as _;

use rdev_embedded::{Durability, Postgres, PostgresOptions};
use rdev_readmodel::{Database, PostgresUrl, migrate};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// Tables that are folded from the log. `positions` says how far; when it was moved may differ.
const FOLDED: [&str; 7] = [
    "sessions",
    "execs",
    "conversations",
    "messages",
    "tool_messages",
    "fragments",
    "poison",
];

pub(crate) struct TestDatabase {
    pub(crate) server: Postgres,
    pub(crate) url: PostgresUrl,
    pub(crate) writing: Database,
    client: Client,
    _directory: TempDir,
}

impl TestDatabase {
    pub(crate) async fn start() -> Self {
        let database = Self::start_empty().await;
        migrate(&database.url).await.unwrap();
        database
    }

    pub(crate) async fn start_empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = PostgresOptions::new(directory.path());
        options.durability = Durability::Fast;
        // What is committed survives the end of the server, though not of the machine.
        options.settings = vec![("synchronous_commit".into(), "on".into())];
        let server = Postgres::start(options).await.unwrap();
        let client = connect(&server.url()).await;
        let url = server.url().parse().unwrap();
        let writing = Database::for_writing(&url);
        Self {
            server,
            url,
            writing,
            client,
            _directory: directory,
        }
    }

    /// After the server was restarted.
    pub(crate) async fn reconnect(&mut self) {
        self.client = connect(&self.server.url()).await;
    }

    pub(crate) async fn execute(&self, statement: &str) {
        self.client.batch_execute(statement).await.unwrap();
    }

    /// The one value that the query gives, as text.
    pub(crate) async fn value(&self, query: &str) -> Option<String> {
        let query = format!("SELECT ({query})::text");
        self.client.query_one(&query, &[]).await.unwrap().get(0)
    }

    /// Every row of every table that is folded from the log.
    pub(crate) async fn dump(&self) -> String {
        let mut text = String::new();
        for table in FOLDED {
            let query = format!("SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1");
            for row in self.client.query(&query, &[]).await.unwrap() {
                writeln!(text, "{table} {}", row.get::<_, String>(0)).unwrap();
            }
        }
        text
    }

    pub(crate) async fn forget_everything(&self) {
        let statements: Vec<_> = FOLDED
            .iter()
            .map(|table| format!("DELETE FROM {table};"))
            .collect();
        self.execute(&format!("{} DELETE FROM positions", statements.concat()))
            .await;
    }

    /// For tests whose clients must all be gone.
    pub(crate) async fn stop(mut self) {
        self.server.stop().await;
    }
}

/// The rows that only one of two dumps has; empty if they are equal.
pub(crate) fn difference(found: &str, expected: &str) -> String {
    let only = |these: &str, those: &str, mark: &str| {
        let those: Vec<_> = those.lines().collect();
        let rows = these.lines().filter(|row| !those.contains(row));
        rows.fold(String::new(), |text, row| text + mark + row + "\n")
    };
    only(found, expected, "+ ") + &only(expected, found, "- ")
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
