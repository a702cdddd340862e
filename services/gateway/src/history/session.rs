//! The past of a whole session: its archived execs, as far as the log does not hold them any more,
//! between those that it holds.
//!
//! Holes do not show in a page of several execs, so it is asked what is archived, and how much of that
//! the log holds. Sequences of another life of the log say nothing about the order in this one: execs
//! of it can be read one by one, and are not in the feed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use rdev_archive::Key;
use rdev_bus::{LogStream, ReadError, Stored};
use rdev_contract::envelope::Recorded;
use rdev_contract::id::{ExecId, ProjectId, SessionId};
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Filter;

use super::merge::Merge;
use super::{History, known};

/// How long is known what a session has where: readers ask page by page.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// Sessions that are read at a time.
const SESSIONS_COUNT: usize = 1_000;

pub(super) struct Sessions(Cache<(ProjectId, SessionId), Arc<ArchivedSession>>);

impl Default for Sessions {
    fn default() -> Self {
        Self(Cache::new(SESSIONS_COUNT))
    }
}

/// What is archived of a session in this life of the log, in its order.
pub(super) struct ArchivedSession {
    asked_at: Instant,
    pub(super) keys: Vec<Key>,
}

impl History {
    pub(super) async fn archived_of_session(
        &self,
        project: &ProjectId,
        session: SessionId,
    ) -> Result<Option<Arc<ArchivedSession>>, ReadError> {
        let Some(kept) = self.past.of_session(session) else {
            return Ok(None);
        };
        let name = (project.clone(), session);
        if let Some(found) = kept.sessions.0.get(&name)
            && found.asked_at.elapsed() < KNOWN_FOR
        {
            return Ok(Some(found));
        }
        let asked_at = Instant::now();
        let keys = kept.archive.keys_of_session(project, session).await;
        let mut keys = known(keys)?.unwrap_or_default();
        let log = self.log().await?;
        keys.retain(|key| key.log == log);
        keys.sort_by_key(|key| (key.first, key.last));
        let found = Arc::new(ArchivedSession { asked_at, keys });
        kept.sessions.0.insert(name, Arc::clone(&found));
        Ok(Some(found))
    }

    pub(super) async fn archived_end(
        &self,
        project: &ProjectId,
        session: SessionId,
    ) -> Result<Option<StreamSeq>, ReadError> {
        let of_session = self.archived_of_session(project, session).await?;
        Ok(of_session.and_then(|found| found.keys.iter().map(|key| key.last).max()))
    }

    pub(super) async fn fill_session(
        &self,
        project: &ProjectId,
        session: SessionId,
        after: StreamSeq,
        end: StreamSeq,
        found: Vec<Recorded<Stored>>,
    ) -> Result<Vec<Recorded<Stored>>, ReadError> {
        let (Some(of_session), Some(kept)) = (
            self.archived_of_session(project, session).await?,
            &self.past.kept,
        ) else {
            return Ok(found);
        };
        let mut merge = Merge::of(found, end);
        for key in of_session.keys.iter().filter(|key| key.last > after) {
            if key.first > merge.until() {
                break;
            }
            let Some(archived) = known(kept.archive.load(key).await)? else {
                continue;
            };
            // Asked for behind the page: what the log holds now, it has.
            if self.count(&key.exec).await? >= archived.footer().messages {
                continue;
            }
            let mut from = after;
            while from < merge.until()
                && let Some(messages) = known(archived.readable_page(from).await)?
                && let Some(last) = messages.last()
            {
                from = last.sequence;
                merge.add(messages);
            }
        }
        Ok(merge.finish())
    }

    /// How many messages of an exec the log holds.
    async fn count(&self, exec: &ExecId) -> Result<u64, ReadError> {
        let filter = Filter::exec(exec);
        let counts = self.bus.count_by_subject(LogStream::Exec, &filter).await?;
        Ok(counts.iter().map(|(_, count)| count).sum())
    }
}
