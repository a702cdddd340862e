//! The supervisor's loop: pipes into the journal, requests of followers, time, deaths, the end.
//!
//! One thread polls everything; nothing here blocks, and nothing is polled for by the clock except
//! while processes are being killed.

mod finish;
mod terminal;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdev_frames::journal::CHUNK_FRAME_HEADER_BYTES;
use rdev_frames::{Exit, Overflow, Reply, Request, Spec, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;
use sha2::{Digest, Sha256};

use super::command::{self, NotStarted, Started};
use super::feed::Feed;
use super::limits::{Limits, Over};
use super::peers::Peers;
use super::reaper::{self, Death};
use super::stop::{Due, Stop};
use super::terminal::Terminal;
use super::tree;
use crate::Program;
use crate::claim::Claim;
use crate::journal::{Writer, frame_buffer};

/// One of the command's two streams.
#[derive(Debug)]
struct Output {
    stream: Stream,
    /// Our end of its pipe; `None` once it is closed.
    pipe: Option<OwnedFd>,
    hash: Sha256,
}

/// What a poll was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Output(usize),
    Feed,
    Deaths,
    Listener,
    Peer(usize),
}

#[derive(Debug)]
struct Supervisor {
    claim: Claim,
    writer: Writer,
    outputs: [Output; 2],
    feed: Feed,
    terminal: Option<Terminal>,
    deaths: Option<OwnedFd>,
    peers: Peers,
    stop: Stop,
    started: Instant,
    limits: Limits,
    overflow: Overflow,
    journal_max_bytes: u64,
    /// How the command's own process ended.
    exit: Option<Exit>,
    /// No process below us is left.
    alone: bool,
    timed_out: Option<Over>,
    canceled: bool,
    spawn_error: Option<String>,
    /// Set once output is dropped instead of kept, because it cannot be kept.
    error: Option<String>,
    /// The highest control order that was applied.
    control_seq: Option<u64>,
    /// The journal has grown since the followers were told.
    grown: bool,
    buffer: Vec<u8>,
}

/// Starts the command of a claim that was just made and stays with it until its end is written.
/// `ready` is called as soon as followers can be served.
pub(super) fn supervise(
    program: &Program,
    claim: Claim,
    spec: &Spec,
    ready: impl FnOnce(),
) -> ExitCode {
    let supervisor = Supervisor::start(program, claim, spec);
    ready();
    match supervisor.and_then(Supervisor::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => {
            // Without an end frame the exec is lost; at least nothing of it goes on unseen.
            tree::signal_all(Signal::KILL);
            ExitCode::FAILURE
        }
    }
}

impl Supervisor {
    fn start(program: &Program, claim: Claim, spec: &Spec) -> io::Result<Self> {
        let mut writer = Writer::new(claim.journal.try_clone()?, spec.journal_max_bytes);
        let started = Instant::now();
        let command = command::start(program, spec);
        let mut deaths = None;
        let mut pid = 0;
        if let Ok(Started { pid: command, .. }) = &command {
            deaths = Some(reaper::start(*command)?);
            pid = command.as_raw_nonzero().get().unsigned_abs();
            writer.set_pid(pid)?;
        }
        let listener = claim.listener.try_clone()?;
        let mut supervisor = Self {
            claim,
            writer,
            outputs: [Stream::Stdout, Stream::Stderr].map(|stream| Output {
                stream,
                pipe: None,
                hash: Sha256::new(),
            }),
            feed: Feed::new(None, bytes::Bytes::new(), false),
            terminal: None,
            deaths,
            peers: Peers::new(listener, pid),
            stop: Stop::new(spec.stop.clone()),
            started,
            limits: Limits::new(spec, started),
            overflow: spec.overflow,
            journal_max_bytes: spec.journal_max_bytes,
            exit: None,
            alone: false,
            timed_out: None,
            canceled: false,
            spawn_error: None,
            error: None,
            control_seq: None,
            grown: false,
            buffer: frame_buffer(),
        };
        supervisor.take_over(command, spec);
        Ok(supervisor)
    }

    fn take_over(&mut self, command: Result<Started, NotStarted>, spec: &Spec) {
        match command {
            Ok(started) => {
                self.outputs[0].pipe = Some(started.stdout);
                self.outputs[1].pipe = started.stderr;
                self.feed = match (&started.terminal, started.stdin) {
                    (Some(_), Some(stdin)) => Feed::of_terminal(stdin, spec.stdin.clone()),
                    (_, stdin) => Feed::new(stdin, spec.stdin.clone(), spec.stdin_open),
                };
                self.terminal = started.terminal;
                self.keep_size();
            }
            Err(not_started) => {
                self.exit = Some(Exit::Code(not_started.code));
                self.spawn_error = Some(not_started.message);
                self.alone = true;
            }
        }
    }

    fn run(mut self) -> io::Result<()> {
        while !self.is_over() {
            for source in self.wait()? {
                self.handle(source)?;
            }
            self.pass_time(Instant::now());
            self.peers.tell(std::mem::take(&mut self.grown));
        }
        self.finish()
    }

    /// The command is gone and both its pipes are closed; or it was ended, nothing below us is left
    /// (or nothing can be done about what is), and only a stranger holds a pipe.
    fn is_over(&self) -> bool {
        let nobody = self.alone || self.stop.has_given_up();
        if self.stop.has_begun() {
            return nobody;
        }
        self.exit.is_some() && self.outputs.iter().all(|output| output.pipe.is_none())
    }

    /// Too much is not in the log yet: the command waits. What is left in the pipes of a command that
    /// is gone is little, and is always taken.
    fn is_full(&self) -> bool {
        self.overflow == Overflow::Backpressure
            && self.error.is_none()
            && !self.alone
            && self.writer.backlog_bytes() >= self.journal_max_bytes
    }

    /// Waits until something can be done, and says what.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut sources = Vec::new();
        let mut polled = Vec::new();
        let mut add = |source, descriptor, flags| {
            sources.push(source);
            polled.push(PollFd::from_borrowed_fd(descriptor, flags));
        };
        if !self.is_full() {
            for (index, output) in self.outputs.iter().enumerate() {
                if let Some(pipe) = &output.pipe {
                    add(Source::Output(index), pipe.as_fd(), PollFlags::IN);
                }
            }
        }
        if let Some(pipe) = self.feed.waits_for() {
            add(Source::Feed, pipe, PollFlags::OUT);
        }
        if let Some(deaths) = &self.deaths {
            add(Source::Deaths, deaths.as_fd(), PollFlags::IN);
        }
        let mut sockets = self.peers.sockets();
        if let Some(listener) = sockets.next() {
            add(Source::Listener, listener, PollFlags::IN);
        }
        for (index, socket) in sockets.enumerate() {
            add(Source::Peer(index), socket, PollFlags::IN);
        }
        let timeout = self
            .next_at()
            .map(|at| timespec(at.saturating_duration_since(Instant::now())));
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = sources
            .into_iter()
            .zip(&polled)
            .filter(|(_, fd)| !fd.revents().is_empty());
        // Peers come before the listener: a new one must not move the others' places.
        let mut ready: Vec<Source> = ready.map(|(source, _)| source).collect();
        ready.sort_by_key(|source| *source == Source::Listener);
        Ok(ready)
    }

    fn next_at(&self) -> Option<Instant> {
        if self.stop.has_begun() {
            self.stop.next_at()
        } else {
            self.limits.next_at()
        }
    }

    fn handle(&mut self, source: Source) -> io::Result<()> {
        match source {
            Source::Output(index) => {
                self.read_output(index)?;
            }
            Source::Feed => self.write_feed(),
            Source::Deaths => self.note_deaths(),
            // Out of descriptors, say: a follower that cannot be served now tries again.
            Source::Listener => drop(self.peers.accept()),
            Source::Peer(index) => self.serve_peer(index),
        }
        Ok(())
    }

    /// Reads once; `false` when there was nothing to read.
    fn read_output(&mut self, index: usize) -> io::Result<bool> {
        let Some(pipe) = &self.outputs[index].pipe else {
            return Ok(false);
        };
        match rustix::io::read(pipe, &mut self.buffer[CHUNK_FRAME_HEADER_BYTES..]) {
            Ok(0) => {
                self.outputs[index].pipe = None;
                Ok(false)
            }
            Ok(length) => {
                self.keep(index, length);
                Ok(true)
            }
            Err(Errno::INTR | Errno::AGAIN) => Ok(false),
            // Nobody has the terminal open any more.
            Err(Errno::IO) if self.terminal.is_some() => {
                self.outputs[index].pipe = None;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps what was just read, or drops it once something could not be kept.
    fn keep(&mut self, index: usize, length: usize) {
        self.limits.was_heard(Instant::now());
        if self.error.is_some() {
            return;
        }
        let frame = &mut self.buffer[..CHUNK_FRAME_HEADER_BYTES + length];
        let output = &mut self.outputs[index];
        if let Err(error) = self.writer.append(output.stream, now_micros(), frame) {
            self.fail(format!("the journal could not be written: {error}"));
            return;
        }
        output.hash.update(&frame[CHUNK_FRAME_HEADER_BYTES..]);
        self.grown = true;
        let full = self.writer.backlog_bytes() >= self.journal_max_bytes;
        if full && self.overflow == Overflow::Terminate {
            let limit = self.journal_max_bytes;
            self.fail(format!(
                "over {limit} bytes of output were waiting to be stored"
            ));
        }
    }

    /// Output is lost from here on: the command is ended and the end frame says so.
    fn fail(&mut self, what: String) {
        self.error = Some(format!("{what}; the output after this is missing"));
        self.stop.begin(Instant::now());
    }

    fn write_feed(&mut self) {
        self.feed.write();
        if self.feed.has_room() || self.feed.is_ended() {
            self.peers
                .tell_room(self.feed.taken(), self.feed.is_ended());
        }
    }

    fn note_deaths(&mut self) {
        let Some(deaths) = &self.deaths else {
            return;
        };
        for death in reaper::read(deaths) {
            match death {
                Death::Command(exit) => {
                    self.exit = Some(exit);
                    if let Some(terminal) = &mut self.terminal {
                        terminal.let_go();
                    }
                }
                Death::Everyone => self.alone = true,
            }
        }
        if self.alone {
            self.deaths = None;
        }
    }

    fn serve_peer(&mut self, index: usize) {
        let (requests, mut stays) = self.peers.receive(index);
        for request in requests {
            if let Some(reply) = self.apply(index, request) {
                stays &= self.peers.answer(index, &reply);
            }
        }
        if !stays {
            self.peers.drop_later(index);
        }
    }

    fn apply(&mut self, index: usize, request: Request) -> Option<Reply> {
        match request {
            Request::Acknowledge { acknowledged, .. } => {
                self.excuse_silence(Instant::now());
                self.writer.acknowledge(acknowledged.offsets);
                None
            }
            Request::Signal {
                tag,
                control_seq,
                signal,
            } => {
                let applied = self.is_new_order(control_seq);
                if let Some(signal) = tree::signal_of(signal).filter(|_| applied) {
                    tree::signal_all(signal);
                }
                Some(Reply::Controlled {
                    tag,
                    control_seq,
                    applied,
                })
            }
            Request::Cancel { tag, control_seq } => {
                let applied = self.is_new_order(control_seq);
                if applied && self.stop.begin(Instant::now()) {
                    self.canceled = true;
                }
                Some(Reply::Controlled {
                    tag,
                    control_seq,
                    applied,
                })
            }
            Request::Resize {
                tag,
                control_seq,
                size,
            } => Some(self.resize(tag, control_seq, size)),
            Request::Stdin {
                tag,
                offset,
                bytes,
                end,
            } => {
                let wanted = offset.saturating_add(bytes.len() as u64);
                self.feed.take(offset, bytes, end);
                self.feed.write();
                let (taken, closed) = (self.feed.taken(), self.feed.is_ended());
                let full = offset <= taken && taken < wanted && !closed;
                if full {
                    self.peers.wait_for_room(index, tag);
                }
                Some(Reply::StdinIs {
                    tag,
                    offset: taken,
                    full,
                    closed,
                })
            }
            Request::Launch { .. }
            | Request::Follow { .. }
            | Request::Release { .. }
            | Request::Status { .. }
            | Request::Collect { .. }
            | Request::Ping { .. }
            | Request::Unknown => None,
        }
    }

    /// Each order is applied once, whoever passes it on, and never after a later one.
    fn is_new_order(&mut self, control_seq: u64) -> bool {
        let new = self.control_seq.is_none_or(|highest| control_seq > highest);
        if new {
            self.control_seq = Some(control_seq);
        }
        new
    }

    /// Nobody reads what a command prints while the journal is full: it cannot be heard then.
    fn excuse_silence(&mut self, now: Instant) {
        if self.is_full() {
            self.limits.was_heard(now);
        }
    }

    fn pass_time(&mut self, now: Instant) {
        self.excuse_silence(now);
        if let Some(over) = self.limits.over(now)
            && self.stop.begin(now)
        {
            self.timed_out = Some(over);
        }
        while let Some(due) = self.stop.due(now) {
            match due {
                Due::Ask(number) => {
                    if let Some(signal) = tree::signal_of(number) {
                        tree::ask_all(signal);
                    }
                }
                Due::Kill => tree::signal_all(Signal::KILL),
                Due::GiveUp => {
                    let error = "processes of the command survived SIGKILL";
                    self.error.get_or_insert_with(|| error.to_owned());
                }
            }
        }
    }
}

fn now_micros() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}

/// Rounded up to the next millisecond, so that a wait does not end just before its time.
fn timespec(duration: Duration) -> Timespec {
    let duration = duration + Duration::from_millis(1);
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
