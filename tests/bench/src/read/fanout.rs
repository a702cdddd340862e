//! Many readers of one exec: how many events a second reach them, and how late.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use rdev_tests::Outcome;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Context;
use super::client::{Place, Reader};
use super::lane::{self, Lane, Name, Rounds, Topic};
use super::line::{self, BATCH_LINES, Batch};
use super::nats;
use super::table::{Asked, Figure, median};

/// Connections that are being made at once: less than a listener's backlog.
const CONNECTING_MAX: usize = 64;
/// Not counted: caches fill.
const WARM_UP_LINES: u64 = 100;

/// One size of fan-out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) row: &'static str,
    pub(crate) readers: usize,
    /// Lines that are written as fast as it goes; the peer cuts a reader that is 8 MiB behind.
    full_speed_lines: u64,
    /// Lines a second at which the delay is measured: the machine must not be full with it.
    moderate_rate: u64,
    /// Of the p50 and of the events a second, each to the peer's.
    asked: (Asked, Asked),
}

pub(crate) const HUNDRED: Size = Size {
    row: "fanout100",
    readers: 100,
    full_speed_lines: 50_000,
    moderate_rate: 200,
    asked: (Asked::AtMost(1.5), Asked::Nothing),
};
pub(crate) const THOUSAND: Size = Size {
    row: "fanout1000",
    readers: 1000,
    full_speed_lines: 20_000,
    moderate_rate: 20,
    asked: (Asked::Nothing, Asked::AtLeast(1.0)),
};
/// Lines whose delay is measured, in each round.
const MODERATE_LINES: u64 = 600;

pub(crate) async fn run(context: &Context, size: Size) -> Outcome<Vec<Figure>> {
    let lanes = lane::all(context.peer()).await?;
    let (mut rates, mut halves, mut tails) =
        (Rounds::default(), Rounds::default(), Rounds::default());
    let mut bare = Vec::new();
    for _ in 0..context.rounds {
        for lane in &lanes {
            rates.add(lane.name(), full_speed(lane, size).await?);
            let mut delays = moderate(lane, size).await?;
            delays.sort_unstable();
            halves.add(lane.name(), quantile(&delays, 50));
            tails.add(lane.name(), quantile(&delays, 99));
        }
        if let Some(Lane::Ours(ours)) = lanes.iter().find(|lane| lane.name() == Name::Ours) {
            bare.push(bare_nats(ours.world.nats.port(), size).await?);
        }
    }
    lane::end(&lanes).await;
    let figure = |what: &str, unit, rounds: &Rounds| {
        let ours = rounds.median(Name::Ours).unwrap_or_default();
        Figure::new(size.row, what, unit, ours)
            .floor(rounds.median(Name::Floor))
            .peer(rounds.median(Name::Peer))
    };
    let pace = format!("at {} lines/s", size.moderate_rate);
    Ok(vec![
        figure("delivered at full speed", "events/s", &rates)
            .nats(median(bare))
            .against_peer(size.asked.1),
        figure(&format!("append to receipt {pace}, p50"), "ms", &halves).against_peer(size.asked.0),
        figure(&format!("append to receipt {pace}, p99"), "ms", &tails)
            .against_peer(Asked::Nothing),
    ])
}

/// Opens so many readers of one place.
pub(crate) async fn open(place: &Place, readers: usize) -> Outcome<Vec<Reader>> {
    futures::stream::iter(0..readers)
        .map(|_| Reader::open(place, ""))
        .buffer_unordered(CONNECTING_MAX)
        .try_collect()
        .await
}

/// Opens so many readers and sends them one line: whoever has it is attached to what comes.
pub(crate) async fn attach(topic: &mut Topic, readers: usize) -> Outcome<Vec<Reader>> {
    let mut readers = open(&topic.place, readers).await?;
    topic.fill(1).await?;
    for reader in &mut readers {
        reader.until(1).await?;
    }
    Ok(readers)
}

/// Delivered events a second.
async fn full_speed(lane: &Lane, size: Size) -> Outcome<f64> {
    let mut topic = lane.topic().await?;
    let readers = attach(&mut topic, size.readers).await?;
    let batches = topic.encode_all(size.full_speed_lines)?;
    let mut reading = start(readers, 1 + size.full_speed_lines);
    let began = Instant::now();
    for batch in &batches {
        topic.append(batch).await?;
    }
    let last = last(&mut reading).await?;
    topic.finish().await?;
    Ok(rate(size, last.duration_since(began)))
}

fn start(readers: Vec<Reader>, lines: u64) -> JoinSet<Outcome<Instant>> {
    let mut reading = JoinSet::new();
    for mut reader in readers {
        reading.spawn(async move { reader.until(lines).await });
    }
    reading
}

async fn last(reading: &mut JoinSet<Outcome<Instant>>) -> Outcome<Instant> {
    let mut last = None;
    while let Some(ended) = reading.join_next().await {
        last = last.max(Some(ended??));
    }
    last.ok_or_else(|| "there was no reader".into())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn rate(size: Size, took: Duration) -> f64 {
    (size.readers as f64 * size.full_speed_lines as f64) / took.as_secs_f64()
}

/// Delays of all lines at all readers, in microseconds.
async fn moderate(lane: &Lane, size: Size) -> Outcome<Vec<u32>> {
    let mut topic = lane.topic().await?;
    let readers = attach(&mut topic, size.readers).await?;
    let lines = WARM_UP_LINES.min(size.moderate_rate) + MODERATE_LINES.min(size.moderate_rate * 10);
    let mut reading = JoinSet::new();
    for reader in readers {
        let mut reader = reader.with_stamps();
        reading.spawn(async move {
            reader.until(1 + lines).await?;
            Outcome::Ok(reader.into_delays())
        });
    }
    let mut ticks =
        tokio::time::interval(Duration::from_secs(1) / u32::try_from(size.moderate_rate)?);
    for _ in 0..lines {
        ticks.tick().await;
        let batch = topic.encode(1)?;
        topic.append(&batch).await?;
    }
    let mut delays = Vec::new();
    while let Some(ended) = reading.join_next().await {
        let warm_up = usize::try_from(WARM_UP_LINES.min(size.moderate_rate))?;
        delays.extend(ended??.into_iter().skip(warm_up));
    }
    topic.finish().await?;
    Ok(delays)
}

/// In milliseconds.
fn quantile(sorted_us: &[u32], percent: usize) -> f64 {
    let index = sorted_us.len().saturating_sub(1) * percent / 100;
    f64::from(sorted_us.get(index).copied().unwrap_or_default()) / 1000.0
}

/// The same bytes as the peer's, to bare subscribers, nothing stored.
async fn bare_nats(port: u16, size: Size) -> Outcome<f64> {
    let readers: Vec<_> = futures::stream::iter(0..size.readers)
        .map(|_| nats::subscriber(port))
        .buffer_unordered(CONNECTING_MAX)
        .try_collect()
        .await?;
    let mut publisher = nats::Publisher::open(port).await?;
    let mut batches = Vec::new();
    let mut left = size.full_speed_lines;
    while left > 0 {
        let some = left.min(BATCH_LINES);
        batches.push(line::array(some));
        left -= some;
    }
    let mut reading = start(readers, size.full_speed_lines);
    let began = Instant::now();
    for batch in &batches {
        if let Batch::Bytes(bytes) = batch {
            publisher.publish(bytes).await?;
        }
    }
    let last = last(&mut reading).await?;
    Ok(rate(size, last.duration_since(began)))
}
