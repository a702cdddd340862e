//! A stand-in of the Kubernetes API for tests: pods whose containers are directories, exec as local
//! processes, the real protocol on the wire.
//!
//! Tests start one in their own process ([`Standin::start`]), point the real clients at it
//! ([`Standin::kubeconfig`]) and order it to fail in the ways real clusters fail. What it imitates
//! was seen on real clusters; nothing may rely on what only it does. It isolates nothing: what is
//! run in a "container" is an ordinary process of the test's user.
//!
//! Invariant: after [`Standin::shutdown`] no process and no file of any pod is left.

mod channel;
mod claims;
mod exec;
mod execs;
mod lives;
mod made;
mod pod;
mod process;
mod query;
mod refusal;
mod serve;
mod store;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

pub use execs::Ending;
pub use pod::{ContainerSpec, PodSpec};

use execs::{Execs, PodKey};
use serve::Api;
use store::Store;

/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// An error of the stand-in itself.
#[derive(Debug, thiserror::Error)]
pub enum StandinError {
    /// The listener or a directory could not be made.
    #[error("the stand-in cannot {doing}: {source}")]
    Io {
        /// What failed.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A control method was called for a pod that does not exist.
    #[error("the stand-in has no pod {0}")]
    NoPod(String),
    /// A control method was called for a container that does not exist.
    #[error("the stand-in has no container {0} in that pod")]
    NoContainer(String),
}

/// What tests told the API to do instead of working.
#[derive(Default)]
pub(crate) struct Behaviour {
    pub(crate) token: Option<String>,
    pub(crate) refuse_execs: Option<u16>,
    pub(crate) without_v5: bool,
    /// Why the kubelet does not start the pods that clients make.
    pub(crate) waiting: Option<String>,
    /// Pods that clients make and delete are refused with this status.
    pub(crate) refuse_writes: Option<u16>,
    /// Namespaces and resources (`pods`, `pods/exec`) that the client may not use.
    pub(crate) forbidden: Vec<(String, String)>,
    /// Verbs and resources that were asked for.
    pub(crate) used: BTreeSet<String>,
    /// As the API shows them.
    pub(crate) secrets: Vec<Value>,
}

/// Everything that outlives a restart of the API server.
pub(crate) struct Cluster {
    /// Where the directories of containers are.
    pub(crate) home: PathBuf,
    pub(crate) store: Store,
    pub(crate) execs: Arc<Execs>,
    /// Claims of sandboxes, by namespace and name.
    claims: Mutex<BTreeMap<(String, String), Value>>,
    /// Pods that were made by clients.
    pub(crate) made: AtomicU64,
    behaviour: Mutex<Behaviour>,
}

impl Cluster {
    pub(crate) fn claims(&self) -> MutexGuard<'_, BTreeMap<(String, String), Value>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running stand-in. Dropping it without [`Standin::shutdown`] still kills what runs in its pods.
pub struct Standin {
    pub(crate) cluster: Arc<Cluster>,
    api: Option<Arc<Api>>,
    address: SocketAddr,
    pub(crate) home: TempDir,
}

impl Standin {
    /// Starts the API on a free port of the loopback interface, without any pod.
    ///
    /// # Errors
    /// When no port or no temporary directory can be had.
    pub async fn start() -> Result<Self, StandinError> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts the API on a given address.
    ///
    /// # Errors
    /// When the address is taken, or no temporary directory can be had.
    pub async fn start_on(address: SocketAddr) -> Result<Self, StandinError> {
        let home = tempfile::Builder::new()
            .prefix("kube-standin-")
            .tempdir()
            .map_err(cannot("make its directory"))?;
        let cluster = Arc::new(Cluster {
            home: home.path().to_owned(),
            store: Store::default(),
            execs: Arc::default(),
            claims: Mutex::default(),
            made: AtomicU64::new(0),
            behaviour: Mutex::default(),
        });
        let (api, address) = Api::start(Arc::clone(&cluster), address)
            .await
            .map_err(cannot("listen"))?;
        let standin = Self {
            cluster,
            api: Some(api),
            address,
            home,
        };
        standin.write_kubeconfig()?;
        Ok(standin)
    }

    /// Ends everything: connections, processes, files.
    pub async fn shutdown(mut self) {
        self.stop_api().await;
        self.kill_everything();
    }

    /// Where the API listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the API server.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A kubeconfig for this API.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.home.path().join("kubeconfig")
    }

    /// From now on requests need this bearer token; the kubeconfig gets it.
    ///
    /// # Errors
    /// When the kubeconfig cannot be written.
    pub fn require_token(&self, token: &str) -> Result<(), StandinError> {
        self.cluster.behaviour().token = Some(token.to_owned());
        self.write_kubeconfig()
    }

    /// Ends every live exec connection of a pod in one of the ways; the processes live on. Returns
    /// how many there were.
    #[must_use]
    pub fn end_exec(&self, namespace: &str, name: &str, ending: Ending) -> usize {
        self.cluster.execs.end(&key(namespace, name), ending)
    }

    /// Freezes (or thaws) reading and writing of the pod's exec connections, which stay open.
    pub fn stall(&self, namespace: &str, name: &str, stalled: bool) {
        self.cluster.execs.stall(key(namespace, name), stalled);
    }

    /// New execs are refused with this HTTP status (500, 503, 429), or work again.
    pub fn refuse_execs(&self, code: Option<u16>) {
        self.cluster.behaviour().refuse_execs = code;
    }

    /// Pods that clients make are pending for this reason (`ContainerCreating`, `ImagePullBackOff`), or
    /// run at once; those that are pending run as soon as it is none.
    pub fn keep_waiting(&self, reason: Option<&str>) {
        self.cluster.behaviour().waiting = reason.map(str::to_owned);
        self.cluster.start_waiting();
    }

    /// Pods are made and deleted by clients no more, but refused with this HTTP status; or again.
    pub fn refuse_writes(&self, code: Option<u16>) {
        self.cluster.behaviour().refuse_writes = code;
    }

    /// The pods of a namespace, as the API shows them.
    #[must_use]
    pub fn pods(&self, namespace: &str) -> Vec<serde_json::Value> {
        self.cluster.store.list(Some(namespace)).0
    }

    /// Waits until the pods of a namespace are as wanted, for a minute at most: whoever looks at them
    /// then sees that they are not.
    pub async fn until_pods(&self, namespace: &str, wanted: impl Fn(&[Value]) -> bool) {
        let mut news = self.cluster.store.subscribe();
        let waiting =
            async { while !wanted(&self.pods(namespace)) && news.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(PATIENCE, waiting).await;
    }

    /// The claims of sandboxes that there are.
    #[must_use]
    pub fn sandbox_claims(&self) -> Vec<Value> {
        self.cluster.claims().values().cloned().collect()
    }

    /// How many pods clients have made.
    #[must_use]
    pub fn pods_made(&self) -> u64 {
        self.cluster.made.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Speaks v4 only, as clusters before 1.30 do.
    pub fn without_v5(&self, without: bool) {
        self.cluster.behaviour().without_v5 = without;
    }

    /// The client's role lacks `resource` (`pods` or `pods/exec`) in a namespace.
    pub fn forbid(&self, namespace: &str, resource: &str) {
        self.cluster
            .behaviour()
            .forbidden
            .push((namespace.to_owned(), resource.to_owned()));
    }

    /// What the client has needed rights for, as in `get pods`.
    #[must_use]
    pub fn used_rights(&self) -> BTreeSet<String> {
        self.cluster.behaviour().used.clone()
    }

    /// Adds a Secret with one label and one value, in base64.
    pub fn add_secret(
        &self,
        (namespace, name): (&str, &str),
        (label, project): (&str, &str),
        (key, value): (&str, &str),
    ) {
        self.cluster.behaviour().secrets.push(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"namespace": namespace, "name": name, "labels": {label: project}},
            "data": {key: value},
        }));
    }

    /// Forgets the history, so that a watch from an older version gets 410.
    pub fn compact(&self) {
        self.cluster.store.compact();
    }

    /// How many processes were started by exec since the start of the stand-in.
    #[must_use]
    pub fn exec_starts(&self) -> u64 {
        self.cluster.execs.starts()
    }

    /// How many exec connections to a pod are open now.
    #[must_use]
    pub fn live_execs(&self, namespace: &str, name: &str) -> usize {
        self.cluster.execs.live(&key(namespace, name))
    }

    /// Waits until a pod has exactly this many open exec connections.
    pub async fn until_live_execs(&self, namespace: &str, name: &str, count: usize) {
        self.cluster
            .execs
            .until_live(&key(namespace, name), count)
            .await;
    }

    /// How many processes run in a pod, detached ones included.
    #[must_use]
    pub fn processes(&self, namespace: &str, name: &str) -> usize {
        let pod = self.cluster.store.get(namespace, name);
        pod.map_or(0, |(pod, _)| {
            pod.containers
                .iter()
                .map(|container| process::count_processes(&container.id))
                .sum()
        })
    }

    /// The directory that is the filesystem of a container.
    #[must_use]
    pub fn root(&self, namespace: &str, name: &str, container: &str) -> Option<PathBuf> {
        let (pod, _) = self.cluster.store.get(namespace, name)?;
        pod.containers
            .into_iter()
            .find(|found| found.name == container)
            .map(|found| found.root)
    }

    /// The API server dies: listener and connections close; pods and processes do not notice.
    pub async fn stop_api(&mut self) {
        if let Some(api) = self.api.take() {
            api.stop().await;
        }
    }

    /// The API server comes back on the same port.
    ///
    /// # Errors
    /// When the port was taken meanwhile.
    pub async fn start_api(&mut self) -> Result<(), StandinError> {
        self.stop_api().await;
        let (api, _) = Api::start(Arc::clone(&self.cluster), self.address)
            .await
            .map_err(cannot("listen again"))?;
        self.api = Some(api);
        Ok(())
    }

    fn write_kubeconfig(&self) -> Result<(), StandinError> {
        let user = self
            .cluster
            .behaviour()
            .token
            .as_ref()
            .map_or_else(|| json!({}), |token| json!({"token": token}));
        // JSON is YAML.
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "standin",
            "clusters": [{"name": "standin", "cluster": {"server": self.url()}}],
            "users": [{"name": "standin", "user": user}],
            "contexts": [{"name": "standin", "context": {"cluster": "standin", "user": "standin", "namespace": "default"}}],
        });
        fs::write(self.kubeconfig(), config.to_string()).map_err(cannot("write its kubeconfig"))
    }

    fn kill_everything(&self) {
        // Containers that were replaced or deleted are dead already.
        for pod in self.cluster.store.list(None).0 {
            let statuses = pod["status"]["containerStatuses"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            for status in statuses {
                process::kill_container(status["containerID"].as_str().unwrap_or_default());
            }
        }
    }
}

impl Drop for Standin {
    /// The net under a test that panics: it has no chance to shut down.
    fn drop(&mut self) {
        if let Some(api) = &self.api {
            api.stopped.cancel();
        }
        self.kill_everything();
    }
}

pub(crate) fn key(namespace: &str, name: &str) -> PodKey {
    (namespace.to_owned(), name.to_owned())
}

pub(crate) fn cannot(doing: &'static str) -> impl FnOnce(io::Error) -> StandinError {
    move |source| StandinError::Io { doing, source }
}
