//! One rdev with pods: a stand-in of the Kubernetes API, and one of each service.

use std::path::PathBuf;

use rdev_kube_standin::{PodSpec, Standin};

use crate::Outcome;
use crate::client::Client;
use crate::proxy::Proxy;
use crate::world::{Options, PROJECT, Services, World};

/// The namespace of all pods for which a session names none.
pub const NAMESPACE: &str = "default";
/// Pods carry it with their project.
pub const LABEL: &str = "rdev.dev/project";
/// The only container of a pod that is made from its name alone.
pub const CONTAINER: &str = "main";

/// A cluster, and the rdev that uses it.
pub struct Cluster {
    /// The cluster.
    pub standin: Standin,
    /// Between the executor and the API server.
    pub api: Proxy,
    /// The rest.
    pub world: World,
    /// One of each service; the executor reaches the API server through the proxy.
    pub services: Services,
}

impl Cluster {
    /// A cluster with these pods, ready to be used.
    ///
    /// # Errors
    /// What did not start.
    pub async fn start(options: Options, pods: &[&str]) -> Outcome<Self> {
        let standin = Standin::start().await?;
        for pod in pods {
            standin.add_pod(PodSpec::new(NAMESPACE, pod).label(LABEL, PROJECT))?;
        }
        let api = Proxy::start(standin.address()).await?;
        let mut world = World::bare(options).await?;
        let kubeconfig = world.directory().join("kubeconfig");
        let direct = std::fs::read_to_string(standin.kubeconfig())?;
        let through = format!("http://{}", api.address());
        std::fs::write(&kubeconfig, direct.replace(&standin.url(), &through))?;
        let executor = world.kube_executor(&kubeconfig)?;
        let projector = world.projector()?;
        let (gateway, client) = world.gateway()?;
        world.ready(&client).await?;
        Ok(Self {
            standin,
            api,
            world,
            services: Services {
                client,
                gateway,
                executor,
                projector,
            },
        })
    }

    /// Speaks to its gateway.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.services.client
    }

    /// The directory that is the filesystem of a pod's only container.
    #[must_use]
    pub fn pod(&self, pod: &str) -> PathBuf {
        self.standin
            .root(NAMESPACE, pod, CONTAINER)
            .unwrap_or_default()
    }

    /// Leaves no process behind.
    pub async fn shutdown(self) {
        self.services.executor.stop().await;
        self.standin.shutdown().await;
    }
}
