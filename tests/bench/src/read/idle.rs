//! Readers that wait: what each costs in memory, and how fast one event reaches all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdev_embedded::SyncInterval;
use rdev_tests::Outcome;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Context;
use super::client::Reader;
use super::fanout::{attach, open};
use super::floor::Floor;
use super::lane::{Lane, Name, Rounds, Topic};
use super::ours::Ours;
use super::table::{Asked, Figure};
use crate::process::resident_bytes;

/// Readers that came and went before the first look: what is made once is there then.
const WARM_UP_READERS: usize = 20;
/// After the last connection, what a process does with it is done.
const SETTLE_TIME: Duration = Duration::from_secs(2);
/// Events that are sent to everybody, in each round.
const EVENTS: u64 = 9;

/// How many execs the readers are spread over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) row: &'static str,
    execs: usize,
}

pub(crate) const ONE_EXEC: Spread = Spread {
    row: "idle",
    execs: 1,
};
pub(crate) const MANY_EXECS: Spread = Spread {
    row: "idle-spread",
    execs: 1000,
};

/// A lane whose readers wait.
struct Waiting {
    /// Keeps the processes.
    lane: Lane,
    topics: Vec<Topic>,
    readers: Vec<Reader>,
    bytes_each: f64,
}

pub(crate) async fn run(context: &Context, spread: Spread) -> Outcome<Vec<Figure>> {
    let (mut memory, mut times) = (Rounds::default(), Rounds::default());
    for _ in 0..context.rounds {
        let floor = Lane::Floor(Floor::start().await?);
        let ours = Lane::Ours(Ours::start(SyncInterval::Always).await?);
        let floor = connect(floor, spread, context.readers).await?;
        let ours = connect(ours, spread, context.readers).await?;
        memory.add(Name::Floor, floor.bytes_each);
        memory.add(Name::Ours, ours.bytes_each);
        if spread.execs == 1 {
            one_to_all(floor, ours, &mut times).await?;
        } else {
            super::lane::end(&[floor.lane, ours.lane]).await;
        }
    }
    let value = |rounds: &Rounds, name| rounds.median(name);
    let what = format!(
        "RSS of each of {} on {} exec(s)",
        context.readers, spread.execs
    );
    let ours = value(&memory, Name::Ours).unwrap_or_default();
    let mut figures = vec![
        Figure::new(spread.row, &what, "bytes", ours)
            .floor(value(&memory, Name::Floor))
            .against_floor(Asked::AtMost(1.25)),
    ];
    if let Some(ours) = value(&times, Name::Ours) {
        let what = format!("one event until the last of {} has it", context.readers);
        figures.push(
            Figure::new(spread.row, &what, "ms", ours)
                .floor(value(&times, Name::Floor))
                .against_floor(Asked::AtMost(1.3)),
        );
    }
    Ok(figures)
}

async fn connect(lane: Lane, spread: Spread, readers: usize) -> Outcome<Waiting> {
    let pid = match &lane {
        Lane::Ours(ours) => ours.pid(),
        Lane::Floor(floor) => floor.pid(),
        Lane::Peer(_) => return Err("the peer's memory is not measured".into()),
    };
    let mut topics = Vec::new();
    for _ in 0..spread.execs {
        topics.push(lane.topic().await?);
    }
    let first = &topics.first().ok_or("no exec")?.place;
    drop(open(first, WARM_UP_READERS).await?);
    tokio::time::sleep(SETTLE_TIME).await;
    let before = resident_bytes(pid)?;
    let mut waiting = Vec::new();
    for topic in &mut topics {
        waiting.extend(attach(topic, readers / spread.execs).await?);
    }
    tokio::time::sleep(SETTLE_TIME).await;
    let after = resident_bytes(pid)?;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let bytes_each = after.saturating_sub(before) as f64 / readers as f64;
    Ok(Waiting {
        lane,
        topics,
        readers: waiting,
        bytes_each,
    })
}

/// Counts down until everybody has an event.
#[derive(Debug, Default)]
struct Gate {
    left: AtomicUsize,
    open: Notify,
}

/// Both wait, and get their events in turn.
async fn one_to_all(floor: Waiting, ours: Waiting, times: &mut Rounds) -> Outcome<()> {
    let mut sides = Vec::new();
    for mut waiting in [floor, ours] {
        let gate = Arc::new(Gate::default());
        let readers = waiting.readers.len();
        let reading = read_all(std::mem::take(&mut waiting.readers), &gate);
        sides.push((waiting, gate, readers, reading));
    }
    for event in 0..EVENTS {
        for (waiting, gate, readers, _) in &mut sides {
            gate.left.store(*readers, Ordering::SeqCst);
            let topic = waiting.topics.first_mut().ok_or("no exec")?;
            let batch = topic.encode(1)?;
            let began = Instant::now();
            topic.append(&batch).await?;
            gate.open.notified().await;
            // The first one warms everything up.
            if event > 0 {
                let took = began.elapsed().as_secs_f64() * 1000.0;
                times.add(waiting.lane.name(), took);
            }
        }
    }
    for (waiting, _, _, mut reading) in sides {
        super::lane::end(&[waiting.lane]).await;
        while let Some(ended) = reading.join_next().await {
            ended??;
        }
    }
    Ok(())
}

fn read_all(readers: Vec<Reader>, gate: &Arc<Gate>) -> JoinSet<Outcome<()>> {
    let mut reading = JoinSet::new();
    for mut reader in readers {
        let gate = gate.clone();
        reading.spawn(async move {
            for event in 1..=EVENTS {
                // The first line came when they were attached.
                reader.until(1 + event).await?;
                if gate.left.fetch_sub(1, Ordering::SeqCst) == 1 {
                    gate.open.notify_one();
                }
            }
            Ok(())
        });
    }
    reading
}
