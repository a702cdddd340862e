//! Facts of archived execs in the order of the log: objects that overlap are open at a time, each with
//! one page.

use std::collections::VecDeque;

use futures::TryStreamExt;
use rdev_archive::{Archive, ArchiveError, Archived, Key};
use rdev_bus::Stored;
use rdev_contract::envelope::Recorded;
use rdev_contract::event::Kind;
use rdev_contract::position::{LogIdentity, StreamSeq};

use super::Replayed;

/// What the archive has of a stretch of the log.
#[derive(Default)]
pub(super) struct ArchivedFacts {
    archive: Option<Archive>,
    /// Objects that are not open yet, by their beginning, the last one first.
    waiting: Vec<Key>,
    open: Vec<Open>,
    /// Everything up to here is taken, or was not asked for.
    after: StreamSeq,
}

struct Open {
    archived: Archived,
    page: VecDeque<Recorded<Stored>>,
    /// The page goes up to here.
    read: StreamSeq,
}

impl ArchivedFacts {
    /// Objects of execs that begin before `held`, the first fact that the log still holds: facts expire
    /// in their order, so of execs that began later it has all.
    pub(super) async fn list(
        archive: &Archive,
        log: LogIdentity,
        after: StreamSeq,
        held: StreamSeq,
    ) -> Result<Self, ArchiveError> {
        let is_wanted = |key: &Key| key.log == log && key.first < held && key.last > after;
        let listed = archive.keys();
        let wanted = listed.try_filter(|key| std::future::ready(is_wanted(key)));
        let mut waiting: Vec<_> = wanted.try_collect().await?;
        // Whole objects before parts of the same exec.
        waiting.sort_by(|one, other| {
            let order = |key: &Key| (key.first, key.is_part, key.last);
            order(other).cmp(&order(one))
        });
        Ok(Self {
            archive: Some(archive.clone()),
            waiting,
            open: Vec::new(),
            after,
        })
    }

    /// The log itself had this one.
    pub(super) fn pass(&mut self, sequence: StreamSeq) {
        self.after = self.after.max(sequence);
    }

    /// The next message, if it is before that one.
    pub(super) async fn take_before(
        &mut self,
        before: StreamSeq,
        replayed: &mut Replayed,
    ) -> Result<Option<Recorded<Stored>>, ArchiveError> {
        loop {
            self.refill(replayed).await?;
            let fronts = self.open.iter().enumerate();
            let earliest = fronts
                .filter_map(|(index, open)| Some((open.page.front()?.sequence, index)))
                .min();
            let until = earliest.map_or(before, |(sequence, _)| sequence.min(before));
            if self.waiting.last().is_some_and(|key| key.first <= until) {
                if let Some(key) = self.waiting.pop() {
                    self.begin(key, replayed).await?;
                }
                continue;
            }
            let Some((sequence, index)) = earliest.filter(|(sequence, _)| *sequence < before)
            else {
                return Ok(None);
            };
            self.after = sequence;
            return Ok(self.open[index].page.pop_front());
        }
    }

    async fn begin(&mut self, key: Key, replayed: &mut Replayed) -> Result<(), ArchiveError> {
        let Some(archive) = &self.archive else {
            return Ok(());
        };
        match archive.load(&key).await {
            Ok(archived) => {
                if archived.footer().whole {
                    replayed.archived.push(key.exec);
                }
                self.open.push(Open {
                    archived,
                    page: VecDeque::new(),
                    read: self.after,
                });
                Ok(())
            }
            Err(error @ ArchiveError::Damaged { .. }) => {
                replayed.damaged.push(error.to_string());
                Ok(())
            }
            Err(error @ ArchiveError::Unavailable(_)) => Err(error),
        }
    }

    /// Gives every open object a next message, and closes those that have none.
    async fn refill(&mut self, replayed: &mut Replayed) -> Result<(), ArchiveError> {
        let mut index = 0;
        while let Some(open) = self.open.get_mut(index) {
            match open.fill(self.after).await {
                Ok(()) if open.page.is_empty() => {
                    self.open.swap_remove(index);
                }
                Ok(()) => index += 1,
                Err(error @ ArchiveError::Damaged { .. }) => {
                    replayed.damaged.push(error.to_string());
                    let closed = self.open.swap_remove(index);
                    replayed
                        .archived
                        .retain(|exec| *exec != closed.archived.key().exec);
                }
                Err(error @ ArchiveError::Unavailable(_)) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Open {
    async fn fill(&mut self, after: StreamSeq) -> Result<(), ArchiveError> {
        while self.page.front().is_some_and(|next| next.sequence <= after) {
            self.page.pop_front();
        }
        while self.page.is_empty() {
            let page = self.archived.page_of_facts(self.read.max(after)).await?;
            let Some(last) = page.last() else {
                break;
            };
            self.read = last.sequence;
            self.page = page.into_iter().filter(makes_rows).collect();
        }
        Ok(())
    }
}

fn makes_rows(message: &Recorded<Stored>) -> bool {
    let kind = message.value.subject.rsplit('.').next().unwrap_or_default();
    !kind.parse::<Kind>().is_ok_and(Kind::is_bulk)
}
