//! One exec connection: a WebSocket with the channels of `v5`/`v4.channel.k8s.io`.
//!
//! `kube`'s own `AttachedProcess` leaves its stdout open when the connection fails and can hang, so
//! the frames are taken from the raw socket here. Invariants: stdout reads to its end, whichever way
//! the connection ended, after everything that had arrived; stderr is always drained, so it can
//! never hold stdout up; dropping [`ExecStream::pump`] closes the connection at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use kube::core::Status;
use kube::core::response::StatusSummary;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::io::StreamReader;
use tokio_util::sync::PollSender;
use tokio_util::task::AbortOnDropHandle;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// The channel on which v5 says that another one has ended.
const CLOSE: u8 = 255;
/// Frames of stdout (32 KiB each from a real kubelet) that may wait for the reader; beyond, the
/// socket is not read, and TCP holds the sender up.
const STDOUT_FRAMES_WAITING: usize = 32;
/// Frames of stdin that may wait for the socket.
const STDIN_FRAMES_WAITING: usize = 8;
/// The most that one frame of stdin carries: enough that its header costs nothing.
const STDIN_FRAME_BYTES: usize = 64 * 1024;
/// How much of stderr is kept to be shown: people read the end, and it is never more than notes.
const STDERR_KEPT_BYTES: usize = 4 * 1024;

/// How a connection ended. It tells nothing about commands: even a success may be a lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// A status that says success.
    Success,
    /// A status with an exit code.
    Code(i32),
    /// A status of another kind: the API server or the node could not do it.
    Refused(String),
    /// No status at all.
    Broken(String),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Success => write!(formatter, "closed with status Success"),
            Self::Code(code) => write!(formatter, "closed with exit code {code}"),
            Self::Refused(why) => write!(formatter, "refused: {why}"),
            Self::Broken(why) => write!(formatter, "broken off: {why}"),
        }
    }
}

/// What is known at the end: how, and the last words on stderr.
#[derive(Clone, Debug)]
pub(super) struct Farewell {
    pub(super) ended: Ended,
    pub(super) stderr: String,
}

impl std::fmt::Display for Farewell {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.stderr.as_str() {
            "" => self.ended.fmt(formatter),
            stderr => write!(formatter, "{} ({stderr})", self.ended),
        }
    }
}

/// The bytes that the process printed on stdout.
pub(super) type Stdout = StreamReader<Frames, Bytes>;

/// An open connection.
pub(super) struct ExecStream {
    pub(super) stdout: Stdout,
    pub(super) stdin: Stdin,
    /// Comes after everything of stdout was handed over.
    pub(super) farewell: oneshot::Receiver<Farewell>,
    /// Dropping it closes the connection.
    pub(super) pump: AbortOnDropHandle<()>,
}

/// The frames of stdout as a stream of bytes.
pub(super) struct Frames(mpsc::Receiver<Bytes>);

impl futures::Stream for Frames {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

/// Starts to pump between a socket and the two ends.
pub(super) fn start<S>(socket: WebSocketStream<S>, can_close_stdin: bool) -> ExecStream
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (to_stdout, from_stdout) = mpsc::channel(STDOUT_FRAMES_WAITING);
    let (to_stdin, from_stdin) = mpsc::channel(STDIN_FRAMES_WAITING);
    let (say, farewell) = oneshot::channel();
    let pump = tokio::spawn(async move {
        let (sink, source) = socket.split();
        let mut stderr = Stderr::default();
        let ended = tokio::select! {
            ended = receive(source, &to_stdout, &mut stderr) => ended,
            ended = send(sink, from_stdin, can_close_stdin) => ended,
        };
        // Nobody may be interested any more.
        let _ = say.send(Farewell {
            ended,
            stderr: stderr.text(),
        });
    });
    ExecStream {
        stdout: StreamReader::new(Frames(from_stdout)),
        stdin: Stdin(PollSender::new(to_stdin)),
        farewell,
        pump: AbortOnDropHandle::new(pump),
    }
}

async fn receive<S: AsyncRead + AsyncWrite + Unpin>(
    mut source: SplitStream<WebSocketStream<S>>,
    stdout: &mpsc::Sender<Bytes>,
    stderr: &mut Stderr,
) -> Ended {
    while let Some(message) = source.next().await {
        let frame = match message {
            Ok(Message::Binary(frame)) => frame,
            Ok(Message::Close(_)) => {
                return Ended::Broken("the server closed without a status".to_owned());
            }
            Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {
                continue;
            }
            Err(error) => return Ended::Broken(error.to_string()),
        };
        let Some(channel) = frame.first() else {
            continue;
        };
        let bytes = frame.slice(1..);
        match *channel {
            // The server says hello with an empty frame.
            _ if bytes.is_empty() => {}
            STDOUT => {
                let Ok(()) = stdout.send(bytes).await else {
                    return Ended::Broken("nobody reads it any more".to_owned());
                };
            }
            STDERR => stderr.take(&bytes),
            STATUS => return ended_by(&bytes),
            _ => {}
        }
    }
    Ended::Broken("the connection was closed".to_owned())
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    mut frames: mpsc::Receiver<Bytes>,
    can_close_stdin: bool,
) -> Ended {
    while let Some(frame) = frames.recv().await {
        if let Err(error) = sink.send(Message::Binary(frame)).await {
            return Ended::Broken(error.to_string());
        }
    }
    // On v4 only closing the whole connection would end stdin, and that loses output.
    if can_close_stdin
        && let Err(error) = sink
            .send(Message::Binary(Bytes::from_static(&[CLOSE, STDIN])))
            .await
    {
        return Ended::Broken(error.to_string());
    }
    std::future::pending().await
}

fn ended_by(status: &[u8]) -> Ended {
    let Ok(status) = serde_json::from_slice::<Status>(status) else {
        return Ended::Broken("the status is not readable".to_owned());
    };
    if status.status == Some(StatusSummary::Success) {
        return Ended::Success;
    }
    let causes = status
        .details
        .map(|details| details.causes)
        .unwrap_or_default();
    let code = causes
        .iter()
        .find(|cause| cause.reason == "ExitCode")
        .and_then(|cause| cause.message.parse().ok());
    match code {
        Some(code) if status.reason == "NonZeroExitCode" => Ended::Code(code),
        Some(_) | None => Ended::Refused(status.message),
    }
}

/// stderr, drained: shown in the log as it comes, and its end kept for error texts.
#[derive(Default)]
struct Stderr {
    kept: BytesMut,
    shown_bytes: usize,
}

impl Stderr {
    fn take(&mut self, bytes: &Bytes) {
        if self.shown_bytes < STDERR_KEPT_BYTES {
            let shown = &bytes[..bytes.len().min(STDERR_KEPT_BYTES - self.shown_bytes)];
            self.shown_bytes += shown.len();
            tracing::debug!(stderr = %String::from_utf8_lossy(shown).trim_end(), "the shim says something");
        }
        let bytes = &bytes[bytes.len().saturating_sub(STDERR_KEPT_BYTES)..];
        let excess = (self.kept.len() + bytes.len()).saturating_sub(STDERR_KEPT_BYTES);
        drop(self.kept.split_to(excess));
        self.kept.extend_from_slice(bytes);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept).trim().to_owned()
    }
}

/// Where bytes for the process's stdin go. Shutting it down, or dropping it, ends stdin on v5.
pub(super) struct Stdin(PollSender<Bytes>);

impl AsyncWrite for Stdin {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        std::task::ready!(self.0.poll_reserve(context)).map_err(closed)?;
        let taken = &bytes[..bytes.len().min(STDIN_FRAME_BYTES)];
        let mut frame = BytesMut::with_capacity(taken.len() + 1);
        frame.put_u8(STDIN);
        frame.extend_from_slice(taken);
        self.0.send_item(frame.freeze()).map_err(closed)?;
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The pump sends what it has at once.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.close();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_as_the_servers_write_them() {
        let exit = br#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#;
        assert_eq!(ended_by(exit), Ended::Code(7));
        assert_eq!(
            ended_by(br#"{"metadata":{},"status":"Success"}"#),
            Ended::Success
        );
        let internal = br#"{"metadata":{},"status":"Failure","message":"Internal error occurred: x","reason":"InternalError","details":{"causes":[{"message":"x"}]},"code":500}"#;
        assert_eq!(
            ended_by(internal),
            Ended::Refused("Internal error occurred: x".to_owned())
        );
        assert!(matches!(ended_by(b"{"), Ended::Broken(_)));
    }

    #[test]
    fn stderr_keeps_its_end_and_no_more() {
        let mut stderr = Stderr::default();
        stderr.take(&Bytes::from(vec![b'a'; 3 * STDERR_KEPT_BYTES]));
        assert_eq!(stderr.text().len(), STDERR_KEPT_BYTES);
        stderr.take(&Bytes::from_static(b"the end"));
        assert_eq!(stderr.text().len(), STDERR_KEPT_BYTES);
        assert!(stderr.text().ends_with("the end"));
    }
}
