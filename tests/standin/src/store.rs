//! What etcd is to a real API server: the pods, a growing resource version, and the log of changes
//! that watches follow.
//!
//! Written by the control methods of [`crate::Standin`], read by every request. Invariant: every
//! change takes the next version and is in the log before anybody is told of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

use crate::pod::Pod;

/// Versions of a real cluster are never small; a client that assumes so is found out.
const FIRST_VERSION: u64 = 4_211;

/// One change of one pod, as a watch tells it.
#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    /// The pod before the change; none when it was added.
    pub(crate) before: Option<Value>,
    /// The pod after the change; none when it was deleted.
    pub(crate) after: Option<Value>,
}

#[derive(Default)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
    version: watch::Sender<u64>,
}

struct Inner {
    version: u64,
    /// Changes up to and including this version are forgotten (compacted).
    compacted: u64,
    pods: BTreeMap<(String, String), (Pod, u64)>,
    log: Vec<Change>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            version: FIRST_VERSION,
            compacted: FIRST_VERSION,
            pods: BTreeMap::new(),
            log: Vec::new(),
        }
    }
}

impl Inner {
    fn put(&mut self, pod: Pod) -> u64 {
        self.version += 1;
        let version = self.version;
        let after = pod.object(version);
        let before = self
            .pods
            .insert((pod.namespace.clone(), pod.name.clone()), (pod, version));
        self.log.push(Change {
            version,
            before: before.map(|(pod, at)| pod.object(at)),
            after: Some(after),
        });
        version
    }
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds or replaces a pod.
    pub(crate) fn put(&self, pod: Pod) {
        let version = self.lock().put(pod);
        self.version.send_replace(version);
    }

    /// Adds a pod, and gives the version of that; none when its name is taken.
    pub(crate) fn add(&self, pod: Pod) -> Option<u64> {
        let mut inner = self.lock();
        let key = (pod.namespace.clone(), pod.name.clone());
        if inner.pods.contains_key(&key) {
            return None;
        }
        let version = inner.put(pod);
        drop(inner);
        self.version.send_replace(version);
        Some(version)
    }

    /// Changes a pod in place and returns it as it is now; none when there is no such pod.
    pub(crate) fn change(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Pod),
    ) -> Option<Pod> {
        let mut inner = self.lock();
        let mut pod = inner
            .pods
            .get(&(namespace.to_owned(), name.to_owned()))?
            .0
            .clone();
        change(&mut pod);
        let version = inner.put(pod.clone());
        drop(inner);
        self.version.send_replace(version);
        Some(pod)
    }

    /// Removes a pod and returns its last state.
    pub(crate) fn remove(&self, namespace: &str, name: &str) -> Option<Pod> {
        let mut inner = self.lock();
        let (pod, _) = inner
            .pods
            .remove(&(namespace.to_owned(), name.to_owned()))?;
        inner.version += 1;
        let version = inner.version;
        inner.log.push(Change {
            version,
            before: Some(pod.object(version)),
            after: None,
        });
        drop(inner);
        self.version.send_replace(version);
        Some(pod)
    }

    /// One pod and the version of its last change.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<(Pod, u64)> {
        self.lock()
            .pods
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    /// All pods as objects, of one namespace or of all, and the version of the whole.
    pub(crate) fn list(&self, namespace: Option<&str>) -> (Vec<Value>, u64) {
        let inner = self.lock();
        let pods = inner
            .pods
            .iter()
            .filter(|((in_namespace, _), _)| namespace.is_none_or(|wanted| wanted == in_namespace));
        (
            pods.map(|(_, (pod, version))| pod.object(*version))
                .collect(),
            inner.version,
        )
    }

    /// The changes after a version, or the version up to which they are forgotten.
    pub(crate) fn changes_after(&self, version: u64) -> Result<Vec<Change>, u64> {
        let inner = self.lock();
        if version < inner.compacted {
            return Err(inner.compacted);
        }
        Ok(inner
            .log
            .iter()
            .filter(|change| change.version > version)
            .cloned()
            .collect())
    }

    /// Forgets all changes so far, as etcd's compaction does.
    pub(crate) fn compact(&self) {
        let mut inner = self.lock();
        inner.log.clear();
        inner.compacted = inner.version;
    }

    /// Tells when there is something new in the log.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}
