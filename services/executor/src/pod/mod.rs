//! Where commands run: pods, and the way into them.
//!
//! The runner asks a [`Backend`] who a pod is now and for a connection to the shim in it; everything
//! above the connection ([`channel`]) is the same for every backend. Invariant: a connection carries
//! nothing that matters. Losing it loses nothing, and how it ended decides nothing; only the frames
//! that came through it do.

pub mod channel;
#[cfg(feature = "kube")]
pub mod kube;
pub mod local;
pub mod provide;
pub mod rights;

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::future::BoxFuture;
use rdev_contract::id::{ProjectId, SecretName};
use tokio::io::{AsyncRead, AsyncWrite};

use provide::Provide;

pub use rdev_contract::event::PodIdentity;

/// A pod as a session names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodRef {
    /// The project that the session belongs to; the pod must carry its label.
    pub project: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The container; empty for the only or default one.
    pub container: String,
}

/// Why there is no way into a pod. The texts are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PodError {
    /// There is no such pod.
    #[error("{0}")]
    NotFound(String),
    /// It may not be used: wrong label, forbidden, no such container. Trying again will not help.
    #[error("{0}")]
    Refused(String),
    /// It is there but does not run (yet, or any more).
    #[error("{0}")]
    NotRunning(String),
    /// The pod or container of this name is another one now.
    #[error("{0}")]
    Replaced(String),
    /// The shim is not in the container and cannot be put there; the text says what to do.
    #[error("{0}")]
    NoShim(String),
    /// It could not be reached; trying again may help.
    #[error("{0}")]
    Unavailable(String),
}

/// The values of a Secret, by key. Deliberately without `Debug`.
pub type SecretValues = BTreeMap<String, SecretValue>;

/// A value of a Secret. Deliberately without `Debug` and `Display`: it is only ever put into the
/// environment of a command.
pub struct SecretValue(pub Vec<u8>);

/// A byte connection to one `rdev-shim serve`.
pub struct Transport {
    /// What the shim writes.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What the shim reads.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// Why the connection ended, once it has. For logs only; it decides nothing. Dropping it ends
    /// the connection.
    pub ended: BoxFuture<'static, String>,
}

/// What runs commands.
#[async_trait]
pub trait Backend: Provide + Send + Sync {
    /// Who the pod is now.
    ///
    /// # Errors
    /// [`PodError`], with a text that says what to do.
    async fn inspect(&self, pod: &PodRef) -> Result<PodIdentity, PodError>;

    /// A new connection to `rdev-shim serve` in exactly this pod and container; the shim is put
    /// there when it is missing.
    ///
    /// # Errors
    /// [`PodError::Replaced`] when the pod or container is another one by now, else as
    /// [`Backend::inspect`].
    async fn open(&self, pod: &PodIdentity) -> Result<Transport, PodError>;

    /// What a Secret holds, if the project may use it.
    ///
    /// # Errors
    /// [`PodError::Refused`] when there is no such Secret for the project.
    async fn secret(
        &self,
        project: &ProjectId,
        pod: &PodIdentity,
        name: &SecretName,
    ) -> Result<SecretValues, PodError>;

    /// Waits until this very container is gone or another one, and says why in words.
    async fn replaced(&self, pod: &PodIdentity) -> String;

    /// The cluster that the pods are in; none where nothing can be out of reach.
    fn cluster(&self) -> Option<&dyn Cluster> {
        None
    }
}

/// What there is to say of a cluster, for probes.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Asks for its version, which everybody may.
    ///
    /// # Errors
    /// Why it does not answer.
    async fn reach(&self) -> Result<String, String>;

    /// Where the shim in its pods comes from, in words.
    fn shim_in_words(&self) -> &'static str;
}
