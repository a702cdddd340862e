//! Readers that never read: the others must not notice.

use rdev_embedded::SyncInterval;
use rdev_tests::Outcome;
use tokio::time::Instant;

use super::Context;
use super::fanout::{attach, open};
use super::lane::Lane;
use super::ours::Ours;
use super::table::{Asked, Figure, median};

const STUCK_READERS: usize = 50;
/// Some ten times what the buffers of a connection take: whoever does not read is stuck.
const LINES: u64 = 400_000;

pub(crate) async fn run(context: &Context) -> Outcome<Vec<Figure>> {
    let lanes = [Lane::Ours(Ours::start(SyncInterval::Always).await?)];
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..context.rounds {
        for lane in &lanes {
            alone.push(fast_reader(lane, 0).await?);
            beside.push(fast_reader(lane, STUCK_READERS).await?);
        }
    }
    super::lane::end(&lanes).await;
    let (alone, beside) = (median(alone), median(beside).unwrap_or_default());
    let what = format!(
        "fast reader beside {STUCK_READERS} stuck ones has {LINES} events ({:.2} alone)",
        alone.unwrap_or_default()
    );
    Ok(vec![Figure::new("stuck", &what, "s", beside).against(
        "alone",
        alone,
        Asked::AtMost(1.1),
    )])
}

/// Seconds until everything that was written at full speed has been read.
async fn fast_reader(lane: &Lane, stuck: usize) -> Outcome<f64> {
    let mut topic = lane.topic().await?;
    let stuck = open(&topic.place, stuck).await?;
    let mut fast = attach(&mut topic, 1).await?.pop().ok_or("no reader")?;
    let batches = topic.encode_all(LINES)?;
    let reading = tokio::spawn(async move { fast.until(1 + LINES).await });
    let began = Instant::now();
    for batch in &batches {
        topic.append(batch).await?;
    }
    let ended = reading.await??;
    drop(stuck);
    topic.finish().await?;
    Ok(ended.duration_since(began).as_secs_f64())
}
