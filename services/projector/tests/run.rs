//! The whole projector on real servers: it follows, stands by, takes over, and waits out servers
//! that are away.

#![expect(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

mod database;
mod log;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use database::TestDatabase;
use log::{claude_session, exec, exited, project, result_line, session, yielded};
use rdev_bus::append::{Entry, ExecWriter};
use rdev_bus::submit::Submitted;
use rdev_bus::{Bus, BusConfig};
use rdev_contract::agent::Agent;
use rdev_contract::envelope::{Body, Chain, PAYLOAD_VERSION, Recorded};
use rdev_contract::event::{
    AgentLine, Command, CommandSpec, Event, EventBatch, Kind, OutputStream, Text, Work,
};
use rdev_contract::id::ExecId;
use rdev_contract::position::{EventNo, StreamSeq};
use rdev_contract::session::SessionMessage;
use rdev_contract::subject::{EXEC_STREAM, SESSION_STREAM};
use rdev_embedded::{NatsOptions, NatsServer, draw_port};
use rdev_projector::{Arguments, Config, RunError, run};
use rdev_readmodel::{ExecFilter, PageRequest, ReadModel, SessionFilter};
use rdev_runtime::Shutdown;
use refinery::Target;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;

/// Longer than any take-over or reconnect; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    nats: NatsServer,
    database: TestDatabase,
    bus: Bus,
    model: ReadModel,
    _directory: TempDir,
}

impl World {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let nats = NatsServer::start(NatsOptions::new(directory.path()))
            .await
            .unwrap();
        let database = TestDatabase::start_empty().await;
        let bus = Bus::connect(config(&nats, &database).bus, "test")
            .await
            .unwrap();
        bus.ensure_topology().await.unwrap();
        let model = ReadModel::new(&database.url);
        Self {
            nats,
            database,
            bus,
            model,
            _directory: directory,
        }
    }

    fn projector(&self) -> Projector {
        Projector::start(config(&self.nats, &self.database))
    }

    async fn submit(&self, exec: &ExecId, work: Work) -> StreamSeq {
        let spec = CommandSpec::new(work, 5);
        let at = jiff::Timestamp::now();
        let command = Command {
            spec,
            accept_until: at,
            awaits_pod: false,
            by: log::requester(),
        };
        let Submitted::Created(sequence) = self.bus.submit(exec, &command, at).await.unwrap()
        else {
            panic!("{exec} was there already");
        };
        sequence
    }

    async fn append(
        &self,
        exec: &ExecId,
        after: StreamSeq,
        kind: Kind,
        event: Event<'_>,
    ) -> StreamSeq {
        let mut events = EventBatch::default();
        events.push(&event).unwrap();
        let tail = Recorded {
            sequence: after,
            value: Chain::default(),
        };
        let mut writer = ExecWriter::new(self.bus.clone(), exec.clone(), None, 1, tail);
        let body = Body::Events(&events);
        let entry = Entry {
            kind,
            first: Some(EventNo(1)),
            to: None,
            body,
        };
        writer.append(entry, jiff::Timestamp::now()).await.unwrap()
    }

    /// Waits until the tables are past this message.
    async fn projected(&self, stream: &str, sequence: StreamSeq) {
        let past = async {
            while !matches!(self.model.is_past(stream, sequence).await, Ok(true)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, past).await;
        assert!(
            waited.is_ok(),
            "{stream} was not projected up to {sequence}"
        );
    }

    async fn stop(mut self) {
        self.nats.stop().await;
        self.database.stop().await;
    }
}

fn config(nats: &NatsServer, database: &TestDatabase) -> Config {
    let (nats, postgres) = (nats.url(), database.server.url());
    let arguments = [
        "rdev-projector",
        "--nats-url",
        &nats,
        "--postgres-url",
        &postgres,
    ];
    let mut config = Arguments::try_parse_from(arguments).unwrap().config;
    config.bus = BusConfig {
        credentials: None,
        ..config.bus
    };
    config
}

struct Projector {
    shutdown: Shutdown,
    task: JoinHandle<Result<(), RunError>>,
}

impl Projector {
    fn start(config: Config) -> Self {
        let shutdown = Shutdown::new();
        let task = tokio::spawn(run(config, shutdown.clone()));
        Self { shutdown, task }
    }

    async fn stop(self) {
        self.shutdown.request();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }

    /// Ends in the middle of whatever it does.
    async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

#[tokio::test]
async fn rows_follow_the_log() {
    let world = World::start().await;
    let projector = world.projector();
    let exec = exec(1, "a");
    let created = SessionMessage {
        v: PAYLOAD_VERSION,
        project: project(),
        session: session(1),
        at: jiff::Timestamp::now(),
        fact: log::created(),
    };
    let created = world.bus.append_session_once(&created).await.unwrap();
    let command = world.submit(&exec, log::claude("hello")).await;
    let line = result_line("answer", "0.5");
    let line = AgentLine::parse(line.as_bytes(), false).unwrap();
    let result = world
        .append(
            &exec,
            command,
            Kind::Claude,
            Event::Agent(Agent::Claude, line),
        )
        .await;
    let end = yielded(session(1), claude_session(1));
    let end = world
        .append(&exec, result, Kind::Complete, Event::Complete(&end))
        .await;
    world.projected(EXEC_STREAM, end).await;
    world.projected(SESSION_STREAM, created).await;

    let first = PageRequest::default();
    assert_eq!(
        world
            .model
            .sessions(&project(), &SessionFilter::default(), &first)
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    let conversation = session(1).conversation();
    let messages = world
        .model
        .messages(&project(), conversation, &first)
        .await
        .unwrap()
        .items;
    let texts: Vec<_> = messages
        .iter()
        .map(|message| message.content.as_str())
        .collect();
    assert_eq!(texts, ["hello", "answer"]);
    projector.stop().await;
    world.stop().await;
}

mod embedded {
    refinery::embed_migrations!("../../migrations");
}

fn newest() -> usize {
    embedded::migrations::runner().get_migrations().len()
}

/// Puts the rows into tables as a build that knows no later migration leaves them.
async fn put_back(database: &TestDatabase, version: i32) {
    database
        .execute("ALTER SCHEMA public RENAME TO newest; CREATE SCHEMA public")
        .await;
    let (mut client, connection) = tokio_postgres::connect(&database.server.url(), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    embedded::migrations::runner()
        .set_target(Target::Version(version))
        .run_async(&mut client)
        .await
        .unwrap();
    let copied = "DO $$ DECLARE of text; known text; BEGIN
        FOR of IN SELECT tablename FROM pg_tables
            WHERE schemaname = 'public' AND tablename <> 'refinery_schema_history'
        LOOP
            SELECT string_agg(quote_ident(column_name), ',') INTO known
                FROM information_schema.columns WHERE table_schema = 'public' AND table_name = of;
            EXECUTE format('INSERT INTO public.%I (%s) SELECT %s FROM newest.%I',
                of, known, known, of);
        END LOOP;
    END $$; DROP SCHEMA newest CASCADE";
    client.batch_execute(copied).await.unwrap();
}

/// Waits until the tables are of this build, and all rows.
async fn renewed(database: &TestDatabase) {
    let newest = newest().to_string();
    let version = "SELECT max(version) FROM refinery_schema_history";
    let renewing = async {
        while database.value(version).await.as_ref() != Some(&newest)
            || !matches!(database.writing.is_fold_current().await, Ok(true))
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, renewing).await;
    assert!(waited.is_ok(), "the tables are still of an older build");
}

/// A run of claude with a tool and a cost, which fills what came with V3.
async fn run_of_claude(world: &World, exec: &ExecId) -> StreamSeq {
    let mut last = world.submit(exec, log::claude("use a tool")).await;
    for line in include_str!("../../../tests/fixtures/claude/tool_allowed.jsonl").lines() {
        let line = AgentLine::parse(line.as_bytes(), false).unwrap();
        last = world
            .append(exec, last, Kind::Claude, Event::Agent(Agent::Claude, line))
            .await;
    }
    let end = yielded(exec.session, claude_session(1));
    world
        .append(exec, last, Kind::Complete, Event::Complete(&end))
        .await
}

#[tokio::test]
async fn rows_that_an_older_build_made_are_folded_anew() {
    let world = World::start().await;
    let projector = world.projector();
    let end = run_of_claude(&world, &exec(1, "a")).await;
    world.projected(EXEC_STREAM, end).await;
    projector.stop().await;
    let expected = world.database.dump().await;
    assert!(expected.contains("tool_messages") && expected.contains("\"cli_version\": \"2"));

    for version in 1..i32::try_from(newest()).unwrap() {
        put_back(&world.database, version).await;
        let projector = world.projector();
        renewed(&world.database).await;
        let found = world.database.dump().await;
        let difference = database::difference(&found, &expected);
        assert_eq!(difference, "", "from the tables of V{version}");
        projector.stop().await;
    }
    world.stop().await;
}

/// A rollout that was taken back for a while: the tables are of the newest build, some rows are not.
#[tokio::test]
async fn rows_that_an_older_build_made_in_newer_tables_are_folded_anew() {
    let world = World::start().await;
    let projector = world.projector();
    let end = run_of_claude(&world, &exec(1, "a")).await;
    world.projected(EXEC_STREAM, end).await;
    projector.stop().await;
    let expected = world.database.dump().await;
    assert!(world.database.writing.is_fold_current().await.unwrap());
    let older = "UPDATE positions SET moved_at = now() WHERE log = 'RDEV_EXEC';
        UPDATE execs SET cli_version = NULL; DELETE FROM tool_messages";
    world.database.execute(older).await;
    // What this build writes behind them does not make older rows newer.
    let writing = &world.database.writing;
    let place = writing.position(EXEC_STREAM).await.unwrap().unwrap();
    writing
        .move_position(EXEC_STREAM, place, place)
        .await
        .unwrap();
    assert!(!writing.is_fold_current().await.unwrap());

    let projector = world.projector();
    let end = run_of_claude(&world, &exec(1, "b")).await;
    world.projected(EXEC_STREAM, end).await;
    renewed(&world.database).await;
    let found = world.database.dump().await;
    for row in expected.lines().filter(|row| !row.starts_with("conv")) {
        assert!(found.contains(row), "{row} is not in\n{found}");
    }
    projector.stop().await;
    world.stop().await;
}

/// Output makes no rows, so the position would stay behind it.
#[tokio::test]
async fn a_projection_that_is_caught_up_is_past_output_too() {
    let world = World::start().await;
    let projector = world.projector();
    let exec = exec(1, "a");
    let command = world.submit(&exec, log::shell("echo")).await;
    let text = Event::Output(Text::of(b"line", Some(OutputStream::Stdout), false));
    let output = world.append(&exec, command, Kind::Output, text).await;
    world.projected(EXEC_STREAM, output).await;
    let end = world
        .append(&exec, output, Kind::Complete, Event::Complete(&exited(0)))
        .await;
    world.projected(EXEC_STREAM, end).await;
    let view = world.model.exec(&exec).await.unwrap().unwrap();
    assert_eq!(view.status, "complete");
    projector.stop().await;
    world.stop().await;
}

/// What the probe says behind its first line.
async fn probe(address: SocketAddr) -> String {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return String::new();
    };
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn probed(address: SocketAddr, found: impl Fn(&str) -> bool) {
    let probes = async {
        while !found(&probe(address).await) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, probes).await;
    assert!(waited.is_ok(), "{}", probe(address).await);
}

#[tokio::test]
async fn a_probe_tells_the_lag_of_the_active_one() {
    let mut world = World::start().await;
    let mut config = config(&world.nats, &world.database);
    let address = SocketAddr::from(([127, 0, 0, 1], draw_port().unwrap()));
    config.health.health_listen = Some(address);
    let projector = Projector::start(config);
    let command = world.submit(&exec(1, "a"), log::shell("true")).await;
    let reached = format!("RDEV_EXEC position={command} last={command} lag_messages=0");
    probed(address, |answer| answer.contains(&reached)).await;
    assert!(probe(address).await.contains("poisoned=0"));

    // A projector without its database is not the active one any more, and says so.
    world.database.server.kill().await;
    probed(address, |answer| answer.contains("standing by")).await;
    world.database.server.restart().await.unwrap();
    probed(address, |answer| answer.contains(&reached)).await;
    projector.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_stand_by_takes_over() {
    let world = World::start().await;
    let first = world.projector();
    let command = world.submit(&exec(1, "a"), log::shell("true")).await;
    world.projected(EXEC_STREAM, command).await;
    let second = world.projector();
    let third = world.projector();
    first.crash().await;
    let command = world.submit(&exec(1, "b"), log::shell("true")).await;
    world.projected(EXEC_STREAM, command).await;
    let rows = world
        .model
        .execs(
            &project(),
            &ExecFilter::default().of_session(session(1)),
            &PageRequest::default(),
        )
        .await
        .unwrap();
    assert_eq!(rows.items.len(), 2);
    second.stop().await;
    let command = world.submit(&exec(1, "c"), log::shell("true")).await;
    world.projected(EXEC_STREAM, command).await;
    third.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn servers_that_are_away_are_waited_for() {
    let mut world = World::start().await;
    world.database.server.stop().await;
    let projector = world.projector();
    let before = world.submit(&exec(1, "a"), log::shell("true")).await;
    world.database.server.restart().await.unwrap();
    world.projected(EXEC_STREAM, before).await;

    world.database.server.kill().await;
    let during = world.submit(&exec(1, "b"), log::shell("true")).await;
    world.database.server.restart().await.unwrap();
    world.projected(EXEC_STREAM, during).await;

    world.nats.kill().await;
    world.nats.restart().await.unwrap();
    let connected = async {
        while !world.bus.is_connected() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, connected).await.unwrap();
    let after = world.submit(&exec(1, "c"), log::shell("true")).await;
    world.projected(EXEC_STREAM, after).await;
    let rows = world
        .model
        .execs(
            &project(),
            &ExecFilter::default().of_session(session(1)),
            &PageRequest::default(),
        )
        .await
        .unwrap();
    assert_eq!(rows.items.len(), 3);
    projector.stop().await;
    world.stop().await;
}
