//! The object store itself: opened from its address, listed, read and written.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_recursion::async_recursion as boxed;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, RetryConfig};
use rdev_contract::id::{ExecId, ProjectId, SessionId};
use tokio::sync::Semaphore;
use url::Url;

use crate::config::{ArchiveUrl, InvalidArchiveUrl};
use crate::http::Connector;
use crate::key::{Key, exec_prefix, execs_prefix, session_prefix};
use crate::read::Caches;

/// Requests that read at a time: each may hold a few megabytes while it does.
const READS_AT_ONCE: usize = 16;
/// How long a request that failed is tried again, before whoever asked is told.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
const RETRIES_MAX: usize = 3;

/// Why something is not read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ArchiveError {
    /// The store does not answer, or refuses. Trying again can help.
    #[error("the archive is not available: {0}")]
    Unavailable(String),
    /// An object is not what was written. Nothing of it is shown.
    #[error("the archived object {object} is damaged: {reason}")]
    Damaged {
        /// Its name.
        object: String,
        /// What is wrong.
        reason: String,
    },
}

impl ArchiveError {
    pub(crate) fn damaged(key: &Key, reason: impl fmt::Display) -> Self {
        Self::Damaged {
            object: key.to_string(),
            reason: reason.to_string(),
        }
    }

    /// Of a request for an object that was listed.
    pub(crate) fn of_object(key: &Key, error: object_store::Error) -> Self {
        if matches!(error, object_store::Error::NotFound { .. }) {
            return Self::damaged(key, "it is gone");
        }
        error.into()
    }
}

impl From<object_store::Error> for ArchiveError {
    fn from(error: object_store::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// An archive. Cheap to clone.
#[derive(Clone)]
pub struct Archive(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) store: Box<dyn ObjectStore>,
    /// What all names begin with.
    pub(crate) prefix: Path,
    pub(crate) caches: Caches,
    reads: Semaphore,
}

impl fmt::Debug for Archive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Archive({}, {})", self.0.store, self.0.prefix)
    }
}

impl Archive {
    /// The archive at this address; none if it is off. A directory is made if it is missing. Nothing is
    /// asked of a store yet.
    ///
    /// # Errors
    /// [`InvalidArchiveUrl`] when nothing can be there.
    pub fn open(url: &ArchiveUrl) -> Result<Option<Self>, InvalidArchiveUrl> {
        let (store, prefix): (Box<dyn ObjectStore>, _) = match url {
            ArchiveUrl::Off => return Ok(None),
            ArchiveUrl::Directory(url) => (Box::new(directory(url)?), Path::default()),
            ArchiveUrl::Bucket(url) => {
                let invalid =
                    |error: &dyn fmt::Display| InvalidArchiveUrl(format!("{url}: {error}"));
                let prefix = Path::from_url_path(url.path()).map_err(|error| invalid(&error))?;
                let store = AmazonS3Builder::from_env()
                    .with_bucket_name(url.host_str().unwrap_or_default())
                    .with_http_connector(Connector)
                    .with_retry(RetryConfig {
                        max_retries: RETRIES_MAX,
                        retry_timeout: RETRY_TIMEOUT,
                        ..RetryConfig::default()
                    })
                    .build()
                    .map_err(|error| invalid(&error))?;
                (Box::new(store), prefix)
            }
        };
        Ok(Some(Self(Arc::new(Inner {
            store,
            prefix,
            caches: Caches::default(),
            reads: Semaphore::new(READS_AT_ONCE),
        }))))
    }

    /// The same for whoever only reads: a directory that is missing is not made.
    ///
    /// # Errors
    /// [`InvalidArchiveUrl`] when nothing is, or can be, there.
    pub fn open_existing(url: &ArchiveUrl) -> Result<Option<Self>, InvalidArchiveUrl> {
        if let ArchiveUrl::Directory(url) = url {
            let is_there = url.to_file_path().is_ok_and(|path| path.is_dir());
            if !is_there {
                let reason = format!("{url}: there is no such directory");
                return Err(InvalidArchiveUrl(reason));
            }
        }
        Self::open(url)
    }

    /// All objects of an exec, those of its newest life first, whole ones before parts.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`].
    #[boxed]
    pub async fn keys_of(&self, exec: &ExecId) -> Result<Vec<Key>, ArchiveError> {
        let mut keys = self.list(&exec_prefix(&self.0.prefix, exec)).await?;
        keys.sort_by_key(|key| {
            let newest_first = std::cmp::Reverse((key.log, key.last));
            (newest_first, key.is_part, key.first)
        });
        Ok(keys)
    }

    /// All objects of a session's execs.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`].
    #[boxed]
    pub async fn keys_of_session(
        &self,
        project: &ProjectId,
        session: SessionId,
    ) -> Result<Vec<Key>, ArchiveError> {
        self.list(&session_prefix(&self.0.prefix, project, session))
            .await
    }

    /// All objects there are, in no order.
    pub fn keys(&self) -> futures::stream::BoxStream<'static, Result<Key, ArchiveError>> {
        let prefix = self.0.prefix.clone();
        let listed = self.0.store.list(Some(&execs_prefix(&prefix)));
        listed
            .try_filter_map(move |object| {
                std::future::ready(Ok(Key::of_path(&prefix, &object.location)))
            })
            .map_err(ArchiveError::from)
            .boxed()
    }

    async fn list(&self, prefix: &Path) -> Result<Vec<Key>, ArchiveError> {
        let _turn = self.turn().await;
        let listed = self.0.store.list(Some(prefix));
        let keys = listed.try_filter_map(|object| {
            std::future::ready(Ok(Key::of_path(&self.0.prefix, &object.location)))
        });
        Ok(keys.try_collect().await?)
    }

    /// The right to read, as long as it is held.
    pub(crate) async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.0.reads.acquire().await.ok()
    }

    pub(crate) async fn get_range(
        &self,
        key: &Key,
        range: std::ops::Range<u64>,
    ) -> Result<Bytes, ArchiveError> {
        let _turn = self.turn().await;
        let path = key.path(&self.0.prefix);
        let expected = range.end - range.start;
        let bytes = self.0.store.get_range(&path, range).await;
        let bytes = bytes.map_err(|error| ArchiveError::of_object(key, error))?;
        if bytes.len() as u64 != expected {
            return Err(ArchiveError::damaged(key, "it is shorter than it was"));
        }
        Ok(bytes)
    }
}

fn directory(url: &Url) -> Result<LocalFileSystem, InvalidArchiveUrl> {
    let invalid = |reason: &dyn fmt::Display| InvalidArchiveUrl(format!("{url}: {reason}"));
    let path = url
        .to_file_path()
        .map_err(|()| invalid(&"not a path of this machine"))?;
    std::fs::create_dir_all(&path).map_err(|error| invalid(&error))?;
    let store = LocalFileSystem::new_with_prefix(path).map_err(|error| invalid(&error))?;
    // What counts as archived is on disk.
    Ok(store.with_fsync(true))
}
