//! When something happened last in a session that the log does not tell: somebody came to read.
//!
//! A bucket with one empty value for each session; when it was put is what it says.

use async_recursion::async_recursion as boxed;
use jiff::Timestamp;
use rdev_contract::event::Kind;
use rdev_contract::id::{ProjectId, SessionId};
use rdev_contract::subject::{ACTIVITY_BUCKET, Filter};

use crate::{Bus, LogStream, ReadError};

impl Bus {
    /// Something happens in this session.
    ///
    /// # Errors
    /// [`ReadError`] when it was not stored.
    #[boxed]
    pub async fn touch(&self, project: &ProjectId, session: SessionId) -> Result<(), ReadError> {
        let bucket = self.bucket(ACTIVITY_BUCKET).await?;
        let put = bucket.put(key(project, session), Vec::new().into()).await;
        put.map(drop).map_err(ReadError::of)
    }

    /// When something happened last in this session: it was read, or an exec was asked for or ended.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    #[boxed]
    pub async fn last_activity(
        &self,
        project: &ProjectId,
        session: SessionId,
    ) -> Result<Option<Timestamp>, ReadError> {
        let bucket = self.bucket(ACTIVITY_BUCKET).await?;
        let entry = bucket.entry(key(project, session)).await;
        let touched = entry.map_err(ReadError::of)?.map(|entry| entry.created);
        let touched = touched.map(|at| Timestamp::try_from(std::time::SystemTime::from(at)));
        let mut last = touched.transpose().map_err(ReadError::of)?;
        for kind in [Kind::Command, Kind::Complete] {
            let filter = Filter::session_kind(project, session, kind);
            let found = self.last_at_leader(LogStream::Exec, &filter).await?;
            last = last.max(found.map(|found| found.value.at));
        }
        Ok(last)
    }
}

fn key(project: &ProjectId, session: SessionId) -> String {
    format!("{project}.{session}")
}
