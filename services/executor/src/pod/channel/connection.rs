//! Serves one connection: replies in, requests out, and a heartbeat.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use rdev_frames::{RefusalCode, Reply, Request, Tag};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::routes::Shared;
use crate::metrics::METRICS;
use crate::pod::{PodError, Transport};

/// A question each way so often keeps proxies from cutting an idle connection.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Two unanswered questions and a little: the connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(25);

/// The shim says hello within this, or it is none.
const HELLO_TIMEOUT: Duration = Duration::from_secs(20);

/// What has arrived when the connection is said to be over is still read, for so long: some
/// connections never come to their end.
const LAST_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// What is read into at once: several frames of the largest size.
const READ_BUFFER_BYTES: usize = 512 * 1024;

/// While this much of a buffer is free, no other is made.
const READ_AT_LEAST_BYTES: usize = 128 * 1024;

/// Requests that go out with one write, in bytes.
const WRITE_AT_ONCE_BYTES: usize = 256 * 1024;

/// What a shim says of itself.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) protocol: u32,
    pub(super) instance: String,
    pub(super) terminals: bool,
}

/// Takes the hello, which comes first.
pub(super) async fn hello(
    transport: &mut Transport,
    buffer: &mut BytesMut,
) -> Result<Hello, PodError> {
    let Ok(hello) = timeout(HELLO_TIMEOUT, read_hello(&mut transport.reader, buffer)).await else {
        let message = format!(
            "the shim did not say hello within {} s",
            HELLO_TIMEOUT.as_secs()
        );
        return Err(PodError::Unavailable(message));
    };
    match hello {
        Ok(hello) => Ok(hello),
        Err(error) => {
            let reason = timeout(LAST_READ_TIMEOUT, &mut transport.ended).await;
            let reason = reason.unwrap_or_else(|_| error.to_string());
            Err(PodError::Unavailable(format!(
                "the shim did not start: {reason}"
            )))
        }
    }
}

async fn read_hello<R: AsyncRead + Unpin>(
    reader: &mut R,
    buffer: &mut BytesMut,
) -> io::Result<Hello> {
    loop {
        match Reply::decode(buffer).map_err(io::Error::other)? {
            Some(Reply::Hello {
                protocol,
                instance,
                terminals,
                ..
            }) => {
                return Ok(Hello {
                    protocol,
                    instance,
                    terminals,
                });
            }
            Some(other) => return Err(io::Error::other(format!("{other:?} instead of hello"))),
            None => {}
        }
        if reader.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Serves one connection until it ends, in whichever way; then everyone on it is told.
pub(super) async fn serve(
    shared: Arc<Shared>,
    transport: Transport,
    buffer: BytesMut,
    outgoing: mpsc::Receiver<Request>,
) {
    let Transport {
        reader,
        writer,
        ended,
    } = transport;
    METRICS.channels.inc();
    let heard = Heard::now();
    let reading = read_replies(&shared, reader, buffer, &heard);
    tokio::pin!(reading);
    let reason = tokio::select! {
        reason = &mut reading => reason,
        reason = write_requests(&shared, writer, outgoing) => reason,
        reason = keep_alive(&shared, &heard) => reason,
        reason = ended => {
            let _ = timeout(LAST_READ_TIMEOUT, &mut reading).await;
            reason
        }
    };
    METRICS.channels.dec();
    tracing::debug!(reason, "channel ended");
    shared.end(&reason);
}

/// When the shim was last heard.
struct Heard(Mutex<Instant>);

impl Heard {
    fn now() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn again(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn silence(&self) -> Duration {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }
}

async fn read_replies<R: AsyncRead + Unpin>(
    shared: &Shared,
    mut reader: R,
    mut buffer: BytesMut,
    heard: &Heard,
) -> String {
    loop {
        loop {
            match Reply::decode(&mut buffer) {
                Ok(Some(reply)) => {
                    if let Err(wrong) = shared.route(reply) {
                        return wrong;
                    }
                }
                Ok(None) => break,
                Err(error) => return format!("the shim sent what is no frame: {error}"),
            }
        }
        if buffer.capacity() - buffer.len() < READ_AT_LEAST_BYTES {
            buffer.reserve(READ_BUFFER_BYTES);
        }
        match reader.read_buf(&mut buffer).await {
            Ok(0) => return "the connection was closed".to_owned(),
            Ok(_) => heard.again(),
            Err(error) => return format!("the connection broke: {error}"),
        }
    }
}

async fn write_requests<W: AsyncWrite + Unpin>(
    shared: &Shared,
    mut writer: W,
    mut outgoing: mpsc::Receiver<Request>,
) -> String {
    let mut buffer = BytesMut::new();
    while let Some(request) = outgoing.recv().await {
        encode(shared, &request, &mut buffer);
        while buffer.len() < WRITE_AT_ONCE_BYTES
            && let Ok(request) = outgoing.try_recv()
        {
            encode(shared, &request, &mut buffer);
        }
        let sent = async {
            writer.write_all_buf(&mut buffer).await?;
            writer.flush().await
        };
        if let Err(error) = sent.await {
            return format!("the connection broke: {error}");
        }
    }
    "nobody uses the channel any more".to_owned()
}

/// A request that fits into no frame concerns its own exec only.
fn encode(shared: &Shared, request: &Request, buffer: &mut BytesMut) {
    let Err(error) = request.encode(buffer) else {
        return;
    };
    let Some(tag) = beginning(request) else {
        tracing::warn!(%error, "a request to the shim is dropped");
        return;
    };
    let message = format!("the command cannot be sent to the pod: {error}");
    // This reply is ours: it is right.
    let _ = shared.route(Reply::Refused {
        tag,
        code: RefusalCode::Invalid,
        message,
    });
}

/// The exec that a request begins.
fn beginning(request: &Request) -> Option<Tag> {
    if let Request::Launch { tag, .. } | Request::Follow { tag, .. } = request {
        return Some(*tag);
    }
    None
}

async fn keep_alive(shared: &Shared, heard: &Heard) -> String {
    let mut ticks = tokio::time::interval(PING_INTERVAL);
    let mut number = 0;
    loop {
        ticks.tick().await;
        if shared.is_idle() {
            return "nobody uses the channel any more".to_owned();
        }
        if heard.silence() > SILENCE_MAX {
            return format!("the shim was silent for {} s", heard.silence().as_secs());
        }
        number += 1;
        // A full queue means that the connection is busy or dead; silence tells which.
        shared.ask_now(Request::Ping { number });
    }
}
