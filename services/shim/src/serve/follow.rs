//! One exec that is followed on this channel.
//!
//! Its journal is the only source of what is sent. The link to its supervisor brings wakes, takes
//! requests, and by closing says that the supervisor is gone; then the journal is read to its end
//! once more, and only if no end frame is there the exec is lost.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::BytesMut;
use rdev_frames::{Acknowledged, MAX_STDIN_BYTES, Offsets, RefusalCode, Reply, Request, Tag};
use rustix::event::PollFlags;

use super::claimed::Claimed;
use crate::claim::{self, Holder};
use crate::link::{self, Received, Sent};
use crate::place::Found;
use crate::supervise::Answer;

/// How much may wait for a supervisor that does not take it.
const MAX_OUTBOX_BYTES: usize = 2 * 1024 * 1024;

/// What a follow has to send.
#[derive(Debug)]
pub(super) enum Produced {
    /// Nothing now.
    Nothing,
    /// This, and perhaps more.
    Reply(Reply),
    /// This, and nothing after it.
    Last(Reply),
}

/// The way to the supervisor.
#[derive(Debug)]
enum Link {
    /// A supervisor is starting; its answer comes through this pipe.
    Starting { answer: OwnedFd, text: Vec<u8> },
    /// It listens.
    Connected(OwnedFd),
    /// It does not listen any more, but its lock is still held; a thread waits for that.
    Ending,
    /// It is gone.
    Gone,
}

/// One exec on this channel.
#[derive(Debug)]
pub(super) struct Follow {
    pub(super) tag: Tag,
    pub(super) key: String,
    from: Offsets,
    window_bytes: u64,
    link: Link,
    claim: Option<Claimed>,
    /// Packets for the supervisor.
    outbox: VecDeque<BytesMut>,
    outbox_bytes: usize,
    /// What comes before anything else, and ends it.
    last: Option<Reply>,
}

impl Follow {
    pub(super) fn new(tag: Tag, key: String, from: Offsets, window_bytes: u64) -> Self {
        Self {
            tag,
            key,
            from,
            window_bytes,
            link: Link::Gone,
            claim: None,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            last: None,
        }
    }

    /// A supervisor was started; its answer comes out of `answer`.
    pub(super) fn await_supervisor(&mut self, answer: OwnedFd) {
        self.link = Link::Starting {
            answer,
            text: Vec::new(),
        };
    }

    /// Says this, and nothing after it.
    pub(super) fn finish_with(&mut self, reply: Option<Reply>) {
        self.last = reply;
    }

    /// What to poll.
    pub(super) fn waits_for(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match &self.link {
            Link::Starting { answer, .. } => Some((answer.as_fd(), PollFlags::IN)),
            Link::Connected(socket) if self.outbox.is_empty() => {
                Some((socket.as_fd(), PollFlags::IN))
            }
            Link::Connected(socket) => Some((socket.as_fd(), PollFlags::IN | PollFlags::OUT)),
            Link::Ending | Link::Gone => None,
        }
    }

    /// The answer of a supervisor that is starting; `Some(None)` when it ended without one, `None`
    /// when there is no whole answer (or nobody to give one).
    pub(super) fn take_answer(&mut self) -> Option<Option<Answer>> {
        let Link::Starting { answer, text } = &mut self.link else {
            return None;
        };
        let mut bytes = [0; 1024];
        match rustix::io::read(&*answer, &mut bytes) {
            Ok(0) => {}
            Ok(length) => {
                text.extend_from_slice(&bytes[..length]);
                return None;
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return None,
            Err(_) => {}
        }
        let answer = serde_json::from_slice(text).ok();
        self.link = Link::Gone;
        Some(answer)
    }

    /// The supervisor that was started has answered: follow the claim, or say why not.
    pub(super) fn begin(
        &mut self,
        answer: Option<Answer>,
        found: io::Result<Found>,
        waker: &Arc<OwnedFd>,
    ) -> Option<Reply> {
        let existing = match &answer {
            Some(Answer::Failed(message)) => {
                return Some(self.refused(RefusalCode::Failed, message.clone()));
            }
            Some(Answer::Claimed) => false,
            // Without an answer it may have died after the claim: what is there decides.
            Some(Answer::Existing) | None => true,
        };
        match found {
            Ok(Found::Claimed(path)) => match self.attach(path, existing, waker) {
                Ok(()) => None,
                Err(error) => {
                    Some(self.refused(RefusalCode::Failed, format!("cannot follow: {error}")))
                }
            },
            Ok(Found::Collected) => {
                let message = "this exec has ended and its output was removed".to_owned();
                Some(self.refused(RefusalCode::Collected, message))
            }
            Ok(Found::Missing) => {
                let message = "the supervisor ended before it claimed the exec".to_owned();
                Some(self.refused(RefusalCode::Failed, message))
            }
            Err(error) => Some(self.refused(RefusalCode::Failed, format!("cannot look: {error}"))),
        }
    }

    /// Begins to read the claim in `path`.
    pub(super) fn attach(
        &mut self,
        path: PathBuf,
        existing: bool,
        waker: &Arc<OwnedFd>,
    ) -> io::Result<()> {
        self.claim = Some(Claimed::open(path, existing, self.from, self.window_bytes)?);
        self.relink(waker)
    }

    /// Finds out who holds the claim now.
    fn relink(&mut self, waker: &Arc<OwnedFd>) -> io::Result<()> {
        let Some(claim) = &mut self.claim else {
            return Ok(());
        };
        // Whatever happens, the journal is looked at after this.
        claim.look_again();
        if let Ok(socket) = link::connect_in(&claim.directory) {
            self.link = Link::Connected(socket);
            return Ok(());
        }
        self.link = match claim::holder(&claim.path)? {
            Holder::Gone => Link::Gone,
            Holder::Alive(lock) => {
                wait_in_background(lock, Arc::clone(waker))?;
                Link::Ending
            }
        };
        Ok(())
    }

    /// The link to the supervisor broke.
    fn lose_link(&mut self, waker: &Arc<OwnedFd>) {
        self.link = Link::Ending;
        if let Err(error) = self.relink(waker) {
            let message = format!("cannot look after the supervisor: {error}");
            self.last = Some(self.refused(RefusalCode::Failed, message));
        }
    }

    /// A supervisor that was waited for is gone, perhaps this one's.
    pub(super) fn recheck_holder(&mut self, waker: &Arc<OwnedFd>) {
        if matches!(self.link, Link::Ending) {
            self.lose_link(waker);
        }
    }

    /// Takes what the supervisor sent, and sends it what waits.
    pub(super) fn tend_link(&mut self, replies: &mut Vec<Reply>, waker: &Arc<OwnedFd>) {
        let Link::Connected(socket) = &self.link else {
            return;
        };
        let mut open = true;
        while let Some(packet) = self.outbox.front()
            && open
        {
            match link::send_packet(socket, packet) {
                Sent::Yes => {
                    self.outbox_bytes -= packet.len();
                    self.outbox.pop_front();
                }
                Sent::Full => break,
                Sent::Closed => open = false,
            }
        }
        loop {
            match link::receive_packet(socket) {
                Received::Empty => break,
                Received::Closed => {
                    open = false;
                    break;
                }
                Received::Packet(mut packet) => {
                    let reply = Reply::decode(&mut packet).ok().flatten();
                    let claim = self.claim.as_mut();
                    replies.extend(
                        claim
                            .zip(reply)
                            .and_then(|(claim, reply)| claim.note(reply)),
                    );
                }
            }
        }
        if !open {
            self.lose_link(waker);
        }
    }

    /// The log holds this much.
    pub(super) fn acknowledge(&mut self, acknowledged: Acknowledged) {
        let Some(claim) = &mut self.claim else {
            return;
        };
        let acknowledged = claim.acknowledge(acknowledged);
        if matches!(self.link, Link::Connected(_)) {
            let _ = self.send(&Request::Acknowledge {
                tag: self.tag,
                acknowledged,
            });
        }
    }

    /// Passes a signal, a cancellation, a size or input on to the supervisor, who answers.
    pub(super) fn pass_on(&mut self, request: Request) -> Option<Reply> {
        if matches!(self.link, Link::Gone | Link::Ending) {
            return too_late(&request);
        }
        if let Request::Stdin { tag, ref bytes, .. } = request
            && bytes.len() > MAX_STDIN_BYTES
        {
            let message = format!("input comes in pieces of at most {MAX_STDIN_BYTES} bytes");
            return Some(Reply::Unsupported { tag, message });
        }
        self.send(&request)
    }

    /// Sends now, or when there is room.
    fn send(&mut self, request: &Request) -> Option<Reply> {
        let mut packet = BytesMut::new();
        if let Err(error) = request.encode(&mut packet) {
            return Some(Reply::Unsupported {
                tag: self.tag,
                message: error.to_string(),
            });
        }
        if let Link::Connected(socket) = &self.link
            && self.outbox.is_empty()
            && link::send_packet(socket, &packet) == Sent::Yes
        {
            return None;
        }
        if self.outbox_bytes + packet.len() > MAX_OUTBOX_BYTES {
            let message = "the supervisor does not take any more requests".to_owned();
            return Some(Reply::Unsupported {
                tag: self.tag,
                message,
            });
        }
        self.outbox_bytes += packet.len();
        self.outbox.push_back(packet);
        None
    }

    /// The next thing to send.
    pub(super) fn produce(&mut self) -> Produced {
        if let Some(reply) = self.last.take() {
            return Produced::Last(reply);
        }
        let gone = matches!(self.link, Link::Gone);
        match &mut self.claim {
            Some(claim) => claim.produce(self.tag, gone),
            None => Produced::Nothing,
        }
    }

    fn refused(&self, code: RefusalCode, message: String) -> Reply {
        Reply::Refused {
            tag: self.tag,
            code,
            message,
        }
    }
}

/// The command is gone: nothing is applied any more.
fn too_late(request: &Request) -> Option<Reply> {
    if let Request::Signal {
        tag, control_seq, ..
    }
    | Request::Cancel { tag, control_seq }
    | Request::Resize {
        tag, control_seq, ..
    } = *request
    {
        return Some(Reply::Controlled {
            tag,
            control_seq,
            applied: false,
        });
    }
    if let Request::Stdin { tag, offset, .. } = *request {
        return Some(Reply::StdinIs {
            tag,
            offset,
            full: false,
            closed: true,
        });
    }
    None
}

/// The kernel tells when a lock is free only to who waits for it. This is rare and short: a
/// supervisor that does not listen any more is about to be gone.
fn wait_in_background(lock: File, waker: Arc<OwnedFd>) -> io::Result<()> {
    let wait = move || {
        // Whatever came of it, the lock is looked at again.
        let _ = claim::wait_until_gone(&lock);
        drop(lock);
        let _ = rustix::io::write(&*waker, &[1]);
    };
    std::thread::Builder::new()
        .name("lock".to_owned())
        .spawn(wait)?;
    Ok(())
}
