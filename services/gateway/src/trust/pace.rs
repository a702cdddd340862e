//! How much one key may ask of this gateway: requests at a rate, and streams at a time.
//!
//! Each gateway counts for itself, so of several together a key may ask more. A bucket holds tokens, as
//! many as may be asked for at once, and is filled at the rate.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Refusal;

/// Of draft-ietf-httpapi-ratelimit-headers.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What one key may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Requests a second.
    pub(crate) rate: u32,
    /// Requests at once.
    pub(crate) burst: u32,
    /// Streams at a time.
    pub(crate) streams: u32,
}

/// What one key has left of it.
#[derive(Debug)]
pub(crate) struct Usage {
    allowance: Allowance,
    bucket: Mutex<Bucket>,
    streams: Arc<Semaphore>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// What is left after a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Left {
    allowance: Allowance,
    tokens: f64,
}

impl Usage {
    /// Nothing was asked for yet.
    pub(super) fn new(allowance: Allowance) -> Self {
        Self {
            allowance,
            bucket: Mutex::new(Bucket {
                tokens: f64::from(allowance.burst),
                filled: Instant::now(),
            }),
            streams: Arc::new(Semaphore::new(allowance.streams as usize)),
        }
    }

    /// One request more: what is left, and why it is refused if it is.
    pub(super) fn request(&self) -> (Left, Option<Refusal>) {
        let allowance = self.allowance;
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, rate) = (Instant::now(), f64::from(allowance.rate));
        let gained = now.duration_since(bucket.filled).as_secs_f64() * rate;
        bucket.tokens = (bucket.tokens + gained).min(f64::from(allowance.burst));
        bucket.filled = now;
        let missing = 1.0 - bucket.tokens;
        let refusal = (missing > 0.0)
            .then(|| Refusal::TooFast(whole_seconds(Duration::from_secs_f64(missing / rate))));
        if refusal.is_none() {
            bucket.tokens -= 1.0;
        }
        let tokens = bucket.tokens;
        (Left { allowance, tokens }, refusal)
    }

    /// One stream more, until the permit is dropped.
    pub(super) fn stream(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let permit = Arc::clone(&self.streams).try_acquire_owned();
        permit.map_err(|_| Refusal::TooManyStreams(self.allowance.streams))
    }
}

/// At least one: who is told to come again at once does, in a circle.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

impl Left {
    /// Says what is left and when all of it is there again.
    pub(super) fn tell(self, headers: &mut HeaderMap) {
        let Allowance { rate, burst, .. } = self.allowance;
        let fills = |tokens: f64| whole_seconds(Duration::from_secs_f64(tokens / f64::from(rate)));
        let (all, missing) = (f64::from(burst), f64::from(burst) - self.tokens);
        let policy = format!("\"key\";q={burst};w={}", fills(all));
        let left = format!("\"key\";r={:.0};t={}", self.tokens.floor(), fills(missing));
        for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance = Allowance {
        rate: 10,
        burst: 20,
        streams: 2,
    };

    fn refusal(usage: &Usage) -> Option<Refusal> {
        usage.request().1
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_refused_beyond_the_burst_and_let_in_at_the_rate() {
        let usage = Usage::new(ALLOWANCE);
        for _ in 0..20 {
            assert_eq!(refusal(&usage), None);
        }
        assert_eq!(refusal(&usage), Some(Refusal::TooFast(1)));
        tokio::time::advance(Duration::from_millis(99)).await;
        assert_eq!(refusal(&usage), Some(Refusal::TooFast(1)));
        tokio::time::advance(Duration::from_millis(2)).await;
        assert_eq!(refusal(&usage), None);
        assert!(refusal(&usage).is_some());
        // However long nothing was asked, no more than the burst is there.
        tokio::time::advance(Duration::from_secs(3600)).await;
        let count = (0..100).filter(|_| refusal(&usage).is_none()).count();
        assert_eq!(count, 20);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_told() {
        let usage = Usage::new(ALLOWANCE);
        let mut headers = HeaderMap::new();
        usage.request().0.tell(&mut headers);
        assert_eq!(headers[RATE_LIMIT_POLICY], "\"key\";q=20;w=2");
        assert_eq!(headers[RATE_LIMIT], "\"key\";r=19;t=1");
    }

    #[test]
    fn streams_are_counted_while_they_last() {
        let usage = Usage::new(ALLOWANCE);
        let (first, _second) = (usage.stream().unwrap(), usage.stream().unwrap());
        assert_eq!(usage.stream().unwrap_err(), Refusal::TooManyStreams(2));
        drop(first);
        assert!(usage.stream().is_ok());
    }
}
