//! Ours: a gateway as a process, in front of a log that this program writes itself, fenced and
//! acknowledged as an executor does it, so that nothing but the read path is measured.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use rdev_bus::Bus;
use rdev_bus::append::{Entry, ExecWriter};
use rdev_contract::envelope::{Body, Chain, Recorded};
use rdev_contract::event::{
    Command, CommandSpec, Complete, Event, EventBatch, Kind, Outcome as End, PodIdentity,
    Requester, Started, Work,
};
use rdev_contract::id::{ClaimId, ExecId};
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_embedded::SyncInterval;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::world::{Service, World};
use serde::Serialize;
use serde_json::value::to_raw_value;
use uuid::Uuid;

use super::client::Place;
use super::line::LINE_BYTES;

/// Longer than any start on a busy machine.
const READY_TRIES: u32 = 500;
const READY_INTERVAL: Duration = Duration::from_millis(50);

/// A log, a gateway and a session. There is no executor: nobody but this program may write.
#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) world: World,
    gateway: Service,
    client: Client,
    bus: Bus,
    session: String,
}

impl Ours {
    pub(crate) async fn start(sync: SyncInterval) -> Outcome<Self> {
        let mut world = World::bare(crate::options(sync)?).await?;
        let bus = world.bus().await?;
        bus.ensure_topology().await?;
        let (gateway, client) = world.gateway()?;
        let session = first_session(&client).await?;
        Ok(Self {
            world,
            gateway,
            client,
            bus,
            session,
        })
    }

    /// The gateway's process.
    pub(crate) fn pid(&self) -> u32 {
        self.gateway.pid()
    }

    /// A new exec that has been claimed and printed nothing yet.
    pub(crate) async fn exec(&self, name: &str) -> Outcome<(ExecLines, Place)> {
        let exec = rdev_tests::log::exec_id(&self.client, &self.session, name)?;
        let path = format!("/sessions/{}/events?stream_id={name}", self.session);
        let url = self.client.url(&path);
        let path = url.strip_prefix(&self.client.base).unwrap_or(&url);
        let place = Place {
            address: address(&self.client)?,
            path: path.to_owned(),
        };
        let lines = ExecLines::begin(self.bus.clone(), exec).await?;
        Ok((lines, place))
    }

    pub(crate) async fn end(&self) {
        self.gateway.kill().await;
    }
}

fn address(client: &Client) -> Outcome<SocketAddr> {
    Ok(client.base.trim_start_matches("http://").parse()?)
}

/// As soon as a session can be had, the gateway serves; the read model is not needed here.
async fn first_session(client: &Client) -> Outcome<String> {
    for _ in 0..READY_TRIES {
        if let Ok(session) = client.session("bench").await {
            return Ok(session);
        }
        tokio::time::sleep(READY_INTERVAL).await;
    }
    Err("the gateway does not serve".into())
}

/// The one writer of one exec.
#[derive(Debug)]
pub(crate) struct ExecLines {
    pub(crate) exec: ExecId,
    writer: ExecWriter,
    lines: u64,
}

impl ExecLines {
    async fn begin(bus: Bus, exec: ExecId) -> Outcome<Self> {
        let claim = ClaimId::new(Uuid::now_v7());
        let nothing = Recorded {
            sequence: StreamSeq(0),
            value: Chain::default(),
        };
        let writer = ExecWriter::new(bus, exec.clone(), Some(claim), 1, nothing);
        let mut lines = Self {
            exec,
            writer,
            lines: 0,
        };
        lines.fact(Kind::Command, &command()).await?;
        lines.fact(Kind::Started, &started(claim)).await?;
        Ok(lines)
    }

    async fn fact<T: Serialize + Sync>(&mut self, kind: Kind, fact: &T) -> Outcome<()> {
        let data = to_raw_value(fact)?;
        let entry = Entry {
            kind,
            first: None,
            to: None,
            body: Body::Data(&data),
        };
        self.writer.append(entry, Timestamp::now()).await?;
        Ok(())
    }

    /// Appends lines; says where, and which number the last one has.
    pub(crate) async fn append(&mut self, batch: &EventBatch) -> Outcome<(StreamSeq, EventNo)> {
        let first = EventNo(self.lines + 1);
        self.lines += batch.count();
        let entry = Entry {
            kind: Kind::Output,
            first: Some(first),
            to: Some(Offsets::new(self.lines * LINE_BYTES as u64, 0)),
            body: Body::Events(batch),
        };
        let sequence = self.writer.append(entry, Timestamp::now()).await?;
        Ok((sequence, EventNo(self.lines)))
    }

    pub(crate) async fn finish(&mut self) -> Outcome<()> {
        let complete = Complete {
            exit_code: 0,
            ok: true,
            ..Complete::without_process(End::Exited, "")
        };
        let mut batch = EventBatch::default();
        batch.push(&Event::Complete(&complete))?;
        let entry = Entry {
            kind: Kind::Complete,
            first: Some(EventNo(self.lines + 1)),
            to: None,
            body: Body::Events(&batch),
        };
        self.writer.append(entry, Timestamp::now()).await?;
        Ok(())
    }
}

fn command() -> Command {
    Command {
        spec: CommandSpec::new(
            Work::Shell {
                command: "true".to_owned(),
            },
            1800,
        ),
        accept_until: Timestamp::now(),
        awaits_pod: false,
        by: Requester::default(),
    }
}

fn started(claim: ClaimId) -> Started {
    Started {
        claim,
        attempt: 1,
        executor: "bench".to_owned(),
        argv: vec!["true".to_owned()],
        resume_id: None,
        pod: PodIdentity {
            namespace: "default".to_owned(),
            name: "bench".to_owned(),
            uid: "bench".to_owned(),
            container: "main".to_owned(),
            container_id: "bench".to_owned(),
            restarts: 0,
        },
        shim: "bench".to_owned(),
    }
}
