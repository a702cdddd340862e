//! Those that are measured, side by side: the same lines, the same readers, the same reading code.

use std::path::Path;

use rdev_embedded::SyncInterval;
use rdev_tests::Outcome;
use uuid::Uuid;

use super::client::{Place, Poster};
use super::floor::Floor;
use super::line::{self, Batch};
use super::ours::{ExecLines, Ours};
use super::peer::Peer;

/// One of those that are measured.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are three of them in the program"
)]
pub(crate) enum Lane {
    Ours(Ours),
    Floor(Floor),
    Peer(Peer),
}

/// What a lane is called in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Ours,
    Floor,
    Peer,
}

/// Rounds of each lane: what `Figure` takes the middle of.
#[derive(Debug, Default)]
pub(crate) struct Rounds(Vec<(Name, f64)>);

impl Rounds {
    pub(crate) fn add(&mut self, name: Name, value: f64) {
        self.0.push((name, value));
    }

    pub(crate) fn median(&self, name: Name) -> Option<f64> {
        let of_name = |(of, value): &(Name, f64)| (*of == name).then_some(*value);
        super::table::median(self.0.iter().filter_map(of_name).collect())
    }
}

/// Starts ours, the floor, and the peer if there is one.
pub(crate) async fn all(peer: Option<&Path>) -> Outcome<Vec<Lane>> {
    let mut lanes = vec![
        Lane::Floor(Floor::start().await?),
        Lane::Ours(Ours::start(SyncInterval::Always).await?),
    ];
    if let Some(program) = peer {
        lanes.push(Lane::Peer(Peer::start(program).await?));
    }
    Ok(lanes)
}

/// Ends all processes of these lanes.
pub(crate) async fn end(lanes: &[Lane]) {
    for lane in lanes {
        match lane {
            Lane::Ours(ours) => ours.end().await,
            Lane::Floor(floor) => floor.end().await,
            Lane::Peer(peer) => peer.end().await,
        }
    }
}

impl Lane {
    pub(crate) const fn name(&self) -> Name {
        match self {
            Self::Ours(_) => Name::Ours,
            Self::Floor(_) => Name::Floor,
            Self::Peer(_) => Name::Peer,
        }
    }

    /// Something new to write and to read.
    pub(crate) async fn topic(&self) -> Outcome<Topic> {
        let name = format!("bench-{}", Uuid::now_v7());
        let (writer, place) = match self {
            Self::Ours(ours) => {
                let (lines, place) = ours.exec(&name).await?;
                (Writer::Ours(Box::new(lines)), place)
            }
            Self::Floor(floor) => {
                let place = floor.place(&name);
                let poster = Poster::open(place.clone()).await?;
                (Writer::Floor(poster), place)
            }
            Self::Peer(peer) => {
                let (poster, place) = peer.stream(&name).await?;
                (Writer::Peer(poster), place)
            }
        };
        Ok(Topic {
            place,
            writer,
            encoded: 0,
        })
    }
}

/// One exec of ours, or what stands for it.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) place: Place,
    writer: Writer,
    encoded: u64,
}

#[derive(Debug)]
enum Writer {
    Ours(Box<ExecLines>),
    Floor(Poster),
    Peer(Poster),
}

impl Topic {
    /// Encodes lines that are to be appended next.
    pub(crate) fn encode(&mut self, lines: u64) -> Outcome<Batch> {
        let first = self.encoded + 1;
        self.encoded += lines;
        match self.writer {
            Writer::Ours(_) => line::events(lines),
            Writer::Floor(_) => Ok(line::frames(first, lines)),
            Writer::Peer(_) => Ok(line::array(lines)),
        }
    }

    /// Appends, and waits until it is stored.
    pub(crate) async fn append(&mut self, batch: &Batch) -> Outcome<()> {
        match (&mut self.writer, batch) {
            (Writer::Ours(lines), Batch::Events(batch)) => lines.append(batch).await.map(|_| ()),
            (Writer::Floor(poster) | Writer::Peer(poster), Batch::Bytes(bytes)) => {
                poster.send("POST", bytes).await
            }
            (Writer::Ours(_), Batch::Bytes(_))
            | (Writer::Floor(_) | Writer::Peer(_), Batch::Events(_)) => {
                Err("a batch that was encoded for another".into())
            }
        }
    }

    /// All batches of so many lines.
    pub(crate) fn encode_all(&mut self, lines: u64) -> Outcome<Vec<Batch>> {
        let mut batches = Vec::new();
        let mut left = lines;
        while left > 0 {
            let some = left.min(line::BATCH_LINES);
            batches.push(self.encode(some)?);
            left -= some;
        }
        Ok(batches)
    }

    /// Appends so many lines, as fast as it goes.
    pub(crate) async fn fill(&mut self, lines: u64) -> Outcome<()> {
        for batch in self.encode_all(lines)? {
            self.append(&batch).await?;
        }
        Ok(())
    }

    /// Ends the exec; what stands for one just ends being written.
    pub(crate) async fn finish(&mut self) -> Outcome<()> {
        match &mut self.writer {
            Writer::Ours(lines) => lines.finish().await,
            Writer::Floor(_) | Writer::Peer(_) => Ok(()),
        }
    }
}
