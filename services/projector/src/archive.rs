//! Archives execs before the log forgets them: follows their ends in the order of the log, waits until
//! each is due, and writes it ([`exec`]).
//!
//! One projector does it, the active one. It needs no PostgreSQL: while that is away every projector
//! archives, since none can know of the others. That is only more work: an object is written from the
//! log alone, appears whole or not at all, and one that is there is not written again. Invariant: the
//! position in the archive moves over an end only when its exec is there and was read back; so killing
//! a projector anywhere loses nothing.

mod exec;
mod progress;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use jiff::{SignedDuration, Timestamp};
use rdev_archive::{Archive, ArchiveError, Position};
use rdev_bus::{Bus, LogStream, ReadError, Stored};
use rdev_contract::envelope::Recorded;
use rdev_contract::event::Kind;
use rdev_contract::position::{LogIdentity, StreamSeq};
use rdev_contract::subject::Filter;
use rdev_domain::archive::{Urgency, due_at, shortest_life, urgency};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::backoff::Backoff;
use crate::config::Config;
pub(crate) use progress::Progress;

/// Execs that are archived at a time: each takes some 15 MB while it is, and S3 answers each request
/// only after tens of milliseconds.
const EXECS_AT_ONCE: usize = 4;
/// The position is written this often at most; what was archived since is only looked at again.
const MARK_INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks at a log in which nothing has ended.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often somebody is told that the archive is late, and the log is asked whether it is the same.
const LATE_INTERVAL: Duration = Duration::from_secs(60);

/// What this projector knows of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is the active one, or nobody can know: PostgreSQL is away.
    Archiving,
    /// Another one is active, or that is not known yet.
    StandingBy,
}

/// Why archiving has to begin again.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the stream was created anew or is shorter than before")]
    AnotherLog,
}

/// Archives for ever, through whatever goes away and comes back. May be dropped at any moment.
pub(crate) async fn run(
    config: &Config,
    archive: &Archive,
    mut standing: watch::Receiver<Standing>,
    progress: &Progress,
) {
    let archiver = Archiver {
        bus: connect(config).await,
        archive: archive.clone(),
        config: config.clone(),
        progress: progress.clone(),
    };
    let mut backoff = Backoff::new();
    loop {
        until(&mut standing, Standing::Archiving).await;
        tokio::select! {
            Err(reason) = archiver.follow(&mut backoff) => {
                progress.failed();
                tracing::warn!(%reason, "archiving is interrupted");
                backoff.pause().await;
            }
            () = until(&mut standing, Standing::StandingBy) => progress.rest(),
        }
    }
}

async fn until(standing: &mut watch::Receiver<Standing>, wanted: Standing) {
    // The sender lives as long as the projector.
    let _ = standing.wait_for(|standing| *standing == wanted).await;
}

async fn connect(config: &Config) -> Bus {
    let mut backoff = Backoff::new();
    loop {
        match Bus::connect(config.bus.clone(), "rdev-archiver").await {
            Ok(bus) => return bus,
            Err(reason) => tracing::warn!(%reason, "nothing is archived: waiting for NATS"),
        }
        backoff.pause().await;
    }
}

struct Archiver {
    bus: Bus,
    archive: Archive,
    config: Config,
    progress: Progress,
}

impl Archiver {
    fn life(&self) -> Duration {
        shortest_life(self.config.bus.output_ttl, self.config.bus.facts_ttl)
    }

    /// Goes on until the log or the archive does not answer, or the log is another one.
    async fn follow(&self, backoff: &mut Backoff) -> Result<Infallible, Interrupted> {
        let identity = self.bus.identity(LogStream::Exec).await?;
        let log = LogIdentity::created_at(identity.created_at);
        let mut position = StreamSeq(0);
        // A log that was restored from an older copy is looked at from its beginning.
        let found = self.archive.position(log).await?;
        if let Some(found) = found.filter(|found| found.sequence <= identity.last) {
            position = found.sequence;
            self.warn_of_pause(found);
        }
        tracing::info!(position = position.0, archive = ?self.archive, "archiving");
        self.progress.reached(position);
        backoff.reset();
        let ends = Filter::kind(Kind::Complete);
        loop {
            let page = self.bus.read_page(LogStream::Exec, &ends, position).await?;
            let Some(last) = page.messages.last().map(|end| end.sequence) else {
                self.progress.waits_for(None);
                tokio::time::sleep(LOOK_INTERVAL).await;
                self.is_same(log, position).await?;
                continue;
            };
            self.archive_all(log, page.messages).await?;
            position = last;
        }
    }

    /// Archives the execs that ended so, in their order.
    async fn archive_all(
        &self,
        log: LogIdentity,
        ends: Vec<Recorded<Stored>>,
    ) -> Result<(), Interrupted> {
        let mut waiting: VecDeque<_> = ends.iter().map(|end| end.value.at).collect();
        let (mut ends, mut archiving) = (ends.iter(), FuturesOrdered::new());
        let mut unmarked = None;
        let mut marks = tokio::time::interval(MARK_INTERVAL);
        marks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = tokio::time::interval_at(Instant::now() + LATE_INTERVAL, LATE_INTERVAL);
        loop {
            while archiving.len() < EXECS_AT_ONCE
                && let Some(end) = ends.next()
            {
                archiving.push_back(self.archive_in_time(log, end));
            }
            self.progress
                .waits_for(waiting.front().map(|at| due_at(*at, self.life())));
            tokio::select! {
                archived = archiving.next() => {
                    let Some(position) = archived.transpose()? else {
                        break;
                    };
                    waiting.pop_front();
                    self.progress.reached(position.sequence);
                    unmarked = Some(position);
                }
                _ = marks.tick(), if unmarked.is_some() => {
                    self.mark(log, &mut unmarked).await?;
                }
                _ = looks.tick() => {
                    self.warn_if_late(waiting.front());
                    self.is_same(log, StreamSeq(0)).await?;
                }
            }
        }
        Ok(self.mark(log, &mut unmarked).await?)
    }

    /// Whether the log is still that one, and goes up to there.
    async fn is_same(&self, log: LogIdentity, position: StreamSeq) -> Result<(), Interrupted> {
        let now = self.bus.identity(LogStream::Exec).await?;
        if LogIdentity::created_at(now.created_at) != log || now.last < position {
            return Err(Interrupted::AnotherLog);
        }
        Ok(())
    }

    async fn mark(
        &self,
        log: LogIdentity,
        unmarked: &mut Option<Position>,
    ) -> Result<(), ArchiveError> {
        if let Some(position) = *unmarked {
            self.archive.mark(log, position).await?;
            *unmarked = None;
        }
        Ok(())
    }

    /// Archives one exec when it is due, however often that takes.
    async fn archive_in_time(
        &self,
        log: LogIdentity,
        end: &Recorded<Stored>,
    ) -> Result<Position, Interrupted> {
        let until_due = due_at(end.value.at, self.life()).duration_since(Timestamp::now());
        tokio::time::sleep(until_due.try_into().unwrap_or_default()).await;
        let mut backoff = Backoff::new();
        loop {
            match self.archive_exec(log, end).await {
                Ok(()) => break,
                Err(error @ Interrupted::AnotherLog) => return Err(error),
                Err(reason @ (Interrupted::Log(_) | Interrupted::Archive(_))) => {
                    self.progress.failed();
                    let subject = &end.value.subject;
                    tracing::warn!(subject, %reason, "an exec is not archived yet");
                    backoff.pause().await;
                }
            }
        }
        Ok(Position {
            sequence: end.sequence,
            at: end.value.at,
        })
    }

    fn warn_if_late(&self, ended_at: Option<&Timestamp>) {
        let is_late =
            |at: &&Timestamp| urgency(**at, self.life(), Timestamp::now()) == Urgency::Late;
        if let Some(at) = ended_at.filter(is_late) {
            tracing::error!(
                oldest_ended_at = %at,
                "the archive is late: output expires unless it is archived soon"
            );
        }
    }

    /// Whoever comes too late cannot know what there was.
    fn warn_of_pause(&self, position: Position) {
        let pause = Timestamp::now().duration_since(position.at);
        let life = SignedDuration::try_from(self.config.bus.facts_ttl);
        if life.is_ok_and(|life| pause > life) {
            tracing::error!(
                archived_up_to = %position.at,
                "nothing was archived for longer than the log keeps facts: of execs that ended \
                 meanwhile some may be in neither"
            );
        }
    }
}
