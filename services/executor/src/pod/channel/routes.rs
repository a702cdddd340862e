//! Which exec on a channel wants which reply, and how much it may still get.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rdev_frames::{
    Acknowledged, Chunk, MAX_UNACKNOWLEDGED_RESIZES, Offsets, Reply, Request, Resize, Tag,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ExecEvent;

/// Requests that may wait for the connection; more wait for a place.
pub(super) const REQUESTS_MAX: usize = 256;

/// A channel without execs is kept so long, for the next command of a person who types.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A chunk up to this size is copied: otherwise a few bytes that wait would hold on to the whole
/// buffer that they were read into.
const COPY_MAX_BYTES: usize = 16 * 1024;

/// What a channel's users and its connection share.
#[derive(Debug)]
pub(super) struct Shared {
    requests: mpsc::Sender<Request>,
    routes: Mutex<Routes>,
    closed: CancellationToken,
}

#[derive(Debug)]
struct Routes {
    execs: HashMap<Tag, Route>,
    /// Who asked what was acknowledged of an exec, by its key.
    questions: Vec<(String, oneshot::Sender<Acknowledged>)>,
    next_tag: Tag,
    last_used: Instant,
    /// Set once the connection is gone; nothing can be added then.
    ended: Option<String>,
}

#[derive(Debug)]
struct Route {
    sender: mpsc::UnboundedSender<ExecEvent>,
    /// The end of what came, per stream.
    received: Offsets,
    acknowledged: Offsets,
    window_bytes: u64,
    /// Answers to orders that may come.
    answers: u64,
}

impl Shared {
    pub(super) fn new(requests: mpsc::Sender<Request>) -> Self {
        let routes = Routes {
            execs: HashMap::new(),
            questions: Vec::new(),
            next_tag: 1,
            last_used: Instant::now(),
            ended: None,
        };
        Self {
            requests,
            routes: Mutex::new(routes),
            closed: CancellationToken::new(),
        }
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a request to the connection; `false` when it is gone.
    pub(super) async fn ask(&self, request: Request) -> bool {
        self.requests.send(request).await.is_ok()
    }

    /// As [`Shared::ask`], but not if it would have to wait.
    pub(super) fn ask_now(&self, request: Request) {
        let _ = self.requests.try_send(request);
    }

    /// Gives an exec a tag. On a channel that is closed it hears so.
    pub(super) fn add(
        &self,
        sender: mpsc::UnboundedSender<ExecEvent>,
        from: Offsets,
        window_bytes: u64,
    ) -> Tag {
        let mut routes = self.routes();
        routes.last_used = Instant::now();
        let tag = routes.next_tag;
        routes.next_tag = tag.wrapping_add(1);
        if let Some(reason) = &routes.ended {
            // The receiver is held by our caller.
            let _ = sender.send(ExecEvent::Disconnected(reason.clone()));
            return tag;
        }
        let route = Route {
            sender,
            received: from,
            acknowledged: from,
            window_bytes,
            answers: 0,
        };
        routes.execs.insert(tag, route);
        tag
    }

    /// Remembers who wants to know what was acknowledged of an exec. When the connection ends
    /// first, there is no answer.
    pub(super) fn question(&self, key: String) -> oneshot::Receiver<Acknowledged> {
        let (sender, answer) = oneshot::channel();
        let mut routes = self.routes();
        routes.last_used = Instant::now();
        routes.questions.retain(|(_, asking)| !asking.is_closed());
        if routes.ended.is_none() {
            routes.questions.push((key, sender));
        }
        answer
    }

    fn answer(&self, key: &str, acknowledged: Acknowledged) {
        let mut routes = self.routes();
        for (_, asking) in routes.questions.extract_if(.., |(asked, _)| asked == key) {
            // Who has given up does not listen.
            let _ = asking.send(acknowledged);
        }
    }

    /// Forgets an exec; if it has not ended, the shim is told.
    pub(super) fn remove(&self, tag: Tag) {
        let mut routes = self.routes();
        routes.last_used = Instant::now();
        let followed = routes.execs.remove(&tag).is_some();
        drop(routes);
        if followed {
            self.ask_now(Request::Release { tag });
        }
    }

    /// The shim may send a window beyond these offsets.
    pub(super) fn widen(&self, tag: Tag, acknowledged: Offsets) {
        if let Some(route) = self.routes().execs.get_mut(&tag) {
            route.acknowledged = route.acknowledged.max(acknowledged);
        }
    }

    /// An order goes to the shim, which may answer it so often.
    pub(super) fn expect_answers(&self, tag: Tag, count: u64) {
        if let Some(route) = self.routes().execs.get_mut(&tag) {
            route.answers += count;
        }
    }

    /// Hands a reply to its exec; one that is gone does not want it.
    ///
    /// # Errors
    /// What the shim did wrong.
    pub(super) fn route(&self, reply: Reply) -> Result<(), String> {
        if let Reply::StatusIs {
            key, acknowledged, ..
        } = &reply
        {
            self.answer(key, *acknowledged);
        }
        let Some(tag) = reply.tag() else {
            return Ok(());
        };
        let mut routes = self.routes();
        let Some(route) = routes.execs.get_mut(&tag) else {
            return Ok(());
        };
        let (event, last) = match reply {
            Reply::Accepted {
                existing,
                acknowledged,
                ..
            } => (
                ExecEvent::Accepted {
                    existing,
                    acknowledged,
                },
                false,
            ),
            Reply::Output { chunk, .. } => (ExecEvent::Output(route.take(chunk)?), false),
            Reply::Resized { resize, .. } => {
                (ExecEvent::Resized(route.take_resize(resize)?), false)
            }
            Reply::End { end, .. } => (ExecEvent::End(Box::new(end)), true),
            Reply::Refused { code, message, .. } => (ExecEvent::Refused { code, message }, true),
            Reply::Lost { reason, .. } => (ExecEvent::Lost(reason), true),
            Reply::Controlled { control_seq, .. } => {
                (route.answer(ExecEvent::Controlled { control_seq })?, false)
            }
            Reply::StdinIs {
                offset,
                full,
                closed,
                ..
            } => {
                let event = ExecEvent::Stdin {
                    offset,
                    full,
                    closed,
                };
                (route.answer(event)?, false)
            }
            Reply::Unsupported { message, .. } => {
                (route.answer(ExecEvent::Undone(message))?, false)
            }
            Reply::Hello { .. }
            | Reply::Pong { .. }
            | Reply::StatusIs { .. }
            | Reply::Collected { .. }
            | Reply::Unknown => return Ok(()),
        };
        // A handle that is being dropped does not listen any more.
        let _ = route.sender.send(event);
        if last {
            routes.execs.remove(&tag);
            routes.last_used = Instant::now();
        }
        Ok(())
    }

    /// Whether it can be used; if so, it is not idle now.
    pub(super) fn touch(&self) -> bool {
        let mut routes = self.routes();
        routes.last_used = Instant::now();
        routes.ended.is_none()
    }

    /// Nobody has used it for long.
    pub(super) fn is_idle(&self) -> bool {
        let routes = self.routes();
        routes.execs.is_empty() && routes.last_used.elapsed() > IDLE_MAX
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// The connection is gone: everyone hears so.
    pub(super) fn end(&self, reason: &str) {
        self.closed.cancel();
        let mut routes = self.routes();
        routes.ended = Some(reason.to_owned());
        routes.questions.clear();
        for (_, route) in routes.execs.drain() {
            let _ = route
                .sender
                .send(ExecEvent::Disconnected(reason.to_owned()));
        }
    }
}

impl Route {
    /// What waits here for its exec must not grow without bound.
    fn answer(&mut self, event: ExecEvent) -> Result<ExecEvent, String> {
        self.answers = self
            .answers
            .checked_sub(1)
            .ok_or("the shim answered what was not asked")?;
        Ok(event)
    }

    /// Takes a size that continues what came before and stays within the window.
    fn take_resize(&mut self, resize: Resize) -> Result<Resize, String> {
        let expected = self.received.resizes + 1;
        let waiting = expected.saturating_sub(self.acknowledged.resizes);
        if resize.number != expected || waiting > MAX_UNACKNOWLEDGED_RESIZES {
            let found = resize.number;
            return Err(format!(
                "the shim sent size {found} of a terminal where {expected} comes next, or too many"
            ));
        }
        self.received.resizes = expected;
        Ok(resize)
    }

    /// Takes output that continues what came before and stays within the window.
    fn take(&mut self, mut chunk: Chunk) -> Result<Chunk, String> {
        let expected = self.received.of(chunk.stream);
        if chunk.offset != expected || chunk.bytes.is_empty() {
            let found = chunk.offset;
            return Err(format!(
                "the shim sent offset {found} where {expected} comes next"
            ));
        }
        self.received.set(chunk.stream, chunk.end_offset());
        let waiting = self
            .received
            .total()
            .saturating_sub(self.acknowledged.total());
        if waiting > self.window_bytes {
            return Err(format!(
                "the shim sent {waiting} bytes beyond what is acknowledged; {} are allowed",
                self.window_bytes
            ));
        }
        if chunk.bytes.len() <= COPY_MAX_BYTES {
            chunk.bytes = Bytes::copy_from_slice(&chunk.bytes);
        }
        Ok(chunk)
    }
}
