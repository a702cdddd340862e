//! How fast the projector brings facts into the tables, beside only reading them from the log; and
//! how fast `rdev audit` then compares the two, folds the tables anew, and verifies the messages.
//!
//! The log is filled first: execs with a command, a claim and an end each, every tenth of them a
//! run of claude that uses tools. Then a projector starts, and has all of it before it.

use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use rdev_bus::append::{Entry, ExecWriter};
use rdev_bus::{Bus, LogStream};
use rdev_contract::agent::Agent;
use rdev_contract::envelope::{Body, Message, Recorded};
use rdev_contract::event::{
    AgentLine, Command, CommandSpec, Complete, Event, EventBatch, Kind, Outcome as End,
    PodIdentity, Requester, Started, Work,
};
use rdev_contract::id::ClaimId;
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_contract::subject::Filter;
use rdev_readmodel::ReadModel;
use rdev_tests::Outcome;
use rdev_tests::transcript::sha256;
use rdev_tests::world::World;
use serde_json::value::RawValue;
use tokio::time::Instant;
use uuid::Uuid;

use crate::log::new_exec;
use crate::report::Report;

/// One exec in so many is a run of claude.
const CLAUDE_EVERY: usize = 10;
const RECORDING: &str = include_str!("../../fixtures/claude/tool_multi.jsonl");
/// Execs that are written at once.
const WRITERS: usize = 64;
/// How often is looked how far the projector is.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Execs in the log.
    #[arg(long, default_value_t = 20_000)]
    execs: usize,
}

pub(crate) async fn run(settings: &Settings) -> Outcome<Report> {
    let mut world = World::bare(crate::options(crate::LAZY_SYNC)?).await?;
    let bus = world.bus().await?;
    bus.ensure_topology().await?;
    let written = stream::iter(0..settings.execs)
        .map(|index| exec(&bus, index % CLAUDE_EVERY == 0))
        .buffer_unordered(WRITERS)
        .collect::<Vec<Outcome<usize>>>()
        .await;
    let mut facts = 0;
    for one in written {
        facts += one?;
    }
    let last = bus.identity(LogStream::Exec).await?.last;
    let floor = read_only(&bus, last).await?;
    let model = ReadModel::new(&world.postgres_url.parse()?);
    let _projector = world.projector()?;
    let took = projected(&model, last).await?;
    let mut report = Report::new("projection");
    let rate = |took: Duration| per_second(facts, took);
    report.row(
        &format!("{facts} facts of {} execs", settings.execs),
        format!("{:.0} facts/s", rate(took)),
        format!(
            "{:.2} of {:.0} facts/s only read",
            rate(took) / rate(floor),
            rate(floor)
        ),
    );
    for (what, arguments) in [
        ("rdev audit, tables", vec![]),
        ("rdev audit --rebuild", vec!["--rebuild"]),
        ("rdev audit --execs", vec!["--execs"]),
    ] {
        let began = Instant::now();
        let done = world.audit(&arguments, &[]).await?;
        let took = began.elapsed();
        if done.code != Some(0) {
            let first = done.differences().first();
            return Err(format!("{what}: {:?}, {first:?}, {}", done.code, done.said).into());
        }
        report.row(
            what,
            format!("{:.0} messages/s", rate(took)),
            format!("{:.1} s from start to report", took.as_secs_f64()),
        );
    }
    Ok(report)
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// From the first rows to the last.
async fn projected(model: &ReadModel, last: StreamSeq) -> Outcome<Duration> {
    let mut began = None;
    loop {
        let positions = model.positions().await.unwrap_or_default();
        let position = positions
            .iter()
            .find(|position| position.stream == LogStream::Exec.name())
            .map_or(StreamSeq(0), |position| position.place.sequence);
        if position > StreamSeq(0) {
            let began = began.get_or_insert_with(Instant::now);
            if position >= last {
                return Ok(began.elapsed());
            }
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn read_only(bus: &Bus, last: StreamSeq) -> Outcome<Duration> {
    let filters = Kind::ALL
        .into_iter()
        .filter(|kind| kind.is_projected())
        .map(Filter::kind)
        .collect();
    let began = Instant::now();
    let mut follower = bus.follow(LogStream::Exec, filters, StreamSeq(0)).await?;
    while follower.next().await.sequence < last {}
    Ok(began.elapsed())
}

/// A whole life; how many facts that is.
async fn exec(bus: &Bus, is_claude: bool) -> Outcome<usize> {
    let exec = new_exec()?;
    let work = if is_claude {
        Work::Claude {
            prompt: "use some tools".to_owned(),
            continue_conversation: false,
            conversation_id: None,
        }
    } else {
        Work::Shell {
            command: "cargo test --workspace".to_owned(),
        }
    };
    let at = Timestamp::now();
    bus.submit(&exec, &command(work, at), at).await?;
    let tail = bus.tail(&exec).await?.ok_or("no command")?;
    let tail = Recorded {
        sequence: tail.sequence,
        value: Message::decode(&tail.value.payload)?.chain,
    };
    let claim = ClaimId::new(Uuid::new_v4());
    let mut writer = ExecWriter::new(bus.clone(), exec.clone(), Some(claim), 1, tail);
    let started = serde_json::to_string(&started(claim))?;
    let started = RawValue::from_string(started)?;
    append(&mut writer, Kind::Started, None, Body::Data(&started)).await?;
    let (mut facts, mut number) = (3, EventNo::FIRST);
    let printed = if is_claude { RECORDING } else { "" };
    let to = Offsets::new(printed.len() as u64, 0);
    if is_claude {
        let mut events = EventBatch::default();
        for line in RECORDING.lines() {
            let line = AgentLine::parse(line.as_bytes(), false).ok_or("no line of claude's")?;
            events.push(&Event::Agent(Agent::Claude, line))?;
        }
        let place = Some((number, to));
        number = number.plus(events.count());
        facts += 1;
        append(&mut writer, Kind::Claude, place, Body::Events(&events)).await?;
    }
    let mut complete = complete(printed);
    if is_claude {
        complete.claude_session_id = Uuid::new_v4().to_string();
        complete.conversation_id = exec.session.conversation().to_string();
    }
    let mut events = EventBatch::default();
    events.push(&Event::Complete(&complete))?;
    let place = Some((number, to));
    append(&mut writer, Kind::Complete, place, Body::Events(&events)).await?;
    Ok(facts)
}

async fn append(
    writer: &mut ExecWriter,
    kind: Kind,
    place: Option<(EventNo, Offsets)>,
    body: Body<'_>,
) -> Outcome<()> {
    let entry = Entry {
        kind,
        first: place.map(|(first, _)| first),
        to: place.map(|(_, to)| to),
        body,
    };
    writer.append(entry, Timestamp::now()).await?;
    Ok(())
}

fn command(work: Work, at: Timestamp) -> Command {
    let spec = CommandSpec::new(work, 1800);
    Command {
        spec,
        accept_until: at,
        awaits_pod: false,
        by: Requester {
            key: "bench".to_owned(),
            address: "127.0.0.1:1".to_owned(),
            agent: "rdev-bench".to_owned(),
        },
    }
}

fn started(claim: ClaimId) -> Started {
    Started {
        claim,
        attempt: 1,
        executor: "bench".to_owned(),
        argv: vec!["sh".to_owned(), "-c".to_owned(), "true".to_owned()],
        resume_id: None,
        pod: PodIdentity {
            namespace: "default".into(),
            name: "pod".into(),
            uid: "2b1c5c1e".into(),
            container: "main".into(),
            container_id: "containerd://1".into(),
            restarts: 0,
        },
        shim: "nonce".to_owned(),
    }
}

fn complete(printed: &str) -> Complete {
    Complete {
        exit_code: 0,
        ok: true,
        stdout_bytes: Some(printed.len() as u64),
        stderr_bytes: Some(0),
        stdout_sha256: Some(sha256(printed.as_bytes())),
        stderr_sha256: Some(sha256(b"")),
        ..Complete::without_process(End::Exited, "")
    }
}
