//! How far a life of the log is archived. It lies beside the objects, so it is true of them: an archive
//! that is empty, or another one, begins at the beginning.
//!
//! Written by the archiver behind the objects; whoever writes one that is older only makes work to be
//! done again.

use async_recursion::async_recursion as boxed;
use jiff::Timestamp;
use object_store::ObjectStoreExt;
use rdev_contract::position::{LogIdentity, StreamSeq};
use serde::{Deserialize, Serialize};

use crate::key::position_path;
use crate::store::{Archive, ArchiveError};

/// Every exec that ended up to here is archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The last `complete` that was looked at.
    pub sequence: StreamSeq,
    /// When that was stored.
    pub at: Timestamp,
}

impl Archive {
    /// How far this life of the log is archived; none if nothing of it is.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`].
    #[boxed]
    pub async fn position(&self, log: LogIdentity) -> Result<Option<Position>, ArchiveError> {
        let path = position_path(&self.0.prefix, log);
        let bytes = match self.0.store.get(&path).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match serde_json::from_slice(&bytes) {
            Ok(position) => Ok(Some(position)),
            Err(error) => {
                tracing::error!(object = %path, %error, "the archive's position cannot be read: \
                    everything is looked at again");
                Ok(None)
            }
        }
    }

    /// Notes how far this life of the log is archived.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`].
    #[boxed]
    pub async fn mark(&self, log: LogIdentity, position: Position) -> Result<(), ArchiveError> {
        let unwritable = |error: serde_json::Error| ArchiveError::Unavailable(error.to_string());
        let bytes = serde_json::to_vec(&position).map_err(unwritable)?;
        let path = position_path(&self.0.prefix, log);
        self.0.store.put(&path, bytes.into()).await?;
        Ok(())
    }
}
