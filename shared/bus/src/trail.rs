//! The trail of orders: written before each, kept when the order itself is gone.
//!
//! It is the one thing that is published without a condition: nothing depends on its order or on there
//! being one only.

use async_nats::HeaderMap;
use async_nats::header;
use async_nats::jetstream::message::PublishMessage;
use async_recursion::async_recursion as boxed;
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::{Filter, Subject, TRAIL_STREAM};
use rdev_contract::trail::TrailMessage;

use crate::follow::Follower;
use crate::{Bus, ReadError};

impl Bus {
    /// Notes an order that is about to be given.
    ///
    /// # Errors
    /// [`ReadError`] when it may not have been stored: the order must not be given then.
    #[boxed]
    pub async fn note_order(&self, exec: &ExecId, note: &TrailMessage) -> Result<(), ReadError> {
        self.reachable()?;
        let payload = serde_json::to_vec(note).map_err(ReadError::of)?;
        let mut headers = HeaderMap::new();
        let seconds = self.config.facts_ttl.as_secs().max(1);
        headers.insert(header::NATS_MESSAGE_TTL, format!("{seconds}s"));
        let publish = PublishMessage::build()
            .payload(payload.into())
            .headers(headers);
        let subject = Subject::trail(exec).as_str().to_owned();
        let ack = self.jetstream.send_publish(subject, publish).await;
        ack.map_err(ReadError::of)?.await.map_err(ReadError::of)?;
        Ok(())
    }

    /// Follows the trail from its beginning.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    #[boxed]
    pub async fn follow_trail(&self) -> Result<Follower, ReadError> {
        let filters = vec![Filter::trail()];
        self.follow_stream(TRAIL_STREAM, filters, StreamSeq(0))
            .await
    }
}
