//! What a run took, as far as its agent tells it. Invariant: what is not known for certain is none,
//! never a guess.

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
