//! Orders for execs: given one after the other, read by the executor that has the exec, removed when
//! they are carried out.
//!
//! An order names the one that it follows, as the exec's messages do, so of two that are given at
//! once the broker refuses one. Whoever was refused reads the last order and decides anew.

use async_recursion::async_recursion as boxed;
use bytes::Bytes;
use rdev_contract::control::ControlMessage;
use rdev_contract::envelope::Recorded;
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::{CONTROL_STREAM, Filter, Subject};

use crate::Stored;
use crate::metrics::Written;
use crate::publish::{Fenced, NotStored};
use crate::{Bus, ReadError};

/// Why an order was not given.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OrderError {
    /// It was not stored: there is another one behind the one that it follows.
    #[error("another order was given at the same time")]
    Raced,
    /// It was not stored: the log is full or cannot be reached.
    #[error("{0}")]
    Unavailable(String),
    /// It may have been stored.
    #[error("it is not known whether the order was stored: {0}")]
    Unknown(String),
    /// It cannot be written as JSON, or is larger than the server takes.
    #[error("cannot encode: {0}")]
    Encoding(String),
}

impl Bus {
    /// The last order that is kept for an exec, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`] when the leader does not answer, or the order cannot be read.
    #[boxed]
    pub async fn last_order(
        &self,
        exec: &ExecId,
    ) -> Result<Option<Recorded<ControlMessage>>, ReadError> {
        let last = self.last_of(CONTROL_STREAM, &orders(exec)).await?;
        last.as_ref().map(decode).transpose()
    }

    /// The oldest order that is kept for an exec, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`] when the leader does not answer, or the order cannot be read.
    #[boxed]
    pub async fn oldest_order(
        &self,
        exec: &ExecId,
    ) -> Result<Option<Recorded<ControlMessage>>, ReadError> {
        let filter = orders(exec);
        let oldest = self.next_of(CONTROL_STREAM, &filter, StreamSeq(0)).await?;
        oldest.as_ref().map(decode).transpose()
    }

    /// All orders that are kept for an exec up to its last one, as the leader has them. The last one is
    /// kept until the exec has ended.
    ///
    /// # Errors
    /// [`ReadError`] when the leader does not answer, or an order cannot be read.
    #[boxed]
    pub async fn kept_orders(
        &self,
        exec: &ExecId,
    ) -> Result<Vec<Recorded<ControlMessage>>, ReadError> {
        let filter = orders(exec);
        let Some(last) = self.last_of(CONTROL_STREAM, &filter).await? else {
            return Ok(Vec::new());
        };
        let (mut kept, mut after) = (Vec::new(), StreamSeq(0));
        while after < last.sequence {
            let Some(next) = self.next_of(CONTROL_STREAM, &filter, after).await? else {
                break;
            };
            after = next.sequence;
            kept.push(decode(&next)?);
        }
        Ok(kept)
    }

    /// Stores an order behind the one at `last` (0 for none).
    ///
    /// # Errors
    /// See [`OrderError`].
    #[boxed]
    pub async fn give(
        &self,
        exec: &ExecId,
        message: &ControlMessage,
        last: StreamSeq,
    ) -> Result<StreamSeq, OrderError> {
        // The client would keep the publish and send it after a reconnect, when the caller has
        // long been told that it failed.
        if !self.is_connected() {
            return Err(OrderError::Unavailable("not connected".to_owned()));
        }
        let payload =
            serde_json::to_vec(message).map_err(|error| OrderError::Encoding(error.to_string()))?;
        let payload = Bytes::from(payload);
        let subject = Subject::control(exec);
        let fenced = Fenced {
            subject: &subject,
            fence: &subject.clone().into(),
            expected: last,
            payload: payload.clone(),
            // It outlives its exec only if nobody removed it.
            ttl: Some(self.config.facts_ttl),
            trace: None,
            written: Written::Order,
        };
        match self.publish_fenced(fenced).await {
            Ok(sequence) => Ok(sequence),
            Err(NotStored::Stale) => Err(OrderError::Raced),
            Err(NotStored::Full(reason)) => Err(OrderError::Unavailable(reason)),
            Err(NotStored::TooLarge(reason)) => Err(OrderError::Encoding(reason)),
            Err(NotStored::Unknown(reason)) => self.find_given(exec, &payload, last, reason).await,
        }
    }

    /// Whether an order that was not acknowledged is there.
    async fn find_given(
        &self,
        exec: &ExecId,
        payload: &Bytes,
        last: StreamSeq,
        reason: String,
    ) -> Result<StreamSeq, OrderError> {
        match self.last_of(CONTROL_STREAM, &orders(exec)).await {
            Ok(Some(found)) if found.value.payload == payload => Ok(found.sequence),
            Ok(Some(found)) if found.sequence > last => Err(OrderError::Raced),
            // It may still be under way.
            Ok(_) => Err(OrderError::Unknown(reason)),
            Err(ReadError(reason)) => Err(OrderError::Unknown(reason)),
        }
    }

    /// Removes the orders of an exec that are before `before`; all of them if it is none.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    #[boxed]
    pub async fn remove_orders(
        &self,
        exec: &ExecId,
        before: Option<StreamSeq>,
    ) -> Result<(), ReadError> {
        let stream = self.handle(CONTROL_STREAM).await?;
        let purge = stream.purge().filter(orders(exec).as_str());
        let purged = match before {
            Some(before) => purge.sequence(before.0).await,
            None => purge.await,
        };
        purged.map_err(ReadError::of)?;
        Ok(())
    }
}

fn orders(exec: &ExecId) -> Filter {
    Subject::control(exec).into()
}

/// An order as it is stored.
///
/// # Errors
/// [`ReadError`] when it is not one.
pub fn decode(stored: &Recorded<Stored>) -> Result<Recorded<ControlMessage>, ReadError> {
    Ok(Recorded {
        sequence: stored.sequence,
        value: serde_json::from_slice(&stored.value.payload).map_err(ReadError::of)?,
    })
}
