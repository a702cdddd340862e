//! Writing an object: as a stream, so that an exec of any length takes the memory of a few parts; read
//! back before it counts.

use async_recursion::async_recursion as boxed;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, WriteMultipart};
use rdev_contract::envelope::{Recorded, Stored};
use rdev_contract::id::ExecId;
use rdev_contract::position::{LogIdentity, StreamSeq};

use crate::block::BlockWriter;
use crate::key::Key;
use crate::read::Archived;
use crate::store::{Archive, ArchiveError};

/// What is sent at a time: the least that S3 takes as a part that is not the last one. It takes 10,000
/// of them, which are some 50 GB.
const PART_BYTES: usize = 5 * 1024 * 1024;
/// Parts under way while the next one is gathered.
const PARTS_AT_ONCE: usize = 1;

/// An object that is being written.
pub struct Export {
    archive: Archive,
    key: Key,
    writer: BlockWriter,
    upload: Option<WriteMultipart>,
}

/// What became of an export.
#[derive(Debug)]
pub enum Exported {
    /// It is there, and was read back.
    Kept(Archived),
    /// It is not what it was begun as, whole or a part: it is to be begun anew. Nothing was written.
    NotWhole,
    /// There was no message. Nothing was written.
    Nothing,
}

impl Archive {
    /// Begins an object of this exec, whose messages go up to `last`.
    #[must_use]
    pub fn export(
        &self,
        exec: &ExecId,
        log: LogIdentity,
        last: StreamSeq,
        is_part: bool,
    ) -> Export {
        Export {
            archive: self.clone(),
            key: Key {
                exec: exec.clone(),
                log,
                first: StreamSeq(0),
                last,
                is_part,
            },
            writer: BlockWriter::new(exec.clone(), log),
            upload: None,
        }
    }
}

impl Export {
    /// Takes the next message.
    ///
    /// # Errors
    /// See [`ArchiveError`]; nothing of this export is there then.
    pub async fn push(&mut self, message: &Recorded<Stored>) -> Result<(), ArchiveError> {
        if self.key.first == StreamSeq(0) {
            self.key.first = message.sequence;
        }
        let pushed = self.writer.push(message);
        pushed.map_err(|reason| ArchiveError::damaged(&self.key, reason))?;
        if self.writer.waiting_bytes() >= PART_BYTES {
            let bytes = self.writer.take();
            self.send(bytes).await?;
        }
        Ok(())
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), ArchiveError> {
        if self.upload.is_none() {
            let begun = self.archive.0.store.put_multipart(&self.path()).await?;
            self.upload = Some(WriteMultipart::new_with_chunk_size(begun, PART_BYTES));
        }
        if let Some(upload) = &mut self.upload {
            upload.wait_for_capacity(PARTS_AT_ONCE).await?;
            upload.put(bytes);
        }
        Ok(())
    }

    fn path(&self) -> Path {
        self.key.path(&self.archive.0.prefix)
    }

    /// Writes the end, and reads everything back. `lacks` says what is missing or not as it was
    /// written; an object that lacks something is a part.
    ///
    /// # Errors
    /// See [`ArchiveError`]; it does not count as archived then.
    #[boxed]
    pub async fn finish(mut self, lacks: Vec<String>) -> Result<Exported, ArchiveError> {
        if self.key.first == StreamSeq(0) {
            return Ok(Exported::Nothing);
        }
        if lacks.is_empty() == self.key.is_part {
            self.abort().await;
            return Ok(Exported::NotWhole);
        }
        let path = self.path();
        let finished = self.writer.finish(lacks);
        let (rest, footer) = finished.map_err(|reason| ArchiveError::damaged(&self.key, reason))?;
        match self.upload.take() {
            Some(mut upload) => {
                upload.put(rest);
                upload.finish().await?;
            }
            None => {
                self.archive.0.store.put(&path, rest.into()).await?;
            }
        }
        let archived = self.archive.check(&self.key).await?;
        if *archived.footer() != footer {
            let reason = "it is not what was written";
            return Err(ArchiveError::damaged(&self.key, reason));
        }
        Ok(Exported::Kept(archived))
    }

    /// Leaves nothing behind.
    #[boxed]
    pub async fn abort(self) {
        if let Some(upload) = self.upload
            && let Err(error) = upload.abort().await
        {
            tracing::warn!(object = %self.key, %error, "parts of an upload stay in the store");
        }
    }
}
