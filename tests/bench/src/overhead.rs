//! What fencing and leases cost: the same batches, made and encoded in the same way, appended by
//! what an executor uses, and published without an expectation, a look at the answer or a lease.
//!
//! Both write into the same stream by turns, so that whatever else the machine does falls on
//! both; each turn of one is compared with the turn of the other beside it.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, message::PublishMessage};
use jiff::Timestamp;
use rdev_bus::append::{Entry, ExecWriter};
use rdev_bus::fence::{Fence, Verdict};
use rdev_bus::queue::Ticket;
use rdev_contract::envelope::Body;
use rdev_contract::event::{Event, EventBatch, Kind, OutputStream, Text};
use rdev_contract::id::ClaimId;
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_contract::subject::Subject;
use rdev_embedded::SyncInterval;
use rdev_tests::Outcome;
use tokio::time::Instant;
use uuid::Uuid;

use crate::log::{LogAlone, beginning, new_exec};
use crate::report::Report;

/// A line without its newline: as long as a line of a build log.
const LINE_BYTES: usize = 99;
/// What group commit gathers, from a command that pauses for each line to one that never does.
const BATCHES: [(&str, usize); 3] = [
    ("one line", 1),
    ("64 KiB", 64 * 1024),
    ("256 KiB", 256 * 1024),
];
/// An executor extends its lease so often; a turn is as long, and has one extension.
const TURN: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Turns of each of both, of each size, with each kind of sync.
    #[arg(long, default_value_t = 20)]
    turns: usize,
}

pub(crate) async fn run(settings: &Settings) -> Outcome<Report> {
    let mut report = Report::new("fencing and leases");
    for (sync_name, sync) in [
        ("a sync before each ack", SyncInterval::Always),
        ("no sync", crate::LAZY_SYNC),
    ] {
        let log = LogAlone::start(sync).await?;
        let mut fenced = Fenced::start(&log).await?;
        let mut bare = Bare::start(&log).await?;
        for (size_name, bytes) in BATCHES {
            let pairs = pairs(&mut fenced, &mut bare, bytes, settings.turns).await?;
            let of = |figure: fn(&Pair) -> f64, share| quantile(&pairs, figure, share);
            report.row(
                &format!("{size_name} a message, {sync_name}"),
                format!(
                    "{:.0} messages/s, {:.1} MB/s of lines",
                    of(|pair| pair.fenced.messages, 0.5),
                    of(|pair| pair.fenced.bytes, 0.5) / 1e6,
                ),
                format!(
                    "{:.3} of {:.0} messages/s without (p25 {:.3}, p75 {:.3}; {} pairs)",
                    of(Pair::ratio, 0.5),
                    of(|pair| pair.bare.messages, 0.5),
                    of(Pair::ratio, 0.25),
                    of(Pair::ratio, 0.75),
                    pairs.len(),
                ),
            );
        }
    }
    Ok(report)
}

/// What one turn brought, a second.
#[derive(Debug, Clone, Copy)]
struct Rate {
    messages: f64,
    bytes: f64,
}

/// Two turns, one behind the other.
#[derive(Debug)]
struct Pair {
    fenced: Rate,
    bare: Rate,
}

impl Pair {
    fn ratio(&self) -> f64 {
        self.fenced.messages / self.bare.messages
    }
}

async fn pairs(
    fenced: &mut Fenced,
    bare: &mut Bare,
    bytes: usize,
    turns: usize,
) -> Outcome<Vec<Pair>> {
    // The first turns warm up whatever has to be.
    fenced.turn(bytes).await?;
    bare.turn(bytes).await?;
    let mut pairs = Vec::new();
    for index in 0..turns {
        // Who comes first alternates, so that a drift favours neither.
        let pair = if index % 2 == 0 {
            let fenced = fenced.turn(bytes).await?;
            let bare = bare.turn(bytes).await?;
            Pair { fenced, bare }
        } else {
            let bare = bare.turn(bytes).await?;
            let fenced = fenced.turn(bytes).await?;
            Pair { fenced, bare }
        };
        pairs.push(pair);
    }
    Ok(pairs)
}

fn quantile(pairs: &[Pair], figure: impl Fn(&Pair) -> f64, share: f64) -> f64 {
    let mut figures: Vec<_> = pairs.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    let last = figures.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index among a few dozen"
    )]
    let index = (last as f64 * share).round() as usize;
    figures.get(index).copied().unwrap_or_default()
}

/// The place of the next message in its exec.
#[derive(Debug, Default)]
struct Place {
    events: u64,
    stdout: u64,
}

/// Lines as an executor gathers them, up to so many encoded bytes; at least one.
fn gather(bytes: usize) -> Outcome<EventBatch> {
    let line = [b'x'; LINE_BYTES];
    let mut batch = EventBatch::default();
    loop {
        batch.push(&Event::Output(Text::of(
            &line,
            Some(OutputStream::Stdout),
            false,
        )))?;
        let one = batch.encoded_bytes() / usize::try_from(batch.count())?;
        if batch.encoded_bytes() + one > bytes {
            return Ok(batch);
        }
    }
}

impl Place {
    /// The message for a batch, which goes to this place.
    fn entry<'a>(&mut self, batch: &'a EventBatch) -> Entry<'a> {
        let first = EventNo(self.events + 1);
        self.events += batch.count();
        self.stdout += batch.count() * (LINE_BYTES as u64 + 1);
        Entry {
            kind: Kind::Output,
            first: Some(first),
            to: Some(Offsets::new(self.stdout, 0)),
            body: Body::Events(batch),
        }
    }
}

/// Counts the messages of a turn.
struct Turn {
    began: Instant,
    messages: u32,
    from: u64,
}

impl Turn {
    fn begin(place: &Place) -> Self {
        Self {
            began: Instant::now(),
            messages: 0,
            from: place.stdout,
        }
    }

    fn goes_on(&self) -> bool {
        self.began.elapsed() < TURN
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn end(self, place: &Place) -> Rate {
        let seconds = self.began.elapsed().as_secs_f64();
        Rate {
            messages: f64::from(self.messages) / seconds,
            bytes: (place.stdout - self.from) as f64 / seconds,
        }
    }
}

/// What an executor does: a writer behind its fence, and the lease on its command.
struct Fenced {
    writer: ExecWriter,
    ticket: Ticket,
    place: Place,
}

impl Fenced {
    async fn start(log: &LogAlone) -> Outcome<Self> {
        let exec = new_exec()?;
        let claim = ClaimId::new(Uuid::new_v4());
        let mut writer = ExecWriter::new(log.bus.clone(), exec, Some(claim), 1, beginning());
        let data = serde_json::value::to_raw_value("stands for a fact")?;
        for kind in [Kind::Command, Kind::Admitted] {
            let entry = Entry {
                kind,
                first: None,
                to: None,
                body: Body::Data(&data),
            };
            writer.append(entry, Timestamp::now()).await?;
        }
        let mut offers = log.bus.commands().await?.ask(1).await?;
        let delivery = offers.next().await?.ok_or("the exec is not offered")?;
        Ok(Self {
            writer,
            ticket: delivery.ticket,
            place: Place::default(),
        })
    }

    async fn turn(&mut self, bytes: usize) -> Outcome<Rate> {
        let turn = Turn::begin(&self.place);
        let (writer, place) = (&mut self.writer, &mut self.place);
        let writing = async {
            let mut turn = turn;
            while turn.goes_on() {
                let batch = gather(bytes)?;
                writer.append(place.entry(&batch), Timestamp::now()).await?;
                turn.messages += 1;
            }
            Outcome::Ok(turn)
        };
        // As long as appends are acknowledged, they are the proof that the lease asks for.
        let (turn, extended) = tokio::join!(writing, self.ticket.in_progress());
        extended?;
        Ok(turn?.end(&self.place))
    }
}

/// The same messages without a condition: what is sent is stored, whoever sends it.
struct Bare {
    jetstream: jetstream::Context,
    subject: Subject,
    /// Encodes as a writer does; never refused, because nothing is asked.
    encoder: Fence,
    place: Place,
}

impl Bare {
    async fn start(log: &LogAlone) -> Outcome<Self> {
        let exec = new_exec()?;
        Ok(Self {
            jetstream: jetstream::new(async_nats::connect(log.server.url()).await?),
            subject: Subject::exec(&exec, Kind::Output),
            encoder: Fence::new(exec, Some(ClaimId::new(Uuid::new_v4())), 1, beginning()),
            place: Place::default(),
        })
    }

    async fn turn(&mut self, bytes: usize) -> Outcome<Rate> {
        let mut turn = Turn::begin(&self.place);
        while turn.goes_on() {
            let batch = gather(bytes)?;
            let entry = self.place.entry(&batch);
            let attempt = self.encoder.attempt(&entry, Timestamp::now())?;
            let mut headers = HeaderMap::new();
            // Retention is no part of what is measured.
            headers.insert(async_nats::header::NATS_MESSAGE_TTL, "3600s");
            let publish = PublishMessage::build()
                .payload(attempt.payload.clone())
                .headers(headers);
            let subject = self.subject.as_str().to_owned();
            let ack = self.jetstream.send_publish(subject, publish).await?.await?;
            let stored = Verdict::Stored(StreamSeq(ack.sequence));
            let _ = self.encoder.settle(attempt, stored);
            turn.messages += 1;
        }
        Ok(turn.end(&self.place))
    }
}
