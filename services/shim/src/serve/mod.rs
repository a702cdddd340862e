//! `serve`: the shim's end of one channel.
//!
//! It reads requests, starts supervisors, follows journals and sends what it finds. Invariants: it
//! holds nothing that is not on disk, so it may be killed at any moment; one thread polls
//! everything and never waits for one exec, so that a slow one delays no other.

mod claimed;
mod follow;
mod launch;
mod pipes;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdev_frames::{
    Acknowledged, ExecState, FrameError, Offsets, PROTOCOL_VERSION, RefusalCode, Reply, Request,
    Tag,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::WaitOptions;

use crate::claim::{self, Holder};
use crate::journal::{Next, Reader};
use crate::place::{Found, Place, PlaceError, file};
use crate::{Program, VERSION, acknowledged};
use follow::{Follow, Produced};
use pipes::{Input, Output};

/// An executor sends at least a ping every 10 s. After this long without a word the connection is
/// dead, whatever the pipe says; the executor opens another.
const SILENCE: Duration = Duration::from_secs(25);

/// The longest key: three ids and a number are well below it.
const MAX_KEY_BYTES: usize = 512;

#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("the channel broke: {0}")]
    Channel(#[from] io::Error),
    #[error("the channel carries something else than frames: {0}")]
    Frame(#[from] FrameError),
    #[error("nothing was heard for {} s", SILENCE.as_secs())]
    Silence,
}

/// Runs one channel over standard input and output.
pub(crate) fn main(program: &Program) -> ExitCode {
    match serve(program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "rdev-shim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(program: &Program) -> Result<(), ServeError> {
    let place = Place::open()?;
    let pipe = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK);
    let (waker, wake_writer) = pipe.map_err(io::Error::from)?;
    let mut output = Output::new()?;
    output.push(&Reply::Hello {
        protocol: PROTOCOL_VERSION,
        instance: place.instance.clone(),
        shim: VERSION.to_owned(),
        terminals: true,
    })?;
    let server = Server {
        program,
        place,
        input: Input::new(),
        output,
        follows: Vec::new(),
        turn: 0,
        waker,
        wake_writer: Arc::new(wake_writer),
        heard: Instant::now(),
    };
    server.run()
}

/// What a poll was for.
#[derive(Debug, Clone, Copy)]
enum Source {
    Input,
    Output,
    Waker,
    Follow(usize),
}

struct Server<'a> {
    program: &'a Program,
    place: Place,
    input: Input,
    output: Output,
    follows: Vec<Follow>,
    /// Whose turn to send it is.
    turn: usize,
    /// Becomes readable when a supervisor that was waited for is gone.
    waker: OwnedFd,
    wake_writer: Arc<OwnedFd>,
    /// When the executor was last heard.
    heard: Instant,
}

impl Server<'_> {
    fn run(mut self) -> Result<(), ServeError> {
        loop {
            while self.output.has_room() && self.produce()? {}
            for source in self.wait()? {
                match source {
                    Source::Input => {
                        if !self.read_requests()? {
                            return Ok(());
                        }
                    }
                    Source::Output => self.output.write()?,
                    Source::Waker => self.recheck_holders(),
                    Source::Follow(index) => self.tend(index),
                }
            }
            if self.heard.elapsed() >= SILENCE {
                return Err(ServeError::Silence);
            }
        }
    }

    /// One reply of the exec whose turn it is, if any has one; so all get their share.
    fn produce(&mut self) -> Result<bool, ServeError> {
        for _ in 0..self.follows.len() {
            if self.turn >= self.follows.len() {
                self.turn = 0;
            }
            match self.follows[self.turn].produce() {
                Produced::Nothing => self.turn += 1,
                Produced::Reply(reply) => {
                    self.output.push(&reply)?;
                    self.turn += 1;
                    return Ok(true);
                }
                Produced::Last(reply) => {
                    self.output.push(&reply)?;
                    self.follows.remove(self.turn);
                    reap();
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut sources = Vec::new();
        let mut polled = Vec::new();
        let mut add = |source, descriptor, flags| {
            sources.push(source);
            polled.push(PollFd::from_borrowed_fd(descriptor, flags));
        };
        // Follows come before the input, which may add and remove some.
        for (index, follow) in self.follows.iter().enumerate() {
            if let Some((descriptor, flags)) = follow.waits_for() {
                add(Source::Follow(index), descriptor, flags);
            }
        }
        add(Source::Waker, self.waker.as_fd(), PollFlags::IN);
        if self.output.waits() {
            add(Source::Output, stdout(), PollFlags::OUT);
        }
        add(Source::Input, stdin(), PollFlags::IN);
        let left = SILENCE.saturating_sub(self.heard.elapsed());
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64 + 1,
            tv_nsec: 0,
        };
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = sources
            .into_iter()
            .zip(&polled)
            .filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|(source, _)| source).collect())
    }

    /// Reads and answers what has come; `false` at the end of the channel.
    fn read_requests(&mut self) -> Result<bool, ServeError> {
        if !self.input.read()? {
            return Ok(false);
        }
        self.heard = Instant::now();
        while let Some(request) = self.input.next_request()? {
            if let Some(reply) = self.answer(request) {
                self.output.push(&reply)?;
            }
        }
        Ok(true)
    }

    fn answer(&mut self, request: Request) -> Option<Reply> {
        match request {
            Request::Launch {
                tag,
                ref key,
                ref instance,
                from,
                window_bytes,
                ..
            } => {
                let key = key.clone();
                match self.check(tag, &key, instance, window_bytes) {
                    Some(refusal) => Some(refusal),
                    None => self.launch(Follow::new(tag, key, from, window_bytes), &request),
                }
            }
            Request::Follow {
                tag,
                key,
                instance,
                from,
                window_bytes,
            } => match self.check(tag, &key, &instance, window_bytes) {
                Some(refusal) => Some(refusal),
                None => self.follow(Follow::new(tag, key, from, window_bytes)),
            },
            Request::Acknowledge { tag, acknowledged } => {
                if let Some(follow) = self.followed(tag) {
                    follow.acknowledge(acknowledged);
                }
                None
            }
            Request::Release { tag } => {
                self.follows.retain(|follow| follow.tag != tag);
                None
            }
            Request::Signal { tag, .. }
            | Request::Cancel { tag, .. }
            | Request::Resize { tag, .. }
            | Request::Stdin { tag, .. } => match self.followed(tag) {
                Some(follow) => follow.pass_on(request),
                None => Some(unsupported(
                    tag,
                    "this exec is not followed on this channel",
                )),
            },
            Request::Status { key } => Some(self.status(key)),
            Request::Collect { key } => {
                let error = self.collect(&key).err();
                Some(Reply::Collected { key, error })
            }
            Request::Ping { number } => {
                reap();
                Some(Reply::Pong { number })
            }
            Request::Unknown => None,
        }
    }

    fn followed(&mut self, tag: Tag) -> Option<&mut Follow> {
        self.follows.iter_mut().find(|follow| follow.tag == tag)
    }

    /// What can be said against a launch or a follow before anything is done.
    fn check(&self, tag: Tag, key: &str, instance: &str, window_bytes: u64) -> Option<Reply> {
        let ours = &self.place.instance;
        let (code, message) = if self.follows.iter().any(|follow| follow.tag == tag) {
            (
                RefusalCode::Invalid,
                format!("tag {tag} is in use on this channel"),
            )
        } else if key.is_empty() || key.len() > MAX_KEY_BYTES {
            (
                RefusalCode::Invalid,
                format!("a key has 1 to {MAX_KEY_BYTES} bytes"),
            )
        } else if window_bytes == 0 {
            (
                RefusalCode::Invalid,
                "a window of 0 bytes would never send anything".to_owned(),
            )
        } else if !instance.is_empty() && instance != ours {
            let message = format!(
                "this is shim instance {ours}, not {instance}: the container has been restarted"
            );
            (RefusalCode::WrongInstance, message)
        } else {
            return None;
        };
        Some(Reply::Refused { tag, code, message })
    }

    fn launch(&mut self, mut follow: Follow, request: &Request) -> Option<Reply> {
        let key = follow.key.clone();
        match self.place.find(&key) {
            Ok(Found::Missing) => match launch::start(self.program, &key, request) {
                Ok(answer) => {
                    follow.await_supervisor(answer);
                    self.follows.push(follow);
                    None
                }
                Err(error) => {
                    let message = format!("cannot start a supervisor: {error}");
                    Some(Reply::Refused {
                        tag: follow.tag,
                        code: RefusalCode::Failed,
                        message,
                    })
                }
            },
            found => self.attach(follow, found),
        }
    }

    fn follow(&mut self, follow: Follow) -> Option<Reply> {
        let found = self.place.find(&follow.key);
        self.attach(follow, found)
    }

    fn attach(&mut self, mut follow: Follow, found: io::Result<Found>) -> Option<Reply> {
        let tag = follow.tag;
        let refused = |code, message: &str| {
            Some(Reply::Refused {
                tag,
                code,
                message: message.to_owned(),
            })
        };
        match found {
            Ok(Found::Claimed(path)) => match follow.attach(path, true, &self.wake_writer) {
                Ok(()) => {
                    self.follows.push(follow);
                    None
                }
                Err(error) => refused(RefusalCode::Failed, &format!("cannot follow: {error}")),
            },
            Ok(Found::Missing) => refused(
                RefusalCode::NoClaim,
                "nobody has launched this exec in this container",
            ),
            Ok(Found::Collected) => refused(
                RefusalCode::Collected,
                "this exec has ended and its output was removed",
            ),
            Err(error) => refused(RefusalCode::Failed, &format!("cannot look: {error}")),
        }
    }

    /// Something happened at the socket or the pipe of a follow.
    fn tend(&mut self, index: usize) {
        let Some(follow) = self.follows.get_mut(index) else {
            return;
        };
        let mut replies = Vec::new();
        let stays = match follow.take_answer() {
            None => {
                follow.tend_link(&mut replies, &self.wake_writer);
                true
            }
            Some(answer) => {
                let found = self.place.find(&follow.key);
                let refusal = follow.begin(answer, found, &self.wake_writer);
                let stays = refusal.is_none();
                replies.extend(refusal);
                reap();
                stays
            }
        };
        if !stays {
            // The place stays taken until the end of this round, so that the others keep theirs.
            follow.finish_with(replies.pop());
        }
        for reply in replies {
            // Only replies too long for a frame are refused, and these are short.
            let _ = self.output.push(&reply);
        }
    }

    fn recheck_holders(&mut self) {
        let mut byte = [0; 64];
        while rustix::io::read(&self.waker, &mut byte).is_ok_and(|length| length > 0) {}
        for follow in &mut self.follows {
            follow.recheck_holder(&self.wake_writer);
        }
    }

    fn status(&self, key: String) -> Reply {
        let mut acknowledged = Acknowledged::default();
        let state = match self.place.find(&key) {
            Ok(Found::Missing) => ExecState::Missing,
            Ok(Found::Collected) => ExecState::Collected,
            Ok(Found::Claimed(path)) => {
                let record = File::open(path.join(file::ACKNOWLEDGED));
                let record = record.and_then(|record| acknowledged::read(&record));
                acknowledged = record.unwrap_or_default();
                state_of_claim(&path).unwrap_or(ExecState::Unknown)
            }
            Err(_) => ExecState::Unknown,
        };
        Reply::StatusIs {
            key,
            state,
            acknowledged,
        }
    }

    fn collect(&self, key: &str) -> Result<(), String> {
        let path = match self.place.find(key) {
            Ok(Found::Claimed(path)) => path,
            Ok(Found::Collected) => return Ok(()),
            Ok(Found::Missing) => return Err("nobody has launched this exec here".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        match state_of_claim(&path) {
            Ok(ExecState::Running) => Err("this exec still runs".to_owned()),
            Ok(_) => claim::bury(&self.place, &path).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The end frame decides; without one, the lock does. The lock is looked at first: a supervisor
/// writes its end before it lets go.
fn state_of_claim(path: &std::path::Path) -> io::Result<ExecState> {
    let holder = claim::holder(path)?;
    let everything = Offsets {
        stdout: u64::MAX,
        stderr: u64::MAX,
        resizes: u64::MAX,
    };
    let mut reader = Reader::new(File::open(path.join(file::JOURNAL))?, everything)?;
    match (reader.next()?, holder) {
        (Next::End(_), _) => Ok(ExecState::Ended),
        (_, Holder::Alive(_)) => Ok(ExecState::Running),
        (_, Holder::Gone) => Ok(ExecState::Lost),
    }
}

/// Supervisors that have ended while we live are our children.
fn reap() {
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
}

fn unsupported(tag: Tag, message: &str) -> Reply {
    Reply::Unsupported {
        tag,
        message: message.to_owned(),
    }
}

fn stdin() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}

fn stdout() -> BorrowedFd<'static> {
    rustix::stdio::stdout()
}
