//! What several ask for at the same time is asked for once.
//!
//! Invariant: nothing is kept. An answer goes to those who were waiting for it; whoever comes later
//! asks anew, so that nobody is told what was true before.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};

/// An answer that is on its way, for all who wait for it. It comes for as long as one of them does.
pub(crate) type Flight<T> = Shared<BoxFuture<'static, T>>;

/// Answers that are on their way. Cheap to clone.
pub(crate) struct Flights<K, T: Clone>(Arc<Mutex<Map<K, T>>>);

type Map<K, T> = HashMap<K, WeakShared<BoxFuture<'static, T>>>;

impl<K, T: Clone> Default for Flights<K, T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, T: Clone> Clone for Flights<K, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Eq + Hash, T: Clone> Flights<K, T> {
    fn lock(&self) -> MutexGuard<'_, Map<K, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, T> Flights<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// The answer to the question `key`, which is asked by `ask` unless somebody waits for it.
    pub(crate) fn join<A>(&self, key: K, ask: impl FnOnce() -> A) -> Flight<T>
    where
        A: Future<Output = T> + Send + 'static,
    {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        let landing = Landing {
            flights: self.clone(),
            key: key.clone(),
        };
        let answer = ask();
        let flight = async move {
            let answer = answer.await;
            drop(landing);
            answer
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(key, weak);
        }
        flight
    }
}

/// Ends a flight for those who come later, also when nobody waits for it any more.
struct Landing<K: Eq + Hash, T: Clone> {
    flights: Flights<K, T>,
    key: K,
}

impl<K: Eq + Hash, T: Clone> Drop for Landing<K, T> {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// Answers how often it was asked, once it may.
    #[derive(Clone, Default)]
    struct Oracle {
        asked: Arc<AtomicU32>,
        flights: Flights<&'static str, u32>,
    }

    impl Oracle {
        fn ask(&self, key: &'static str, may: &Arc<Semaphore>) -> Flight<u32> {
            let (asked, may) = (Arc::clone(&self.asked), Arc::clone(may));
            self.flights.join(key, || async move {
                let asked = asked.fetch_add(1, Ordering::SeqCst) + 1;
                let _permit = may.acquire().await;
                asked
            })
        }
    }

    #[tokio::test]
    async fn the_same_question_is_asked_once_at_a_time() {
        let (oracle, may) = (Oracle::default(), Arc::new(Semaphore::new(0)));
        let (mut one, mut two) = (oracle.ask("a", &may), oracle.ask("a", &may));
        assert!(futures::poll!(&mut one).is_pending());
        assert!(futures::poll!(&mut two).is_pending());
        let mut other = oracle.ask("b", &may);
        assert!(futures::poll!(&mut other).is_pending());
        may.add_permits(1);
        assert_eq!((one.await, two.await, other.await), (1, 1, 2));
        // An answer that has come is nobody else's.
        assert_eq!(oracle.ask("a", &may).await, 3);
        assert!(oracle.flights.lock().is_empty());
    }

    #[tokio::test]
    async fn whoever_leaves_does_not_take_the_answer_away() {
        let (oracle, may) = (Oracle::default(), Arc::new(Semaphore::new(0)));
        let mut first = oracle.ask("a", &may);
        assert!(futures::poll!(&mut first).is_pending());
        let second = oracle.ask("a", &may);
        drop(first);
        may.add_permits(1);
        assert_eq!(second.await, 1);
        // The last one who leaves ends it.
        let mut alone = oracle.ask("a", &Arc::new(Semaphore::new(0)));
        assert!(futures::poll!(&mut alone).is_pending());
        drop(alone);
        assert!(oracle.flights.lock().is_empty());
        assert_eq!(oracle.ask("a", &may).await, 3);
    }
}
