//! The peer: a `durable-streams` server, with the durability of its own default, which is a
//! write-ahead log that is synced to disk before an append is answered.

use std::net::SocketAddr;
use std::path::Path;

use rdev_embedded::{Child, Program};
use rdev_tests::Outcome;
use tempfile::TempDir;

use super::client::{Place, Poster};
use super::floor::until_it_listens;

const LIVE: &str = "&live=sse";

/// Its process.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Peer {
    pub(crate) async fn start(program: &Path) -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("rdev-peer-").tempdir()?;
        let port = rdev_embedded::draw_port()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let child = Program::new(program)
            .arguments(["--host", "127.0.0.1", "--port", &port.to_string()])
            .arguments(["--durability", "wal", "--data-dir"])
            .argument(directory.path().join("data"))
            .log(directory.path().join("log"))
            .spawn()?;
        until_it_listens(address).await?;
        Ok(Self {
            child,
            address,
            _directory: directory,
        })
    }

    /// A new stream: where it is written, and where its end is followed from its beginning.
    pub(crate) async fn stream(&self, name: &str) -> Outcome<(Poster, Place)> {
        let path = format!("/{name}");
        let place = Place {
            address: self.address,
            path: path.clone(),
        };
        let mut poster = Poster::open(place).await?;
        poster.send("PUT", b"").await?;
        let readers = Place {
            address: self.address,
            path: format!("{path}?offset=-1{LIVE}"),
        };
        Ok((poster, readers))
    }

    /// Where the same is read without waiting for more: its way to catch up, and the faster one.
    pub(crate) fn without_waiting(place: &Place) -> Place {
        Place {
            address: place.address,
            path: place.path.replace(LIVE, ""),
        }
    }

    pub(crate) async fn end(&self) {
        self.child.kill().await;
    }
}
