//! What the users of a server may not do, tried on a real one with the configuration that is deployed.
//! What they may is shown by every test that runs whole services, since those are such users.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod consumers;
mod raw;
mod roles;

use std::time::Duration;

use rdev_bus::access::{Access, Login, Role};
use rdev_bus::{Bus, BusConfig, Credentials};
use rdev_contract::id::{ExecId, SessionId};
use rdev_embedded::{NatsOptions, NatsServer};
use tempfile::TempDir;
use uuid::Uuid;

use raw::Raw;

/// Nothing here takes so long; a test that waits for ever would not say where.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that knows its users, with the log on it.
struct Guarded {
    server: NatsServer,
    access: Access,
    directory: TempDir,
}

impl Guarded {
    async fn start() -> Self {
        Self::start_for(&[]).await
    }

    /// With consumers of these projects.
    async fn start_for(projects: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut access = Access::kept_in(&directory.path().join("access")).expect("keys");
        for project in projects {
            let project = project.parse().expect("a project id");
            access.add_consumer(project).expect("a key");
        }
        let mut options = NatsOptions::new(directory.path().join("nats"));
        options.extra_config = access.configuration(None);
        let server = NatsServer::start(options).await.expect("a server");
        let guarded = Self {
            server,
            access,
            directory,
        };
        let executor = guarded.bus(Role::Executor).await;
        executor.ensure_topology().await.expect("the streams");
        guarded
    }

    fn keys(&self) -> std::path::PathBuf {
        self.directory.path().join("access")
    }

    /// A service's own connection.
    async fn bus(&self, role: Role) -> Bus {
        let config = config(&self.server.url(), Some(self.credentials(role)));
        Bus::connect(config, role.name())
            .await
            .expect("a connection")
    }

    fn credentials(&self, role: Role) -> Credentials {
        let path = self.access.seed_of(role);
        Credentials::read(&path.to_string_lossy()).expect("credentials")
    }

    /// The same user without the bus.
    async fn raw(&self, role: Role) -> Raw {
        Raw::connect(&self.server.url(), &self.access.seed_of(role)).await
    }
}

fn config(url: &str, credentials: Option<Credentials>) -> BusConfig {
    BusConfig {
        url: url.to_owned(),
        credentials,
        authority: None,
        replicas: 1,
        output_ttl: Duration::from_secs(7 * 24 * 3600),
        facts_ttl: Duration::from_secs(90 * 24 * 3600),
        log_max_bytes: -1,
    }
}

fn exec_of(project: &str) -> ExecId {
    ExecId {
        project: project.parse().expect("a project id"),
        session: SessionId::new(Uuid::now_v7()),
        stream: "exec".parse().expect("a stream id"),
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("in time")
}

/// A person's login, as `rdev dev` makes one.
fn login(is_default: bool) -> Login {
    Login {
        user: "rdev".to_owned(),
        password: "secret".to_owned(),
        is_default,
    }
}
