//! The connection to the Kubernetes API server.
//!
//! Invariants: every socket has TCP_NODELAY (the stock client of `kube` sets none, which costs 50 ms
//! a command); nothing here tries again by itself (the stock client tries for minutes), because the
//! caller knows what trying again means.

use std::path::Path;
use std::time::Duration;

use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

/// How long a TCP connection to the API server may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// After this much silence TCP asks whether the other side is still there, so that a dead network
/// is noticed, and a quiet watch is not cut by what lies between.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);
/// Pause between two such questions.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
/// So many unanswered questions end the connection.
const KEEPALIVE_TRIES: u32 = 3;
/// Data that is not acknowledged for so long ends the connection, too.
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(20);

/// Why there is no client for the cluster. These are errors of the set-up, told at start.
#[derive(Debug, thiserror::Error)]
pub enum KubeSetupError {
    /// The kubeconfig that was named cannot be read or used.
    #[error("the kubeconfig {path} cannot be used: {source}")]
    Kubeconfig {
        /// Its path.
        path: String,
        /// Why.
        source: kube::config::KubeconfigError,
    },
    /// Neither a kubeconfig nor a service account was found.
    #[error(
        "no cluster is configured: set KUBECONFIG, or run in a pod with a service account ({0})"
    )]
    NoCluster(#[from] kube::config::InferConfigError),
    /// The configuration asks for a proxy.
    #[error(
        "the cluster is behind the proxy {0}, which is not supported: remove proxy-url from the kubeconfig, \
         and HTTPS_PROXY from the environment of the executor"
    )]
    Proxy(String),
    /// Certificates or credentials cannot be used.
    #[error("the credentials for the cluster cannot be used: {0}")]
    Credentials(#[from] kube::Error),
    /// The shim that is to be uploaded cannot be read.
    #[error(
        "the shim {path} cannot be used: {reason}; set RDEV_SHIM_PATH to a static rdev-shim for Linux"
    )]
    Shim {
        /// Its path.
        path: String,
        /// Why.
        reason: String,
    },
}

/// Reads the configuration: the named kubeconfig, else KUBECONFIG or the usual file, else the
/// service account of the pod that we run in.
pub(super) async fn configuration(kubeconfig: Option<&Path>) -> Result<Config, KubeSetupError> {
    let Some(path) = kubeconfig else {
        return Ok(Config::infer().await?);
    };
    let unusable = |source| KubeSetupError::Kubeconfig {
        path: path.display().to_string(),
        source,
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(unusable)
}

/// A client on our own connector.
pub(super) fn client(config: &Config) -> Result<Client, KubeSetupError> {
    if let Some(proxy) = &config.proxy_url
        && !is_loopback(config.cluster_url.host().unwrap_or_default())
    {
        return Err(KubeSetupError::Proxy(proxy.to_string()));
    }
    let connector = config.rustls_https_connector_with_connector(connector())?;
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_LIMIT));
    connector.set_keepalive(Some(KEEPALIVE_AFTER));
    connector.set_keepalive_interval(Some(KEEPALIVE_EVERY));
    connector.set_keepalive_retries(Some(KEEPALIVE_TRIES));
    connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT));
    connector
}

/// Proxies of the environment are never meant for this machine itself.
fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}
