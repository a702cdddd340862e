//! What an exec or a session is at one moment: the last message of each of its kinds.
//!
//! Each kind is asked for by its own subject, which the server finds at once; asked for all of them
//! together, it goes through everything that was stored since the oldest one, and lets nothing be
//! stored meanwhile.

use async_recursion::async_recursion as boxed;
use futures::future::try_join_all;
use rdev_contract::envelope::Recorded;
use rdev_contract::event::Kind;
use rdev_contract::id::ExecId;
use rdev_contract::subject::{Filter, Subject};

use crate::{Bus, LogStream, ReadError, Stored};

/// A look is in vain when two kinds are stored while it lasts, which is a few milliseconds at most.
/// Only bulk comes that fast, and of one kind.
const LOOKS_MAX: u32 = 100;

impl Bus {
    /// The last message of each kind that this exec has, in the order of the log: what was there
    /// at one moment, and nothing that was stored before the call is missing.
    ///
    /// # Errors
    /// [`ReadError`] when the leader does not answer.
    #[boxed]
    pub async fn last_of_each_kind(
        &self,
        exec: &ExecId,
    ) -> Result<Vec<Recorded<Stored>>, ReadError> {
        let kinds = Kind::ALL.map(|kind| Subject::exec(exec, kind));
        self.last_of_each(LogStream::Exec, &Filter::exec(exec), &kinds)
            .await
    }

    /// The last message of each subject, `all` of which match. The leader says first which one is the
    /// newest of all; if no other is newer than that when it is asked for, they are those of its
    /// moment, however fast those like it follow.
    pub(crate) async fn last_of_each(
        &self,
        stream: LogStream,
        all: &Filter,
        subjects: &[Subject],
    ) -> Result<Vec<Recorded<Stored>>, ReadError> {
        for _ in 0..LOOKS_MAX {
            let Some(tail) = self.last_at_leader(stream, all).await? else {
                return Ok(Vec::new());
            };
            let others = subjects.iter();
            let others = others.filter(|one| one.as_str() != tail.value.subject);
            let asked = others.map(|one| self.last_of_one(stream, one));
            let mut found: Vec<_> = try_join_all(asked).await?.into_iter().flatten().collect();
            if found.iter().all(|other| other.sequence < tail.sequence) {
                found.push(tail);
                found.sort_by_key(|message| message.sequence);
                return Ok(found);
            }
        }
        Err(ReadError(
            "it is written faster than it can be looked at".to_owned(),
        ))
    }

    async fn last_of_one(
        &self,
        stream: LogStream,
        subject: &Subject,
    ) -> Result<Option<Recorded<Stored>>, ReadError> {
        let filter = subject.clone().into();
        self.last_at_leader(stream, &filter).await
    }
}
