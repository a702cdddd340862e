//! One connection to the shim of one container, shared by all execs that run there.
//!
//! Many execs are multiplexed by tag. A slow exec does not hold up the others: the shim sends at
//! most a window of bytes beyond what was acknowledged for each, so what waits here for one exec
//! is bounded by its window; a shim that sends more is cut off, because nothing in a pod is
//! trusted. When the connection is lost every exec on it is told; it opens another one through
//! [`Channels`] and follows from its own offsets.

mod connection;
mod pool;
mod routes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rdev_frames::{
    Acknowledged, Chunk, End, Offsets, PROTOCOL_VERSION, RefusalCode, Request, Resize, Spec, Tag,
    TerminalSize,
};
use tokio::sync::mpsc;

pub use pool::Channels;
use routes::Shared;

use super::{PodError, Transport};

/// What happens to an exec on its channel.
#[derive(Debug)]
pub enum ExecEvent {
    /// The claim in the pod is ours or was there; output follows.
    Accepted {
        /// It was there.
        existing: bool,
        /// What any executor acknowledged before.
        acknowledged: Acknowledged,
    },
    /// The command printed.
    Output(Chunk),
    /// Its terminal has this size from here on.
    Resized(Resize),
    /// The command ended, and everything it printed has been sent.
    End(Box<End>),
    /// The shim will not launch or follow.
    Refused {
        /// Why, for programs.
        code: RefusalCode,
        /// Why, for people.
        message: String,
    },
    /// Nobody knows how the command ended.
    Lost(String),
    /// An order, or a later one, has been applied, now or before.
    Controlled {
        /// Its place among the orders.
        control_seq: u64,
    },
    /// Standard input was taken up to here. It answers each piece; and where one found no room, it
    /// comes again when there is some.
    Stdin {
        /// The next byte.
        offset: u64,
        /// There was no room for all of it.
        full: bool,
        /// Nothing more is taken.
        closed: bool,
    },
    /// The shim could not do what it was asked for.
    Undone(String),
    /// The connection is gone; the command goes on.
    Disconnected(String),
}

/// An open connection to the shim of one container.
#[derive(Debug, Clone)]
pub struct Channel {
    shared: Arc<Shared>,
    instance: Arc<str>,
    has_terminals: bool,
}

impl Channel {
    /// Takes the hello of a fresh connection and serves it from then on.
    ///
    /// # Errors
    /// [`PodError::Unavailable`] when no shim answers, [`PodError::NoShim`] when it speaks another
    /// language.
    pub async fn start(mut transport: Transport) -> Result<Self, PodError> {
        let mut buffer = BytesMut::new();
        let hello = connection::hello(&mut transport, &mut buffer).await?;
        if hello.protocol != PROTOCOL_VERSION {
            return Err(PodError::NoShim(format!(
                "the shim in the container speaks version {} of the protocol, this executor {PROTOCOL_VERSION}: \
                 put the shim of this release into the image, or remove it so that it is uploaded",
                hello.protocol
            )));
        }
        let (requests, outgoing) = mpsc::channel(routes::REQUESTS_MAX);
        let shared = Arc::new(Shared::new(requests));
        tokio::spawn(connection::serve(
            Arc::clone(&shared),
            transport,
            buffer,
            outgoing,
        ));
        Ok(Self {
            shared,
            instance: hello.instance.into(),
            has_terminals: hello.terminals,
        })
    }

    /// The nonce of the shim instance: it lives as long as the container.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Whether the shim can run a command in a terminal.
    #[must_use]
    pub const fn has_terminals(&self) -> bool {
        self.has_terminals
    }

    /// Launches the command of `key`, or follows it if it was launched before.
    pub async fn launch(
        &self,
        key: String,
        spec: Spec,
        from: Offsets,
        window_bytes: u64,
    ) -> ExecHandle {
        let instance = self.instance.to_string();
        let spec = Box::new(spec);
        let request = |tag| Request::Launch {
            tag,
            key,
            instance,
            spec,
            from,
            window_bytes,
        };
        self.begin(from, window_bytes, request).await
    }

    /// Follows the command of `key`; never launches it.
    pub async fn follow(&self, key: String, from: Offsets, window_bytes: u64) -> ExecHandle {
        let instance = self.instance.to_string();
        let request = |tag| Request::Follow {
            tag,
            key,
            instance,
            from,
            window_bytes,
        };
        self.begin(from, window_bytes, request).await
    }

    /// What executors have told the shim to be in the log of the exec of `key`. It knows so after
    /// the messages have expired; of an exec that it does not know, it knows nothing.
    ///
    /// # Errors
    /// [`PodError::Unavailable`] when the connection ends before the answer has come.
    pub async fn acknowledged(&self, key: String) -> Result<Acknowledged, PodError> {
        let answer = self.shared.question(key.clone());
        self.shared.ask(Request::Status { key }).await;
        answer.await.map_err(|_| {
            PodError::Unavailable("the channel closed before the shim answered".to_owned())
        })
    }

    /// Lets the shim forget a finished exec. Not answered to: if it is lost, the journal stays
    /// until the container ends.
    pub async fn collect(&self, key: String) {
        if !self.shared.ask(Request::Collect { key }).await {
            tracing::debug!("the channel closed before a finished exec could be collected");
        }
    }

    async fn begin(
        &self,
        from: Offsets,
        window_bytes: u64,
        request: impl FnOnce(Tag) -> Request,
    ) -> ExecHandle {
        // Unbounded in number, bounded in bytes by the window.
        let (sender, events) = mpsc::unbounded_channel();
        let tag = self.shared.add(sender, from, window_bytes);
        // When the channel is closed, `add` has told the handle so.
        self.shared.ask(request(tag)).await;
        ExecHandle {
            tag,
            shared: Arc::clone(&self.shared),
            events,
        }
    }
}

/// One exec on a channel. Dropping it stops the events, never the command.
#[derive(Debug)]
pub struct ExecHandle {
    tag: Tag,
    shared: Arc<Shared>,
    events: mpsc::UnboundedReceiver<ExecEvent>,
}

impl ExecHandle {
    /// The next event. May be dropped and called again.
    pub async fn next(&mut self) -> ExecEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => ExecEvent::Disconnected("the channel is closed".to_owned()),
        }
    }

    /// Tells the shim what the log holds: it may send as much more, and free its journal.
    pub async fn acknowledge(&self, acknowledged: Acknowledged) {
        let tag = self.tag;
        self.shared.widen(tag, acknowledged.offsets);
        self.ask(Request::Acknowledge { tag, acknowledged }).await;
    }

    /// Sends a signal to every process of the exec. An order at or below the highest one that the
    /// shim has applied is not applied again, so it may be sent again after a reconnect.
    pub async fn signal(&self, control_seq: u64, signal: i32) {
        let tag = self.tag;
        let request = Request::Signal {
            tag,
            control_seq,
            signal,
        };
        self.order(request, 1).await;
    }

    /// Ends the exec by the steps of its spec. May be sent again, as [`ExecHandle::signal`].
    pub async fn cancel(&self, control_seq: u64) {
        let tag = self.tag;
        self.order(Request::Cancel { tag, control_seq }, 1).await;
    }

    /// Gives a piece of standard input, of at most [`MAX_STDIN_BYTES`](rdev_frames::MAX_STDIN_BYTES)
    /// bytes. What was taken before is skipped.
    pub async fn stdin(&self, offset: u64, bytes: Bytes, end: bool) {
        let tag = self.tag;
        let request = Request::Stdin {
            tag,
            offset,
            bytes,
            end,
        };
        // The answer, and word of room.
        self.order(request, 2).await;
    }

    async fn order(&self, request: Request, answers: u64) {
        self.shared.expect_answers(self.tag, answers);
        self.ask(request).await;
    }

    /// Sets the size of the exec's terminal. May be sent again, as [`ExecHandle::signal`].
    pub async fn resize(&self, control_seq: u64, size: TerminalSize) {
        let tag = self.tag;
        let request = Request::Resize {
            tag,
            control_seq,
            size,
        };
        self.order(request, 1).await;
    }

    /// When the channel is closed, the events say so.
    async fn ask(&self, request: Request) {
        self.shared.ask(request).await;
    }
}

impl Drop for ExecHandle {
    fn drop(&mut self) {
        // A courtesy to the shim, which otherwise sends at most one more window.
        self.shared.remove(self.tag);
    }
}
