//! Coming back in the middle of an exec: it must not matter how much else the log holds.

use std::time::Duration;

use jiff::Timestamp;
use rdev_contract::cursor::Cursor;
use rdev_contract::envelope::{Body, Chain, Head, PAYLOAD_VERSION, encode};
use rdev_contract::event::{Event, EventBatch, Kind, OutputStream, Text};
use rdev_contract::id::{ExecId, SessionId, StreamId};
use rdev_contract::position::{EventNo, StreamSeq};
use rdev_contract::subject::Subject;
use rdev_tests::Outcome;
use tokio::time::Instant;
use uuid::Uuid;

use super::Context;
use super::client::{Place, Reader};
use super::line::{self, Batch};
use super::nats::Filler;
use super::ours::{ExecLines, Ours};
use super::table::{Asked, Figure, median};

const MESSAGES: u64 = 1000;
const FEW_FOREIGN_MESSAGES: u64 = 1000;
/// Messages of one foreign exec.
const FOREIGN_EXEC_MESSAGES: u64 = 100;
const SAMPLES: usize = 100;
/// Not counted: caches fill.
const WARM_UP_SAMPLES: usize = 10;

/// A log with an exec among others, and where to come back to.
struct Among {
    ours: Ours,
    lines: ExecLines,
    place: Place,
    cursor: Cursor,
}

pub(crate) async fn run(context: &Context) -> Outcome<Vec<Figure>> {
    let mut few = among(FEW_FOREIGN_MESSAGES).await?;
    let mut many = among(context.foreign).await?;
    let running = both(&few, &many).await?;
    few.lines.finish().await?;
    many.lines.finish().await?;
    let finished = both(&few, &many).await?;
    few.ours.end().await;
    many.ours.end().await;
    let figure = |state: &str, (few, many): (Option<f64>, Option<f64>)| {
        let what = format!(
            "of a {state} exec of {MESSAGES} messages among {} others, p50 ({:.2} among {FEW_FOREIGN_MESSAGES})",
            context.foreign,
            few.unwrap_or_default(),
        );
        Figure::new("resume", &what, "ms", many.unwrap_or_default()).against(
            "few others",
            few,
            Asked::AtMost(1.2),
        )
    };
    Ok(vec![
        figure("running", running),
        figure("finished", finished),
    ])
}

/// A third of the others before, a third between the exec's messages, a third behind.
async fn among(foreign: u64) -> Outcome<Among> {
    // Reading does not depend on when the log was synced; filling it would take long.
    let ours = Ours::start(crate::LAZY_SYNC).await?;
    let mut others = Others::open(ours.world.nats.port()).await?;
    others.put(foreign / 3).await?;
    let (mut lines, place) = ours.exec("resumed").await?;
    let mut middle = (StreamSeq(0), EventNo(0));
    for message in 0..MESSAGES {
        let Batch::Events(batch) = line::events(1)? else {
            return Err("not for the log".into());
        };
        let at = lines.append(&batch).await?;
        if message == MESSAGES / 2 {
            middle = at;
        }
        let share = |upto: u64| foreign / 3 * upto / MESSAGES;
        others.put(share(message + 1) - share(message)).await?;
    }
    others.put(foreign / 3).await?;
    let cursor = Cursor {
        sequence: middle.0,
        number: middle.1,
        tag: lines.exec.tag(),
    };
    Ok(Among {
        ours,
        lines,
        place,
        cursor,
    })
}

/// Medians in milliseconds, measured in turn.
async fn both(few: &Among, many: &Among) -> Outcome<(Option<f64>, Option<f64>)> {
    let (mut of_few, mut of_many) = (Vec::new(), Vec::new());
    for sample in 0..SAMPLES + WARM_UP_SAMPLES {
        for (among, found) in [(few, &mut of_few), (many, &mut of_many)] {
            let took = resume(among).await?;
            if sample >= WARM_UP_SAMPLES {
                found.push(took.as_secs_f64() * 1000.0);
            }
        }
    }
    Ok((median(of_few), median(of_many)))
}

async fn resume(among: &Among) -> Outcome<Duration> {
    let header = format!("Last-Event-ID: {}\r\n", among.cursor);
    let began = Instant::now();
    let mut reader = Reader::open(&among.place, &header).await?;
    Ok(reader.until(1).await?.duration_since(began))
}

/// Writes other people's messages.
struct Others {
    filler: Filler,
    written: u64,
    subject: Subject,
    payload: Vec<u8>,
}

impl Others {
    async fn open(port: u16) -> Outcome<Self> {
        let (subject, payload) = message()?;
        Ok(Self {
            filler: Filler::open(port).await?,
            written: 0,
            subject,
            payload,
        })
    }

    async fn put(&mut self, messages: u64) -> Outcome<()> {
        for left in (0..messages).rev() {
            if self.written.is_multiple_of(FOREIGN_EXEC_MESSAGES) {
                (self.subject, self.payload) = message()?;
            }
            self.written += 1;
            if left == 0 {
                self.filler.settle(&self.subject, &self.payload).await?;
            } else {
                self.filler.put(&self.subject, &self.payload).await?;
            }
        }
        Ok(())
    }
}

/// A small output of an exec that nobody reads.
fn message() -> Outcome<(Subject, Vec<u8>)> {
    let exec = ExecId {
        project: "other".parse()?,
        session: SessionId::new(Uuid::now_v7()),
        stream: StreamId::generated(Uuid::new_v4()),
    };
    let mut batch = EventBatch::default();
    let text = Text::of(b"hi", Some(OutputStream::Stdout), false);
    batch.push(&Event::Output(text))?;
    let subject = Subject::exec(&exec, Kind::Output);
    let head = Head {
        v: PAYLOAD_VERSION,
        project: exec.project,
        session: exec.session,
        stream: exec.stream,
        kind: Kind::Output.token().to_owned(),
        claim: None,
        attempt: 1,
        first: Some(EventNo(1)),
        at: Timestamp::now(),
        to: None,
        prev: StreamSeq(0),
    };
    let payload = encode(&head, &Body::Events(&batch), &Chain::default())?.payload;
    Ok((subject, payload))
}
