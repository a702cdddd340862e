//! Counts the requests that a client makes, whatever the client says about itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rdev_tests::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// A request line as all requests for events have it, and no other bytes a client sends.
const NEEDLE: &[u8] = b"/events?stream_id=";
/// More than any request.
const READ_BYTES: usize = 64 * 1024;

/// Passes connections on to a server and counts the requests for events. It ends with the test's
/// runtime.
#[derive(Debug)]
pub(crate) struct Tally {
    requests: Arc<AtomicUsize>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Tally {
    /// In front of `target` (`host:port`).
    pub(crate) async fn start(target: String) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, requests) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, target.clone(), Arc::clone(&counted)));
            }
        });
        Ok(Self { requests, address })
    }

    /// How many there were.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Until one side ends; the other direction ends with it.
async fn pass(client: TcpStream, target: String, requests: Arc<AtomicUsize>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::select! {
        _ = count(&mut from_client, &mut to_server, &requests) => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

async fn count(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    requests: &AtomicUsize,
) -> std::io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    // The end of what was read before: a request may come in two pieces.
    let mut seen: Vec<u8> = Vec::new();
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        seen.extend_from_slice(&buffer[..length]);
        let found = seen
            .windows(NEEDLE.len())
            .filter(|piece| *piece == NEEDLE)
            .count();
        requests.fetch_add(found, Ordering::SeqCst);
        seen.drain(..seen.len().saturating_sub(NEEDLE.len() - 1));
        to.write_all(&buffer[..length]).await?;
    }
}
