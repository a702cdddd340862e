//! A nats-server with JetStream, on 127.0.0.1, with its store and configuration in one directory:
//! `nats.conf` (written by us at every start, readable by its owner only), `jetstream/` (the store),
//! `server.log`.

use crate::child::{Child, DeathSignal, Program};
use crate::claim::Claim;
use crate::locate;
use crate::server::{Home, Server};
use crate::start::{Launch, StartError, blocking};
use crate::watch::Watch;
use crate::{output, port, secret};
use rustix::process::Signal;
use std::fmt;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The name for error messages.
const SERVER: &str = "nats-server";

/// A batch of events is up to 256 KiB of JSON, other messages up to 1 MiB; the services refuse a
/// server with less.
const MAX_PAYLOAD_BYTES: u32 = 1024 * 1024;

/// The greeting (`INFO …`) of a server, which is one line, is looked at up to here.
const GREETING_BYTES: usize = 64;

/// When the server syncs its files to disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SyncInterval {
    /// Before each acknowledgement: an ack means on disk.
    #[default]
    Always,
    /// Every so often: acknowledged messages of the last interval are lost with the machine's power.
    Every(Duration),
}

impl fmt::Display for SyncInterval {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => formatter.write_str("always"),
            Self::Every(interval) => write!(formatter, "\"{}ms\"", interval.as_millis()),
        }
    }
}

/// How to run a nats-server.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// Where everything of this server is; made when it is missing.
    pub directory: PathBuf,
    /// The port on 127.0.0.1; 0 draws a free one, which the server then keeps over restarts.
    pub port: u16,
    /// The port for monitoring over HTTP, if wanted; 0 draws a free one.
    pub monitor_port: Option<u16>,
    /// When files are synced.
    pub sync_interval: SyncInterval,
    /// The largest message.
    pub max_payload_bytes: u32,
    /// The name of the server; in a cluster each needs its own.
    pub server_name: String,
    /// User and password that [`NatsServer::url`] carries; it is `extra_config` that lets them in.
    pub login: Option<(String, String)>,
    /// What all streams may take on disk; `None` leaves it to the server, which takes three quarters
    /// of what is free when it starts, and refuses a stream whose own limit is above that.
    pub max_store_bytes: Option<u64>,
    /// More text for the configuration file (cluster, accounts). Without accounts or users in it every
    /// user of the machine can publish commands.
    pub extra_config: String,
    /// The account of `extra_config` that goes on with the streams which this server has from a time
    /// without accounts.
    pub heir: Option<String>,
    /// The program; `None` finds or installs one.
    pub program: Option<PathBuf>,
}

impl NatsOptions {
    /// A server in this directory, on a free port, that syncs before each acknowledgement and
    /// lets everybody in.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            port: 0,
            monitor_port: None,
            sync_interval: SyncInterval::default(),
            max_payload_bytes: MAX_PAYLOAD_BYTES,
            server_name: "rdev".to_owned(),
            login: None,
            max_store_bytes: None,
            extra_config: String::new(),
            heir: None,
            program: None,
        }
    }
}

/// A nats-server that runs, or ran and can be restarted.
pub type NatsServer = Server<NatsHome>;

/// Ports of a nats-server.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    client: u16,
    monitor: Option<u16>,
}

/// What is there before the process is.
#[derive(Debug)]
pub struct NatsHome {
    options: NatsOptions,
    claim: Arc<Claim>,
    program: PathBuf,
}

impl NatsServer {
    /// Starts a server, and returns when it takes connections.
    ///
    /// # Errors
    /// The program or the directory cannot be had, or the server does not get ready; then with what
    /// its log says.
    pub async fn start(options: NatsOptions) -> Result<Self, StartError> {
        let home = blocking(move || NatsHome::prepare(options)).await?;
        Self::launch(home).await
    }

    /// The URL for clients, with the login if there is one.
    pub fn url(&self) -> String {
        let port = self.ports.client;
        match &self.home.options.login {
            Some((user, password)) => format!("nats://{user}:{password}@127.0.0.1:{port}"),
            None => self.address(),
        }
    }

    /// The URL without a login, for clients that have another.
    pub fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.ports.client)
    }

    /// The URL of the monitoring pages, if they were asked for.
    pub fn monitor_url(&self) -> Option<String> {
        let port = self.ports.monitor?;
        Some(format!("http://127.0.0.1:{port}"))
    }

    /// The port for clients.
    pub fn port(&self) -> u16 {
        self.ports.client
    }
}

impl NatsHome {
    fn prepare(options: NatsOptions) -> Result<Self, StartError> {
        let program = match &options.program {
            Some(program) => program.clone(),
            None => locate::locate_nats_server()?,
        };
        let claim = Claim::take(&options.directory, 0o700)?;
        Ok(Self {
            options,
            claim: Arc::new(claim),
            program,
        })
    }

    fn configuration(&self, ports: Ports) -> String {
        let options = &self.options;
        let directory = quoted(&self.claim.directory().to_string_lossy());
        let monitor = ports
            .monitor
            .map(|port| format!("http: \"127.0.0.1:{port}\"\n"));
        let store = options.max_store_bytes;
        let store = store.map(|bytes| format!("  max_file_store: {bytes}\n"));
        format!(
            "# Written at every start; changes here are lost.\n\
             server_name: {name}\n\
             listen: \"127.0.0.1:{port}\"\n\
             max_payload: {payload}\n\
             ports_file_dir: {directory}\n\
             jetstream {{\n  store_dir: {directory}\n  sync_interval: {sync}\n{store}}}\n\
             {monitor}{extra}\n",
            name = quoted(&options.server_name),
            port = ports.client,
            payload = options.max_payload_bytes,
            sync = options.sync_interval,
            store = store.unwrap_or_default(),
            monitor = monitor.unwrap_or_default(),
            extra = options.extra_config,
        )
    }
}

impl Home for NatsHome {
    const NAME: &'static str = SERVER;
    const STOP_SIGNAL: Signal = Signal::TERM;
    /// It writes its state.
    const STOP_GRACE: Duration = Duration::from_secs(15);
    type Ports = Ports;

    fn log(&self) -> PathBuf {
        self.claim.directory().join("server.log")
    }

    fn may_draw_again(&self) -> bool {
        self.options.port == 0
    }

    fn draw_ports(&self) -> io::Result<Ports> {
        let drawn = |wanted| {
            if wanted == 0 {
                port::draw()
            } else {
                Ok(wanted)
            }
        };
        Ok(Ports {
            client: drawn(self.options.port)?,
            monitor: self.options.monitor_port.map(drawn).transpose()?,
        })
    }

    async fn launch(&self, ports: Ports) -> Result<Child, StartError> {
        let directory = self.claim.directory();
        let claim = Arc::clone(&self.claim);
        blocking(move || claim.end_leftovers(&[], &[SERVER])).await?;
        if let Some(heir) = &self.options.heir {
            hand_over(directory, heir).map_err(|source| StartError::file(directory, source))?;
        }
        remove_port_files(directory).map_err(|source| StartError::file(directory, source))?;
        let configuration = directory.join("nats.conf");
        secret::write(&configuration, &self.configuration(ports))
            .map_err(|source| StartError::file(&configuration, source))?;

        let log = self.log();
        let log_start = output::rotate(&log);
        let mut watch = Watch::new(directory);
        let child = Program::new(&self.program)
            .argument("--config")
            .argument(&configuration)
            .directory(directory)
            .log(&log)
            .death_signal(DeathSignal::Kill)
            .spawn()?;
        let pid = child.pid();
        let launch = Launch {
            server: SERVER,
            child,
            port: ports.client,
            log: &log,
            log_start,
            hint: "",
        };
        let ready = async {
            while !(has_port_file(directory, pid) && greets(ports.client).await) {
                watch.changed().await;
            }
        };
        launch.until(ready).await
    }
}

/// The server keeps the streams of each account in a directory of its own.
fn hand_over(directory: &Path, heir: &str) -> io::Result<()> {
    let store = directory.join("jetstream");
    let (former, now) = (store.join("$G"), store.join(heir));
    if former.exists() && !now.exists() {
        fs::rename(former, now)?;
    }
    Ok(())
}

/// The server writes this file once it listens; its name carries the process number, so it speaks
/// of this very process.
fn has_port_file(directory: &Path, pid: u32) -> bool {
    let suffix = format!("_{pid}.ports");
    fs::read_dir(directory).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().ends_with(&suffix))
    })
}

/// A killed server leaves its file, and process numbers come back.
fn remove_port_files(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "ports")
        {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Whether the server's greeting arrives.
async fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return false;
    };
    let mut greeting = [0; GREETING_BYTES];
    match stream.read(&mut greeting).await {
        Ok(count) => greeting
            .get(..count)
            .is_some_and(|start| start.starts_with(b"INFO ")),
        Err(_) => false,
    }
}

/// A string of the server's configuration language.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}
