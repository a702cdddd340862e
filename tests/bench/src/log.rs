//! A log alone: one nats-server with rdev's streams, and nobody else at it.

use std::time::Duration;

use rdev_bus::{Bus, BusConfig};
use rdev_contract::envelope::{Chain, Recorded};
use rdev_contract::id::{ExecId, SessionId, StreamId};
use rdev_contract::position::StreamSeq;
use rdev_embedded::{NatsOptions, NatsServer, SyncInterval};
use rdev_tests::Outcome;
use rdev_tests::world::PROJECT;
use uuid::Uuid;

/// No run is so long.
const TTL: Duration = Duration::from_secs(3600);

/// A server and a connection to it.
pub(crate) struct LogAlone {
    pub(crate) bus: Bus,
    pub(crate) server: NatsServer,
    _directory: tempfile::TempDir,
}

impl LogAlone {
    pub(crate) async fn start(sync: SyncInterval) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let mut options = NatsOptions::new(directory.path());
        options.sync_interval = sync;
        let server = NatsServer::start(options).await?;
        let config = BusConfig {
            url: server.url(),
            credentials: None,
            authority: None,
            replicas: 1,
            output_ttl: TTL,
            facts_ttl: TTL,
            log_max_bytes: -1,
        };
        let bus = Bus::connect(config, "bench").await?;
        bus.ensure_topology().await?;
        Ok(Self {
            bus,
            server,
            _directory: directory,
        })
    }
}

/// An exec that nobody has heard of.
pub(crate) fn new_exec() -> Outcome<ExecId> {
    Ok(ExecId {
        project: PROJECT.parse()?,
        session: SessionId::new(Uuid::now_v7()),
        stream: StreamId::generated(Uuid::new_v4()),
    })
}

/// Where an exec begins that has nothing in the log.
pub(crate) fn beginning() -> Recorded<Chain> {
    Recorded {
        sequence: StreamSeq(0),
        value: Chain::default(),
    }
}
