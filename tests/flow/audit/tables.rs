//! `rdev audit` and `rdev audit --rebuild`: the tables against the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_nats::jetstream::{self, stream::Stream};
use futures::future::try_join_all;
use rdev_contract::subject::EXEC_STREAM;
use rdev_tests::Outcome;
use rdev_tests::audit::Audited;
use rdev_tests::client::Client;
use rdev_tests::world::{Services, World};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::claude::stand_in;
use crate::options;

/// The projector is asynchronous; this is only a bound for a broken one.
const PROJECTED_WITHIN: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A world whose claude prints fixtures.
struct Busy {
    world: World,
    services: Services,
    sessions: Vec<String>,
    _claude: TempDir,
}

impl Busy {
    async fn start() -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let claude = stand_in(directory.path())?;
        let options = options().variable("RDEV_CLAUDE_BIN", claude);
        let (world, services) = World::start(options).await?;
        let mut sessions = Vec::new();
        for pod in ["one", "two", "three"] {
            sessions.push(services.client.session(pod).await?);
        }
        Ok(Self {
            world,
            services,
            sessions,
            _claude: directory,
        })
    }

    /// Shell and claude execs in all sessions at once; how many.
    async fn work(&self) -> Outcome<usize> {
        let client = &self.services.client;
        let bodies = [
            json!({"type": "shell", "command": "echo hi; echo there >&2; exit 3"}),
            json!({"type": "claude", "prompt": "simple"}),
            json!({"type": "claude", "prompt": "resume", "continue_conversation": true}),
            json!({"type": "claude", "prompt": "nothing of that name"}),
        ];
        let of_session = async |session: &String| -> Outcome<()> {
            for body in &bodies {
                client.run(session, body).await?.check()?;
            }
            Ok(())
        };
        try_join_all(self.sessions.iter().map(of_session)).await?;
        Ok(self.sessions.len() * bodies.len())
    }

    /// Waits until all of these execs are complete in the tables.
    async fn projected(&self, execs: usize) -> Outcome<()> {
        let looking = async {
            while complete(&self.services.client, &self.sessions).await? < execs {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            Outcome::Ok(())
        };
        tokio::time::timeout(PROJECTED_WITHIN, looking)
            .await
            .map_err(|_| "not projected in time")?
    }

    async fn audit(&self) -> Outcome<Audited> {
        self.world.audit(&[], &[]).await
    }

    async fn rebuild(&self) -> Outcome<Audited> {
        let done = self.world.audit(&["--rebuild"], &[]).await?;
        assert_eq!(done.code, Some(0), "{done:#?}");
        assert_eq!(done.report["verdict"], "rebuilt");
        Ok(done)
    }

    async fn sql(&self, statements: &str) -> Outcome<()> {
        let (database, connection) =
            tokio_postgres::connect(&self.world.postgres_url, NoTls).await?;
        let connection = tokio::spawn(connection);
        database.batch_execute(statements).await?;
        drop(database);
        Ok(connection.await??)
    }

    async fn log(&self) -> Outcome<Stream> {
        let client = async_nats::connect(self.world.nats.url()).await?;
        Ok(jetstream::new(client).get_stream(EXEC_STREAM).await?)
    }
}

/// How many execs of these sessions the tables show as complete.
async fn complete(client: &Client, sessions: &[String]) -> Outcome<usize> {
    let mut count = 0;
    for session in sessions {
        let path = format!("/sessions/{session}/execs?limit=100");
        let answer = client.get(&path).await?;
        let items = answer.json()["items"].as_array().cloned();
        let items = items.ok_or_else(|| answer.text.clone())?;
        count += items
            .iter()
            .filter(|item| item["status"] == "complete")
            .count();
    }
    Ok(count)
}

/// What the report counts of a table.
fn count(audited: &Audited, table: &str, what: &str) -> i64 {
    let tables = audited.report["tables"].as_array();
    let found = tables
        .into_iter()
        .flatten()
        .find(|found| found["table"] == table);
    found.and_then(|found| found[what].as_i64()).unwrap_or(-1)
}

/// The one row that differs.
fn only(audited: &Audited) -> &Value {
    assert_eq!(audited.code, Some(1), "{audited:#?}");
    let [row] = audited.differences() else {
        panic!("not one difference: {audited:#?}");
    };
    row
}

#[tokio::test]
async fn a_busy_rdev_is_equal_at_any_moment() -> Outcome<()> {
    let mut busy = Busy::start().await?;
    let is_done = AtomicBool::new(false);
    let working = async {
        let done = busy.work().await;
        is_done.store(true, Ordering::Relaxed);
        done
    };
    let auditing = async {
        let mut audits = 0;
        while !is_done.load(Ordering::Relaxed) || audits == 0 {
            busy.audit().await?.expect_equal()?;
            audits += 1;
        }
        Outcome::Ok(audits)
    };
    let (execs, audits) = tokio::join!(working, auditing);
    let (execs, audits) = (execs?, audits?);
    assert!(audits > 0);
    busy.projected(execs).await?;
    let equal = busy.audit().await?;
    equal.expect_equal()?;
    assert_eq!(count(&equal, "execs", "rows"), i64::try_from(execs)?);
    assert!(count(&equal, "messages", "folded") > 0);
    let all = busy.world.audit(&["--execs"], &[]).await?;
    all.expect_equal()?;
    for what in ["execs", "ended", "hashed"] {
        assert_eq!(all.report[what], execs, "{all:#?}");
    }
    assert_eq!(all.report["chained"], all.report["messages"]);

    // Killed in the middle, again and again.
    for _ in 0..3 {
        let working = async { busy.work().await };
        let killing = async {
            tokio::time::sleep(LOOK_INTERVAL * 10).await;
            busy.services.projector.kill().await;
            Outcome::Ok(())
        };
        let (worked, killed) = tokio::join!(working, killing);
        worked?;
        killed?;
        busy.audit().await?.expect_equal()?;
        busy.services.projector = busy.world.projector()?;
    }
    busy.projected(4 * execs).await?;
    busy.audit().await?.expect_equal()
}

#[tokio::test]
async fn rows_that_were_tampered_with_are_named() -> Outcome<()> {
    let busy = Busy::start().await?;
    let execs = busy.work().await?;
    busy.projected(execs).await?;
    busy.audit().await?.expect_equal()?;
    let session = &busy.sessions[0];

    busy.sql(&format!(
        "UPDATE execs SET exit_code = 0, ok = true WHERE session = '{session}' AND exit_code = 3"
    ))
    .await?;
    let found = busy.audit().await?;
    let row = only(&found);
    assert_eq!(
        (&row["table"], &row["what"]),
        (&json!("execs"), &json!("different"))
    );
    assert_eq!(row["key"]["session"], session.as_str());
    assert_eq!(row["columns"], json!(["exit_code", "ok"]));

    busy.rebuild().await?;
    busy.sql(&format!(
        "DELETE FROM messages WHERE session = '{session}' AND role = 'user' AND content = 'simple'"
    ))
    .await?;
    let found = busy.audit().await?;
    let row = only(&found);
    assert_eq!(
        (&row["table"], &row["what"]),
        (&json!("messages"), &json!("missing"))
    );
    assert_eq!(row["key"]["project"], "demo");

    busy.rebuild().await?;
    busy.sql(&format!(
        "CREATE TEMPORARY TABLE copied AS SELECT * FROM execs
            WHERE session = '{session}' AND exit_code = 3;
         UPDATE copied SET stream = 'invented';
         INSERT INTO execs SELECT * FROM copied"
    ))
    .await?;
    let found = busy.audit().await?;
    let row = only(&found);
    assert_eq!(
        (&row["table"], &row["what"]),
        (&json!("execs"), &json!("extra"))
    );
    assert_eq!(row["key"]["stream"], "invented");

    busy.rebuild().await?;
    busy.audit().await?.expect_equal()
}

#[tokio::test]
async fn dropped_tables_are_rebuilt() -> Outcome<()> {
    let busy = Busy::start().await?;
    let execs = busy.work().await?;
    busy.projected(execs).await?;
    busy.sql(
        "DO $$ DECLARE gone text; BEGIN
            FOR gone IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() LOOP
                EXECUTE format('DROP TABLE %I', gone);
            END LOOP; END $$",
    )
    .await?;
    let found = busy.audit().await?;
    assert_eq!(found.code, Some(1), "{found:#?}");
    assert_eq!(count(&found, "execs", "missing"), i64::try_from(execs)?);

    for _ in 0..2 {
        busy.rebuild().await?;
        let equal = busy.audit().await?;
        equal.expect_equal()?;
        assert_eq!(count(&equal, "execs", "rows"), i64::try_from(execs)?);
    }
    // The projector has gone on through all of it.
    let more = busy.work().await?;
    busy.projected(execs + more).await?;
    busy.audit().await?.expect_equal()
}

#[tokio::test]
async fn a_rebuild_is_seen_by_nobody() -> Outcome<()> {
    let busy = Arc::new(Busy::start().await?);
    let execs = busy.work().await?;
    busy.projected(execs).await?;
    busy.sql("CREATE ROLE auditor; GRANT SELECT ON execs TO auditor")
        .await?;
    let is_done = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU32::new(0));
    let reading = async {
        while !is_done.load(Ordering::Relaxed) {
            let seen = complete(&busy.services.client, &busy.sessions).await?;
            assert!(seen >= execs, "{seen} of {execs} execs");
            reads.fetch_add(1, Ordering::Relaxed);
        }
        Outcome::Ok(())
    };
    let rebuilding = async {
        // The projector writes meanwhile.
        let (rebuilt, worked) = tokio::join!(busy.rebuild(), busy.work());
        is_done.store(true, Ordering::Relaxed);
        rebuilt?;
        worked
    };
    let (read, more) = tokio::join!(reading, rebuilding);
    read?;
    busy.projected(execs + more?).await?;
    assert!(reads.load(Ordering::Relaxed) > 1);
    // Who could read the tables can read the new ones.
    busy.sql("SET ROLE auditor; SELECT count(*) FROM execs")
        .await?;
    busy.audit().await?.expect_equal()
}

#[tokio::test]
async fn what_cannot_be_found_out_is_said_so() -> Outcome<()> {
    let busy = Busy::start().await?;
    let nowhere = ["--postgres-url", "postgres://rdev@127.0.0.1:1/rdev"];
    let found = busy.world.audit(&nowhere, &[]).await?;
    assert_eq!(found.code, Some(2), "{found:#?}");
    assert!(
        found.said.contains("PostgreSQL is not available")
            && found.said.contains("RDEV_POSTGRES_URL"),
        "{}",
        found.said
    );
    assert_eq!(found.report, Value::Null);
    let nobody = ["--nats-url", "nats://127.0.0.1:1"];
    let found = busy.world.audit(&nobody, &[]).await?;
    assert_eq!(found.code, Some(2), "{found:#?}");
    assert!(found.said.contains("RDEV_NATS_URL"), "{}", found.said);
    // An archive that was never written is no archive, and is not made by looking at it.
    let directory = tempfile::tempdir()?;
    let absent = directory.path().join("absent");
    let url = format!("file://{}", absent.display());
    let found = busy.world.audit(&["--archive-url", &url], &[]).await?;
    assert_eq!(found.code, Some(2), "{found:#?}");
    assert!(found.said.contains("no such directory"), "{}", found.said);
    assert!(!absent.exists());

    // Tables of another build are not called different.
    busy.sql("ALTER TABLE execs ADD COLUMN invented text")
        .await?;
    let found = busy.audit().await?;
    assert_eq!(found.code, Some(2), "{found:#?}");
    assert!(found.said.contains("invented text"), "{}", found.said);
    // A rebuild makes them those of this build.
    busy.rebuild().await?;
    busy.audit().await?.expect_equal()
}

#[tokio::test]
async fn rows_of_an_older_build_are_not_called_different() -> Outcome<()> {
    let mut busy = Busy::start().await?;
    let execs = busy.work().await?;
    busy.projected(execs).await?;
    busy.sql("UPDATE positions SET fold_version = 0; UPDATE execs SET cli_version = NULL")
        .await?;
    let found = busy.audit().await?;
    assert_eq!(found.code, Some(2), "{found:#?}");
    assert!(found.said.contains("an older build"), "{}", found.said);

    // A projector that starts folds them anew.
    busy.services.projector.stop().await;
    busy.services.projector = busy.world.projector()?;
    let said = "the tables are of this build";
    busy.services.projector.until_it_says(said).await?;
    busy.audit().await?.expect_equal()
}

#[tokio::test]
async fn what_the_log_no_longer_holds_is_expired_and_kept() -> Outcome<()> {
    let busy = Busy::start().await?;
    let execs = busy.work().await?;
    busy.projected(execs).await?;
    // In the middle of some exec.
    let log = busy.log().await?;
    let half = log.cached_info().state.last_sequence / 2;
    log.purge().sequence(half).await?;

    let found = busy.audit().await?;
    found.expect_equal()?;
    let expired = count(&found, "execs", "expired");
    assert!(expired > 0 && expired < i64::try_from(execs)?, "{found:#?}");
    assert!(count(&found, "messages", "expired") > 0, "{found:#?}");

    for _ in 0..2 {
        let done = busy.rebuild().await?;
        assert!(done.report["kept"].as_u64() > Some(0), "{done:#?}");
        let again = busy.audit().await?;
        again.expect_equal()?;
        assert_eq!(again.report["tables"], found.report["tables"]);
    }
    // Among them, what is wrong is found all the same.
    busy.sql(
        "UPDATE execs SET reason = 'invented' WHERE command_seq = (SELECT max(command_seq) FROM execs)",
    )
    .await?;
    let found = busy.audit().await?;
    assert_eq!(only(&found)["columns"], json!(["reason"]));
    Ok(())
}
