//! How much waits, for those who count.

use jiff::Timestamp;

use super::{Phase, Queue};

impl Queue {
    /// How many commands of all projects wait.
    #[must_use]
    pub const fn all_waiting(&self) -> usize {
        self.waiting
    }

    /// How many execs have been admitted and have not ended.
    #[must_use]
    pub const fn all_running(&self) -> u32 {
        self.running
    }

    /// When the log stored the command that has waited for longest. What runs is passed over on the
    /// way, which is not more than there are slots.
    #[must_use]
    pub fn waiting_since(&self) -> Option<Timestamp> {
        let mut execs = self.execs.values();
        let oldest = execs.find(|exec| exec.phase == Phase::Waiting);
        oldest.map(|exec| exec.recorded_at)
    }
}
