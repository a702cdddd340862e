//! Pauses between tries, while something this service needs is away.

use std::time::Duration;

/// A server that restarts is back in well under a second.
const FIRST: Duration = Duration::from_millis(100);
/// What was away for long is noticed soon after it is back.
const LONGEST: Duration = Duration::from_secs(3);

/// Each pause is twice the one before.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// It worked: the next pause is the first one again.
    pub(crate) const fn reset(&mut self) {
        self.next = FIRST;
    }

    fn advance(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        pause
    }

    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.advance()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..8).map(|_| backoff.advance()).collect();
        assert_eq!(pauses[0], FIRST);
        assert_eq!(pauses[1], FIRST * 2);
        assert_eq!(pauses[7], LONGEST);
        backoff.reset();
        assert_eq!(backoff.advance(), FIRST);
    }
}
