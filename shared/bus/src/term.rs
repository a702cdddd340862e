//! Who schedules: the term of one process at a time, kept in a bucket and renewed every second by
//! compare-and-set.
//!
//! Nobody's clock is compared with another's. The holder counts from before its last successful
//! renewal and does nothing after a while; who stands by counts from when it saw the term renewed last, which is
//! later, and longer. An overlap would do no harm beyond limits that are passed for a moment: every
//! admission is fenced.

use std::time::Duration;

use async_nats::jetstream::kv;
use async_recursion::async_recursion as boxed;
use rdev_contract::queue::SchedulerStatus;
use rdev_contract::subject;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{Bus, ReadError};

/// How often a term is renewed, and a candidate looks at it.
pub const RENEW_INTERVAL: Duration = Duration::from_secs(1);
/// A holder that could not renew its term for so long does nothing until it could.
pub const CERTAIN_FOR: Duration = Duration::from_secs(2);
/// A term that was not renewed for so long is over for those who watch it.
pub const LAPSED_AFTER: Duration = Duration::from_secs(3);
/// What takes longer is tried again, after a pause.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(900);
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// Tries at one renewal: the first may be refused because of an earlier one.
const RENEWALS_MAX: u32 = 2;

/// A process that schedules when nobody else does.
#[derive(Debug)]
pub struct Candidate {
    store: kv::Store,
    /// Of this process.
    term: String,
    watch: TermWatch,
}

/// The right to schedule, while it lasts.
#[derive(Debug)]
pub struct Term {
    store: kv::Store,
    term: String,
    revision: u64,
    /// When the last renewal that was stored was sent.
    renewed: watch::Sender<Instant>,
}

/// Tells whether a term lasts.
#[derive(Debug, Clone)]
pub struct Certainty(watch::Receiver<Instant>);

/// When a term was seen to be renewed last, by the watcher's own clock.
#[derive(Debug, Default)]
pub struct TermWatch(Option<(u64, Instant)>);

impl TermWatch {
    /// Takes note of what is in the bucket; whether the term has lapsed.
    pub fn has_lapsed(&mut self, revision: u64, now: Instant) -> bool {
        match self.0 {
            Some((seen, since)) if seen == revision => now.duration_since(since) >= LAPSED_AFTER,
            Some(_) | None => {
                self.0 = Some((revision, now));
                false
            }
        }
    }
}

impl Bus {
    /// Takes part in the election; `term` tells this process from every other.
    ///
    /// # Errors
    /// [`ReadError`] when the bucket cannot be reached.
    #[boxed]
    pub async fn candidate(&self, term: String) -> Result<Candidate, ReadError> {
        Ok(Candidate {
            store: self.scheduler_bucket().await?,
            term,
            watch: TermWatch::default(),
        })
    }

    /// What the scheduler said last of itself, and how many times it or another has.
    ///
    /// # Errors
    /// [`ReadError`] when the bucket does not answer.
    #[boxed]
    pub async fn scheduler_status(&self) -> Result<Option<(u64, SchedulerStatus)>, ReadError> {
        read(&self.scheduler_bucket().await?).await
    }

    pub(crate) async fn scheduler_bucket(&self) -> Result<kv::Store, ReadError> {
        self.bucket(subject::SCHEDULER_BUCKET).await
    }

    pub(crate) async fn bucket(&self, name: &str) -> Result<kv::Store, ReadError> {
        self.reachable()?;
        self.jetstream
            .get_key_value(name)
            .await
            .map_err(ReadError::of)
    }
}

/// None where nobody has scheduled yet.
async fn read(store: &kv::Store) -> Result<Option<(u64, SchedulerStatus)>, ReadError> {
    let entry = in_time(store.entry(subject::SCHEDULER_TERM_KEY)).await?;
    let Some(entry) = entry.map_err(ReadError::of)? else {
        return Ok(None);
    };
    let status = serde_json::from_slice(&entry.value).map_err(ReadError::of)?;
    Ok(Some((entry.revision, status)))
}

async fn write(
    store: &kv::Store,
    status: &SchedulerStatus,
    revision: u64,
) -> Result<Option<u64>, ReadError> {
    let value = serde_json::to_vec(status).map_err(ReadError::of)?;
    let written = store.update(subject::SCHEDULER_TERM_KEY, value.into(), revision);
    match in_time(written).await? {
        Ok(revision) => Ok(Some(revision)),
        Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => Ok(None),
        Err(error) => Err(ReadError::of(error)),
    }
}

async fn in_time<T>(answer: impl Future<Output = T>) -> Result<T, ReadError> {
    tokio::time::timeout(ANSWER_TIMEOUT, answer)
        .await
        .map_err(|_| ReadError("no answer in time".to_owned()))
}

impl Candidate {
    /// Takes the term if it is nobody's: never held, resigned, lapsed, or this process's own.
    ///
    /// # Errors
    /// [`ReadError`] when the bucket does not answer.
    #[boxed]
    pub async fn stand(&mut self, status: &SchedulerStatus) -> Result<Option<Term>, ReadError> {
        let asked = Instant::now();
        let revision = match read(&self.store).await? {
            None => 0,
            Some((revision, held)) => {
                let has_lapsed = self.watch.has_lapsed(revision, Instant::now());
                if !has_lapsed && !held.scheduler.is_empty() && held.term != self.term {
                    return Ok(None);
                }
                revision
            }
        };
        let revision = write(&self.store, status, revision).await?;
        Ok(revision.map(|revision| Term {
            store: self.store.clone(),
            term: self.term.clone(),
            revision,
            renewed: watch::Sender::new(asked),
        }))
    }
}

impl Term {
    /// Renews the term, and says each time what there is to say; ends when the term is another's.
    /// While nobody answers it tries on, and [`Certainty::lasts`] says no.
    pub async fn keep(&mut self, status: impl Fn() -> SchedulerStatus) {
        loop {
            let pause = match self.renew(&status()).await {
                Ok(true) => RENEW_INTERVAL,
                Ok(false) => return,
                Err(ReadError(reason)) => {
                    tracing::debug!(reason, "the scheduler's term was not renewed");
                    RETRY_DELAY
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Whether the term lasts, for whoever acts under it.
    #[must_use]
    pub fn certainty(&self) -> Certainty {
        Certainty(self.renewed.subscribe())
    }

    /// Lets another begin at once.
    #[boxed]
    pub async fn resign(mut self, status: SchedulerStatus) {
        let resigned = SchedulerStatus {
            scheduler: String::new(),
            ..status
        };
        if let Err(ReadError(reason)) = self.renew(&resigned).await {
            tracing::warn!(reason, "another scheduler begins when this term has lapsed");
        }
    }

    /// False when the term is another's.
    async fn renew(&mut self, status: &SchedulerStatus) -> Result<bool, ReadError> {
        for _ in 0..RENEWALS_MAX {
            let asked = Instant::now();
            if let Some(revision) = write(&self.store, status, self.revision).await? {
                self.revision = revision;
                self.renewed.send_replace(asked);
                return Ok(true);
            }
            // Unless an earlier renewal was stored, and nobody waited for its ack any more.
            match read(&self.store).await? {
                Some((revision, held)) if held.term == self.term => self.revision = revision,
                Some(_) | None => return Ok(false),
            }
        }
        Err(ReadError("earlier renewals come late".to_owned()))
    }
}

impl Certainty {
    /// Whether nobody else can have begun to schedule.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.0.borrow().elapsed() < CERTAIN_FOR
    }

    /// Waits for the next renewal.
    pub async fn renewed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_lapses_when_it_is_not_renewed() {
        let begin = Instant::now();
        let mut watch = TermWatch::default();
        assert!(!watch.has_lapsed(1, begin));
        let just_before = begin + LAPSED_AFTER - Duration::from_millis(1);
        assert!(!watch.has_lapsed(1, just_before));
        assert!(watch.has_lapsed(1, begin + LAPSED_AFTER));
        // Renewed: it counts anew, from when that was seen.
        let later = begin + LAPSED_AFTER * 2;
        assert!(!watch.has_lapsed(2, later));
        assert!(!watch.has_lapsed(2, later + CERTAIN_FOR));
        assert!(watch.has_lapsed(2, later + LAPSED_AFTER));
    }

    #[test]
    fn the_holder_stops_before_others_begin() {
        // However slow the answer to a renewal.
        assert!(RENEW_INTERVAL + ANSWER_TIMEOUT < CERTAIN_FOR);
        assert!(CERTAIN_FOR < LAPSED_AFTER);
    }
}
