//! All messages of one exec, of the log and of the archive, through the checks of the domain. What both
//! hold must be the same.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use rdev_archive::{ArchiveError, Archived};
use rdev_bus::{Bus, BusConfig, LogStream, ReadError, Stored};
use rdev_contract::envelope::Recorded;
use rdev_contract::id::ExecId;
use rdev_contract::position::{LogIdentity, StreamSeq};
use rdev_contract::subject::Filter;
use rdev_domain::audit::{ExecAudit, FINDINGS_MAX_COUNT, Held, Report, Retention};
use serde::Serialize;

use super::{Failure, Sources};

/// Between two looks at a replica that has not yet stored what its leader has.
const LAG_DELAY: Duration = Duration::from_millis(50);
/// Looks at a replica that lags before it is given up: 5 s.
const LAG_LOOKS_MAX: u32 = 100;

/// What was found out about an exec.
pub(super) struct Found {
    pub(super) report: Report,
    pub(super) archive: Option<ArchivePart>,
}

/// What the archive has of an exec.
#[derive(Debug, Default, Serialize)]
pub(super) struct ArchivePart {
    /// The name of the object.
    pub(super) object: String,
    /// Messages that only it has.
    pub(super) only_here: u64,
    /// What is wrong with it.
    pub(super) differences: Vec<String>,
}

impl Found {
    pub(super) fn is_equal(&self) -> bool {
        let archive = self.archive.as_ref();
        self.report.differences.is_empty()
            && archive.is_none_or(|archive| archive.differences.is_empty())
    }
}

/// What the log may have forgotten by now.
pub(super) fn retention(config: &BusConfig) -> Retention {
    Retention {
        now: Timestamp::now(),
        output_ttl: config.output_ttl,
        facts_ttl: config.facts_ttl,
    }
}

/// Verifies what log and archive hold of this exec at this moment; none if that is nothing.
pub(super) async fn audit(sources: &Sources, exec: &ExecId) -> Result<Option<Found>, Failure> {
    let tail = sources.bus.tail(exec).await?.map(|tail| tail.sequence);
    let log = sources.bus.identity(LogStream::Exec).await?.created_at;
    // Of an exec that the log does not know any more, the newest one of that name.
    let log = tail.map(|_| LogIdentity::created_at(log));
    let (mut archived, mut archive) = (None, None);
    if let Some(store) = &sources.archive {
        match store.find(exec, log).await {
            Ok(found) => archived = found,
            Err(error) => archive = Some(damaged(error)?),
        }
    }
    if tail.is_none() && archived.is_none() && archive.is_none() {
        return Ok(None);
    }
    if let Some(archived) = &archived {
        archive = Some(ArchivePart {
            object: archived.key().to_string(),
            ..ArchivePart::default()
        });
    }
    let mut both = Both {
        log: LogMessages::new(&sources.bus, exec, tail.unwrap_or_default()),
        archived: archived.map(ArchivedMessages::new),
        archive,
    };
    let mut audit = ExecAudit::new(exec.clone(), retention(&sources.config));
    while let Some(message) = both.next().await? {
        audit.take(held(message));
    }
    Ok(Some(Found {
        report: audit.finish(),
        archive: both.archive,
    }))
}

pub(super) fn held(message: Recorded<Stored>) -> Held {
    let Recorded { sequence, value } = message;
    Held {
        sequence,
        stored_at: value.at,
        subject: value.subject,
        payload: value.payload.into(),
    }
}

/// What is damaged is a difference; what does not answer is none.
fn damaged(error: ArchiveError) -> Result<ArchivePart, Failure> {
    match error {
        ArchiveError::Damaged { object, reason } => Ok(ArchivePart {
            object,
            only_here: 0,
            differences: vec![reason],
        }),
        ArchiveError::Unavailable(_) => Err(error.into()),
    }
}

/// The messages of both, in their order, each once.
struct Both<'a> {
    log: LogMessages<'a>,
    archived: Option<ArchivedMessages>,
    archive: Option<ArchivePart>,
}

impl Both<'_> {
    async fn next(&mut self) -> Result<Option<Recorded<Stored>>, Failure> {
        let held = self.log.peek().await?.map(|next| next.sequence);
        let kept = self.peek_archived().await?;
        let (Some(archived), Some(archive), Some(kept)) =
            (&mut self.archived, &mut self.archive, kept)
        else {
            return Ok(self.log.page.pop_front());
        };
        if held.is_none_or(|held| kept < held) {
            archive.only_here += 1;
            return Ok(archived.page.pop_front());
        }
        let message = self.log.page.pop_front();
        if held == Some(kept) {
            let copy = archived.page.pop_front();
            if copy != message && archive.differences.len() < FINDINGS_MAX_COUNT {
                let differs = format!("message {kept} is not what the log holds");
                archive.differences.push(differs);
            }
        }
        Ok(message)
    }

    async fn peek_archived(&mut self) -> Result<Option<StreamSeq>, Failure> {
        let Some(archived) = &mut self.archived else {
            return Ok(None);
        };
        match archived.peek().await {
            Ok(next) => Ok(next),
            Err(error) => {
                // What was read of it was as it should be.
                let damage = damaged(error)?;
                if let Some(archive) = &mut self.archive {
                    archive.differences.extend(damage.differences);
                }
                self.archived = None;
                Ok(None)
            }
        }
    }
}

struct ArchivedMessages {
    archived: Archived,
    page: VecDeque<Recorded<Stored>>,
    read: StreamSeq,
}

impl ArchivedMessages {
    const fn new(archived: Archived) -> Self {
        Self {
            archived,
            page: VecDeque::new(),
            read: StreamSeq(0),
        }
    }

    async fn peek(&mut self) -> Result<Option<StreamSeq>, ArchiveError> {
        if self.page.is_empty() {
            self.page = self.archived.page(self.read).await?.into();
            if let Some(last) = self.page.back() {
                self.read = last.sequence;
            }
        }
        Ok(self.page.front().map(|next| next.sequence))
    }
}

struct LogMessages<'a> {
    bus: &'a Bus,
    filter: Filter,
    page: VecDeque<Recorded<Stored>>,
    read: StreamSeq,
    /// The message that was the last one when this began.
    last: StreamSeq,
}

impl<'a> LogMessages<'a> {
    fn new(bus: &'a Bus, exec: &ExecId, last: StreamSeq) -> Self {
        Self {
            bus,
            filter: Filter::exec(exec),
            page: VecDeque::new(),
            read: StreamSeq(0),
            last,
        }
    }

    async fn peek(&mut self) -> Result<Option<&Recorded<Stored>>, Failure> {
        let mut looks = 0;
        while self.page.is_empty() && self.read < self.last {
            let (log, filter) = (LogStream::Exec, &self.filter);
            let page = self.bus.read_page(log, filter, self.read).await?;
            match page.messages.last() {
                Some(last) => self.read = last.sequence,
                None => {
                    // The replica that answers lags, or the last message has just expired.
                    if self.bus.at_leader(log, self.last).await?.is_none() {
                        break;
                    }
                    looks += 1;
                    if looks == LAG_LOOKS_MAX {
                        return Err(ReadError("a replica lags behind its leader".to_owned()).into());
                    }
                    tokio::time::sleep(LAG_DELAY).await;
                }
            }
            for mut message in page.messages {
                if message.sequence <= self.last {
                    // Not of what happened, and nothing that the archive keeps.
                    message.value.trace = None;
                    self.page.push_back(message);
                }
            }
        }
        Ok(self.page.front())
    }
}
