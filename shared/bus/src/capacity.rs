//! How full the log is, and who has to wait for it.
//!
//! The log refuses rather than forgets. So that it never has to refuse the end of a command that
//! runs, new commands are refused earlier, and bulk output waits before that: what is left beyond
//! is for facts.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::metrics::METRICS;
use crate::{Bus, LogStream};

/// New commands are refused when so many hundredths of the log are used.
const COMMANDS_REFUSED_PERCENT: u64 = 90;
/// Bulk output waits in the pods when so many hundredths of the log are used.
const BULK_WAITS_PERCENT: u64 = 95;
/// What was seen of the log is good for so long: at most this much output comes between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// For whom there is room in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Room {
    /// For everybody.
    Everybody,
    /// Not for new commands.
    Running,
    /// Only for facts.
    Facts,
}

/// The last look at the log.
#[derive(Debug, Default)]
pub(crate) struct Capacity(Mutex<Option<(Instant, Room)>>);

impl Bus {
    /// For whom there is room. Who cannot look assumes that there is some: the log itself has
    /// the last word.
    pub(crate) async fn room(&self) -> Room {
        let Ok(limit @ 1..) = u64::try_from(self.config.log_max_bytes) else {
            return Room::Everybody;
        };
        let mut last = self.capacity.0.lock().await;
        if let Some((at, room)) = *last
            && at.elapsed() < LOOK_INTERVAL
        {
            return room;
        }
        let used = self.used_bytes().await.unwrap_or(0);
        let room = room(used, limit);
        if last.is_some_and(|(_, before)| before != room) || room != Room::Everybody {
            tracing::warn!(
                used_bytes = used,
                limit_bytes = limit,
                ?room,
                "the log fills up"
            );
        }
        *last = Some((Instant::now(), room));
        room
    }

    /// Waits until there is room for bulk output.
    pub(crate) async fn room_for_bulk(&self) {
        while self.room().await == Room::Facts {
            METRICS.bulk_waits.inc();
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn used_bytes(&self) -> Option<u64> {
        let stream = self
            .jetstream
            .get_stream_no_info(LogStream::Exec.name())
            .await
            .ok()?;
        Some(stream.get_info().await.ok()?.state.bytes)
    }
}

const fn room(used: u64, limit: u64) -> Room {
    let percent = used.saturating_mul(100) / limit;
    if percent >= BULK_WAITS_PERCENT {
        Room::Facts
    } else if percent >= COMMANDS_REFUSED_PERCENT {
        Room::Running
    } else {
        Room::Everybody
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_have_the_last_of_the_log() {
        assert_eq!(room(0, 1000), Room::Everybody);
        assert_eq!(room(899, 1000), Room::Everybody);
        assert_eq!(room(900, 1000), Room::Running);
        assert_eq!(room(949, 1000), Room::Running);
        assert_eq!(room(950, 1000), Room::Facts);
        assert_eq!(room(2000, 1000), Room::Facts);
    }
}
