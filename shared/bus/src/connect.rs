//! The connection: how long to wait, how fast to come back, and what a server must be able to do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectErrorKind, jetstream};
use async_recursion::async_recursion as boxed;
use rdev_runtime::parse_duration;
use tokio::sync::watch;

use crate::capacity::Capacity;
use crate::credentials::{CREDENTIALS_VARIABLE, Credentials};
use crate::metrics::Line;

/// `Nats-Expected-Last-Subject-Sequence-Subject`, per-message TTL and batched direct get at once
/// exist from this version on.
const SERVER_VERSION_MIN: (i64, i64, i64) = (2, 12, 0);
/// A batch is at most 256 KiB of events; escapes, head and headers must fit beside it.
const SERVER_PAYLOAD_MIN_BYTES: usize = 1024 * 1024;
/// A change of leader takes 4–10 s; an ack that takes longer is looked up instead.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests are answered in milliseconds or not at all.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The client's default backs off to seconds, which every reader would see after a restart.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(500);
const RECONNECT_DELAY_STEP: Duration = Duration::from_millis(50);
/// Notices a dead connection within two intervals; the default is a minute.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Messages that may wait in one subscription before the client drops some and says so: more than
/// a page of a replay or a pull of a follower. Whoever subscribes reads at once (a tail never
/// waits for its readers), so this is not where a slow reader's messages pile up.
const SUBSCRIPTION_CAPACITY_MESSAGES: usize = 512;

/// Where the log is and what it is to be like. Every service has the same settings.
#[derive(Debug, Clone, clap::Args)]
pub struct BusConfig {
    /// NATS servers, joined by commas.
    #[arg(
        long = "nats-url",
        env = "RDEV_NATS_URL",
        value_name = "RDEV_NATS_URL",
        default_value = "nats://127.0.0.1:4222"
    )]
    pub url: String,
    /// File that says who this is to NATS: the seed of a user (nkey), or credentials of a user with
    /// a JWT.
    #[arg(
        long = "nats-creds",
        env = CREDENTIALS_VARIABLE,
        value_name = CREDENTIALS_VARIABLE,
        value_parser = Credentials::read
    )]
    pub credentials: Option<Credentials>,
    /// Certificate authority of the servers (a file of PEM), besides those of the machine. Connections
    /// without TLS are refused then; an address that begins with tls:// refuses them too.
    #[arg(
        long = "nats-ca",
        env = "RDEV_NATS_CA",
        value_name = "RDEV_NATS_CA",
        value_parser = authority
    )]
    pub authority: Option<PathBuf>,
    /// Copies of each stream in a NATS cluster: 1, 3 or 5.
    #[arg(long, env = "RDEV_REPLICAS", value_name = "RDEV_REPLICAS", default_value_t = 1, value_parser = replicas)]
    pub replicas: usize,
    /// How long the bulk output of shell and git is kept in the log.
    #[arg(long, env = "RDEV_OUTPUT_TTL", value_name = "RDEV_OUTPUT_TTL", default_value = "7days", value_parser = parse_duration)]
    pub output_ttl: Duration,
    /// How long everything else is kept in the log.
    #[arg(long, env = "RDEV_FACTS_TTL", value_name = "RDEV_FACTS_TTL", default_value = "90days", value_parser = parse_duration)]
    pub facts_ttl: Duration,
    /// Bytes at which the log refuses new messages rather than forget old ones; -1 for no limit
    /// beside the disk's.
    #[arg(long, env = "RDEV_LOG_MAX_BYTES", value_name = "RDEV_LOG_MAX_BYTES", default_value_t = -1, allow_negative_numbers = true)]
    pub log_max_bytes: i64,
}

/// The file is read when a connection is made; whether it is there is told at once.
fn authority(path: &str) -> Result<PathBuf, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    if text.contains("-----BEGIN CERTIFICATE-----") {
        Ok(path.into())
    } else {
        Err("there is no certificate in it: give a file of PEM".to_owned())
    }
}

/// JetStream keeps an odd number of copies, so that a majority is clear.
fn replicas(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ (1 | 3 | 5)) => Ok(count),
        Ok(_) | Err(_) => Err("give 1, 3 or 5".to_owned()),
    }
}

/// A connection to the log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {
    pub(crate) client: async_nats::Client,
    pub(crate) jetstream: jetstream::Context,
    pub(crate) config: Arc<BusConfig>,
    pub(crate) capacity: Arc<Capacity>,
    /// Counts connections made: what was subscribed to may have been missed between two.
    pub(crate) connections: watch::Receiver<u64>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address cannot be used, or nobody answers.
    #[error("cannot connect to NATS at {url}: {reason} (RDEV_NATS_URL says where it is)")]
    Unreachable {
        /// Where.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The server cannot do what rdev needs of it.
    #[error("the NATS server {0}")]
    Unsuitable(String),
    /// The server does not let us in.
    #[error("the NATS server at {url} refuses {whom}")]
    Refused {
        /// Where.
        url: String,
        /// Whom, and which setting says so.
        whom: &'static str,
    },
}

impl ConnectError {
    /// Whether trying again can help: the server may not be there yet.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Unsuitable(_) | Self::Refused { .. } => false,
        }
    }
}

impl Bus {
    /// Connects as `name` and checks what the server can do.
    ///
    /// # Errors
    /// See [`ConnectError`].
    #[boxed]
    pub async fn connect(config: BusConfig, name: &str) -> Result<Self, ConnectError> {
        let unreachable = |reason: String| ConnectError::Unreachable {
            url: without_secrets(&config.url),
            reason,
        };
        let (connected, mut connections) = watch::channel(0);
        let line = Line::default();
        let mut options = async_nats::ConnectOptions::new()
            .name(name)
            .connection_timeout(CONNECT_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .ping_interval(PING_INTERVAL)
            .subscription_capacity(SUBSCRIPTION_CAPACITY_MESSAGES)
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                if matches!(event, async_nats::Event::Connected) {
                    connected.send_modify(|count| *count += 1);
                }
                line.tell(&event);
                log_event(&event);
                std::future::ready(())
            });
        if let Some(authority) = &config.authority {
            options = options
                .add_root_certificates(authority.clone())
                .require_tls(true);
        }
        let mut whom = "a client that names no user (RDEV_NATS_CREDS)";
        // The client library does not take them from the address.
        if let Some((user, password)) = user_and_password(&config.url) {
            options = options.user_and_password(user, password);
            whom = "the user and password of RDEV_NATS_URL";
        }
        if let Some(credentials) = &config.credentials {
            options = credentials
                .apply(options)
                .map_err(|error| unreachable(error.to_string()))?;
            whom = "the user of RDEV_NATS_CREDS";
        }
        let client = async_nats::connect_with_options(addresses(&config.url), options)
            .await
            .map_err(|error| match error.kind() {
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                    ConnectError::Refused {
                        url: without_secrets(&config.url),
                        whom,
                    }
                }
                ConnectErrorKind::ServerParse
                | ConnectErrorKind::Dns
                | ConnectErrorKind::TimedOut
                | ConnectErrorKind::Tls
                | ConnectErrorKind::Io
                | ConnectErrorKind::MaxReconnects => unreachable(error.to_string()),
            })?;
        check_server(&client)?;
        // So that this connection is not taken for a new one by whoever watches for those.
        let first = connections.wait_for(|count| *count > 0);
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, first).await;
        let jetstream = jetstream::context::ContextBuilder::new()
            .ack_timeout(ACK_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .build(client.clone());
        Ok(Self {
            client,
            jetstream,
            config: Arc::new(config),
            capacity: Arc::default(),
            connections,
        })
    }

    /// Whether the connection is up right now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Tells of connections that are made from now on.
    pub(crate) fn connections_from_now(&self) -> watch::Receiver<u64> {
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        connections
    }

    /// Sends what is buffered; for the end of a process.
    #[boxed]
    pub async fn flush(&self) {
        if let Err(error) = self.client.flush().await {
            tracing::warn!(%error, "what was buffered for NATS could not be sent");
        }
    }
}

fn addresses(urls: &str) -> Vec<String> {
    urls.split(',').map(|url| url.trim().to_owned()).collect()
}

/// What the first address that names a user says: `nats://user:password@host`.
fn user_and_password(urls: &str) -> Option<(String, String)> {
    let with_user = urls
        .split(',')
        .find_map(|url| url.trim().rsplit_once('@'))?
        .0;
    let (_, user) = with_user.split_once("://").unwrap_or(("", with_user));
    let (user, password) = user.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The addresses as they may be logged: without user and password.
fn without_secrets(urls: &str) -> String {
    let shown = |url: &str| match url.rsplit_once('@') {
        None => url.to_owned(),
        Some((before, host)) => match before.split_once("://") {
            None => host.to_owned(),
            Some((scheme, _)) => format!("{scheme}://{host}"),
        },
    };
    urls.split(',').map(shown).collect::<Vec<_>>().join(",")
}

fn reconnect_delay(attempts: usize) -> Duration {
    let steps = u32::try_from(attempts).unwrap_or(u32::MAX);
    RECONNECT_DELAY_STEP
        .saturating_mul(steps)
        .min(RECONNECT_DELAY_MAX)
}

fn check_server(client: &async_nats::Client) -> Result<(), ConnectError> {
    let (major, minor, patch) = SERVER_VERSION_MIN;
    let info = client.server_info();
    if !client.is_server_compatible(major, minor, patch) {
        return Err(ConnectError::Unsuitable(format!(
            "is version {}; rdev needs {major}.{minor} or newer",
            info.version
        )));
    }
    if info.max_payload < SERVER_PAYLOAD_MIN_BYTES {
        return Err(ConnectError::Unsuitable(format!(
            "allows payloads of {} bytes; set max_payload to {SERVER_PAYLOAD_MIN_BYTES} or more",
            info.max_payload
        )));
    }
    Ok(())
}

fn log_event(event: &async_nats::Event) {
    match event {
        async_nats::Event::Connected => tracing::info!("connected to NATS"),
        async_nats::Event::Disconnected => tracing::warn!("disconnected from NATS"),
        // By whoever opened it.
        async_nats::Event::Closed => tracing::debug!("connection to NATS closed"),
        other @ (async_nats::Event::LameDuckMode
        | async_nats::Event::Draining
        | async_nats::Event::SlowConsumer(_)
        | async_nats::Event::ServerError(_)
        | async_nats::Event::ClientError(_)) => tracing::warn!(event = %other, "NATS connection"),
    }
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn addresses_are_shown_without_secrets() {
        assert_eq!(
            without_secrets("nats://127.0.0.1:4222"),
            "nats://127.0.0.1:4222"
        );
        assert_eq!(
            without_secrets("nats://rdev:p@ss@one:4222,token@two"),
            "nats://one:4222,two"
        );
    }
}
