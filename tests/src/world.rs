//! One rdev, whole: servers and services, as many of each as a test wants.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rdev_bus::Bus;
use rdev_bus::access::{Access, Login, Role};
use rdev_contract::id::ProjectId;
use rdev_embedded::{
    Child, Durability, NatsOptions, NatsServer, Postgres, PostgresOptions, Program, Signal,
    SyncInterval,
};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::Outcome;
use crate::client::Client;
use crate::proxy::Proxy;

/// The project of all tests that need only one.
pub const PROJECT: &str = "demo";
/// Longer than any start on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const READY_INTERVAL: Duration = Duration::from_millis(20);
/// Longer than the services' own grace for draining.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// The one PostgreSQL of all worlds of this process; it ends with the last of them.
static POSTGRES: Mutex<Weak<SharedPostgres>> = Mutex::const_new(Weak::new());
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// How a world is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program that has the services as subcommands.
    pub program: PathBuf,
    /// The shim on its own, for containers.
    pub shim: PathBuf,
    /// When the log is synced to disk.
    pub sync: SyncInterval,
    /// Where the keys of the log's users are; made for this world if it is none.
    pub access: Option<PathBuf>,
    /// Projects that somebody else reads, and nothing else.
    pub consumers: Vec<ProjectId>,
    /// Variables for all services.
    pub variables: Vec<(String, String)>,
}

impl Options {
    /// Services of this program, with the durability of production.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, shim: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            shim: shim.into(),
            sync: SyncInterval::Always,
            access: None,
            consumers: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// Sets a variable for all services.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }
}

/// Each world has a database of its own in it.
#[derive(Debug)]
struct SharedPostgres {
    server: Postgres,
    _directory: TempDir,
}

/// A running rdev.
#[derive(Debug)]
pub struct World {
    /// Its log. Whoever says nothing about who it is may do everything there, as a test does.
    pub nats: NatsServer,
    /// The users of its log: each service is one of them.
    pub access: Access,
    /// The URL of its database.
    pub postgres_url: String,
    _postgres: Arc<SharedPostgres>,
    directory: TempDir,
    options: Options,
    services: u32,
}

/// One process of a service.
#[derive(Debug)]
pub struct Service {
    child: Child,
    /// Where it writes its log.
    pub log: PathBuf,
}

impl Service {
    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// SIGKILL, and wait for the end.
    pub async fn kill(&self) {
        self.child.kill().await;
    }

    /// SIGTERM, and wait for the end.
    pub async fn stop(&self) {
        self.child.stop(Signal::TERM, STOP_GRACE).await;
    }

    /// Waits until it has logged these words.
    ///
    /// # Errors
    /// When it has not after a while.
    pub async fn until_it_says(&self, words: &str) -> Outcome<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        while Instant::now() < deadline {
            if std::fs::read_to_string(&self.log).is_ok_and(|text| text.contains(words)) {
                return Ok(());
            }
            tokio::time::sleep(READY_INTERVAL).await;
        }
        Err(format!("{} does not say {words:?}", self.log.display()).into())
    }

    /// Any signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Outcome<()> {
        Ok(self.child.signal(signal)?)
    }
}

impl World {
    /// Servers, and no services yet.
    ///
    /// # Errors
    /// What did not start.
    pub async fn bare(options: Options) -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("rdev-test-").tempdir()?;
        let mut nats = NatsOptions::new(directory.path().join("nats"));
        nats.sync_interval = options.sync;
        nats.monitor_port = Some(0);
        let own = directory.path().join("access");
        let mut access = Access::kept_in(options.access.as_deref().unwrap_or(&own))?;
        for project in &options.consumers {
            access.add_consumer(project.clone())?;
        }
        nats.extra_config = access.configuration(Some(&everybody()));
        let (nats, database) = tokio::join!(NatsServer::start(nats), database());
        let (postgres, postgres_url) = database?;
        Ok(Self {
            nats: nats?,
            access,
            postgres_url,
            _postgres: postgres,
            directory,
            options,
            services: 0,
        })
    }

    /// Servers, a gateway, a `local` executor and a projector; ready to be used.
    ///
    /// # Errors
    /// What did not start.
    pub async fn start(options: Options) -> Outcome<(Self, Services)> {
        let mut world = Self::bare(options).await?;
        let projector = world.projector()?;
        let executor = world.executor()?;
        let (gateway, client) = world.gateway()?;
        world.ready(&client).await?;
        Ok((
            world,
            Services {
                client,
                gateway,
                executor,
                projector,
            },
        ))
    }

    /// Servers, a projector and some gateways, but nobody who runs commands: the execs are written
    /// by the test itself ([`crate::writer`]).
    ///
    /// # Errors
    /// What did not start.
    pub async fn of_readers(options: Options, gateways: usize) -> Outcome<(Self, Gateways)> {
        let mut world = Self::bare(options).await?;
        let projector = world.projector()?;
        let mut gateways_and_clients = Vec::new();
        for _ in 0..gateways {
            gateways_and_clients.push(world.gateway()?);
        }
        let (gateways, clients): (Vec<_>, Vec<_>) = gateways_and_clients.into_iter().unzip();
        for client in &clients {
            world.ready(client).await?;
        }
        Ok((
            world,
            Gateways {
                clients,
                gateways,
                projector,
            },
        ))
    }

    /// Directory of one pod of the `local` backend, in the project of the tests.
    #[must_use]
    pub fn pod(&self, pod: &str) -> PathBuf {
        self.pods().join(PROJECT).join(pod)
    }

    /// A connection to the log.
    ///
    /// # Errors
    /// When there is none.
    pub async fn bus(&self) -> Outcome<Bus> {
        crate::log::connect(&self.nats.url()).await
    }

    /// Directory of the `local` backend's pods.
    #[must_use]
    pub fn pods(&self) -> PathBuf {
        self.directory.path().join("pods")
    }

    /// What executors with directories for pods have in place of Secrets.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.directory().join("secrets")
    }

    /// The program that has the services as subcommands.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.options.program
    }

    /// A directory for whatever a test needs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts one more gateway, and a client for it.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn gateway(&mut self) -> Outcome<(Service, Client)> {
        let address = free_address()?;
        let service = self.service(Role::Gateway, &[("RDEV_LISTEN", address.to_string())])?;
        Ok((service, Client::new(format!("http://{address}"), PROJECT)))
    }

    /// Starts one more gateway with these variables.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn gateway_with(&mut self, variables: &[(&str, String)]) -> Outcome<Service> {
        self.service(Role::Gateway, variables)
    }

    /// Starts one more gateway that reaches the log through a proxy, and a client for it.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn gateway_through(&mut self, proxy: &Proxy) -> Outcome<(Service, Client)> {
        let address = free_address()?;
        let variables = [("RDEV_LISTEN", address.to_string()), nats_through(proxy)];
        let service = self.service(Role::Gateway, &variables)?;
        Ok((service, Client::new(format!("http://{address}"), PROJECT)))
    }

    /// A proxy in front of the log.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn nats_proxy(&self) -> Outcome<Proxy> {
        Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, self.nats.port()))).await
    }

    /// Starts one more executor, with directories for pods.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn executor(&mut self) -> Outcome<Service> {
        self.local_executor(&[])
    }

    /// Starts one more executor, with directories for pods, that reaches the log through a proxy.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn executor_through(&mut self, proxy: &Proxy) -> Outcome<Service> {
        self.local_executor(&[nats_through(proxy)])
    }

    /// Starts one more executor, with directories for pods and these variables.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn local_executor(&mut self, variables: &[(&str, String)]) -> Outcome<Service> {
        let root = self.pods().display().to_string();
        let mut all = vec![
            ("RDEV_BACKEND", "local".to_owned()),
            ("RDEV_LOCAL_ROOT", root),
            ("RDEV_LOCAL_SECRETS", self.secrets().display().to_string()),
        ];
        all.extend_from_slice(variables);
        self.executor_with(&all)
    }

    /// Starts one more executor, with the pods of the cluster that this kubeconfig leads to.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn kube_executor(&mut self, kubeconfig: &Path) -> Outcome<Service> {
        let shim = self.options.shim.display().to_string();
        self.executor_with(&[
            ("RDEV_BACKEND", "kube".to_owned()),
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("RDEV_SHIM_PATH", shim),
        ])
    }

    /// Starts one more executor with these variables.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn executor_with(&mut self, variables: &[(&str, String)]) -> Outcome<Service> {
        self.service(Role::Executor, variables)
    }

    /// Starts one more projector.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn projector(&mut self) -> Outcome<Service> {
        self.service(Role::Projector, &[])
    }

    /// Waits until a gateway serves, its read model included.
    ///
    /// # Errors
    /// With the end of the services' logs when it takes too long.
    pub async fn ready(&self, client: &Client) -> Outcome<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        while Instant::now() < deadline {
            let answer = client.get("/sessions").await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            tokio::time::sleep(READY_INTERVAL).await;
        }
        Err(format!("not ready in time\n{}", self.logs()).into())
    }

    /// The services' logs, for the message of a failed test.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for entry in std::fs::read_dir(self.directory.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "log")
            {
                text += &format!("--- {}\n", entry.file_name().to_string_lossy());
                text += &std::fs::read_to_string(entry.path()).unwrap_or_default();
            }
        }
        text
    }

    fn service(&mut self, role: Role, variables: &[(&str, String)]) -> Outcome<Service> {
        self.services += 1;
        let name = role.name();
        let log = self
            .directory
            .path()
            .join(format!("{name}-{}.log", self.services));
        let mut program = Program::new(&self.options.program)
            .argument(name)
            .variable("RDEV_NATS_URL", self.nats.url())
            .variable("RDEV_NATS_CREDS", self.access.seed_of(role))
            .variable("RDEV_POSTGRES_URL", &self.postgres_url)
            .log(&log);
        for (name, value) in &self.options.variables {
            program = program.variable(name, value);
        }
        for (name, value) in variables {
            program = program.variable(name, value);
        }
        Ok(Service {
            child: program.spawn()?,
            log,
        })
    }
}

/// The services of a world that has one of each.
#[derive(Debug)]
pub struct Services {
    /// Speaks to the gateway.
    pub client: Client,
    /// The gateway.
    pub gateway: Service,
    /// The executor.
    pub executor: Service,
    /// The projector.
    pub projector: Service,
}

/// The services of a world without an executor.
#[derive(Debug)]
pub struct Gateways {
    /// One for each gateway.
    pub clients: Vec<Client>,
    /// The gateways.
    pub gateways: Vec<Service>,
    /// The projector.
    pub projector: Service,
}

async fn shared_postgres() -> Outcome<Arc<SharedPostgres>> {
    let mut shared = POSTGRES.lock().await;
    if let Some(running) = shared.upgrade() {
        return Ok(running);
    }
    let directory = tempfile::Builder::new().prefix("rdev-test-pg-").tempdir()?;
    let mut options = PostgresOptions::new(directory.path());
    options.durability = Durability::Fast;
    options
        .settings
        .push(("max_connections".to_owned(), "300".to_owned()));
    let server = Postgres::start(options).await?;
    let running = Arc::new(SharedPostgres {
        server,
        _directory: directory,
    });
    *shared = Arc::downgrade(&running);
    Ok(running)
}

async fn database() -> Outcome<(Arc<SharedPostgres>, String)> {
    let postgres = shared_postgres().await?;
    let name = format!("world_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let (admin, connection) =
        tokio_postgres::connect(&postgres.server.url(), tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    admin
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .await?;
    drop(admin);
    connection.await??;
    let url = postgres.server.url_of(&name);
    Ok((postgres, url))
}

/// The user of tests: whoever says nothing.
#[must_use]
pub fn everybody() -> Login {
    Login {
        user: "test".to_owned(),
        password: "test".to_owned(),
        is_default: true,
    }
}

fn nats_through(proxy: &Proxy) -> (&'static str, String) {
    ("RDEV_NATS_URL", format!("nats://{}", proxy.address()))
}

/// Below the range of outgoing connections, where a stranger could take it before the service has it.
fn free_address() -> Outcome<SocketAddr> {
    Ok(SocketAddr::from((
        Ipv4Addr::LOCALHOST,
        rdev_embedded::draw_port()?,
    )))
}
