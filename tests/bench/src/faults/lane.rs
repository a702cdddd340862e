//! A world in which rounds run one after the other, several commands at once in each.

use std::path::PathBuf;
use std::time::Duration;

use futures::future::try_join_all;
use rdev_bus::Bus;
use rdev_embedded::SyncInterval;
use rdev_kube_standin::Standin;
use rdev_tests::client::Client;
use rdev_tests::cluster::{CONTAINER, Cluster, NAMESPACE};
use rdev_tests::count::Count;
use rdev_tests::log::{ExecLog, exec_id};
use rdev_tests::proxy::Proxy;
use rdev_tests::reader::{Reader, Seen};
use rdev_tests::world::{Options, Service, Services, World};
use rdev_tests::{Outcome, log};
use tokio::time::Instant;

use super::table::Shown;

pub(crate) const POD: &str = "counting";
/// One fault hits all of them.
const COMMANDS_AT_ONCE: usize = 4;

/// Where commands run, and what of it is behind a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Local,
    /// The executor reaches the log through the proxy.
    ExecutorBehindProxy,
    /// The gateway reaches the log through the proxy.
    GatewayBehindProxy,
    /// Pods; the executor reaches the API server through the proxy.
    Kube,
}

/// A world, its services, and one session.
pub(crate) struct Lane {
    pub(crate) world: World,
    pub(crate) bus: Bus,
    /// The one that gets the commands of the next round.
    pub(crate) executor: Service,
    pub(crate) gateways: Vec<(Service, Client)>,
    pub(crate) proxy: Proxy,
    pub(crate) standin: Option<Standin>,
    _projector: Service,
    session: String,
}

async fn local(options: Options, place: Place) -> Outcome<(World, Services, Proxy)> {
    let mut world = World::bare(options).await?;
    let proxy = world.nats_proxy().await?;
    let projector = world.projector()?;
    let executor = match place {
        Place::ExecutorBehindProxy => world.executor_through(&proxy)?,
        Place::Local | Place::GatewayBehindProxy | Place::Kube => world.executor()?,
    };
    let (gateway, client) = match place {
        Place::GatewayBehindProxy => world.gateway_through(&proxy)?,
        Place::Local | Place::ExecutorBehindProxy | Place::Kube => world.gateway()?,
    };
    world.ready(&client).await?;
    let services = Services {
        client,
        gateway,
        executor,
        projector,
    };
    Ok((world, services, proxy))
}

/// A command under way.
pub(crate) struct Trial {
    pub(crate) count: Count,
    pub(crate) reader: Reader,
}

impl Lane {
    pub(crate) async fn start(place: Place) -> Outcome<Self> {
        // The executor says when it is ready.
        let options = crate::options(SyncInterval::Always)?.variable("RDEV_LOG", "info");
        let (world, services, proxy, standin) = match place {
            Place::Kube => {
                let Cluster {
                    standin,
                    api,
                    world,
                    services,
                } = Cluster::start(options, &[POD]).await?;
                (world, services, api, Some(standin))
            }
            Place::Local | Place::ExecutorBehindProxy | Place::GatewayBehindProxy => {
                let (world, services, proxy) = local(options, place).await?;
                (world, services, proxy, None)
            }
        };
        let Services {
            client,
            gateway,
            executor,
            projector,
        } = services;
        let session = client.session(POD).await?;
        client.shell(&session, "true").await?.check()?;
        Ok(Self {
            bus: world.bus().await?,
            world,
            executor,
            gateways: vec![(gateway, client)],
            proxy,
            standin,
            _projector: projector,
            session,
        })
    }

    pub(crate) async fn add_gateway(&mut self) -> Outcome<()> {
        let gateway = self.world.gateway()?;
        self.world.ready(&gateway.1).await?;
        self.gateways.push(gateway);
        Ok(())
    }

    /// Leaves nothing behind.
    pub(crate) async fn end(self) {
        self.executor.stop().await;
        if let Some(standin) = self.standin {
            standin.shutdown().await;
        }
    }

    /// The directory that commands run in.
    pub(crate) fn pod(&self) -> PathBuf {
        match &self.standin {
            Some(standin) => standin.root(NAMESPACE, POD, CONTAINER).unwrap_or_default(),
            None => self.world.pod(POD),
        }
    }

    pub(crate) fn clients(&self) -> Vec<Client> {
        self.gateways
            .iter()
            .map(|(_, client)| client.clone())
            .collect()
    }

    /// Starts the commands of a round, each with a reader.
    pub(crate) async fn begin(
        &self,
        name: &str,
        lines: u32,
        pause: Duration,
    ) -> Outcome<Vec<Trial>> {
        let clients = self.clients();
        let first = clients.first().ok_or("no gateway")?;
        try_join_all((0..COMMANDS_AT_ONCE).map(|number| {
            let clients = clients.clone();
            async move {
                let count = Count::to(&format!("{name}-{number}"), lines).pausing(pause);
                let stream = first.exec(&self.session, &count.body()).await?;
                let reader = Reader::start(clients, &self.session, &stream);
                Ok(Trial { count, reader })
            }
        }))
        .await
    }

    /// Waits for all ends, and judges what came since.
    pub(crate) async fn judge(&self, trials: Vec<Trial>, since: Instant) -> Outcome<Vec<Shown>> {
        let pod = self.pod();
        let mut all = Vec::new();
        for (count, seen) in self.ends(trials).await? {
            let mut finding = count.judge(&seen.transcript, &pod);
            if let Err(wrong) = self.log_of(&count).await?.check() {
                finding.wrong = Some(wrong);
            }
            all.push(Shown {
                finding,
                silence: seen.longest_silence(since),
                stream: count.name,
            });
        }
        Ok(all)
    }

    pub(crate) async fn ends(&self, trials: Vec<Trial>) -> Outcome<Vec<(Count, Seen)>> {
        try_join_all(
            trials
                .into_iter()
                .map(|trial| async move { Ok((trial.count, trial.reader.end().await?)) }),
        )
        .await
    }

    pub(crate) async fn log_of(&self, count: &Count) -> Outcome<ExecLog> {
        let clients = self.clients();
        let client = clients.first().ok_or("no gateway")?;
        let exec = exec_id(client, &self.session, &count.name)?;
        log::ExecLog::read(&self.bus, &exec).await
    }
}
