//! The execs that have a connection now: what tests order them to do, and what they count.
//!
//! The exec endpoint registers each connection here for as long as it lives; tests read the counts
//! and send orders. Invariant: an exec whose process runs on without a connection is not in here.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// The ways in which the connection of an exec ends although its process may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A status with this exit code (0 is Success), then a close.
    Status(i32),
    /// `Status: Success` although the process is not finished; what it has printed and was not yet
    /// sent is missing. A killed containerd or kubelet does that on `v5.channel.k8s.io`.
    SuccessUnfinished,
    /// A clean close of the WebSocket without any status.
    CloseWithoutStatus,
    /// The TCP connection is reset.
    Cut,
}

/// A pod by namespace and name.
pub(crate) type PodKey = (String, String);

#[derive(Clone)]
struct Live {
    pod: PodKey,
    order: watch::Sender<Option<Ending>>,
}

#[derive(Default)]
pub(crate) struct Execs {
    starts: AtomicU64,
    next: AtomicU64,
    live: watch::Sender<BTreeMap<u64, Live>>,
    stalled: watch::Sender<HashSet<PodKey>>,
}

/// One registered connection; `release` takes it out again.
pub(crate) struct Registered {
    id: u64,
    order: watch::Receiver<Option<Ending>>,
}

impl Registered {
    /// Waits for an order.
    pub(crate) async fn ordered(&mut self) -> Ending {
        loop {
            if let Some(ending) = *self.order.borrow_and_update() {
                return ending;
            }
            if self.order.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Execs {
    /// Counts a process that was started.
    pub(crate) fn count_start(&self) {
        self.starts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn starts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }

    pub(crate) fn register(&self, pod: PodKey) -> Registered {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (order, receiver) = watch::channel(None);
        self.live
            .send_modify(|live| drop(live.insert(id, Live { pod, order })));
        Registered {
            id,
            order: receiver,
        }
    }

    pub(crate) fn release(&self, registered: &Registered) {
        self.live
            .send_modify(|live| drop(live.remove(&registered.id)));
    }

    /// Orders every live connection of a pod to end, and says how many there were.
    pub(crate) fn end(&self, pod: &PodKey, ending: Ending) -> usize {
        let live = self.live.borrow();
        let orders: Vec<_> = live.values().filter(|exec| exec.pod == *pod).collect();
        for exec in &orders {
            exec.order.send_replace(Some(ending));
        }
        orders.len()
    }

    pub(crate) fn live(&self, pod: &PodKey) -> usize {
        self.live
            .borrow()
            .values()
            .filter(|exec| exec.pod == *pod)
            .count()
    }

    /// Waits until a pod has exactly this many live connections.
    pub(crate) async fn until_live(&self, pod: &PodKey, count: usize) {
        let mut changes = self.live.subscribe();
        // The sender is in `self`, so this cannot fail while we are called.
        let _ = changes
            .wait_for(|live| live.values().filter(|exec| exec.pod == *pod).count() == count)
            .await;
    }

    pub(crate) fn stall(&self, pod: PodKey, stalled: bool) {
        self.stalled.send_modify(|pods| {
            if stalled {
                pods.insert(pod)
            } else {
                pods.remove(&pod)
            };
        });
    }

    /// Returns at once, or when the pod's stall is over.
    pub(crate) async fn flowing(&self, pod: &PodKey) {
        if !self.stalled.borrow().contains(pod) {
            return;
        }
        let mut changes = self.stalled.subscribe();
        let _ = changes.wait_for(|pods| !pods.contains(pod)).await;
    }
}
