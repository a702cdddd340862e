//! How much waits, for those who count.

use std::collections::HashMap;

use jiff::Timestamp;
use rdev_contract::queue::WaitReason;

use super::{Phase, Queue};

impl Queue {
    /// How many commands of all projects wait, and what for, as [`Self::place`] says of each: for nothing
    /// if they are about to be admitted. Sessions are looked through, and not what waits in them.
    #[must_use]
    pub fn waiting_by_reason(&self) -> HashMap<Option<WaitReason>, usize> {
        let mut sums = HashMap::new();
        for (id, project) in &self.projects {
            for line in project.lines() {
                let behind = line.behind_their_agents();
                let others = line.waiting() - behind;
                for (is_behind, count) in [(true, behind), (false, others)] {
                    if count > 0 {
                        let reason = self.reason(id, project, line, is_behind);
                        *sums.entry(reason).or_default() += count;
                    }
                }
            }
        }
        sums
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
