//! From every earlier version to the newest one, with rows in it; and a build of every earlier
//! version on the newest tables: what it sends is answered as it was on its own.

#![expect(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

mod rows;
mod server;

use rdev_readmodel::{
    ConversationFilter, ExecFilter, FOLD_VERSION, PageRequest, ReadModel, SessionFilter, TimeRange,
    migrate,
};
use refinery::Target;
use rows::{project, session};
use server::TestServer;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

mod embedded {
    refinery::embed_migrations!("../../migrations");
}

/// Statements of an era, and what a build sends in the life of an exec: the statement, its values.
type Life = (&'static str, &'static [(&'static str, &'static str)]);

const V1: Life = (include_str!("eras/v1.sql"), &V1_LIFE);
const V3: Life = (include_str!("eras/v3.sql"), &V3_LIFE);
const V6: Life = (include_str!("eras/v6.sql"), &V6_LIFE);
/// What builds of each version send, by the version they know.
const ERAS: [(i32, &[Life]); 3] = [(1, &[V1]), (3, &[V1, V3]), (6, &[V1, V6])];

/// What a build of V6 reads otherwise than later ones.
const V6_LIFE: [(&str, &str); 1] = [(
    "SESSIONS_OF_V6",
    "'demo', '2027-01-01Z', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '2026-01-01Z', 9",
)];

/// What a build of V3 writes and reads otherwise than later ones.
const V3_LIFE: [(&str, &str); 3] = [
    (
        "CLAUDE_BEGUN",
        "'demo', '00000000-0000-0000-0000-000000000001', 'a', '2026-01-01Z', '2026-11-22Z', \
         '2.1.330', false",
    ),
    (
        "EXECS_OF_PROJECT",
        "'demo', '2027-01-01Z', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '', '2026-01-01Z', 9",
    ),
    ("USAGE", "'demo', '2026-01-01Z', '2027-01-01Z'"),
];

/// What a build of V1 writes in the life of an exec, and then reads: the statement, its values.
const V1_LIFE: [(&str, &str); 22] = [
    ("POSITION_BEGIN", "'RDEV_EXEC', '2026-01-01Z', 0"),
    (
        "POSITION_MOVE",
        "'RDEV_EXEC', '2026-01-01Z', 0, '2026-01-01Z', 7",
    ),
    (
        "SESSION_CREATED",
        "'demo', '00000000-0000-0000-0000-000000000001', 'pod', null, null, '{}', '2026-11-22Z'",
    ),
    (
        "SESSION_LINKED",
        "'demo', '00000000-0000-0000-0000-000000000001', \
         'c1a0de00-0000-0000-0000-000000000001', 'a', 3",
    ),
    (
        "SESSION_ENDED",
        "'demo', '00000000-0000-0000-0000-000000000001', '{}', '2026-11-23Z'",
    ),
    (
        "EXEC_COMMANDED",
        "'demo', '00000000-0000-0000-0000-000000000001', 'a', '2026-01-01Z', '2026-11-22Z', \
         'claude', null, 'hello', '{one}', '/work', 5, '{}', 3",
    ),
    (
        "EXEC_STARTED",
        "'demo', '00000000-0000-0000-0000-000000000001', 'a', '2026-01-01Z', \
         '2026-11-22 00:00:01Z', 1, 'executor', '{claude}', null, '{}'",
    ),
    (
        "EXEC_RESUMED",
        "'demo', '00000000-0000-0000-0000-000000000001', 'a', '2026-01-01Z', \
         '2026-11-22 00:00:02Z', 2, 'another'",
    ),
    (
        "FRAGMENT_ADDED",
        "'demo', '00000000-0000-0000-0000-000000000001', 'a', 0, '\\x7b'",
    ),
    (
        "FRAGMENTS_TAKEN",
        "'demo', '00000000-0000-0000-0000-000000000001', 'a'",
    ),
    (
        "EXEC_RESULT",
        "'demo', '00000000-0000-0000-0000-000000000001', 'a', '2026-01-01Z', \
         '2026-11-22 00:00:03Z', 'answer', 'success', false, '0.25', '{\"input_tokens\": 1}', '{}'",
    ),
    (
        "EXEC_COMPLETED",
        "'demo', '00000000-0000-0000-0000-000000000001', 'a', '2026-01-01Z', \
         '2026-11-22 00:00:04Z', 7, 'exited', 0, true, null, '', 12, 6, 0, 'aa', 'bb', \
         'c1a0de00-0000-0000-0000-000000000001', 'x'",
    ),
    (
        "CONVERSATION_HELD",
        "'demo', '00000000-0000-0000-0000-000000000001', 'a', \
         '00000000-0000-0000-0000-00000000000c', 'Session', \
         'c1a0de00-0000-0000-0000-000000000001', '2026-11-22 00:00:04Z'",
    ),
    (
        "USER_MESSAGE",
        "'demo', '00000000-0000-0000-0000-000000000001', 'a', \
         '00000000-0000-0000-0000-0000000000aa', '00000000-0000-0000-0000-00000000000c'",
    ),
    (
        "ASSISTANT_MESSAGE",
        "'demo', '00000000-0000-0000-0000-000000000001', 'a', \
         '00000000-0000-0000-0000-0000000000ab', '00000000-0000-0000-0000-00000000000c', \
         '2026-11-22 00:00:04Z'",
    ),
    (
        "POISONED",
        "'RDEV_EXEC', '2026-01-01Z', 5, 'rdev.exec', '\\x00', '2026-11-22Z', 'why'",
    ),
    (
        "SESSIONS",
        "'demo', '2027-01-01Z', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 9",
    ),
    (
        "EXECS",
        "'demo', '00000000-0000-0000-0000-000000000001', '2027-01-01Z', '', 9",
    ),
    (
        "EXEC",
        "'demo', '00000000-0000-0000-0000-000000000001', 'a'",
    ),
    (
        "CONVERSATIONS",
        "'demo', '2027-01-01Z', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 9",
    ),
    (
        "CONVERSATION",
        "'demo', '00000000-0000-0000-0000-00000000000c'",
    ),
    (
        "MESSAGES",
        "'demo', '00000000-0000-0000-0000-00000000000c', '2026-01-01Z', '', -1, 9",
    ),
];

fn newest() -> i32 {
    embedded::migrations::runner()
        .get_migrations()
        .iter()
        .map(refinery::Migration::version)
        .max()
        .unwrap()
}

async fn connect(server: &TestServer) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.server.url(), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

async fn at_version(version: i32) -> (TestServer, Client) {
    let server = TestServer::start().await;
    let mut client = connect(&server).await;
    embedded::migrations::runner()
        .set_target(Target::Version(version))
        .run_async(&mut client)
        .await
        .unwrap();
    (server, client)
}

/// Name and text of each statement of an era.
fn statements(era: &'static str) -> Vec<(&'static str, &'static str)> {
    let named = era.split("\n\n-- ").skip(1);
    named
        .map(|part| part.split_once('\n').unwrap())
        .map(|(name, text)| (name.trim(), text.trim().trim_end_matches(';')))
        .collect()
}

/// Sends each as that build would; its types, and the answers as text, row by row.
async fn live(client: &Client, (era, life): Life) -> Vec<String> {
    let mut answers = Vec::new();
    for (name, text) in statements(era) {
        // A build reads and writes the types that it knows.
        let statement = client.prepare(text).await.unwrap();
        let columns = statement.columns().iter();
        let columns: Vec<_> = columns
            .map(|column| (column.name(), column.type_()))
            .collect();
        answers.push(format!("{name} {:?} {columns:?}", statement.params()));
        let prepared = format!("PREPARE {name} AS {text}");
        client.batch_execute(&prepared).await.unwrap();
    }
    for (name, values) in life {
        let sent = format!("EXECUTE {name}({values})");
        for message in client.simple_query(&sent).await.unwrap() {
            if let SimpleQueryMessage::Row(row) = &message {
                let values: Vec<_> = (0..row.len()).map(|index| row.get(index)).collect();
                answers.push(format!("{name} {values:?}"));
            } else if let SimpleQueryMessage::CommandComplete(count) = &message {
                answers.push(format!("{name} {count}"));
            }
        }
    }
    answers
}

#[test]
fn every_statement_of_the_era_is_tried() {
    for (era, life) in [V1, V3, V6] {
        let mut all: Vec<_> = statements(era).iter().map(|(name, _)| *name).collect();
        let not_of_a_life = ["POSITIONS", "POISON_COUNT"];
        all.retain(|name| !not_of_a_life.contains(name));
        let mut tried: Vec<_> = life.iter().map(|(name, _)| *name).collect();
        all.sort_unstable();
        tried.sort_unstable();
        assert_eq!(tried, all);
    }
}

#[tokio::test]
async fn an_old_build_lives_on_the_newest_tables_as_on_its_own() {
    for (version, lives) in ERAS {
        let (own, client) = at_version(version).await;
        let (newest, newest_client) = at_version(newest()).await;
        for life in lives {
            let expected = live(&client, *life).await;
            assert!(expected.len() >= 2 * life.1.len(), "{expected:?}");
            assert_eq!(live(&newest_client, *life).await, expected);
        }
        own.stop().await;

        // And the newest build finds what the old one has written.
        let model = ReadModel::new(&newest.url);
        let (demo, all, first) = (
            project("demo"),
            ExecFilter::default(),
            PageRequest::default(),
        );
        let execs = model.execs(&demo, &all, &first).await.unwrap();
        assert_eq!(execs.items.len(), 1);
        newest.stop().await;
    }
}

#[tokio::test]
async fn rows_of_every_earlier_version_are_kept_and_shown() {
    for version in 1..newest() {
        let (server, client) = at_version(version).await;
        live(&client, V1).await;
        drop(client);
        let applied = migrate(&server.url).await.unwrap();
        assert_eq!(applied, usize::try_from(newest() - version).unwrap());
        assert_eq!(migrate(&server.url).await.unwrap(), 0);

        let (model, demo, first) = (
            ReadModel::new(&server.url),
            project("demo"),
            PageRequest::default(),
        );
        let all = SessionFilter::default();
        let sessions = model.sessions(&demo, &all, &first).await.unwrap();
        assert_eq!(sessions.items[0].status, "ended");
        let of_session = ExecFilter::default().of_session(session(1));
        let execs = model.execs(&demo, &of_session, &first).await.unwrap().items;
        assert_eq!(
            (execs[0].status.as_str(), execs[0].attempts),
            ("complete", 2)
        );
        // What the run cost alone is not known until it is folded again.
        let usage = execs[0].usage.as_ref().unwrap();
        assert_eq!((usage.total_cost_usd, usage.cost_usd), (Some(0.25), None));
        let totals = model
            .usage(&demo, None, &TimeRange::default())
            .await
            .unwrap();
        assert_eq!((totals.runs, totals.runs_not_known), (1, 1));
        let all = ConversationFilter::default();
        let held = model.conversations(&demo, &all, &first).await.unwrap();
        let conversation = held.items[0].id.parse().unwrap();
        let messages = model.messages(&demo, conversation, &first).await.unwrap();
        let texts: Vec<_> = messages
            .items
            .iter()
            .map(|one| one.content.as_str())
            .collect();
        assert_eq!(texts, ["hello", "answer"], "from version {version}");
        assert_eq!(model.poison_count().await.unwrap(), 1);
        server.stop().await;
    }
}

/// A rollout that is taken back: the build before starts on tables that have more than it knows.
#[tokio::test]
async fn a_build_starts_on_the_tables_of_a_newer_one() {
    let (server, client) = at_version(newest()).await;
    let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
        VALUES (1000, 'of_a_newer_build', '2027-01-01T00:00:00Z', '1')";
    client.batch_execute(newer).await.unwrap();
    assert_eq!(migrate(&server.url).await.unwrap(), 0);
    server.stop().await;
}

/// A migration that adds what is folded needs a higher fold; one that adds indexes does not.
#[test]
fn whoever_adds_a_migration_thinks_of_the_fold() {
    assert_eq!(
        (newest(), FOLD_VERSION),
        (7, 3),
        "a new migration: does the same log make other rows now? Then raise FOLD_VERSION; and say \
         here what both are"
    );
}
