//! A reader as a browser is one: it reconnects with the id of the last event it saw, to whichever
//! gateway it finds, until it has `complete`. It notes when what came.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::Client;
use crate::transcript::{SseEvent, Transcript};
use crate::{Failure, Outcome};

/// No fault keeps a reader from the end for longer.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two tries to reach a gateway.
const RECONNECT_DELAY: Duration = Duration::from_millis(50);

/// What a reader saw, and when.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The events of the log.
    pub transcript: Transcript,
    /// When each of them came.
    pub at: Vec<Instant>,
    /// How often it had to reconnect.
    pub reconnects: u32,
}

impl Seen {
    /// The longest time after `since` in which nothing came although something was to come.
    #[must_use]
    pub fn longest_silence(&self, since: Instant) -> Duration {
        let mut longest = Duration::ZERO;
        let mut before = since;
        for at in self.at.iter().filter(|at| **at > since) {
            longest = longest.max(at.duration_since(before));
            before = *at;
        }
        longest
    }
}

type Events = Arc<Mutex<Vec<(Instant, SseEvent)>>>;

/// A reader at work.
#[derive(Debug)]
pub struct Reader {
    events: Events,
    task: JoinHandle<Outcome<u32>>,
}

impl Reader {
    /// Reads an exec from its first event on, through any of these gateways.
    #[must_use]
    pub fn start(gateways: Vec<Client>, session: &str, stream: &str) -> Self {
        let events = Events::default();
        let reading = read(
            gateways,
            session.to_owned(),
            stream.to_owned(),
            Arc::clone(&events),
        );
        let task = tokio::spawn(async move {
            tokio::time::timeout(PATIENCE, reading)
                .await
                .map_err(|_| Failure::from("the end did not come"))?
        });
        Self { events, task }
    }

    /// How many events of the log have come.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Waits until so many have come.
    ///
    /// # Errors
    /// When they do not come.
    pub async fn until_count(&self, count: usize) -> Outcome<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.count() < count {
            if Instant::now() > deadline || self.task.is_finished() {
                return Err(format!("{} events came, not {count}", self.count()).into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn end(self) -> Outcome<Seen> {
        let reconnects = self.task.await??;
        let events = self
            .events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let (at, events) = events.into_iter().unzip();
        Ok(Seen {
            transcript: Transcript { events },
            at,
            reconnects,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, SseEvent)>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(
    gateways: Vec<Client>,
    session: String,
    stream: String,
    events: Events,
) -> Outcome<u32> {
    let mut connects = 0;
    let mut cursor: Option<String> = None;
    for gateway in gateways.iter().cycle() {
        connects += 1;
        let opened = gateway.events(&session, &stream, cursor.as_deref()).await;
        let Ok(mut open) = opened else {
            tokio::time::sleep(RECONNECT_DELAY).await;
            continue;
        };
        while let Ok(Some(event)) = open.next().await {
            if !event.is_numbered() {
                continue;
            }
            cursor = Some(event.id.clone());
            let is_end = event.name == "complete";
            events
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((Instant::now(), event));
            if is_end {
                return Ok(connects - 1);
            }
        }
        tokio::time::sleep(RECONNECT_DELAY).await;
    }
    Err("there is no gateway to read from".into())
}
