//! Whether a container is still the one that we know: one watch for each pod, shared by all its
//! execs.
//!
//! Read by whoever has something running in a pod. Invariant: only what the API shows counts. An API
//! server that does not answer says nothing about a pod, so nothing is concluded from it.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::super::PodIdentity;
use super::{identity, in_time, trouble};

/// The API server ends a watch after this long, and a new one begins with a look at the pod: a watch
/// that is dead without anybody's knowledge costs no more than this. Below the 5 minutes after which
/// load balancers cut.
const WATCH_SECONDS: u32 = 60;
/// The pause before another look, the first time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest one: what the API shows must be known within 10 s.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// What was last seen of a pod.
#[derive(Clone, Default)]
enum Seen {
    #[default]
    Nothing,
    Gone,
    Pod(Arc<Pod>),
}

type PodKey = (String, String);

/// The watches that somebody waits for.
#[derive(Default)]
pub(super) struct Lives {
    watches: Mutex<HashMap<PodKey, Weak<PodWatch>>>,
}

struct PodWatch {
    seen: watch::Receiver<Seen>,
    _task: AbortOnDropHandle<()>,
}

impl Lives {
    /// Waits until the API shows that the container is not there any more, and says why.
    pub(super) async fn replaced(&self, client: &Client, pod: &PodIdentity) -> String {
        let watch = self.watch(client, (pod.namespace.clone(), pod.name.clone()));
        let mut seen = watch.seen.clone();
        loop {
            let verdict = match &*seen.borrow_and_update() {
                Seen::Nothing => None,
                Seen::Gone => Some(format!(
                    "the pod {}/{} was deleted",
                    pod.namespace, pod.name
                )),
                Seen::Pod(now) => identity::why_replaced(pod, now),
            };
            if let Some(why) = verdict {
                return why;
            }
            if seen.changed().await.is_err() {
                // The task ends only with the runtime.
                std::future::pending::<()>().await;
            }
        }
    }

    fn watch(&self, client: &Client, key: PodKey) -> Arc<PodWatch> {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = watches.get(&key).and_then(Weak::upgrade) {
            return watch;
        }
        // Those that nobody waits for have stopped.
        watches.retain(|_, watch| watch.strong_count() > 0);
        let (tell, seen) = watch::channel(Seen::Nothing);
        let pods = Api::namespaced(client.clone(), &key.0);
        let task = tokio::spawn(follow(pods, key.1.clone(), tell));
        let watch = Arc::new(PodWatch {
            seen,
            _task: AbortOnDropHandle::new(task),
        });
        watches.insert(key, Arc::downgrade(&watch));
        watch
    }
}

/// Looks at the pod, watches it from there, and begins again.
async fn follow(pods: Api<Pod>, name: String, tell: watch::Sender<Seen>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let watched = look_and_watch(&pods, &name, &tell).await;
        if let Err(error) = &watched {
            tracing::debug!(pod = %name, error = %trouble::words(error), "the watch of a pod broke off");
        }
        // Also after a good one: a server that ends every watch at once is not to be flooded.
        tokio::time::sleep(pause).await;
        pause = if watched.is_ok() {
            FIRST_PAUSE
        } else {
            (pause * 2).min(LONGEST_PAUSE)
        };
    }
}

async fn look_and_watch(
    pods: &Api<Pod>,
    name: &str,
    tell: &watch::Sender<Seen>,
) -> Result<(), kube::Error> {
    let only = format!("metadata.name={name}");
    let listed = in_time(pods.list(&ListParams::default().fields(&only))).await?;
    let found = listed.items.into_iter().next();
    tell.send_replace(found.map_or(Seen::Gone, |pod| Seen::Pod(Arc::new(pod))));
    let version = listed.metadata.resource_version.unwrap_or_default();
    let wish = WatchParams::default().fields(&only).timeout(WATCH_SECONDS);
    let mut events = pin!(in_time(pods.watch(&wish, &version)).await?);
    while let Some(event) = events.try_next().await? {
        let seen = match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => Seen::Pod(Arc::new(pod)),
            WatchEvent::Deleted(_) => Seen::Gone,
            WatchEvent::Bookmark(_) => continue,
            // Most often: the version is too old by now. A new look does better.
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
        };
        tell.send_replace(seen);
    }
    Ok(())
}
