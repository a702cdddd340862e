//! Pods that are made or chosen for a session, and removed when it has ended.
//!
//! Invariant: a pod that is made has its session's id in its name and in its labels. So it is made
//! once, whoever tries and however often; it is found again by whoever comes after a crash; and what
//! carries another session's labels is never touched.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rdev_contract::id::{ProjectId, SessionId};
use rdev_domain::template::Template;

use super::{PodError, PodIdentity};

/// A pod that belongs to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The tenant.
    pub project: ProjectId,
    /// The session.
    pub session: SessionId,
    /// Its namespace; empty for the backend's own.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// It is claimed from a pool of sandboxes, and the name is the claim's.
    pub is_claim: bool,
    /// The container that commands run in; empty for the default one.
    pub container: String,
    /// The log that knows the session.
    pub log: String,
}

/// What a pod is chosen by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The tenant: the pod must carry its label.
    pub project: ProjectId,
    /// Its namespace; empty for the backend's own.
    pub namespace: String,
    /// The container; empty for the default one.
    pub container: String,
    /// The labels that it must have.
    pub labels: BTreeMap<String, String>,
}

/// How far a pod is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provided {
    /// Not ready; this is waited for.
    Pending(String),
    /// Commands can run in it.
    Ready(PodIdentity),
    /// It will not be ready.
    Failed(String),
}

/// What makes, chooses and removes pods.
#[async_trait]
pub trait Provide {
    /// Whether pods can be made from this template.
    ///
    /// # Errors
    /// Says what is wrong with it.
    fn check(&self, template: &Template) -> Result<(), String>;

    /// Makes the pod if it is not there, and says how far it is.
    ///
    /// # Errors
    /// [`PodError`] when it cannot be told; trying again may help.
    async fn provide(&self, owned: &Owned, template: &Template) -> Result<Provided, PodError>;

    /// A pod that is ready and has these labels.
    ///
    /// # Errors
    /// [`PodError`] when it cannot be told; trying again may help.
    async fn choose(&self, choice: &Choice) -> Result<Provided, PodError>;

    /// Begins to remove the pod of a session; whether it is gone.
    ///
    /// # Errors
    /// [`PodError`] when it cannot be told; trying again may help.
    async fn discard(&self, owned: &Owned) -> Result<bool, PodError>;

    /// All pods that were made for sessions of this log in a namespace; with `claims`, also what was
    /// claimed for them.
    ///
    /// # Errors
    /// [`PodError`] when they cannot be listed.
    async fn owned(&self, log: &str, namespace: &str, claims: bool)
    -> Result<Vec<Owned>, PodError>;
}
