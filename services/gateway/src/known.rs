//! Sessions that are known to exist, so that readers who come in thousands do not each ask the log. That
//! they come keeps a session from being idle, which is noted as often as the log is asked.
//!
//! Invariant: only that a session exists is remembered, which stays true whatever becomes of it;
//! that there is none is asked again each time. A log that was made anew is noticed soon, because
//! nothing is remembered for long.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdev_contract::id::{ProjectId, SessionId};
use tokio::time::Instant;

use crate::problem::ApiError;
use crate::state::Log;

/// How long a session is taken to exist without a look at the log.
const KNOWN_FOR: Duration = Duration::from_secs(30);
/// Some hundred bytes each: a few megabytes.
const KNOWN_MAX_SESSIONS: usize = 16_384;

/// Which sessions exist.
#[derive(Debug, Default)]
pub(crate) struct KnownSessions {
    since: Mutex<HashMap<Key, Instant>>,
}

type Key = (ProjectId, SessionId);

impl KnownSessions {
    /// Makes sure that there is such a session.
    pub(crate) async fn require(
        &self,
        log: &Log,
        project: &ProjectId,
        session: SessionId,
    ) -> Result<(), ApiError> {
        let key = (project.clone(), session);
        if !self.holds(&key) {
            let state = log.session(project, session).await?;
            if state.created.idle_timeout_seconds.is_some() && state.ended.is_none() {
                touch(log, project, session).await?;
            }
            self.remember(key);
        }
        Ok(())
    }

    fn holds(&self, key: &Key) -> bool {
        let known = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).is_some_and(is_fresh)
    }

    fn remember(&self, key: Key) {
        let mut known = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX_SESSIONS {
            known.retain(|_, since| is_fresh(since));
        }
        if known.len() >= KNOWN_MAX_SESSIONS {
            known.clear();
        }
        known.insert(key, Instant::now());
    }
}

/// Somebody reads. What is not noted costs the session a part of its patience, no more.
async fn touch(log: &Log, project: &ProjectId, session: SessionId) -> Result<(), ApiError> {
    if let Err(error) = log.connected()?.touch(project, session).await {
        tracing::warn!(session.id = %session, %error, "a reader was not noted");
    }
    Ok(())
}

fn is_fresh(since: &Instant) -> bool {
    since.elapsed() < KNOWN_FOR
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn key(number: u64) -> Key {
        let session = SessionId::new(Uuid::from_u64_pair(0x0192_f0c1_0000_7000, number));
        ("demo".parse().unwrap(), session)
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_known_for_a_while() {
        let known = KnownSessions::default();
        assert!(!known.holds(&key(1)));
        known.remember(key(1));
        tokio::time::advance(KNOWN_FOR - Duration::from_millis(1)).await;
        assert!(known.holds(&key(1)));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!known.holds(&key(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_known_than_may_be() {
        let known = KnownSessions::default();
        known.remember(key(0));
        tokio::time::advance(KNOWN_FOR).await;
        for number in 1..=KNOWN_MAX_SESSIONS as u64 {
            known.remember(key(number));
        }
        // Those that are stale go first.
        let count = || known.since.lock().unwrap().len();
        assert_eq!(count(), KNOWN_MAX_SESSIONS);
        assert!(known.holds(&key(1)));
        known.remember(key(0));
        assert_eq!(count(), 1);
    }
}
