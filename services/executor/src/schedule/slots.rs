//! How many execs all executors can run: what each says of itself, while it says it.

use std::collections::HashMap;
use std::time::Duration;

use rdev_bus::slots::{ANNOUNCE_INTERVAL, SILENT_AFTER};
use rdev_bus::{Bus, ReadError};
use rdev_contract::queue::SlotsAnnounced;
use rdev_runtime::Shutdown;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

/// Between two looks for who has fallen silent.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Who was heard, and when.
#[derive(Debug, Default)]
struct Heard(HashMap<String, (u32, Instant)>);

impl Heard {
    fn hear(&mut self, announced: SlotsAnnounced, now: Instant) {
        let SlotsAnnounced { executor, slots } = announced;
        self.0.insert(executor, (slots, now));
    }

    fn forget_silent(&mut self, now: Instant) {
        self.0
            .retain(|_, (_, heard)| now.duration_since(*heard) < SILENT_AFTER);
    }

    fn total(&self) -> u32 {
        let each = self.0.values().map(|(slots, _)| *slots);
        each.fold(0, u32::saturating_add)
    }
}

/// Counts the slots of all executors, for as long as anybody asks.
pub(super) async fn hear(bus: &Bus, total: &watch::Sender<u32>) {
    let mut announcements = loop {
        match bus.announcements().await {
            Ok(announcements) => break announcements,
            Err(ReadError(reason)) => tracing::warn!(reason, "other executors are not heard"),
        }
        tokio::time::sleep(ANNOUNCE_INTERVAL).await;
    };
    let mut heard = Heard::default();
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            announced = announcements.next() => match announced {
                Some(announced) => heard.hear(announced, Instant::now()),
                None => return,
            },
            // Without a connection nobody is heard, and nobody is gone.
            _ = looks.tick() => if bus.is_connected() {
                heard.forget_silent(Instant::now());
            },
        }
        let now = heard.total();
        total.send_if_modified(|total| std::mem::replace(total, now) != now);
    }
}

/// Says every second that this executor is there, and at the end that it is not.
pub(super) async fn announce(bus: &Bus, executor: &str, slots: u32, shutdown: &Shutdown) {
    let announced = |slots| SlotsAnnounced {
        executor: executor.to_owned(),
        slots,
    };
    let mut ticks = tokio::time::interval(ANNOUNCE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.requested() => break,
        }
        say(bus, &announced(slots)).await;
    }
    say(bus, &announced(0)).await;
}

async fn say(bus: &Bus, announced: &SlotsAnnounced) {
    // What is sent without a connection comes when there is one, late and all at once.
    if !bus.is_connected() {
        return;
    }
    if let Err(ReadError(reason)) = bus.announce_slots(announced).await {
        tracing::warn!(reason, "this executor's slots were not announced");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(executor: &str, slots: u32) -> SlotsAnnounced {
        let executor = executor.to_owned();
        SlotsAnnounced { executor, slots }
    }

    #[test]
    fn who_is_silent_is_not_counted() {
        let begin = Instant::now();
        let mut heard = Heard::default();
        heard.hear(announced("a", 64), begin);
        heard.hear(announced("b", 10), begin + SILENT_AFTER / 2);
        assert_eq!(heard.total(), 74);
        heard.forget_silent(begin + SILENT_AFTER - Duration::from_millis(1));
        assert_eq!(heard.total(), 74);
        heard.forget_silent(begin + SILENT_AFTER);
        assert_eq!(heard.total(), 10);
        // One that comes back is counted again, and one that ends is not.
        heard.hear(announced("a", 64), begin + SILENT_AFTER);
        heard.hear(announced("b", 0), begin + SILENT_AFTER);
        assert_eq!(heard.total(), 64);
    }
}
