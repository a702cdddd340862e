//! Reading an object: any part of it, without the rest.
//!
//! What many readers want at a time is fetched once and kept for a while, in bounded memory: footers,
//! windows of an object as it is stored, and decoded blocks. Objects never change, so nothing that is
//! kept gets old.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_recursion::async_recursion as boxed;
use bytes::Bytes;
use object_store::ObjectStoreExt;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use rdev_contract::envelope::{Recorded, Stored};
use rdev_contract::event::OutputStream;
use rdev_contract::id::ExecId;
use rdev_contract::position::{EventNo, LogIdentity, StreamSeq};

use crate::block;
use crate::footer::{Footer, TRAILER_BYTES, Trailer};
use crate::key::Key;
use crate::line::MessageHash;
use crate::store::{Archive, ArchiveError};

/// What is fetched at a time: a request to S3 costs as much as a megabyte.
const WINDOW_BYTES: u64 = 512 * 1024;
/// The end of an object, with the whole footer of all but large ones.
const END_BYTES: u64 = 16 * 1024;
/// Memory of each cache.
const FOOTERS_BYTES: u64 = 16 * 1024 * 1024;
const WINDOWS_BYTES: u64 = 32 * 1024 * 1024;
const BLOCKS_BYTES: u64 = 32 * 1024 * 1024;
/// Execs of which it is known what is archived.
const LISTS_COUNT: usize = 10_000;
/// How many entries of each cache to expect: only a hint.
const ENTRIES: usize = 1_000;

type Messages = Arc<Vec<Recorded<Stored>>>;

/// What was fetched already.
pub(crate) struct Caches {
    /// Only of execs of which something is archived.
    lists: Cache<ExecId, Arc<Vec<Key>>>,
    footers: Cache<Key, Arc<Object>, Weight>,
    windows: Cache<(Key, u64), Bytes, Weight>,
    blocks: Cache<(Key, usize), Messages, Weight>,
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            lists: Cache::new(LISTS_COUNT),
            footers: Cache::with_weighter(ENTRIES, FOOTERS_BYTES, Weight),
            windows: Cache::with_weighter(ENTRIES, WINDOWS_BYTES, Weight),
            blocks: Cache::with_weighter(ENTRIES, BLOCKS_BYTES, Weight),
        }
    }
}

/// Bytes of memory, nearly.
#[derive(Clone)]
struct Weight;

/// What a key and its entry take.
const ENTRY_BYTES: u64 = 512;

impl Weighter<Key, Arc<Object>> for Weight {
    fn weight(&self, _: &Key, object: &Arc<Object>) -> u64 {
        ENTRY_BYTES + (size_of_val(object.footer.blocks.as_slice())) as u64
    }
}

impl Weighter<(Key, u64), Bytes> for Weight {
    fn weight(&self, _: &(Key, u64), bytes: &Bytes) -> u64 {
        ENTRY_BYTES + bytes.len() as u64
    }
}

impl Weighter<(Key, usize), Messages> for Weight {
    fn weight(&self, _: &(Key, usize), messages: &Messages) -> u64 {
        let bytes = messages.iter().map(|message| {
            size_of_val(message) + message.value.subject.len() + message.value.payload.len()
        });
        ENTRY_BYTES + bytes.sum::<usize>() as u64
    }
}

/// An object whose end was read.
#[derive(Debug)]
pub(crate) struct Object {
    key: Key,
    size: u64,
    pub(crate) footer: Footer,
}

impl Object {
    /// The blocks that begin in a window, which is a place of the object divided by its size.
    fn window(&self, window: u64) -> Range<u64> {
        let blocks = &self.footer.blocks;
        let begin = blocks.partition_point(|block| block.at / WINDOW_BYTES < window);
        let end = blocks.partition_point(|block| block.at / WINDOW_BYTES <= window);
        let of = |block: Option<&crate::footer::BlockInfo>| block.map_or(0, |block| block.at);
        let after = |block: &crate::footer::BlockInfo| block.at + u64::from(block.length);
        let last = end.checked_sub(1).and_then(|last| blocks.get(last));
        of(blocks.get(begin))..last.map_or(0, after)
    }
}

/// An archived exec. Cheap to clone.
#[derive(Clone)]
pub struct Archived {
    archive: Archive,
    object: Arc<Object>,
}

impl fmt::Debug for Archived {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Archived({})", self.object.key)
    }
}

impl Archive {
    /// What is archived of an exec in this life of the log, or in its newest one; of several objects
    /// the best that is not damaged.
    ///
    /// # Errors
    /// See [`ArchiveError`]; it is damaged if all of them are.
    #[boxed]
    pub async fn find(
        &self,
        exec: &ExecId,
        log: Option<LogIdentity>,
    ) -> Result<Option<Archived>, ArchiveError> {
        let keys = self.known_keys(exec).await?;
        let log = log.or_else(|| keys.first().map(|key| key.log));
        let mut damaged = None;
        for key in keys.iter().filter(|key| Some(key.log) == log) {
            match self.load(key).await {
                Ok(archived) => return Ok(Some(archived)),
                Err(error @ ArchiveError::Damaged { .. }) => {
                    damaged.get_or_insert(error);
                }
                Err(error @ ArchiveError::Unavailable(_)) => return Err(error),
            }
        }
        let Some(damaged) = damaged else {
            return Ok(None);
        };
        // It may be written again, under this name or as a part.
        self.0.caches.lists.remove(exec);
        Err(damaged)
    }

    async fn known_keys(&self, exec: &ExecId) -> Result<Arc<Vec<Key>>, ArchiveError> {
        let lists = &self.0.caches.lists;
        if let Some(keys) = lists.get(exec) {
            return Ok(keys);
        }
        let keys = Arc::new(self.keys_of(exec).await?);
        // What is not there may come.
        if !keys.is_empty() {
            lists.insert(exec.clone(), Arc::clone(&keys));
        }
        Ok(keys)
    }

    /// The exec in this object.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    #[boxed]
    pub async fn load(&self, key: &Key) -> Result<Archived, ArchiveError> {
        let loading = self.load_object(key);
        let object = self
            .0
            .caches
            .footers
            .get_or_insert_async(key, loading)
            .await?;
        Ok(Archived {
            archive: self.clone(),
            object,
        })
    }

    /// Reads all of an object as the store has it now, and compares every hash.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    #[boxed]
    pub async fn check(&self, key: &Key) -> Result<Archived, ArchiveError> {
        let archived = Archived {
            archive: self.clone(),
            object: self.load_object(key).await?,
        };
        archived.verify().await?;
        Ok(archived)
    }

    async fn load_object(&self, key: &Key) -> Result<Arc<Object>, ArchiveError> {
        let damaged = |reason: String| ArchiveError::damaged(key, reason);
        let head = {
            let _turn = self.turn().await;
            self.0.store.head(&key.path(&self.0.prefix)).await
        };
        let size = head
            .map_err(|error| ArchiveError::of_object(key, error))?
            .size;
        if size < TRAILER_BYTES as u64 {
            return Err(damaged("it was cut".to_owned()));
        }
        let end_at = size.saturating_sub(END_BYTES);
        let end = self.get_range(key, end_at..size).await?;
        let trailer = Trailer::decode(&end, size).map_err(damaged)?;
        let range = trailer.at..trailer.at + u64::from(trailer.length);
        let footer = match range.start.checked_sub(end_at) {
            Some(at) => {
                let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
                end.slice(within(at)..within(range.end - end_at))
            }
            None => self.get_range(key, range).await?,
        };
        let footer = Footer::decode(&trailer, &footer).map_err(damaged)?;
        let is_its_own = footer.exec == key.exec
            && footer.log == key.log
            && footer.first() == key.first
            && footer.whole != key.is_part;
        if !is_its_own {
            return Err(damaged("it is another one's".to_owned()));
        }
        Ok(Arc::new(Object {
            key: key.clone(),
            size,
            footer,
        }))
    }
}

impl Archived {
    /// The name of the object.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.object.key
    }

    /// How many bytes the object is.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.object.size
    }

    /// What is in it.
    #[must_use]
    pub fn footer(&self) -> &Footer {
        &self.object.footer
    }

    /// Some messages behind `after`, in their order; none if there are no more. What is read at a time
    /// is a block.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    #[boxed]
    pub async fn page(&self, after: StreamSeq) -> Result<Vec<Recorded<Stored>>, ArchiveError> {
        self.next(after, |_| true, |_| false).await
    }

    /// The same for whoever wants what there is: blocks that are damaged are passed over, and said to
    /// be so in the log of this process.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`].
    #[boxed]
    pub async fn readable_page(
        &self,
        after: StreamSeq,
    ) -> Result<Vec<Recorded<Stored>>, ArchiveError> {
        let is_passed_over = |error: &ArchiveError| {
            let is_damaged = matches!(error, ArchiveError::Damaged { .. });
            if is_damaged {
                tracing::error!(%error, "what is archived is not shown");
            }
            is_damaged
        };
        self.next(after, |_| true, is_passed_over).await
    }

    /// The same of what is more than output. Blocks that have nothing else are passed over; of the others
    /// everything comes.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    #[boxed]
    pub async fn page_of_facts(
        &self,
        after: StreamSeq,
    ) -> Result<Vec<Recorded<Stored>>, ArchiveError> {
        let is_wanted = |block: usize| self.footer().blocks[block].facts;
        self.next(after, is_wanted, |_| false).await
    }

    async fn next(
        &self,
        after: StreamSeq,
        is_wanted: impl Fn(usize) -> bool,
        is_passed_over: impl Fn(&ArchiveError) -> bool,
    ) -> Result<Vec<Recorded<Stored>>, ArchiveError> {
        let footer = self.footer();
        let Some(begin) = footer.block_behind(after, self.key().last) else {
            return Ok(Vec::new());
        };
        for index in (begin..footer.blocks.len()).filter(|index| is_wanted(*index)) {
            let messages = match self.block(index).await {
                Err(error) if is_passed_over(&error) => continue,
                read => read?,
            };
            let from = messages.partition_point(|message| message.sequence <= after);
            if from < messages.len() {
                return Ok(messages[from..].to_vec());
            }
        }
        Ok(Vec::new())
    }

    /// The message with this sequence, if it is there.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    #[boxed]
    pub async fn at(&self, sequence: StreamSeq) -> Result<Option<Recorded<Stored>>, ArchiveError> {
        let before = StreamSeq(sequence.0.saturating_sub(1));
        let Some(index) = self.footer().block_behind(before, self.key().last) else {
            return Ok(None);
        };
        let messages = self.block(index).await?;
        let found = messages.binary_search_by_key(&sequence, |message| message.sequence);
        Ok(found.ok().and_then(|at| messages.get(at)).cloned())
    }

    /// The last message of each kind, in their order.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    #[boxed]
    pub async fn last_of_each_kind(&self) -> Result<Vec<Recorded<Stored>>, ArchiveError> {
        let mut sequences: Vec<_> = self.footer().kinds.values().copied().collect();
        sequences.sort_unstable();
        let mut messages = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            let message = self.at(sequence).await?;
            let missing = || ArchiveError::damaged(self.key(), format!("no message {sequence}"));
            messages.push(message.ok_or_else(missing)?);
        }
        Ok(messages)
    }

    /// A message behind which the byte `first` of a stream is to be found, without reading all that
    /// is before it.
    #[must_use]
    pub fn before_output(&self, stream: OutputStream, first: u64) -> StreamSeq {
        self.footer().before_output(stream, first)
    }

    /// A message behind which the event with this number is to be found.
    #[must_use]
    pub fn before_event(&self, number: EventNo) -> StreamSeq {
        self.footer().before_event(number)
    }

    async fn block(&self, index: usize) -> Result<Messages, ArchiveError> {
        let Self { archive, object } = self;
        let reading = async {
            let block = &object.footer.blocks[index];
            let number = block.at / WINDOW_BYTES;
            let range = object.window(number);
            let windows = &archive.0.caches.windows;
            let key = (object.key.clone(), number);
            let fetching = self.fetch(range.clone());
            let window = windows.get_or_insert_async(&key, fetching).await?;
            let within = |at: u64| usize::try_from(at - range.start).unwrap_or(usize::MAX);
            let bytes = within(block.at)..within(block.at + u64::from(block.length));
            let decoded = block::read(&object.footer, block, &window[bytes]);
            match decoded {
                Ok(messages) => Ok(Arc::new(messages)),
                Err(reason) => Err(ArchiveError::damaged(&object.key, reason)),
            }
        };
        let key = (object.key.clone(), index);
        archive
            .0
            .caches
            .blocks
            .get_or_insert_async(&key, Box::pin(reading))
            .await
    }

    /// A range that the footer names. An object that has become shorter since is damaged, whatever the
    /// store says of it.
    async fn fetch(&self, range: Range<u64>) -> Result<Bytes, ArchiveError> {
        let Self { archive, object } = self;
        match archive.get_range(&object.key, range).await {
            Err(error @ ArchiveError::Unavailable(_)) => {
                let head = archive
                    .0
                    .store
                    .head(&object.key.path(&archive.0.prefix))
                    .await;
                if head.is_ok_and(|head| head.size != object.size) {
                    return Err(ArchiveError::damaged(
                        &object.key,
                        "it has another size now",
                    ));
                }
                Err(error)
            }
            other => other,
        }
    }

    /// Reads everything once, past all caches.
    async fn verify(&self) -> Result<(), ArchiveError> {
        let Self { archive, object } = self;
        let damaged = |reason: String| ArchiveError::damaged(&object.key, reason);
        let blocks = &object.footer.blocks;
        let (mut hash, mut count) = (MessageHash::default(), 0);
        let mut kinds = BTreeMap::new();
        let mut index = 0;
        while let Some(block) = blocks.get(index) {
            let range = object.window(block.at / WINDOW_BYTES);
            let window = archive.get_range(&object.key, range.clone()).await?;
            while let Some(block) = blocks.get(index).filter(|block| range.contains(&block.at)) {
                let within = |at: u64| usize::try_from(at - range.start).unwrap_or(usize::MAX);
                let bytes = within(block.at)..within(block.at + u64::from(block.length));
                let messages =
                    block::read(&object.footer, block, &window[bytes]).map_err(damaged)?;
                for message in &messages {
                    hash.add(message);
                    count += 1;
                    let kind = message.value.subject.rsplit('.').next().unwrap_or_default();
                    kinds.insert(kind.to_owned(), message.sequence);
                }
                index += 1;
            }
        }
        let footer = &object.footer;
        let is_equal = hash.sum() == footer.sha256.0
            && count == footer.messages
            && kinds == footer.kinds
            && kinds.values().max() == Some(&object.key.last);
        if is_equal {
            Ok(())
        } else {
            Err(damaged(
                "its messages are not those that were archived".to_owned(),
            ))
        }
    }
}
