//! How many messages the log holds of what, without reading them.

use async_recursion::async_recursion as boxed;
use futures::TryStreamExt;
use rdev_contract::subject::Filter;

use crate::{Bus, LogStream, ReadError};

impl Bus {
    /// The subjects that match and have messages, and how many.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    #[boxed]
    pub async fn count_by_subject(
        &self,
        stream: LogStream,
        filter: &Filter,
    ) -> Result<Vec<(String, u64)>, ReadError> {
        self.reachable()?;
        let handle = self
            .jetstream
            .get_stream_no_info(stream.name())
            .await
            .map_err(ReadError::of)?;
        let counts = handle
            .info_with_subjects(filter.as_str())
            .await
            .map_err(ReadError::of)?;
        counts
            .map_ok(|(subject, count)| (subject, count as u64))
            .try_collect()
            .await
            .map_err(ReadError::of)
    }
}
