//! When an exec that has ended is archived: early enough that nothing of it has expired, and in the order
//! of the log, so that one place in it says how far the archive is.
//!
//! Invariant: of execs that ran no longer than [`longest_run`], a quarter of the life of their messages
//! is left when they are due.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Which part of a message's life passes between the end of its exec and its archiving. Not at once:
/// what has just ended is read most, and from the log.
const DUE_AFTER_QUARTERS: u32 = 1;
/// From here on the archive is late: somebody should look.
const LATE_AFTER_QUARTERS: u32 = 2;

/// How urgent it is to archive an exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// There is time.
    Early,
    /// It is to be archived now.
    Due,
    /// It should have been long ago. Its output expires soon.
    Late,
}

/// The life of what expires first.
#[must_use]
pub fn shortest_life(output_ttl: Duration, facts_ttl: Duration) -> Duration {
    output_ttl.min(facts_ttl)
}

/// How long an exec may run to be archived whole.
#[must_use]
pub fn longest_run(life: Duration) -> Duration {
    life / 2
}

/// When an exec that ended at this time is archived.
#[must_use]
pub fn due_at(ended_at: Timestamp, life: Duration) -> Timestamp {
    after(ended_at, life, DUE_AFTER_QUARTERS)
}

/// How urgent it is now.
#[must_use]
pub fn urgency(ended_at: Timestamp, life: Duration, now: Timestamp) -> Urgency {
    if now < due_at(ended_at, life) {
        Urgency::Early
    } else if now < after(ended_at, life, LATE_AFTER_QUARTERS) {
        Urgency::Due
    } else {
        Urgency::Late
    }
}

fn after(ended_at: Timestamp, life: Duration, quarters: u32) -> Timestamp {
    let pause = (life / 4).saturating_mul(quarters);
    SignedDuration::try_from(pause)
        .ok()
        .and_then(|pause| ended_at.checked_add(pause).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    proptest! {
        #[test]
        fn whatever_is_due_has_a_quarter_of_its_life_left(
            began in 0..1_000_000_i64,
            life in 4..10_000_000_u64,
            part in 0.0..=1.0_f64,
        ) {
            let life = Duration::from_secs(life);
            let run = longest_run(life).mul_f64(part);
            let ended = at(began) + run;
            let due = due_at(ended, life);
            let expires = at(began) + life;
            prop_assert!(due + life / 4 <= expires, "due {due}, expires {expires}");
            prop_assert!(due >= ended);
        }

        #[test]
        fn execs_are_due_in_the_order_in_which_they_ended(
            one in 0..1_000_000_i64, other in 0..1_000_000_i64, life in 0..10_000_000_u64,
        ) {
            let life = Duration::from_secs(life);
            let (earlier, later) = (one.min(other), one.max(other));
            prop_assert!(due_at(at(earlier), life) <= due_at(at(later), life));
        }

        #[test]
        fn urgency_only_grows(
            ended in 0..1_000_i64, life in 0..10_000_u64, one in 0..20_000_i64, other in 0..20_000_i64,
        ) {
            let urgency = |now| urgency(at(ended), Duration::from_secs(life), at(now));
            prop_assert!(urgency(one.min(other)) <= urgency(one.max(other)));
        }
    }

    #[test]
    fn each_quarter_begins_with_its_second() {
        let life = Duration::from_secs(40);
        let now = |second| urgency(at(100), life, at(second));
        assert_eq!(now(0), Urgency::Early);
        assert_eq!(now(109), Urgency::Early);
        assert_eq!(now(110), Urgency::Due);
        assert_eq!(now(119), Urgency::Due);
        assert_eq!(now(120), Urgency::Late);
        assert_eq!(due_at(Timestamp::MAX, life), Timestamp::MAX);
        assert_eq!(due_at(at(0), Duration::MAX), Timestamp::MAX);
    }

    #[test]
    fn what_expires_first_decides() {
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(2));
        assert_eq!(shortest_life(short, long), short);
        assert_eq!(shortest_life(long, short), short);
    }
}
