//! What a run took, as far as its agent tells it. Invariant: what is not known for certain is none,
//! never a guess.

/// Dollars of one run: more than any costs. What is above is no cost, and sums of any number of runs can
/// be written.
pub(super) const COST_MAX_USD: f64 = 1e9;
/// Tokens of one run: more than any takes. Sums of millions of runs fit into 64 bits.
const TOKENS_MAX: u64 = 1_000_000_000_000;
/// Digits of a cost: more than anybody prints, and less than a database takes.
const COST_MAX_CHARS: usize = 64;

/// The number of dollars that was printed; none if a floating-point number cannot hold it, or not tell it
/// from nothing.
#[must_use]
pub fn cost(digits: &str) -> Option<f64> {
    let mantissa = digits.split(['e', 'E']).next().unwrap_or_default();
    let is_nothing = !mantissa.contains(|char| matches!(char, '1'..='9'));
    let is_short = digits.len() <= COST_MAX_CHARS;
    let cost: f64 = is_short.then(|| digits.parse().ok())??;
    (cost.abs() <= COST_MAX_USD && (cost == 0.0) == is_nothing).then_some(cost)
}

/// Tokens of all models.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Read, and in no cache.
    pub input: u64,
    /// Written.
    pub output: u64,
    /// Read from the cache.
    pub cache_read: u64,
    /// Read, and put into the cache.
    pub cache_write: u64,
}

impl Tokens {
    /// Whether a run can have taken so many.
    #[must_use]
    pub fn are_possible(self) -> bool {
        [self.input, self.output, self.cache_read, self.cache_write]
            .into_iter()
            .all(|tokens| tokens <= TOKENS_MAX)
    }
}

/// Tokens and what they cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Amount {
    /// Of all models.
    pub tokens: Tokens,
    /// US dollars, if the agent tells them.
    pub cost_usd: Option<f64>,
}

/// What a result says of the run that it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RunAmounts {
    /// As far as the agent counts: of this process, or of all runs of its session.
    pub total: Option<Amount>,
    /// Of this process alone, where that is told.
    pub alone: Option<Amount>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_what_can_be_shown_and_added() {
        for cost in [
            "0",
            "0.0",
            "0e5",
            "0.0123450",
            "1.5e-7",
            "1000000000",
            "-0.5",
        ] {
            assert!(super::cost(cost).is_some(), "{cost}");
        }
        let long = format!("0.{}", "1".repeat(COST_MAX_CHARS));
        for other in [
            "1e-400",
            "1e308",
            "1e400",
            "1000000001",
            "null",
            "\"1\"",
            "",
            &long,
        ] {
            assert_eq!(super::cost(other), None, "{other}");
        }
    }
}
