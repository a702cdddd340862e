//! Looks for pods that were made for a session and that nobody remembers: whoever made them came too
//! late, when the session's pod had been removed.
//!
//! Invariant: a pod goes only if the leader of the log that its label names says that its session does
//! not exist, or has ended with its pod removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;
use rdev_contract::session::PodState;
use rdev_domain::session::{SessionFoldError, fold};

use super::{Keep, Look, Looked};
use crate::pod::provide::Owned;

/// Removes them.
pub(super) fn reap(keep: Arc<Keep>, log: String) -> Look {
    async move { Looked::Reaped(reap_all(&keep, &log).await) }.boxed()
}

/// Goes on after what cannot be done; gives the first error.
async fn reap_all(keep: &Keep, log: &str) -> Result<(), String> {
    // Only where sandboxes are claimed has the executor to have rights on claims.
    let mut namespaces: BTreeMap<String, bool> = BTreeMap::new();
    for (_, template) in keep.settings.templates.iter() {
        let namespace = template.namespace.as_ref().map(ToString::to_string);
        *namespaces.entry(namespace.unwrap_or_default()).or_default() |= template.sandbox.is_some();
    }
    let mut done = Ok(());
    for (namespace, claims) in namespaces {
        match keep.backend.owned(log, &namespace, claims).await {
            Ok(all) => {
                for owned in &all {
                    done = done.and(reap_one(keep, owned).await);
                }
            }
            Err(error) => done = done.and(Err(error.to_string())),
        }
    }
    done
}

async fn reap_one(keep: &Keep, owned: &Owned) -> Result<(), String> {
    if is_orphan(keep, owned).await? {
        tracing::warn!(session.id = %owned.session, pod.name = owned.name,
            "a pod without a session is removed");
        let discarded = keep.backend.discard(owned).await;
        discarded.map_err(|error| error.to_string())?;
    }
    Ok(())
}

async fn is_orphan(keep: &Keep, owned: &Owned) -> Result<bool, String> {
    let facts = keep.bus.session_facts(&owned.project, owned.session).await;
    let facts = facts.map_err(|error| error.0)?;
    let facts: Vec<_> = facts.into_iter().map(|fact| fact.value).collect();
    match fold(&facts) {
        Ok(state) => Ok(state.ended.is_some() && state.pod_state() == Some(PodState::Deleted)),
        Err(SessionFoldError::NotCreated) => Ok(true),
        Err(error @ SessionFoldError::Mixed) => Err(error.to_string()),
    }
}
