//! `rdev audit` where the log has forgotten everything: the archive is compared in its place.

use rdev_contract::id::ExecId;
use rdev_tests::Outcome;
use rdev_tests::log::exec_id;
use serde_json::json;
use tokio_postgres::NoTls;

use super::{Kept, LOOK_INTERVAL, PATIENCE, Short};

/// Shell and claude execs, of which the log holds nothing any more, and one that it still holds.
async fn forgotten() -> Outcome<(Kept, String, Vec<ExecId>)> {
    let kept = Kept::start(Short::Everything).await?;
    let client = kept.client();
    let session = client.session("audited").await?;
    let mut execs = Vec::new();
    for (stream, body) in [
        (
            "one",
            json!({"type": "shell", "command": "seq 3; echo err >&2; exit 3"}),
        ),
        ("two", json!({"type": "claude", "prompt": "long"})),
        (
            "three",
            json!({"type": "claude", "prompt": "again", "continue_conversation": true}),
        ),
    ] {
        let mut body = body;
        body["stream_id"] = json!(stream);
        client.run(&session, &body).await?.check()?;
        execs.push(exec_id(client, &session, stream)?);
    }
    projected(&kept, &session, execs.len()).await?;
    for exec in &execs {
        kept.until_archived(exec).await?;
        kept.until_expired(exec, Short::Everything).await?;
    }
    Ok((kept, session, execs))
}

async fn projected(kept: &Kept, session: &str, count: usize) -> Outcome<()> {
    let looking = async {
        loop {
            let path = format!("/sessions/{session}/execs?status=complete");
            let answer = kept.client().get(&path).await?.json();
            if answer["items"]
                .as_array()
                .is_some_and(|items| items.len() == count)
            {
                return Outcome::Ok(());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await?
}

async fn sql(kept: &Kept, statements: &str) -> Outcome<()> {
    let (database, connection) = tokio_postgres::connect(&kept.world.postgres_url, NoTls).await?;
    let connection = tokio::spawn(connection);
    database.batch_execute(statements).await?;
    drop(database);
    Ok(connection.await??)
}

fn count(audited: &rdev_tests::audit::Audited, table: &str, what: &str) -> i64 {
    let tables = audited.report["tables"].as_array();
    let mut tables = tables.into_iter().flatten();
    let found = tables.find(|found| found["table"] == table);
    found.and_then(|found| found[what].as_i64()).unwrap_or(-1)
}

#[tokio::test]
async fn the_archive_is_audited_in_place_of_the_log() -> Outcome<()> {
    let (kept, session, execs) = forgotten().await?;
    messages_are_verified(&kept, &execs).await?;
    tables_are_compared(&kept, &session, i64::try_from(execs.len())?).await?;
    messages_of_both_are_verified(&kept, &session, &execs).await
}

async fn tables_are_compared(kept: &Kept, session: &str, execs: i64) -> Outcome<()> {
    let equal = kept.audit(&[]).await?;
    equal.expect_equal()?;
    assert_eq!(count(&equal, "execs", "folded"), execs, "{equal:#?}");
    assert_eq!(count(&equal, "execs", "expired"), 0, "{equal:#?}");
    assert!(count(&equal, "messages", "folded") > 0, "{equal:#?}");

    // Without the archive nobody could say.
    sql(kept, "UPDATE execs SET exit_code = 0 WHERE stream = 'one'").await?;
    let life = format!("{}s", super::LIFE.as_secs());
    let blind = [
        ("RDEV_OUTPUT_TTL", life.as_str()),
        ("RDEV_FACTS_TTL", life.as_str()),
    ];
    let blind = kept.world.audit(&[], &blind).await?;
    blind.expect_equal()?;
    assert_eq!(count(&blind, "execs", "expired"), execs, "{blind:#?}");
    let found = kept.audit(&[]).await?;
    assert_eq!(found.code, Some(1), "{found:#?}");
    assert_eq!(found.differences().len(), 1, "{found:#?}");
    assert_eq!(found.differences()[0]["columns"], json!(["exit_code"]));
    assert_eq!(found.differences()[0]["key"]["stream"], "one");

    // Everything comes back from the archive alone.
    let dropped = "DO $$ DECLARE gone text; BEGIN
            FOR gone IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() LOOP
                EXECUTE format('DROP TABLE %I', gone);
            END LOOP; END $$";
    sql(kept, dropped).await?;
    for _ in 0..2 {
        let rebuilt = kept.audit(&["--rebuild"]).await?;
        assert_eq!(rebuilt.report["verdict"], "rebuilt", "{rebuilt:#?}");
        assert_eq!(rebuilt.report["kept"], 0, "{rebuilt:#?}");
        let again = kept.audit(&[]).await?;
        again.expect_equal()?;
        assert_eq!(again.report["tables"], equal.report["tables"]);
    }
    let list = kept
        .client()
        .get(&format!("/sessions/{session}/execs"))
        .await?;
    assert_eq!(
        list.json()["items"].as_array().map(Vec::len),
        Some(3),
        "{}",
        list.text
    );
    Ok(())
}

async fn messages_are_verified(kept: &Kept, execs: &[ExecId]) -> Outcome<()> {
    for exec in execs {
        let found = kept.audit(&["--exec", &exec.to_string()]).await?;
        found.expect_equal()?;
        assert_eq!(found.report["outcome"], "exited", "{found:#?}");
        assert_eq!(found.report["hashed"], true, "{found:#?}");
        assert_eq!(found.report["chained"], found.report["messages"]);
        assert_eq!(
            found.report["archive"]["only_here"],
            found.report["messages"]
        );
    }
    Ok(())
}

async fn messages_of_both_are_verified(
    kept: &Kept,
    session: &str,
    execs: &[ExecId],
) -> Outcome<()> {
    // One that the log still holds, beside those of the archive.
    let client = kept.client();
    let body = json!({"type": "shell", "command": "seq 100", "stream_id": "young"});
    client.run(session, &body).await?.check()?;
    let all = kept.audit(&["--execs"]).await?;
    all.expect_equal()?;
    for what in ["execs", "ended", "hashed"] {
        assert_eq!(all.report[what], execs.len() + 1, "{what}: {all:#?}");
    }
    assert_eq!(all.report["archived"], execs.len(), "{all:#?}");
    assert_eq!(all.report["expired"], 0, "{all:#?}");
    // Where the archive is not asked, nothing is known of them.
    let blind = kept.world.audit(&["--execs"], &[]).await?;
    assert_eq!(blind.report["execs"], 1, "{blind:#?}");
    Ok(())
}
