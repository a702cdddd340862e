//! One exec between its WebSocket and its process: the channels of `v4`/`v5.channel.k8s.io`.
//!
//! Written and read by whoever called exec. Invariants, as in a real cluster: the status comes
//! after the process has ended *and* both its pipes are at their end (a grandchild that keeps one
//! open delays it); a connection that goes away neither signals the process nor closes its output,
//! so it runs on, and blocks when its pipe is full.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;

use crate::execs::{Ending, Execs, PodKey, Registered};
use crate::process;
use crate::refusal;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
/// The channel on which v5 says that another one has ended.
const CLOSE: u8 = 255;
/// A real kubelet copies in pieces of this size.
const PIECE_BYTES: usize = 32 * 1024;
/// How long the end of an exec may wait for a client that does not read, as in the API server.
const FINISH_LIMIT: Duration = Duration::from_secs(10);

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// The subprotocols of the stand-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    V4,
    V5,
}

/// A started process with its ends of the pipes, or of the terminal.
pub(crate) struct Session {
    pub(crate) argv: Vec<String>,
    pub(crate) child: Child,
    pub(crate) stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    pub(crate) stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    pub(crate) stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    pub(crate) terminal: Option<OwnedFd>,
}

/// What surrounds the session: the pod, the counts, and the life of the API server.
pub(crate) struct Surroundings {
    pub(crate) execs: Arc<Execs>,
    pub(crate) pod: PodKey,
    pub(crate) protocol: Protocol,
    pub(crate) api: CancellationToken,
}

enum Outcome {
    Finished(i32),
    /// The client, or the API server, went away.
    Lost,
    Ordered(Ending),
}

/// Drives one exec until its connection ends.
pub(crate) async fn run(
    socket: Socket,
    mut session: Session,
    around: &Surroundings,
    registered: &mut Registered,
) {
    let (mut sink, mut source) = socket.split();
    let Session {
        child,
        stdin,
        stdout,
        stderr,
        terminal,
        ..
    } = &mut session;
    let outcome = tokio::select! {
        finished = forward_output(&mut sink, child, stdout, stderr, around) => finished,
        () = take_input(&mut source, stdin, terminal.as_ref(), around) => Outcome::Lost,
        ending = registered.ordered() => Outcome::Ordered(ending),
        () = around.api.cancelled() => Outcome::Lost,
    };
    let Ok(socket) = sink.reunite(source) else {
        return;
    };
    match outcome {
        Outcome::Finished(code) => {
            let status = ended(code, &session.argv, around.protocol);
            return finish(socket, Some(status)).await;
        }
        // The runtime's copy loop ends with the connection and closes stdin; nothing else happens.
        Outcome::Lost => session.stdin = None,
        Outcome::Ordered(Ending::Status(code)) => {
            finish(socket, Some(ended(code, &session.argv, around.protocol))).await;
        }
        Outcome::Ordered(Ending::SuccessUnfinished) => {
            finish(socket, Some(refusal::success())).await
        }
        Outcome::Ordered(Ending::CloseWithoutStatus) => finish(socket, None).await,
        Outcome::Ordered(Ending::Cut) => {
            // Closing with a zero linger time resets the connection.
            let _ = rustix::net::sockopt::set_socket_linger(socket.get_ref(), Some(Duration::ZERO));
        }
    }
    // Whoever holds the pipes must not be this task: it belongs to the connection.
    drop(tokio::spawn(hold(session)));
}

/// Keeps the pipes open, unread, for as long as the process lives.
async fn hold(mut session: Session) {
    let _ = session.child.wait().await;
}

/// Says the first word: an empty message on the lowest channel that the server writes.
pub(crate) async fn greet(socket: &mut Socket, stdout: bool, stderr: bool) {
    let channel = if stdout {
        STDOUT
    } else if stderr {
        STDERR
    } else {
        STATUS
    };
    // A client that is gone already is noticed by the loops.
    let _ = socket
        .send(Message::Binary(Bytes::copy_from_slice(&[channel])))
        .await;
}

/// Sends a status, if any, and closes.
pub(crate) async fn finish(mut socket: Socket, status: Option<Value>) {
    let _ = tokio::time::timeout(FINISH_LIMIT, async {
        if let Some(status) = status {
            socket
                .send(framed(STATUS, status.to_string().as_bytes()))
                .await?;
        }
        // Without the code a client takes the close for an error.
        socket
            .close(Some(CloseFrame {
                code: CloseCode::Normal,
                reason: "".into(),
            }))
            .await
    })
    .await;
}

/// The status of an exec that ended with a code, as its server words it.
fn ended(code: i32, argv: &[String], protocol: Protocol) -> Value {
    match (code, protocol) {
        (0, _) => refusal::success(),
        (_, Protocol::V5) => {
            refusal::exit_code(code, &format!("command terminated with exit code {code}"))
        }
        (_, Protocol::V4) => {
            let argv = argv.join(" ");
            refusal::exit_code(
                code,
                &format!("error executing command [{argv}], exit code {code}"),
            )
        }
    }
}

fn framed(channel: u8, bytes: &[u8]) -> Message {
    let mut frame = Vec::with_capacity(bytes.len() + 1);
    frame.push(channel);
    frame.extend_from_slice(bytes);
    Message::Binary(frame.into())
}

type Output = Option<Box<dyn AsyncRead + Send + Unpin>>;

async fn forward_output(
    sink: &mut SplitSink<Socket, Message>,
    child: &mut Child,
    stdout: &mut Output,
    stderr: &mut Output,
    around: &Surroundings,
) -> Outcome {
    let mut from_stdout = vec![0; PIECE_BYTES];
    let mut from_stderr = vec![0; PIECE_BYTES];
    while stdout.is_some() || stderr.is_some() {
        around.execs.flowing(&around.pod).await;
        let frame = tokio::select! {
            piece = read_piece(stdout, &mut from_stdout), if stdout.is_some() => framed_piece(STDOUT, piece, stdout, &from_stdout),
            piece = read_piece(stderr, &mut from_stderr), if stderr.is_some() => framed_piece(STDERR, piece, stderr, &from_stderr),
        };
        let Some(frame) = frame else { continue };
        around.execs.flowing(&around.pod).await;
        if sink.send(frame).await.is_err() {
            return Outcome::Lost;
        }
    }
    match child.wait().await {
        Ok(status) => Outcome::Finished(process::exit_code(status)),
        Err(_) => Outcome::Lost,
    }
}

async fn read_piece(output: &mut Output, piece: &mut [u8]) -> io::Result<usize> {
    match output {
        Some(output) => output.read(piece).await,
        None => Ok(0),
    }
}

/// The frame of what was read; at the end (a terminal says it with an error) the output is closed.
fn framed_piece(
    channel: u8,
    read: io::Result<usize>,
    output: &mut Output,
    piece: &[u8],
) -> Option<Message> {
    match read {
        Ok(length @ 1..) => Some(framed(channel, &piece[..length])),
        Ok(0) | Err(_) => {
            *output = None;
            None
        }
    }
}

type Input = Option<Box<dyn AsyncWrite + Send + Unpin>>;

/// Hands frames of the client to the process; returns when the connection is over.
async fn take_input(
    source: &mut SplitStream<Socket>,
    stdin: &mut Input,
    terminal: Option<&OwnedFd>,
    around: &Surroundings,
) {
    loop {
        around.execs.flowing(&around.pod).await;
        match source.next().await {
            Some(Ok(Message::Binary(frame))) => {
                // It may have been waited for when the stall began.
                around.execs.flowing(&around.pod).await;
                take_frame(&frame, stdin, terminal, around.protocol).await
            }
            Some(Ok(
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
            )) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
        }
    }
}

async fn take_frame(
    frame: &Bytes,
    stdin: &mut Input,
    terminal: Option<&OwnedFd>,
    protocol: Protocol,
) {
    match frame.split_first() {
        Some((&STDIN, bytes)) => {
            let Some(open) = stdin else { return };
            if open.write_all(bytes).await.is_err() || open.flush().await.is_err() {
                // The process closed its end; what still comes goes nowhere, as in a real pod.
                *stdin = None;
            }
        }
        Some((&RESIZE, size)) => resize(terminal, size),
        // v4 knows no such channel and ignores it.
        Some((&CLOSE, [STDIN])) if protocol == Protocol::V5 => *stdin = None,
        Some(_) | None => {}
    }
}

fn resize(terminal: Option<&OwnedFd>, size: &[u8]) {
    let (Some(terminal), Ok(size)) = (terminal, serde_json::from_slice::<Value>(size)) else {
        return;
    };
    let cells = |name: &str| {
        size[name]
            .as_u64()
            .and_then(|cells| u16::try_from(cells).ok())
            .unwrap_or(0)
    };
    let size = Winsize {
        ws_row: cells("Height"),
        ws_col: cells("Width"),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // A terminal whose process is gone cannot be resized, and need not.
    let _ = tcsetwinsize(terminal, size);
}
