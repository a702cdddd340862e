//! The decisions of the executors against an adversary.
//!
//! The log, the queue, the network and the pod are models; what executors decide is the real
//! code: `exec::fold` and `exec::decide`, `Run`, and the bus's `Fence`. In every schedule the
//! adversary chooses what happens next: messages are lost, late or doubled, acknowledgements are
//! lost, commands are offered again, executors are killed, stopped and woken. What the log holds
//! in the end must be one exec, whatever was chosen.
//!
//! A schedule is made from its seed alone; a failure names the seed and prints the log.

#![expect(
    clippy::expect_used,
    reason = "a test fails by panicking, and the models read only what they wrote"
)]

#[path = "adversary/check.rs"]
mod check;
#[path = "adversary/dice.rs"]
mod dice;
#[path = "adversary/executor.rs"]
mod executor;
#[path = "adversary/log.rs"]
mod log;
#[path = "adversary/pod.rs"]
mod pod;
#[path = "adversary/pump.rs"]
mod pump;
#[path = "adversary/world.rs"]
mod world;

use std::collections::BTreeMap;

use world::World;

/// Enough that every planted bug that was tried is found within the first half; some seconds
/// without optimisation. The variable `ADVERSARY_SCHEDULES` asks for more.
const SCHEDULES: u64 = 1_000;

/// What is wrong with a schedule's log.
type Violation = String;

#[test]
fn the_log_is_one_exec_whatever_the_adversary_does() {
    let asked = std::env::var("ADVERSARY_SCHEDULES").ok();
    let schedules = asked
        .and_then(|text| text.parse().ok())
        .unwrap_or(SCHEDULES);
    let mut ends = BTreeMap::new();
    let mut resumed = 0;
    for seed in 0..schedules {
        let mut world = World::new(seed);
        let seen = world.run().and_then(|()| check::check(&world));
        match seen {
            Ok(seen) => {
                *ends.entry(seen.outcome).or_insert(0_u32) += 1;
                resumed += seen.claims.saturating_sub(1);
            }
            Err(violation) => panic!("seed {seed}: {violation}\n{}", world.log),
        }
    }
    // The schedules are not idle: all ends occur, and take-overs are common.
    assert!(resumed > schedules / 2, "{resumed} take-overs");
    for outcome in ["exited", "lost", "rejected"] {
        assert!(
            ends.get(outcome).is_some_and(|count| *count >= 10),
            "{ends:?}"
        );
    }
}
