//! The bucket of API keys: written with compare-and-set, followed by every gateway.
//!
//! It is followed as streams of the log are, from the last entry that was handed out on, so that
//! nothing is missed over a reconnect, and a revocation is everywhere as soon as it is stored.

use async_recursion::async_recursion as boxed;
use bytes::Bytes;
use rdev_contract::envelope::{Recorded, Stored};
use rdev_contract::id::KeyId;
use rdev_contract::key::{KeyRecord, KeyUse};
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::{Filter, KEYS_STREAM, KeyEntry, Subject};
use serde::Serialize;

use crate::follow::Follower;
use crate::metrics::Written;
use crate::publish::{Fenced, NotStored};
use crate::{Bus, ReadError};

/// Tries to change what others change at the same time.
const RACES_MAX: u32 = 10;

/// Something that was put into the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyNews {
    /// A key, as it is now.
    Key(Box<KeyRecord>),
    /// A key was used.
    Used(KeyId, KeyUse),
    /// There is no such key any more, or nobody can read it.
    Gone(KeyId),
    /// What tickets are signed with.
    TicketSecret(String),
    /// There is nothing any more that they could be signed with.
    NoTicketSecret,
    /// What means nothing to this version.
    Other,
}

/// As [`KeyNews::TicketSecret`] is written: 256 bits as lower-case hex.
const TICKET_SECRET_CHARS: usize = 64;

/// Why an entry was not stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyWriteError {
    /// There is another one behind the one that it was to replace.
    #[error("the key was changed at the same time")]
    Raced,
    /// The log cannot be reached, or did not answer: it may have been stored.
    #[error("the log did not answer: {0}")]
    Unavailable(String),
}

impl From<ReadError> for KeyWriteError {
    fn from(error: ReadError) -> Self {
        Self::Unavailable(error.0)
    }
}

/// What is put into the bucket, one entry after the other, from its beginning on.
#[derive(Debug)]
pub struct KeyLog(Follower);

impl KeyLog {
    /// The next entry, through reconnects. May be dropped and called again.
    pub async fn next(&mut self) -> Recorded<KeyNews> {
        let Recorded { sequence, value } = self.0.next().await;
        let value = news(&value);
        Recorded { sequence, value }
    }

    /// Whether everything was handed out that is there.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.0.is_caught_up()
    }
}

/// What cannot be read is told, and lets nobody in: also what an operator has deleted, of which the
/// bucket keeps an empty entry.
fn news(stored: &Stored) -> KeyNews {
    let unreadable = |error: &dyn std::fmt::Display| {
        if !stored.payload.is_empty() {
            tracing::warn!(subject = stored.subject, %error, "an entry of the bucket of keys cannot be read");
        }
    };
    match KeyEntry::at(&stored.subject) {
        Some(KeyEntry::Key(id)) => match serde_json::from_slice(&stored.payload) {
            Ok(record) => KeyNews::Key(Box::new(record)),
            Err(error) => {
                unreadable(&error);
                KeyNews::Gone(id)
            }
        },
        Some(KeyEntry::Use(id)) => match serde_json::from_slice(&stored.payload) {
            Ok(last) => KeyNews::Used(id, last),
            Err(error) => {
                unreadable(&error);
                KeyNews::Other
            }
        },
        Some(KeyEntry::TicketSecret) => match ticket_secret(&stored.payload) {
            Some(secret) => KeyNews::TicketSecret(secret.to_owned()),
            None => {
                unreadable(&"not 64 hex digits");
                KeyNews::NoTicketSecret
            }
        },
        None => KeyNews::Other,
    }
}

/// A shorter one could be guessed, and an empty one is what a deleted entry would make.
fn ticket_secret(payload: &[u8]) -> Option<&str> {
    let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let is_one = payload.len() == TICKET_SECRET_CHARS && payload.iter().all(is_hex);
    std::str::from_utf8(payload).ok().filter(|_| is_one)
}

impl Bus {
    /// Follows the bucket of keys from its beginning.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    #[boxed]
    pub async fn follow_keys(&self) -> Result<KeyLog, ReadError> {
        let filters = vec![Filter::keys()];
        let follower = self.follow_stream(KEYS_STREAM, filters, StreamSeq(0));
        Ok(KeyLog(follower.await?))
    }

    /// Everything that is in the bucket of keys right now.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    #[boxed]
    pub async fn keys(&self) -> Result<Vec<Recorded<KeyNews>>, ReadError> {
        let mut log = self.follow_keys().await?;
        let mut all = Vec::new();
        while !log.is_caught_up() {
            all.push(log.next().await);
        }
        Ok(all)
    }

    /// The place of the last entry of the bucket, as the leader has it; 0 if it has none.
    ///
    /// # Errors
    /// [`ReadError`] when the leader does not answer.
    #[boxed]
    pub async fn last_key_entry(&self) -> Result<StreamSeq, ReadError> {
        let last = self.last_of(KEYS_STREAM, &Filter::keys()).await?;
        Ok(last.map_or(StreamSeq(0), |last| last.sequence))
    }

    /// One key, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`] when the leader does not answer, or the key cannot be read.
    #[boxed]
    pub async fn key(&self, id: &KeyId) -> Result<Option<Recorded<KeyRecord>>, ReadError> {
        let filter = Subject::key(&KeyEntry::Key(id.clone())).into();
        let Some(found) = self.last_of(KEYS_STREAM, &filter).await? else {
            return Ok(None);
        };
        if found.value.payload.is_empty() {
            // Deleted by hand.
            return Ok(None);
        }
        let value = serde_json::from_slice(&found.value.payload).map_err(ReadError::of)?;
        Ok(Some(Recorded {
            sequence: found.sequence,
            value,
        }))
    }

    /// Stores a key in the place of its record at `last` (0 for a new one).
    ///
    /// # Errors
    /// See [`KeyWriteError`].
    #[boxed]
    pub async fn store_key(
        &self,
        record: &KeyRecord,
        last: StreamSeq,
    ) -> Result<StreamSeq, KeyWriteError> {
        let payload = json(record)?;
        self.put(&KeyEntry::Key(record.id.clone()), payload, last)
            .await
    }

    /// Changes a key: what `change` makes of it takes its place, none leaves it as it is. Who was
    /// faster is looked at again. None if there is no such key.
    ///
    /// # Errors
    /// See [`KeyWriteError`].
    pub async fn change_key(
        &self,
        id: &KeyId,
        mut change: impl FnMut(&KeyRecord) -> Option<KeyRecord>,
    ) -> Result<Option<Recorded<KeyRecord>>, KeyWriteError> {
        for _ in 0..RACES_MAX {
            let Some(known) = self.key(id).await? else {
                return Ok(None);
            };
            let Some(changed) = change(&known.value) else {
                return Ok(Some(known));
            };
            match self.store_key(&changed, known.sequence).await {
                Ok(sequence) => {
                    let value = changed;
                    return Ok(Some(Recorded { sequence, value }));
                }
                Err(KeyWriteError::Raced) => {}
                Err(error @ KeyWriteError::Unavailable(_)) => {
                    // Perhaps only the answer was lost.
                    let found = self.key(id).await?;
                    let found = found.filter(|found| found.value == changed);
                    return found.map(Some).ok_or(error);
                }
            }
        }
        Err(KeyWriteError::Raced)
    }

    /// Notes that a key was used. Of several gateways that do at the same time one is right enough.
    ///
    /// # Errors
    /// [`KeyWriteError::Unavailable`] when nobody answers.
    #[boxed]
    pub async fn note_key_use(&self, id: &KeyId, last: KeyUse) -> Result<(), KeyWriteError> {
        let entry = KeyEntry::Use(id.clone());
        let filter = Subject::key(&entry).into();
        let found = self.last_of(KEYS_STREAM, &filter).await?;
        let sequence = found.map_or(StreamSeq(0), |found| found.sequence);
        match self.put(&entry, json(&last)?, sequence).await {
            Ok(_) | Err(KeyWriteError::Raced) => Ok(()),
            Err(error @ KeyWriteError::Unavailable(_)) => Err(error),
        }
    }

    /// Stores what tickets are signed with, unless there is something already.
    ///
    /// # Errors
    /// [`KeyWriteError::Unavailable`] when nobody answers.
    #[boxed]
    pub async fn offer_ticket_secret(&self, secret: &str) -> Result<(), KeyWriteError> {
        let entry = KeyEntry::TicketSecret;
        let found = self
            .last_of(KEYS_STREAM, &Subject::key(&entry).into())
            .await?;
        let last = match found {
            Some(found) if ticket_secret(&found.value.payload).is_some() => return Ok(()),
            Some(deleted) => deleted.sequence,
            None => StreamSeq(0),
        };
        let payload = Bytes::from(secret.to_owned());
        match self.put(&entry, payload, last).await {
            Ok(_) | Err(KeyWriteError::Raced) => Ok(()),
            Err(error @ KeyWriteError::Unavailable(_)) => Err(error),
        }
    }

    async fn put(
        &self,
        entry: &KeyEntry,
        payload: Bytes,
        last: StreamSeq,
    ) -> Result<StreamSeq, KeyWriteError> {
        self.reachable()?;
        let subject = Subject::key(entry);
        let fenced = Fenced {
            subject: &subject,
            fence: &subject.clone().into(),
            expected: last,
            payload,
            ttl: None,
            trace: None,
            written: Written::Key,
        };
        match self.publish_fenced(fenced).await {
            Ok(sequence) => Ok(sequence),
            Err(NotStored::Stale) => Err(KeyWriteError::Raced),
            Err(
                NotStored::Full(reason) | NotStored::TooLarge(reason) | NotStored::Unknown(reason),
            ) => Err(KeyWriteError::Unavailable(reason)),
        }
    }
}

fn json(value: &impl Serialize) -> Result<Bytes, KeyWriteError> {
    let payload = serde_json::to_vec(value);
    let payload = payload.map_err(|error| KeyWriteError::Unavailable(error.to_string()))?;
    Ok(payload.into())
}
