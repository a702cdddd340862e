//! One counting command under a fault: a reader from the start, and at the end every check that
//! holds whatever happened.

use std::path::Path;
use std::time::Duration;

use rdev_bus::Bus;
use rdev_contract::event::Kind;
use rdev_contract::id::ExecId;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::count::Count;
use rdev_tests::log::{ExecLog, exec_id};
use rdev_tests::reader::{Reader, Seen};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

/// The promise is 6 s; the rest is for a machine that runs other tests at the same time.
pub(crate) const TAKE_OVER_MAX: Duration = Duration::from_secs(9);

/// A command that is read while it runs.
pub(crate) struct Trial {
    pub(crate) count: Count,
    pub(crate) reader: Reader,
    pub(crate) exec: ExecId,
    client: Client,
    session: String,
}

impl Trial {
    /// Posts it, and reads it from the start.
    pub(crate) async fn begin(client: &Client, session: &str, count: Count) -> Outcome<Self> {
        let stream = client.exec(session, &count.body()).await?;
        Ok(Self {
            reader: Reader::start(vec![client.clone()], session, &stream),
            exec: exec_id(client, session, &stream)?,
            client: client.clone(),
            session: session.to_owned(),
            count,
        })
    }

    /// Waits for the end and checks what came, what a replay gives, how often the command ran,
    /// and the log: with as many claims as `attempts`.
    pub(crate) async fn end(
        self,
        bus: &Bus,
        pod: &Path,
        attempts: u32,
    ) -> Outcome<(Seen, ExecLog)> {
        let seen = self.reader.end().await?;
        let finding = self.count.judge(&seen.transcript, pod);
        assert!(finding.is_clean(), "{finding:?}");
        assert_eq!(seen.transcript.events.len(), self.count.events());
        let stream = self.exec.stream.as_str();
        let replay = self.client.transcript(&self.session, stream).await?;
        let replayed: Vec<_> = replay.numbered().into_iter().cloned().collect();
        assert_eq!(replayed, seen.transcript.events, "a replay is the same");
        let log = ExecLog::read(bus, &self.exec).await?;
        log.check()?;
        assert_eq!(
            (log.count(Kind::Started), log.count(Kind::Complete)),
            (1, 1)
        );
        assert_eq!(log.attempts(), (1..=attempts).collect::<Vec<_>>());
        Ok((seen, log))
    }
}

/// Tells how long readers waited, and holds it against the promise.
#[expect(
    clippy::print_stdout,
    reason = "a measurement, for people who ask for it"
)]
pub(crate) fn continued(what: &str, seen: &Seen, since: Instant, limit: Duration) {
    let silence = seen.longest_silence(since);
    println!("{what}: continued after {silence:.2?}");
    assert!(silence < limit, "{what}: continued after {silence:?}");
}

/// The parent of a process.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything.
    let fields = stat.rsplit_once(')')?.1;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// The child of a process that has this argument.
pub(crate) fn child(of: u32, argument: &str) -> Option<u32> {
    let mut processes = std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    processes.find(|pid| {
        let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
        parent(*pid) == Some(of)
            && arguments.is_ok_and(|all| all.split('\0').any(|one| one == argument))
    })
}

/// Sends a signal to a process that is not a child of the test.
pub(crate) fn signal(pid: u32, signal: Signal) -> Outcome<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    Ok(kill_process(pid.ok_or("no process")?, signal)?)
}
