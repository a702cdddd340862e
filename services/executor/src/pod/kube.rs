//! Pods of a Kubernetes cluster.
//!
//! The API tells who a pod is ([`Backend::inspect`]) and when it is not that any more
//! ([`Backend::replaced`]); exec over WebSocket carries the channel to the shim
//! ([`Backend::open`]). Invariants: a pod is touched only if it carries the project's label; a
//! connection is handed out only after the API has shown, *while it was open*, the very container
//! that was asked for; how a connection ends decides nothing.

mod claim;
mod client;
mod identity;
mod lives;
mod object;
mod provide;
pub(crate) mod rights;
mod shim;
mod stream;
mod trouble;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, AttachParams, Request};
use kube::{Client, Resource as _};
use rdev_contract::id::{ProjectId, SecretName};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::OnceCell;

pub use client::KubeSetupError;

use super::{
    Backend, Cluster, PodError, PodIdentity, PodRef, SecretValue, SecretValues, Transport,
};
use crate::config::Config;
use lives::Lives;
use shim::ShimProgram;
use stream::{Ended, ExecStream, Farewell};
use trouble::Obstacle;

/// How long one request to the API server may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// How long the API server may take to say its version; less than the pause between two such looks.
const REACH_LIMIT: Duration = Duration::from_secs(5);
/// How long an exec may take until the shim's first words are here. A node under load takes seconds.
const OPEN_LIMIT: Duration = Duration::from_secs(20);
/// How long the upload of the shim may take: 2 MB over a slow line.
const UPLOAD_LIMIT: Duration = Duration::from_secs(60);
/// How much the upload may print.
const RECEIPT_MAX_BYTES: u64 = 4 * 1024;
/// How long the last words of a connection are waited for once its stdout has ended.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);
/// So many containers are remembered to have the shim; forgetting one costs one exec.
const REMEMBERED_CONTAINERS: usize = 4_096;

/// How to reach the cluster and the shim in its pods.
#[derive(Clone, Debug)]
pub struct KubeOptions {
    /// The kubeconfig; none means KUBECONFIG, `~/.kube/config`, or the service account.
    pub kubeconfig: Option<PathBuf>,
    /// The label whose value must be the project; none lets every pod be used.
    pub project_label: Option<String>,
    /// The static shim program that is uploaded into containers without one; none uploads nothing.
    pub shim_program: Option<PathBuf>,
    /// The namespace of pods for which a session names none.
    pub namespace: String,
    /// Where the shim lives in containers that do not set `RDEV_SHIM_DIR` themselves.
    pub shim_dir: String,
    /// The image of an init container that brings the shim into pods that are made.
    pub shim_image: Option<String>,
}

/// The `kube` backend. Clones share one client.
#[derive(Clone)]
pub struct KubeBackend {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    namespace: String,
    project_label: Option<String>,
    program: Option<ShimProgram>,
    shim_dir: String,
    shim_image: Option<String>,
    lives: Lives,
    /// The uploads into containers, by container id: many commands that start at once share one.
    uploads: Mutex<HashMap<String, Arc<OnceCell<()>>>>,
}

impl KubeBackend {
    /// The backend that the settings of the executor ask for.
    ///
    /// # Errors
    /// As [`KubeBackend::new`].
    pub async fn from_config(config: &Config) -> Result<Self, KubeSetupError> {
        let shim = &config.shim_path;
        let is_there = tokio::fs::try_exists(shim).await.unwrap_or(true);
        if !is_there {
            let path = shim.display();
            tracing::warn!(
                "RDEV_SHIM_PATH {path} is not there: pods need rdev-shim in their images"
            );
        }
        let options = KubeOptions {
            kubeconfig: None,
            project_label: Some(config.pod_label.clone()).filter(|label| !label.is_empty()),
            shim_program: is_there.then(|| shim.clone()),
            namespace: config.namespace.clone(),
            shim_dir: config.shim_dir.clone(),
            shim_image: Some(config.shim_image.clone()).filter(|image| !image.is_empty()),
        };
        Self::new(options).await
    }

    /// Reads the configuration and the shim. Does not speak to the cluster yet.
    ///
    /// # Errors
    /// [`KubeSetupError`] says which setting is wrong.
    pub async fn new(options: KubeOptions) -> Result<Self, KubeSetupError> {
        let config = client::configuration(options.kubeconfig.as_deref()).await?;
        let program = match &options.shim_program {
            Some(path) => Some(ShimProgram::read(path).await?),
            None => None,
        };
        let inner = Inner {
            client: client::client(&config)?,
            namespace: options.namespace,
            project_label: options.project_label,
            program,
            shim_dir: options.shim_dir,
            shim_image: options.shim_image,
            lives: Lives::default(),
            uploads: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    async fn open_or_upload(&self, pod: &PodIdentity) -> Result<Transport, PodError> {
        let program = self.inner.program.as_ref();
        let argv = shim::serve_argv(&self.inner.shim_dir, program);
        match self.try_open(pod, argv.clone()).await {
            Ok(transport) => return Ok(transport),
            Err(Obstacle::Pod(error)) => return Err(error),
            Err(Obstacle::NoShell) => {
                let opened = self.try_open(pod, shim::serve_without_shell_argv()).await;
                let why = "it has no sh, and rdev-shim is not in its image";
                return opened.map_err(|obstacle| obstacle.into_error(pod, why));
            }
            Err(Obstacle::ShimMissing) => {}
        }
        let Some(program) = program else {
            let why = "rdev-shim is not in its image, and the executor has none to upload";
            return Err(trouble::no_shim(pod, why));
        };
        self.upload_once(pod, program).await?;
        let opened = self.try_open(pod, argv).await;
        if matches!(opened, Err(Obstacle::ShimMissing)) {
            // Somebody removed it; the next one shall put it there again.
            self.uploads().remove(&pod.container_id);
        }
        opened.map_err(|obstacle| obstacle.into_error(pod, "rdev-shim was put there and is gone"))
    }

    /// One exec of the shim, up to its first words.
    async fn try_open(&self, pod: &PodIdentity, argv: Vec<String>) -> Result<Transport, Obstacle> {
        let mut stream = self.exec(pod, argv).await.map_err(Obstacle::Pod)?;
        match tokio::time::timeout(OPEN_LIMIT, stream.stdout.fill_buf()).await {
            Err(_) => {
                let text = format!("the shim in {} did not answer in time", trouble::place(pod));
                return Err(Obstacle::Pod(PodError::Unavailable(text)));
            }
            Ok(Ok(first_words)) if !first_words.is_empty() => {}
            Ok(_) => return Err(trouble::obstacle(pod, last_words(stream).await)),
        }
        // The exec went by name. The container that the API shows now, while the connection is open,
        // was there all the time if it is the one that was asked for: lives do not come back.
        self.check_same(pod).await.map_err(Obstacle::Pod)?;
        let ExecStream {
            stdout,
            stdin,
            farewell,
            pump,
        } = stream;
        let ended = async move {
            let farewell = farewell.await;
            drop(pump);
            farewell.map_or_else(|_| "dropped".to_owned(), |farewell| farewell.to_string())
        };
        Ok(Transport {
            reader: Box::new(stdout),
            writer: Box::new(stdin),
            ended: ended.boxed(),
        })
    }

    async fn upload_once(&self, pod: &PodIdentity, program: &ShimProgram) -> Result<(), PodError> {
        let cell = {
            let mut uploads = self.uploads();
            if uploads.len() >= REMEMBERED_CONTAINERS {
                uploads.clear();
            }
            Arc::clone(uploads.entry(pod.container_id.clone()).or_default())
        };
        let place = trouble::place(pod);
        let upload = async {
            let upload = tokio::time::timeout(UPLOAD_LIMIT, self.upload(pod, program)).await;
            let too_slow = |_| {
                PodError::Unavailable(format!("the upload of the shim into {place} took too long"))
            };
            upload.map_err(too_slow)??;
            let bytes = program.bytes.len();
            tracing::info!(pod.namespace = %pod.namespace, pod.name = %pod.name, bytes, "uploaded the shim into {place}");
            Ok(())
        };
        cell.get_or_try_init(|| upload).await.copied()
    }

    fn uploads(&self) -> MutexGuard<'_, HashMap<String, Arc<OnceCell<()>>>> {
        self.inner
            .uploads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn upload(&self, pod: &PodIdentity, program: &ShimProgram) -> Result<(), PodError> {
        let word = uuid::Uuid::new_v4().simple().to_string();
        let argv = program.upload_argv(&self.inner.shim_dir, &word);
        let mut stream = self.exec(pod, argv).await?;
        let mut receipt = String::new();
        {
            let ExecStream { stdout, stdin, .. } = &mut stream;
            let mut stdout = BufReader::new(stdout.take(RECEIPT_MAX_BYTES));
            // Nothing is sent before the script is ready for it: a server that closes while there is
            // something unread resets the connection, and the reason is lost.
            let mut line = String::new();
            let is_ready = stdout.read_line(&mut line).await.is_ok() && line.trim() == shim::READY;
            if is_ready && stdin.write_all(&program.bytes).await.is_ok() {
                // A connection that breaks off here leaves no receipt.
                let _ = stdout.read_to_string(&mut receipt).await;
            }
        }
        // A status may lie; the receipt comes from the script itself.
        if receipt.trim() == program.receipt() {
            return Ok(());
        }
        Err(trouble::upload_error(pod, last_words(stream).await))
    }

    /// Opens one exec.
    async fn exec(&self, pod: &PodIdentity, argv: Vec<String>) -> Result<ExecStream, PodError> {
        let wish = AttachParams::default()
            .container(&pod.container)
            .stdin(true)
            .stdout(true)
            .stderr(true);
        let url = Pod::url_path(&(), Some(&pod.namespace));
        let request = Request::new(url).exec(&pod.name, argv, &wish);
        let request = request.map_err(|error| PodError::Refused(error.to_string()))?;
        let connecting = tokio::time::timeout(OPEN_LIMIT, self.inner.client.connect(request)).await;
        let too_slow = |_| {
            PodError::Unavailable(format!(
                "the exec in {} was not answered in time",
                trouble::place(pod)
            ))
        };
        let connection = connecting
            .map_err(too_slow)?
            .map_err(|error| trouble::exec_error(&error))?;
        let can_close_stdin = connection.supports_stream_close();
        Ok(stream::start(connection.into_stream(), can_close_stdin))
    }

    async fn check_same(&self, pod: &PodIdentity) -> Result<(), PodError> {
        let now = self.get(&pod.namespace, &pod.name).await?;
        match identity::why_replaced(pod, &now) {
            None => Ok(()),
            Some(why) => Err(PodError::Replaced(why)),
        }
    }

    async fn get(&self, namespace: &str, name: &str) -> Result<Pod, PodError> {
        let pods: Api<Pod> = Api::namespaced(self.inner.client.clone(), namespace);
        in_time(pods.get(name))
            .await
            .map_err(|error| trouble::api_error(&error))
    }
}

#[async_trait]
impl Backend for KubeBackend {
    // Who the pod is now. It must carry the project's label and its container must run.
    async fn inspect(&self, pod: &PodRef) -> Result<PodIdentity, PodError> {
        let asked = pod.namespace.as_str();
        let namespace = if asked.is_empty() {
            &self.inner.namespace
        } else {
            asked
        };
        let found = self.get(namespace, &pod.name).await?;
        if let Some(key) = &self.inner.project_label {
            identity::check_label(&found, key, &pod.project)?;
        }
        identity::identify(&found, &pod.container)
    }

    // A new channel to the shim in exactly this container; the shim is uploaded when it is missing.
    async fn open(&self, pod: &PodIdentity) -> Result<Transport, PodError> {
        let error = match self.open_or_upload(pod).await {
            Ok(transport) => return Ok(transport),
            Err(error) => error,
        };
        if matches!(error, PodError::NotRunning(_) | PodError::NoShim(_)) {
            // What is wanting there may be wanting in another container of the same name.
            self.check_same(pod).await?;
        }
        Err(error)
    }

    // What a Secret holds. One that is not the project's is answered as one that does not exist: its
    // name is none of the project's business.
    async fn secret(
        &self,
        project: &ProjectId,
        pod: &PodIdentity,
        name: &SecretName,
    ) -> Result<SecretValues, PodError> {
        let namespace = pod.namespace.as_str();
        let secrets: Api<Secret> = Api::namespaced(self.inner.client.clone(), namespace);
        let found = in_time(secrets.get_opt(name.as_str())).await;
        let found = found.map_err(|error| trouble::api_error(&error))?;
        let label = self.inner.project_label.as_deref();
        let is_its_own = |secret: &Secret| {
            let labels = secret.metadata.labels.as_ref();
            label.is_none_or(|label| {
                labels
                    .and_then(|labels| labels.get(label))
                    .map(String::as_str)
                    == Some(project.as_str())
            })
        };
        let Some(secret) = found.filter(is_its_own) else {
            let labelled = label.map_or_else(String::new, |label| {
                format!(" with the label {label}={project}")
            });
            return Err(PodError::Refused(format!(
                "there is no Secret {name}{labelled} in the namespace {namespace}"
            )));
        };
        let data = secret.data.unwrap_or_default().into_iter();
        Ok(data
            .map(|(key, value)| (key, SecretValue(value.0)))
            .collect())
    }

    // Waits until the API shows that this container is gone, restarted, or another one, and says
    // why in words. All callers for one pod share one watch.
    async fn replaced(&self, pod: &PodIdentity) -> String {
        self.inner.lives.replaced(&self.inner.client, pod).await
    }

    fn cluster(&self) -> Option<&dyn Cluster> {
        Some(self)
    }
}

#[async_trait]
impl Cluster for KubeBackend {
    async fn reach(&self) -> Result<String, String> {
        let asked = self.inner.client.apiserver_version();
        match tokio::time::timeout(REACH_LIMIT, asked).await {
            Ok(Ok(version)) => Ok(version.git_version),
            Ok(Err(error)) => Err(format!("the API server does not answer: {error}")),
            Err(_) => Err("the API server does not answer in time".to_owned()),
        }
    }

    fn shim_in_words(&self) -> &'static str {
        match (&self.inner.program, &self.inner.shim_image) {
            (Some(_), _) => "put into containers that lack it",
            (None, Some(_)) => "only in pods that are made, and in images that have it",
            (None, None) => "only in images that have it: RDEV_SHIM_PATH is not there",
        }
    }
}

/// Bounds a request. The time-out looks like any other failure of the connection.
async fn in_time<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    let in_time = tokio::time::timeout(REQUEST_LIMIT, request).await;
    in_time.unwrap_or_else(|_| {
        Err(kube::Error::Service(
            "the API server did not answer in time".into(),
        ))
    })
}

/// The last words of a connection whose stdout has ended.
async fn last_words(stream: ExecStream) -> Farewell {
    let said = tokio::time::timeout(FAREWELL_LIMIT, stream.farewell).await;
    let ended = Ended::Broken("it ended without a word".to_owned());
    said.ok().and_then(Result::ok).unwrap_or(Farewell {
        ended,
        stderr: String::new(),
    })
}
