//! Three real nats-servers that are one JetStream cluster, each of which can be killed and come
//! back with what it had on disk.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use futures::future::try_join_all;
use rdev_embedded::{NatsOptions, NatsServer, draw_port};
use rdev_tests::Outcome;
use tokio::time::Instant;

const NODES: usize = 3;
/// Elections take 4–10 s on a busy machine; what takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(40);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The cluster.
#[derive(Debug)]
pub(crate) struct NatsCluster {
    nodes: Vec<NatsServer>,
    client: async_nats::Client,
}

impl NatsCluster {
    /// Starts the servers below this directory, with these accounts, and returns when they have elected
    /// a leader.
    ///
    /// # Errors
    /// What did not start.
    pub(crate) async fn start(directory: &Path, accounts: &str) -> Outcome<Self> {
        let mut ports = BTreeSet::new();
        while ports.len() < NODES {
            ports.insert(draw_port()?);
        }
        let routes: Vec<_> = ports
            .iter()
            .map(|port| format!("\"nats://127.0.0.1:{port}\""))
            .collect();
        let routes = routes.join(", ");
        let nodes = ports.iter().enumerate().map(|(index, port)| {
            let mut options = NatsOptions::new(directory.join(name(index)));
            options.server_name = name(index);
            options.extra_config = format!(
                "cluster {{\n  name: rdev\n  listen: \"127.0.0.1:{port}\"\n  \
                 routes: [{routes}]\n}}\n{accounts}"
            );
            NatsServer::start(options)
        });
        let nodes = try_join_all(nodes).await?;
        let client = async_nats::ConnectOptions::new()
            .retry_on_initial_connect()
            .reconnect_delay_callback(|_| LOOK_INTERVAL)
            .connect(urls(&nodes))
            .await?;
        let cluster = Self { nodes, client };
        let deadline = Instant::now() + PATIENCE;
        while cluster.jetstream().query_account().await.is_err() {
            if Instant::now() > deadline {
                return Err("the servers have not elected a leader".into());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(cluster)
    }

    /// All servers, as services are told of them.
    #[must_use]
    pub(crate) fn url(&self) -> String {
        urls(&self.nodes).join(",")
    }

    fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client.clone())
    }

    /// What the servers say of this stream once it satisfies `wanted`.
    async fn until(
        &self,
        stream: &str,
        wanted: impl Fn(&stream::ClusterInfo) -> bool,
    ) -> Outcome<stream::ClusterInfo> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < deadline {
            if let Ok(found) = self.jetstream().get_stream(stream).await {
                let cluster = found.cached_info().cluster.clone();
                if let Some(cluster) = cluster.clone().filter(&wanted) {
                    return Ok(cluster);
                }
                last = cluster;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Err(format!("{stream} did not become what was waited for: {last:?}").into())
    }

    /// How many servers have a copy of this stream.
    ///
    /// # Errors
    /// When nobody leads it.
    pub(crate) async fn copies(&self, stream: &str) -> Outcome<usize> {
        let cluster = self
            .until(stream, |cluster| cluster.leader.is_some())
            .await?;
        Ok(1 + cluster.replicas.len())
    }

    /// Which server leads this stream.
    ///
    /// # Errors
    /// When nobody does.
    pub(crate) async fn leader(&self, stream: &str) -> Outcome<usize> {
        let cluster = self
            .until(stream, |cluster| cluster.leader.is_some())
            .await?;
        let leader = cluster.leader.unwrap_or_default();
        let index = (0..NODES).find(|index| name(*index) == leader);
        index.ok_or_else(|| format!("an unknown leader: {leader}").into())
    }

    /// Waits until another server than this one leads the stream.
    ///
    /// # Errors
    /// When none does.
    pub(crate) async fn led_by_another(&self, stream: &str, than: usize) -> Outcome<()> {
        let former = name(than);
        let is_other = |cluster: &stream::ClusterInfo| {
            cluster
                .leader
                .as_ref()
                .is_some_and(|leader| *leader != former)
        };
        self.until(stream, is_other).await.map(|_| ())
    }

    /// Waits until every copy of this stream is up to date.
    ///
    /// # Errors
    /// When one is not in time.
    pub(crate) async fn in_step(&self, stream: &str) -> Outcome<()> {
        let is_whole = |cluster: &stream::ClusterInfo| {
            let mut replicas = cluster.replicas.iter();
            cluster.leader.is_some()
                && cluster.replicas.len() == NODES - 1
                && replicas.all(|replica| replica.current && !replica.offline)
        };
        self.until(stream, is_whole).await.map(|_| ())
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self, index: usize) {
        self.nodes[index].kill().await;
    }

    /// Starts a killed server again, with its store.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn restart(&mut self, index: usize) -> Outcome<()> {
        Ok(self.nodes[index].restart().await?)
    }
}

fn name(index: usize) -> String {
    format!("node-{index}")
}

fn urls(nodes: &[NatsServer]) -> Vec<String> {
    nodes.iter().map(NatsServer::url).collect()
}
