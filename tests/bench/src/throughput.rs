//! One exec that prints a lot, durable end to end, read by one client.

use std::process::Stdio;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use rdev_bus::append::{Entry, ExecWriter};
use rdev_contract::envelope::Body;
use rdev_contract::event::{Event, EventBatch, Kind, OutputStream, Text};
use rdev_contract::position::{EventNo, Offsets};
use rdev_embedded::SyncInterval;
use rdev_tests::Outcome;
use rdev_tests::world::World;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::Instant;

use crate::log::{LogAlone, beginning, new_exec};
use crate::report::Report;

/// A line with its newline: as long as a line of a build log.
const LINE_BYTES: u64 = 100;
/// What one line a message can do shows within this.
const LINE_A_MESSAGE_TIME: Duration = Duration::from_secs(3);
/// As much as the widest pipe holds.
const PIPE_BUFFER_BYTES: usize = 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Bytes that the command prints.
    #[arg(long, default_value_t = 1_000_000_000)]
    bytes: u64,
}

pub(crate) async fn run(settings: &Settings) -> Outcome<Report> {
    let mut report = Report::new("one exec, one reader");
    let bytes = settings.bytes;
    let pipe = rate(bytes, bare_pipe(bytes).await?);
    report.row("bare pipe", megabytes(pipe), String::new());
    for (name, sync) in [
        ("a sync before each ack", SyncInterval::Always),
        ("no sync", crate::LAZY_SYNC),
    ] {
        let (took, events) = through_rdev(bytes, sync).await?;
        let found = rate(bytes, took);
        let lines = rate(events, took);
        let single = line_a_message(sync).await?;
        report.row(
            &format!("rdev, {name}"),
            format!("{}, {lines:.0} lines/s", megabytes(found)),
            format!(
                "1/{:.1} of the pipe; {:.0} × one line a message ({single:.0} lines/s)",
                pipe / found,
                lines / single
            ),
        );
    }
    Ok(report)
}

fn command(bytes: u64) -> String {
    let line = "x".repeat(usize::try_from(LINE_BYTES - 1).unwrap_or(1));
    format!("yes {line} | head -c {bytes}")
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

fn megabytes(rate: f64) -> String {
    format!("{:.1} MB/s", rate / 1e6)
}

async fn bare_pipe(bytes: u64) -> Outcome<Duration> {
    let began = Instant::now();
    let mut child = Command::new("sh")
        .args(["-c", &command(bytes)])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdout = child.stdout.take().ok_or("no pipe")?;
    let mut buffer = vec![0; PIPE_BUFFER_BYTES];
    let mut total = 0;
    loop {
        let read = stdout.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        total += read as u64;
    }
    child.wait().await?;
    if total != bytes {
        return Err(format!("the pipe carried {total} of {bytes} bytes").into());
    }
    Ok(began.elapsed())
}

/// From the POST until `complete` has been read; and how many output events came.
async fn through_rdev(bytes: u64, sync: SyncInterval) -> Outcome<(Duration, u64)> {
    let (_world, services) = World::start(crate::options(sync)?).await?;
    let client = &services.client;
    let session = client.session("bench").await?;
    client.shell(&session, "true").await?;
    let body = json!({"type": "shell", "command": command(bytes), "stream_id": "large"});
    let began = Instant::now();
    client.exec(&session, &body).await?;
    let url = client.url(&format!("/sessions/{session}/events?stream_id=large"));
    let mut answer = client.http().get(url).send().await?.bytes_stream();
    let mut seen = Counter::default();
    while let Some(chunk) = answer.next().await {
        seen.take(&chunk?);
    }
    let took = began.elapsed();
    let complete = seen.complete()?;
    // A line is cut where the command pauses in its middle: there may be more events than lines.
    if complete["stdout_bytes"] != bytes || seen.outputs < bytes.div_ceil(LINE_BYTES) {
        return Err(format!("{} events came, and {complete}", seen.outputs).into());
    }
    Ok((took, seen.outputs))
}

/// Counts output events without making any of them.
#[derive(Default)]
struct Counter {
    outputs: u64,
    /// The end of what came: an event name may be cut by the chunk's edge.
    tail: Vec<u8>,
}

const OUTPUT: &[u8] = b"\nevent: output\n";
/// `complete` and its data fit.
const TAIL_BYTES: usize = 4096;

impl Counter {
    fn take(&mut self, chunk: &[u8]) {
        // Both parts are shorter than the name, so what is found lies across the chunks' edge.
        let edge = self.tail.len().saturating_sub(OUTPUT.len() - 1);
        let mut joined = self.tail[edge..].to_vec();
        joined.extend_from_slice(&chunk[..chunk.len().min(OUTPUT.len() - 1)]);
        let count = |text: &[u8]| memchr::memmem::find_iter(text, OUTPUT).count() as u64;
        self.outputs += count(&joined) + count(chunk);
        self.tail
            .extend_from_slice(&chunk[chunk.len().saturating_sub(TAIL_BYTES)..]);
        let cut = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..cut);
    }

    fn complete(&self) -> Outcome<Value> {
        let text = String::from_utf8_lossy(&self.tail);
        let data = text
            .rsplit_once("event: complete\ndata: ")
            .and_then(|(_, data)| data.lines().next())
            .ok_or("the stream ended without complete")?;
        Ok(serde_json::from_str(data)?)
    }
}

/// Lines a second when each is a message of its own whose ack is awaited.
async fn line_a_message(sync: SyncInterval) -> Outcome<f64> {
    let log = LogAlone::start(sync).await?;
    let mut writer = ExecWriter::new(log.bus.clone(), new_exec()?, None, 0, beginning());
    let line = vec![b'x'; usize::try_from(LINE_BYTES - 1)?];
    let began = Instant::now();
    let mut lines = 0;
    while began.elapsed() < LINE_A_MESSAGE_TIME {
        let mut events = EventBatch::default();
        events.push(&Event::Output(Text::of(
            &line,
            Some(OutputStream::Stdout),
            false,
        )))?;
        lines += 1;
        let entry = Entry {
            kind: Kind::Output,
            first: Some(EventNo(lines)),
            to: Some(Offsets::new(lines * LINE_BYTES, 0)),
            body: Body::Events(&events),
        };
        writer.append(entry, Timestamp::now()).await?;
    }
    Ok(rate(lines, began.elapsed()))
}
