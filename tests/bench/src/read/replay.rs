//! What is in the log already: many readers that catch up at once, and one that replays a lot.

use std::time::Duration;

use rdev_tests::Outcome;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Context;
use super::client::{self, Place, Reader};
use super::lane::{self, Lane, Name, Rounds};
use super::line::LINE_BYTES;
use super::peer::Peer;
use super::table::{Asked, Figure};

const CATCH_UP_READERS: usize = 200;
/// 200 KiB of output.
const CATCH_UP_LINES: u64 = 200 * 1024 / LINE_BYTES as u64;
const REPLAY_LINES: u64 = 100_000;
const REPLAY_ASKED_PER_SECOND: f64 = 300_000.0;

/// Many readers from the beginning, all at once: of one exec, and each of its own.
pub(crate) async fn catch_up(context: &Context) -> Outcome<Vec<Figure>> {
    let lanes = lane::all(context.peer()).await?;
    let (mut of_one, mut of_many) = (Rounds::default(), Rounds::default());
    for _ in 0..context.rounds {
        for lane in &lanes {
            let one = vec![finished(lane, CATCH_UP_LINES).await?; CATCH_UP_READERS];
            of_one.add(lane.name(), all_at_once(one).await?);
            let mut many = Vec::new();
            for _ in 0..CATCH_UP_READERS {
                many.push(finished(lane, CATCH_UP_LINES).await?);
            }
            of_many.add(lane.name(), all_at_once(many).await?);
        }
    }
    lane::end(&lanes).await;
    let figure = |of: &str, rounds: &Rounds| {
        let what = format!("{CATCH_UP_READERS} readers × 200 KiB {of}, the last has all");
        let ours = rounds.median(Name::Ours).unwrap_or_default();
        Figure::new("catchup", &what, "ms", ours)
            .floor(rounds.median(Name::Floor))
            .peer(rounds.median(Name::Peer))
            .against_peer(Asked::Nothing)
    };
    Ok(vec![
        figure("of one exec", &of_one),
        figure("of an exec each", &of_many),
    ])
}

/// Something that was written to its end.
async fn finished(lane: &Lane, lines: u64) -> Outcome<Place> {
    let mut topic = lane.topic().await?;
    topic.fill(lines).await?;
    topic.finish().await?;
    Ok(match lane {
        Lane::Ours(_) | Lane::Floor(_) => topic.place,
        Lane::Peer(_) => Peer::without_waiting(&topic.place),
    })
}

/// In milliseconds.
async fn all_at_once(places: Vec<Place>) -> Outcome<f64> {
    // A burst of connections is another matter, and not the servers' own.
    let mut connected = Vec::with_capacity(places.len());
    for place in places {
        connected.push((client::connect(place.address).await?, place));
    }
    let began = Instant::now();
    let mut reading = JoinSet::new();
    for (stream, place) in connected {
        reading.spawn(async move {
            let mut reader = Reader::ask(stream, &place, "").await?;
            reader.until(CATCH_UP_LINES).await
        });
    }
    let mut took = Duration::ZERO;
    while let Some(ended) = reading.join_next().await {
        took = took.max(ended??.duration_since(began));
    }
    Ok(took.as_secs_f64() * 1000.0)
}

/// One reader of a long exec.
pub(crate) async fn long(context: &Context) -> Outcome<Vec<Figure>> {
    let lanes = lane::all(context.peer()).await?;
    let mut rates = Rounds::default();
    let mut places = Vec::new();
    for lane in &lanes {
        places.push((lane.name(), finished(lane, REPLAY_LINES).await?));
    }
    for _ in 0..context.rounds {
        for (name, place) in &places {
            let began = Instant::now();
            let mut reader = Reader::open(place, "").await?;
            let took = reader.until(REPLAY_LINES).await?.duration_since(began);
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            rates.add(*name, REPLAY_LINES as f64 / took.as_secs_f64());
        }
    }
    lane::end(&lanes).await;
    let ours = rates.median(Name::Ours).unwrap_or_default();
    let figure = |what: &str| {
        Figure::new("replay", what, "events/s", ours)
            .floor(rates.median(Name::Floor))
            .peer(rates.median(Name::Peer))
    };
    let asked = Some(REPLAY_ASKED_PER_SECOND);
    Ok(vec![
        figure("100,000 events, one reader").against("300,000/s", asked, Asked::AtLeast(1.0)),
        figure("the same").against_floor(Asked::Nothing),
    ])
}
