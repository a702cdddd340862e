//! How many execs can run: each executor says it every second over core NATS. Nothing of it is
//! stored; whoever falls silent is soon not counted any more.

use std::time::Duration;

use async_nats::Subscriber;
use async_recursion::async_recursion as boxed;
use futures::StreamExt;
use rdev_contract::queue::SlotsAnnounced;
use rdev_contract::subject;

use crate::{Bus, ReadError};

/// How often an executor says that it is there.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(1);
/// An executor that was not heard for so long is not counted.
pub const SILENT_AFTER: Duration = Duration::from_secs(3);

/// What executors say.
#[derive(Debug)]
pub struct Announcements(Subscriber);

impl Bus {
    /// Says how many execs an executor can run.
    ///
    /// # Errors
    /// [`ReadError`] when it could not be sent.
    #[boxed]
    pub async fn announce_slots(&self, slots: &SlotsAnnounced) -> Result<(), ReadError> {
        let payload = serde_json::to_vec(slots).map_err(ReadError::of)?;
        self.client
            .publish(subject::SLOTS_ANNOUNCED, payload.into())
            .await
            .map_err(ReadError::of)
    }

    /// Hears all executors, this process's own among them.
    ///
    /// # Errors
    /// [`ReadError`] when there is no connection.
    #[boxed]
    pub async fn announcements(&self) -> Result<Announcements, ReadError> {
        let subscriber = self.client.subscribe(subject::SLOTS_ANNOUNCED).await;
        Ok(Announcements(subscriber.map_err(ReadError::of)?))
    }
}

impl Announcements {
    /// The next one; none when the connection was closed for good. May be dropped and called again.
    pub async fn next(&mut self) -> Option<SlotsAnnounced> {
        loop {
            let message = self.0.next().await?;
            match serde_json::from_slice(&message.payload) {
                Ok(slots) => return Some(slots),
                Err(error) => tracing::debug!(%error, "not an announcement of slots"),
            }
        }
    }
}
