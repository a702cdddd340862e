//! What every report says, and how.

use std::time::Duration;

/// A report that people can read.
pub(super) trait Told {
    /// Whether nothing differs. What has expired does not.
    fn is_equal(&self) -> bool;
    /// For people.
    fn text(&self) -> String;
}

/// One word for the outcome.
pub(super) const fn verdict(is_equal: bool) -> &'static str {
    if is_equal { "equal" } else { "different" }
}

/// How fast messages were read and verified.
pub(super) fn per_second(count: u64, took: Duration) -> u64 {
    let milliseconds = took.as_millis().max(1);
    let rate = u128::from(count) * 1000 / milliseconds;
    u64::try_from(rate).unwrap_or(u64::MAX)
}
