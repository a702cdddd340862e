//! Pages of lists of many execs, as the gateway asks for them, with each filter and without.
//!
//! The tables are filled by the database itself: execs of two projects, sessions of very different
//! length, ends of every kind, a few execs that have not ended.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rdev_contract::event::Outcome as End;
use rdev_contract::id::{ProjectId, SessionId};
use rdev_embedded::{Postgres, PostgresOptions};
use rdev_readmodel::{
    ExecFilter, ExecStatus, PageLimit, PageRequest, ReadModel, TimeRange, migrate,
};
use rdev_tests::Outcome;
use rdev_tests::world::PROJECT;
use tokio::time::Instant;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::report::{Report, Samples, milliseconds};

/// Between two execs; so a million of them take 23 days.
const INTERVAL: SignedDuration = SignedDuration::from_secs(2);
const BEGAN: &str = "2026-10-01T00:00:00Z";
/// Rows of one statement.
const CHUNK_ROWS: usize = 100_000;
/// Not counted: plans are made, pages are read from disk.
const WARM_UP_SAMPLES: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Execs of the project.
    #[arg(long, default_value_t = 1_000_000)]
    execs: usize,
    /// Pages of each kind.
    #[arg(long, default_value_t = 300)]
    samples: usize,
}

/// Every tenth is in one session, the others in a thousand; one in 10,000 is lost, and the last
/// hundred and a few old ones have not ended. `$1`, `$2`: the first and the last number.
const FILL: &str = "INSERT INTO execs (project, session, stream, kind, command, log_created_at,
        command_seq, created_at, attempts, executor, started_at, complete_seq, completed_at, outcome,
        exit_code, ok, reason, duration_ms, stdout_bytes, stderr_bytes, stdout_sha256, stderr_sha256,
        cost_usd, input_tokens, output_tokens, total_cost_usd)
     SELECT CASE WHEN n % 20 = 7 THEN 'other' ELSE 'demo' END,
        lpad(to_hex(CASE WHEN n % 10 = 0 THEN 1 ELSE 2 + n % 1000 END), 32, '0')::uuid,
        'exec-' || n, CASE WHEN n % 10 = 3 THEN 'claude' ELSE 'shell' END, 'cargo test',
        '2026-01-01Z', n * 3, at, CASE WHEN is_queued THEN 0 ELSE 1 END, 'executor',
        CASE WHEN NOT is_queued THEN at END, n * 3 + 2, at + interval '5 seconds',
        CASE WHEN is_open OR is_queued THEN NULL WHEN n % 10000 = 5 THEN 'lost'
            WHEN n % 100 = 11 THEN 'timed_out' ELSE 'exited' END,
        CASE WHEN n % 7 = 0 THEN 1 ELSE 0 END, n % 7 <> 0, '', 5000, 1000, 0,
        repeat('ab', 32), repeat('cd', 32),
        CASE WHEN n % 10 = 3 THEN 0.05 END, CASE WHEN n % 10 = 3 THEN 1000 END,
        CASE WHEN n % 10 = 3 THEN 10 END, CASE WHEN n % 10 = 3 THEN 0.05 END
     FROM (SELECT n, '2026-10-01Z'::timestamptz + n * interval '2 seconds' AS at,
            n > $3::bigint - 50 OR n % 100000 = 1 AS is_open, n > $3::bigint - 20 AS is_queued
        FROM generate_series($1::bigint, $2::bigint) n) numbers";

struct Database {
    server: Postgres,
    model: ReadModel,
    _directory: tempfile::TempDir,
}

pub(crate) async fn run(settings: &Settings) -> Outcome<Report> {
    let mut database = filled(settings.execs).await?;
    let mut report = Report::new("lists");
    for (what, pages) in kinds(settings)? {
        let mut samples = Samples::default();
        let mut items = 0;
        for (index, (filter, page)) in pages.iter().enumerate() {
            let began = Instant::now();
            let found = database.model.execs(&project()?, filter, page).await?;
            if index >= WARM_UP_SAMPLES {
                samples.add(began.elapsed());
                items += found.items.len();
            }
        }
        row(&mut report, what, &samples, &format!("{items} execs shown"));
    }
    walk(&database.model, settings, &mut report).await?;
    sums(&database.model, settings, &mut report).await?;
    database.server.stop().await;
    Ok(report)
}

fn row(report: &mut Report, what: &str, samples: &Samples, beside: &str) {
    let quantile = |share| milliseconds(samples.quantile(share));
    let value = format!(
        "p50 {}, p95 {}, p99 {}",
        quantile(0.5),
        quantile(0.95),
        quantile(0.99)
    );
    report.row(what, value, beside.to_owned());
}

fn project() -> Outcome<ProjectId> {
    Ok(PROJECT.parse()?)
}

async fn filled(execs: usize) -> Outcome<Database> {
    let directory = tempfile::tempdir()?;
    let server = Postgres::start(PostgresOptions::new(directory.path())).await?;
    let url = server.url();
    migrate(&url.parse()?).await?;
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    let last = i64::try_from(execs)?;
    for begin in (0..execs).step_by(CHUNK_ROWS) {
        let end = i64::try_from((begin + CHUNK_ROWS).min(execs))?;
        let begin = i64::try_from(begin)? + 1;
        client.execute(FILL, &[&begin, &end, &last]).await?;
    }
    client.batch_execute("VACUUM ANALYZE execs").await?;
    Ok(Database {
        model: ReadModel::new(&url.parse()?),
        server,
        _directory: directory,
    })
}

type Page = (ExecFilter, PageRequest);

/// Places all over the list, in an order that jumps.
fn places(settings: &Settings) -> Outcome<Vec<Timestamp>> {
    let began: Timestamp = BEGAN.parse()?;
    let mut places = Vec::new();
    for index in 0..settings.samples + WARM_UP_SAMPLES {
        let number = i32::try_from((index * 7919 * 101) % settings.execs)?;
        places.push(began + INTERVAL * number);
    }
    Ok(places)
}

fn kinds(settings: &Settings) -> Outcome<Vec<(&'static str, Vec<Page>)>> {
    let page = PageRequest {
        limit: PageLimit::try_from(50)?,
        cursor: None,
    };
    let places = places(settings)?;
    let long_session = SessionId::new(Uuid::from_u128(1));
    let short_session = SessionId::new(Uuid::from_u128(3));
    let newest = |filter: ExecFilter| vec![(filter, page.clone()); places.len()];
    let anywhere = |status, outcome, session: Option<SessionId>| -> Outcome<Vec<Page>> {
        let mut pages = Vec::new();
        for place in &places {
            let range = TimeRange::parse(None, Some(&place.to_string()))?;
            let filter = ExecFilter::new(status, outcome, range)?;
            let filter = match session {
                Some(session) => filter.of_session(session),
                None => filter,
            };
            pages.push((filter, page.clone()));
        }
        Ok(pages)
    };
    let ever = TimeRange::default();
    let of = |status, outcome| ExecFilter::new(status, outcome, ever);
    let largest = PageRequest {
        limit: PageLimit::try_from(200)?,
        cursor: None,
    };
    Ok(vec![
        ("newest page of 50", newest(ExecFilter::default())),
        (
            "newest page of 200",
            vec![(ExecFilter::default(), largest); places.len()],
        ),
        ("page of 50 anywhere", anywhere(None, None, None)?),
        (
            "anywhere, complete",
            anywhere(Some(ExecStatus::Complete), None, None)?,
        ),
        ("running", newest(of(Some(ExecStatus::Running), None)?)),
        ("queued", newest(of(Some(ExecStatus::Queued), None)?)),
        (
            "anywhere, lost (1 in 10,000)",
            anywhere(None, Some(End::Lost), None)?,
        ),
        ("canceled (none)", newest(of(None, Some(End::Canceled))?)),
        (
            "anywhere in a session of 100,000",
            anywhere(None, None, Some(long_session))?,
        ),
        (
            "anywhere in a session of 1,000",
            anywhere(None, None, Some(short_session))?,
        ),
        (
            "running in a session of 100,000",
            newest(of(Some(ExecStatus::Running), None)?.of_session(long_session)),
        ),
        (
            "canceled (none) in a session of 100,000",
            newest(of(None, Some(End::Canceled))?.of_session(long_session)),
        ),
    ])
}

/// Page after page from the newest on, by cursor.
async fn walk(model: &ReadModel, settings: &Settings, report: &mut Report) -> Outcome<()> {
    let mut samples = Samples::default();
    let (filter, mut cursor) = (ExecFilter::default(), None);
    for _ in 0..settings.samples {
        let limit = PageLimit::try_from(200)?;
        let page = PageRequest { limit, cursor };
        let began = Instant::now();
        let found = model.execs(&project()?, &filter, &page).await?;
        samples.add(began.elapsed());
        cursor = found.next_cursor;
    }
    row(report, "page of 200 after page, by cursor", &samples, "");
    Ok(())
}

/// Not pages: sums over a day, and over everything.
async fn sums(model: &ReadModel, settings: &Settings, report: &mut Report) -> Outcome<()> {
    let mut samples = Samples::default();
    for place in places(settings)? {
        let next_day = place + SignedDuration::from_hours(24);
        let range = TimeRange::parse(Some(&place.to_string()), Some(&next_day.to_string()))?;
        let began = Instant::now();
        model.usage(&project()?, None, &range).await?;
        samples.add(began.elapsed());
    }
    row(report, "usage of a day", &samples, "");
    let began = Instant::now();
    let totals = model
        .usage(&project()?, None, &TimeRange::default())
        .await?;
    let took: Duration = began.elapsed();
    let runs = format!("{} runs", totals.runs);
    report.row("usage of everything", milliseconds(took), runs);
    Ok(())
}
