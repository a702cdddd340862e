//! The floor: axum that sends bytes which somebody else has encoded, from memory. It runs as a
//! process of its own, served like the gateway, so that its memory can be compared.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::stream;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rdev_embedded::{Child, Program};
use rdev_tests::Outcome;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;

use super::client::{Place, connect};

/// Longer than any start on a busy machine.
const READY_TRIES: u32 = 500;
const READY_INTERVAL: Duration = Duration::from_millis(20);
/// As the gateway has it; it gives each connection a timer.
const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// What a reader gets at once, as from the gateway.
const HELLO: &[u8] = b"id: 0-0-0123abcd\nevent: connected\nretry: 1000\ndata: {\"session_id\":\"0192f0c1-0000-7000-8000-000000000001\",\"stream_id\":\"one\",\"reconnecting\":false}\n\n";

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Where to serve.
    #[arg(long)]
    listen: SocketAddr,
}

/// The process that serves the floor.
#[derive(Debug)]
pub(crate) struct Floor {
    child: Child,
    address: SocketAddr,
}

impl Floor {
    pub(crate) async fn start() -> Outcome<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], rdev_embedded::draw_port()?));
        let child = Program::new(std::env::current_exe()?)
            .arguments(["read-floor", "--listen", &address.to_string()])
            .spawn()?;
        until_it_listens(address).await?;
        Ok(Self { child, address })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    pub(crate) fn place(&self, topic: &str) -> Place {
        Place {
            address: self.address,
            path: format!("/log/{topic}"),
        }
    }

    pub(crate) async fn end(&self) {
        self.child.kill().await;
    }
}

/// Waits until somebody accepts connections there.
pub(crate) async fn until_it_listens(address: SocketAddr) -> Outcome<()> {
    for _ in 0..READY_TRIES {
        if connect(address).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(READY_INTERVAL).await;
    }
    Err(format!("nobody listens at {address}").into())
}

/// Everything that was written to one topic.
#[derive(Debug)]
struct Topic {
    chunks: RwLock<Vec<Bytes>>,
    count: watch::Sender<usize>,
}

impl Topic {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            chunks: RwLock::new(vec![Bytes::from_static(HELLO)]),
            count: watch::Sender::new(1),
        })
    }

    fn append(&self, chunk: Bytes) {
        let mut chunks = self.chunks.write().unwrap_or_else(PoisonError::into_inner);
        chunks.push(chunk);
        self.count.send_replace(chunks.len());
    }

    fn chunk(&self, index: usize) -> Option<Bytes> {
        let chunks = self.chunks.read().unwrap_or_else(PoisonError::into_inner);
        chunks.get(index).cloned()
    }
}

type Topics = Arc<Mutex<HashMap<String, Arc<Topic>>>>;

fn topic(topics: &Topics, name: String) -> Arc<Topic> {
    let mut topics = topics.lock().unwrap_or_else(PoisonError::into_inner);
    topics.entry(name).or_insert_with(Topic::new).clone()
}

async fn append(
    State(topics): State<Topics>,
    Path(name): Path<String>,
    chunk: Bytes,
) -> StatusCode {
    topic(&topics, name).append(chunk);
    StatusCode::NO_CONTENT
}

async fn read(State(topics): State<Topics>, Path(name): Path<String>) -> Response {
    let topic = topic(&topics, name);
    let count = topic.count.subscribe();
    let chunks = stream::unfold((topic, count, 0), |(topic, mut count, index)| async move {
        count.wait_for(|count| *count > index).await.ok()?;
        let chunk = topic.chunk(index)?;
        Some((Ok::<_, Infallible>(chunk), (topic, count, index + 1)))
    });
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, no-transform"),
        ),
    ];
    (headers, Body::from_stream(chunks)).into_response()
}

/// Serves until it is killed.
pub(crate) async fn serve(settings: &Settings) -> Outcome<()> {
    let router = Router::new()
        .route("/log/{topic}", get(read).post(append))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(Topics::default());
    let listener = TcpListener::bind(settings.listen).await?;
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_HEAD_TIMEOUT);
    loop {
        let (stream, _) = listener.accept().await?;
        start(&builder, &router, stream)?;
    }
}

fn start(builder: &Builder<TokioExecutor>, router: &Router, stream: TcpStream) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let router = router.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    // How a reader went away is of no interest.
    tokio::spawn(connection);
    Ok(())
}
