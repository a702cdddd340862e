//! What there was: the log, and behind it the archive.
//!
//! Used by everything that shows an exec's past: events, exact output, the exec itself. The log is
//! asked first, and the archive only for what a page of the log shows to be missing ([`fill`]) or for
//! an exec of which the log holds nothing. Invariants: messages come in the order of the log, each once,
//! with the sequences that they had there, so nobody notices where one came from; what is damaged is
//! as if it were not there, and is told as a gap; an archive that does not answer is like
//! a log that does not answer: to be tried again, never a gap.
//!
//! [`fill`]: History::fill

mod merge;
mod session;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rdev_archive::{Archive, ArchiveError, Archived};
use rdev_bus::live::Scope;
use rdev_bus::{Bus, LogStream, Pace, ReadError, Stored};
use rdev_contract::envelope::{Recorded, previous};
use rdev_contract::event::OutputStream;
use rdev_contract::id::{ExecId, ProjectId, SessionId};
use rdev_contract::position::{LogIdentity, StreamSeq};

use self::session::Sessions;

/// Clocks of gateways and of the log differ by less.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_mins(1);

/// What becomes of messages that get old. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Past {
    kept: Option<Arc<Kept>>,
    /// What is younger than this has not expired.
    life: Duration,
}

struct Kept {
    archive: Archive,
    sessions: Sessions,
}

impl Past {
    /// `life` is that of the messages that expire first.
    pub(crate) fn of(archive: Option<Archive>, life: Duration) -> Self {
        let kept = archive.map(|archive| {
            Arc::new(Kept {
                archive,
                sessions: Sessions::default(),
            })
        });
        Self { kept, life }
    }

    /// Whether something of this session may have expired: its id says when it was made.
    fn is_old(&self, session: SessionId) -> bool {
        let created_at = session.uuid().get_timestamp().and_then(|at| {
            let (seconds, _) = at.to_unix();
            Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
        });
        created_at.is_none_or(|at| self.may_have_expired(at))
    }

    /// Whether what was stored then may have expired.
    fn may_have_expired(&self, at: Timestamp) -> bool {
        let life = SignedDuration::try_from(self.life).unwrap_or(SignedDuration::MAX);
        let age = Timestamp::now().duration_since(at);
        age.saturating_add(CLOCK_SLACK) >= life
    }

    /// The archive, if the log may lack something of this session.
    fn of_session(&self, session: SessionId) -> Option<&Kept> {
        self.kept.as_deref().filter(|_| self.is_old(session))
    }
}

/// A connected log, and the archive behind it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct History {
    bus: Arc<Bus>,
    past: Past,
}

impl History {
    pub(crate) fn new(bus: &Arc<Bus>, past: &Past) -> Self {
        Self {
            bus: Arc::clone(bus),
            past: past.clone(),
        }
    }

    /// The log alone.
    pub(crate) const fn bus(&self) -> &Arc<Bus> {
        &self.bus
    }

    /// The exec's last message.
    pub(crate) async fn tail(&self, exec: &ExecId) -> Result<Option<Recorded<Stored>>, ReadError> {
        if let Some(tail) = self.bus.tail(exec).await? {
            return Ok(Some(tail));
        }
        match self.newest(exec).await? {
            Some(archived) => Ok(known(archived.at(archived.key().last).await)?.flatten()),
            None => Ok(None),
        }
    }

    /// The message with this sequence: of the log whichever it is, else of this exec.
    pub(crate) async fn at(
        &self,
        exec: &ExecId,
        sequence: StreamSeq,
    ) -> Result<Option<Recorded<Stored>>, ReadError> {
        if let Some(message) = self.bus.message_at(LogStream::Exec, sequence).await? {
            return Ok(Some(message));
        }
        match self.newest(exec).await? {
            Some(archived) => Ok(known(archived.at(sequence).await)?.flatten()),
            None => Ok(None),
        }
    }

    /// The last message of each kind of an exec of which the log does not hold the beginning.
    pub(crate) async fn archived_kinds(
        &self,
        exec: &ExecId,
    ) -> Result<Vec<Recorded<Stored>>, ReadError> {
        match self.newest(exec).await? {
            Some(archived) => {
                let kinds = known(archived.last_of_each_kind().await)?;
                Ok(kinds.unwrap_or_default())
            }
            None => Ok(Vec::new()),
        }
    }

    /// The exec's messages that come next behind `after`, up to `end`, which is that of the exec.
    pub(crate) async fn paced(
        &self,
        exec: &ExecId,
        after: StreamSeq,
        end: StreamSeq,
        pace: &mut Pace,
    ) -> Result<Vec<Recorded<Stored>>, ReadError> {
        let scope = Scope::Exec(exec.clone());
        let filter = scope.stored();
        let found = self
            .bus
            .read_paced(LogStream::Exec, &filter, after, end, pace);
        let found = found.await?;
        if !self.may_lack(&scope, after, &found) {
            return Ok(found);
        }
        self.fill(&scope, after, end, found, pace).await
    }

    /// Whether the archive may have what the log lacks of these messages, which come next behind
    /// `after` in the log. It is known to have gone on there.
    pub(crate) fn may_lack(
        &self,
        scope: &Scope,
        after: StreamSeq,
        found: &[Recorded<Stored>],
    ) -> bool {
        match scope {
            Scope::Session(_, session) => self.past.of_session(*session).is_some(),
            Scope::Exec(exec) if found.is_empty() => self.past.of_session(exec.session).is_some(),
            Scope::Exec(_) => self.past.kept.is_some() && hole(found, after).is_some(),
        }
    }

    /// What the log lacks of these messages, if the archive has it: the messages as they are, less of
    /// them, or others, that follow `after` without a hole. `end`: up to where the log is known to have
    /// gone.
    pub(crate) async fn fill(
        &self,
        scope: &Scope,
        after: StreamSeq,
        end: StreamSeq,
        found: Vec<Recorded<Stored>>,
        pace: &mut Pace,
    ) -> Result<Vec<Recorded<Stored>>, ReadError> {
        let first = found.first().map(|first| first.sequence);
        let filled = match scope {
            Scope::Exec(exec) => self.fill_exec(exec, after, found).await?,
            Scope::Session(project, session) => {
                self.fill_session(project, *session, after, end, found)
                    .await?
            }
        };
        if first != filled.first().map(|first| first.sequence) {
            // The log is only to show where it goes on.
            *pace = Pace::default();
        }
        Ok(filled)
    }

    async fn fill_exec(
        &self,
        exec: &ExecId,
        after: StreamSeq,
        mut found: Vec<Recorded<Stored>>,
    ) -> Result<Vec<Recorded<Stored>>, ReadError> {
        let (archived, before) = match (hole(&found, after), found.first()) {
            (Some(0), Some(first)) => {
                let log = self.log().await?;
                (self.archived(exec, Some(log)).await?, Some(first.sequence))
            }
            (_, Some(_)) => (None, None),
            (_, None) => (self.newest(exec).await?, None),
        };
        if let Some(archived) = archived
            && let Some(mut messages) = known(archived.readable_page(after).await)?
        {
            messages.retain(|message| before.is_none_or(|before| message.sequence < before));
            if !messages.is_empty() {
                return Ok(messages);
            }
        }
        // What is not there cannot be helped; what is missing behind it may be.
        let first = found.first().map_or(after, |first| first.sequence);
        if let Some(next) = hole(&found, first) {
            found.truncate(next);
        }
        Ok(found)
    }

    /// Behind which message the byte `first` of an archived exec is to be found.
    pub(crate) async fn before_output(
        &self,
        exec: &ExecId,
        stream: OutputStream,
        first: u64,
    ) -> Result<Option<StreamSeq>, ReadError> {
        let archived = self.archived(exec, None).await?;
        Ok(archived.map(|archived| archived.before_output(stream, first)))
    }

    /// The last message of a scope that there is anywhere.
    pub(crate) async fn end(&self, scope: &Scope) -> Result<StreamSeq, ReadError> {
        let filter = scope.stored();
        let last = self.bus.last_at_leader(LogStream::Exec, &filter).await?;
        let archived = match (scope, &last) {
            (Scope::Exec(_), Some(_)) => None,
            (Scope::Exec(exec), None) => {
                let archived = self.newest(exec).await?;
                archived.map(|archived| archived.key().last)
            }
            (Scope::Session(project, session), _) => self.archived_end(project, *session).await?,
        };
        let last = last.map(|last| last.sequence);
        Ok(last.max(archived).unwrap_or_default())
    }

    /// Whether something of this session may have expired.
    pub(crate) fn is_old(&self, session: SessionId) -> bool {
        self.past.is_old(session)
    }

    /// Whether what was stored then may have expired.
    pub(crate) fn may_have_expired(&self, at: Timestamp) -> bool {
        self.past.may_have_expired(at)
    }

    /// The archived exec of a session whose cursors have this tag.
    pub(crate) async fn archived_with_tag(
        &self,
        project: &ProjectId,
        session: SessionId,
        tag: &str,
    ) -> Result<Option<ExecId>, ReadError> {
        let of_session = self.archived_of_session(project, session).await?;
        Ok(of_session.and_then(|of_session| {
            let mut keys = of_session.keys.iter();
            keys.find(|key| key.exec.tag() == tag)
                .map(|key| key.exec.clone())
        }))
    }

    /// Which life of the log this is.
    async fn log(&self) -> Result<LogIdentity, ReadError> {
        let identity = self.bus.identity(LogStream::Exec).await?;
        Ok(LogIdentity::created_at(identity.created_at))
    }

    /// What is archived of the newest exec of this name, of which the log holds nothing.
    async fn newest(&self, exec: &ExecId) -> Result<Option<Archived>, ReadError> {
        match self.past.of_session(exec.session) {
            Some(_) => self.archived(exec, None).await,
            None => Ok(None),
        }
    }

    /// What is archived of an exec, in this life of the log or in its newest one.
    async fn archived(
        &self,
        exec: &ExecId,
        log: Option<LogIdentity>,
    ) -> Result<Option<Archived>, ReadError> {
        match &self.past.kept {
            Some(kept) => Ok(known(kept.archive.find(exec, log).await)?.flatten()),
            None => Ok(None),
        }
    }
}

/// The first of some messages of one exec before which something is missing: it names a predecessor
/// that is neither among them nor what came before them.
fn hole(messages: &[Recorded<Stored>], after: StreamSeq) -> Option<usize> {
    let mut before = after;
    messages.iter().position(|message| {
        let is_missing = previous(&message.value.payload).is_some_and(|previous| previous > before);
        before = before.max(message.sequence);
        is_missing
    })
}

/// What is damaged is as if it were not there.
fn known<T>(read: Result<T, ArchiveError>) -> Result<Option<T>, ReadError> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error @ ArchiveError::Damaged { .. }) => {
            tracing::error!(%error, "what is archived is not shown");
            Ok(None)
        }
        Err(error @ ArchiveError::Unavailable(_)) => Err(ReadError(error.to_string())),
    }
}
