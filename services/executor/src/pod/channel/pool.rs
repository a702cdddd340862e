//! The channels of an executor: one for each container that something runs in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::super::{Backend, PodError, PodIdentity};
use super::Channel;
use crate::metrics::{FAILED, METRICS, OPENED};

/// The channels of this executor, one per container.
pub struct Channels {
    backend: Arc<dyn Backend>,
    open: Mutex<HashMap<PodIdentity, Arc<tokio::sync::Mutex<Slot>>>>,
}

/// The place of one container's channel.
#[derive(Default)]
struct Slot {
    channel: Option<Channel>,
    /// The last try to open one, if it failed.
    failed: Option<(Instant, PodError)>,
}

impl Channels {
    /// None yet.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            open: Mutex::default(),
        }
    }

    /// The backend that they lead into.
    #[must_use]
    pub fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }

    /// The channel into this container; opened if there is none, or it is gone.
    ///
    /// # Errors
    /// As [`Backend::open`].
    pub async fn get(&self, pod: &PodIdentity) -> Result<Channel, PodError> {
        let asked = Instant::now();
        let slot = self.slot(pod);
        // Held while opening, so that many execs that start at once share one connection.
        let mut slot = slot.lock().await;
        if let Some(channel) = slot
            .channel
            .as_ref()
            .filter(|channel| channel.shared.touch())
        {
            return Ok(channel.clone());
        }
        // Whoever waited for a try that failed does not begin another, one after the other.
        if let Some((_, error)) = slot.failed.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(error.clone());
        }
        match self.open(pod).await {
            Ok(channel) => {
                *slot = Slot {
                    channel: Some(channel.clone()),
                    failed: None,
                };
                Ok(channel)
            }
            Err(error) => {
                *slot = Slot {
                    channel: None,
                    failed: Some((Instant::now(), error.clone())),
                };
                Err(error)
            }
        }
    }

    async fn open(&self, pod: &PodIdentity) -> Result<Channel, PodError> {
        let opened = match self.backend.open(pod).await {
            Ok(transport) => Channel::start(transport).await,
            Err(error) => Err(error),
        };
        let result = if opened.is_ok() { OPENED } else { FAILED };
        METRICS.channels_opened.of([result]).inc();
        opened
    }

    fn slot(&self, pod: &PodIdentity) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, slot| Arc::strong_count(slot) > 1 || is_open(slot));
        Arc::clone(open.entry(pod.clone()).or_default())
    }
}

fn is_open(slot: &tokio::sync::Mutex<Slot>) -> bool {
    // A slot that is locked is being opened.
    slot.try_lock().map_or(true, |slot| {
        slot.channel
            .as_ref()
            .is_some_and(|channel| !channel.shared.is_closed())
    })
}
