//! A TCP proxy between any two parts, which can do to their connections what networks do.
//!
//! Tests give one part the proxy's address in place of the other's, and order faults. Invariant:
//! bytes that have been passed on are in order and unchanged; a fault only withholds.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Outcome;

/// One read: as much as fits a socket's buffer.
const PIECE_BYTES: usize = 64 * 1024;

/// What the proxy does with bytes and with new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mode {
    /// Towards the server.
    requests_flow: bool,
    /// Towards the client.
    answers_flow: bool,
    /// New connections are reset at once.
    refuses: bool,
}

const PASSING: Mode = Mode {
    requests_flow: true,
    answers_flow: true,
    refuses: false,
};

/// How open connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// With a FIN to both sides.
    Close,
    /// With a RST to both sides.
    Reset,
}

struct Shared {
    target: watch::Sender<SocketAddr>,
    mode: watch::Sender<Mode>,
    /// Counts the orders to cut, and says how.
    cuts: watch::Sender<(u64, Cut)>,
    /// Bytes of answers that were passed on.
    answered: AtomicU64,
    /// Once these bytes were passed on to the server, answers stop.
    needle: Mutex<Option<Vec<u8>>>,
}

/// A running proxy; it ends when it is dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

/// How a network is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Packets vanish.
    Frozen,
    /// Connections are reset, new ones too.
    Refused,
}

impl Outage {
    /// Is there for so long.
    pub async fn last(self, proxy: &Proxy, duration: Duration) {
        match self {
            Self::Frozen => proxy.freeze(),
            Self::Refused => proxy.refuse(),
        }
        tokio::time::sleep(duration).await;
        proxy.pass();
    }
}

impl Proxy {
    /// A proxy on a free port that passes everything on to `target`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(target: SocketAddr) -> Outcome<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target: watch::channel(target).0,
            mode: watch::channel(PASSING).0,
            cuts: watch::channel((0, Cut::Close)).0,
            answered: AtomicU64::new(0),
            needle: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(Arc::clone(&shared), listener));
        Ok(Self {
            shared,
            address,
            accepting,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Passes new connections on to another server, from now on.
    pub fn lead_to(&self, target: SocketAddr) {
        self.shared.target.send_replace(target);
    }

    /// How many bytes of answers were passed on so far.
    #[must_use]
    pub fn answered_bytes(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Passes everything on, from now on; what was withheld first.
    pub fn pass(&self) {
        self.shared.mode.send_replace(PASSING);
    }

    /// Keeps all connections and moves no byte, as a network that drops every packet.
    pub fn freeze(&self) {
        self.shared.mode.send_replace(Mode {
            requests_flow: false,
            answers_flow: false,
            refuses: false,
        });
    }

    /// Passes on what comes from the client and withholds every answer.
    pub fn withhold_answers(&self) {
        self.shared.withhold_answers();
    }

    /// As [`Proxy::withhold_answers`], from the moment at which `needle` is passed to the server.
    pub fn withhold_answers_behind(&self, needle: &str) {
        *self.shared.needle() = Some(needle.as_bytes().to_vec());
    }

    /// Waits until answers are withheld.
    pub async fn until_withholding(&self) {
        let mut mode = self.shared.mode.subscribe();
        // The sender is in `self`, so this cannot fail while we are called.
        let _ = mode.wait_for(|mode| !mode.answers_flow).await;
    }

    /// Closes every open connection in an orderly way; new ones are served.
    pub fn drop_connections(&self) {
        self.cut(Cut::Close);
    }

    /// Resets every open connection; new ones are served.
    pub fn reset_connections(&self) {
        self.cut(Cut::Reset);
    }

    /// Resets every open connection, and every new one at once.
    pub fn refuse(&self) {
        self.shared.mode.send_replace(Mode {
            refuses: true,
            ..PASSING
        });
        self.cut(Cut::Reset);
    }

    fn cut(&self, cut: Cut) {
        self.shared
            .cuts
            .send_modify(|order| *order = (order.0 + 1, cut));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut(Cut::Close);
    }
}

impl Shared {
    fn needle(&self) -> std::sync::MutexGuard<'_, Option<Vec<u8>>> {
        self.needle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn withhold_answers(&self) {
        self.mode.send_modify(|mode| mode.answers_flow = false);
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    while let Ok((client, _)) = listener.accept().await {
        if shared.mode.borrow().refuses {
            reset(&client);
            continue;
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move { connect(&shared, client).await });
    }
}

async fn connect(shared: &Arc<Shared>, client: TcpStream) {
    let mut cuts = shared.cuts.subscribe();
    let pair = async {
        let mut mode = shared.mode.subscribe();
        mode.wait_for(|mode| mode.requests_flow).await.ok()?;
        let target = *shared.target.borrow();
        TcpStream::connect(target).await.ok()
    };
    let server = tokio::select! {
        server = pair => server,
        _ = cuts.changed() => None,
    };
    let Some(server) = server else {
        return reset(&client);
    };
    // Latency is not what this is for.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let cut = tokio::select! {
        () = carry(shared, Direction::Request, &mut from_client, &mut to_server) => None,
        () = carry(shared, Direction::Answer, &mut from_server, &mut to_client) => None,
        changed = cuts.changed() => changed.ok().map(|()| cuts.borrow().1),
    };
    if cut == Some(Cut::Reset) {
        reset(to_client.as_ref());
        reset(to_server.as_ref());
    }
}

/// Closing with a zero linger time resets the connection.
fn reset(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Answer,
}

impl Direction {
    fn flows(self, mode: Mode) -> bool {
        match self {
            Self::Request => mode.requests_flow,
            Self::Answer => mode.answers_flow,
        }
    }
}

/// Copies until one side ends; the other direction ends with it, which is enough for our parts.
async fn carry(
    shared: &Shared,
    direction: Direction,
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
) {
    let mut mode = shared.mode.subscribe();
    let mut piece = vec![0; PIECE_BYTES];
    let mut passed = Vec::new();
    loop {
        if mode.wait_for(|mode| direction.flows(*mode)).await.is_err() {
            return;
        }
        let Ok(length @ 1..) = from.read(&mut piece).await else {
            return;
        };
        if mode.wait_for(|mode| direction.flows(*mode)).await.is_err() {
            return;
        }
        match direction {
            Direction::Request => look_for_needle(shared, &mut passed, &piece[..length]),
            Direction::Answer => {
                shared.answered.fetch_add(length as u64, Ordering::Relaxed);
            }
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

/// Looks at what is about to be passed on, joined with the end of what was before.
fn look_for_needle(shared: &Shared, passed: &mut Vec<u8>, piece: &[u8]) {
    let mut wanted = shared.needle();
    let Some(needle) = wanted.as_ref() else {
        passed.clear();
        return;
    };
    passed.extend_from_slice(piece);
    if passed.windows(needle.len()).any(|part| part == needle) {
        *wanted = None;
        passed.clear();
        shared.withhold_answers();
        return;
    }
    let kept = passed.len().min(needle.len());
    passed.drain(..passed.len() - kept);
}
