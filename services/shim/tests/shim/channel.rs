//! A client of one channel, and the pod (a state directory) that channels lead into.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bytes::BytesMut;
use rdev_frames::{
    Acknowledged, Chunk, End, Offsets, RefusalCode, Reply, Request, Resize, Spec, Stream, Tag,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sha2::{Digest, Sha256};

/// Longer than anything here takes: when it passes, something hangs.
const PATIENCE_SECONDS: i64 = 60;

/// A window that no test but those of the window fills.
pub(crate) const WIDE_BYTES: u64 = 8 * 1024 * 1024;

/// A pod: the shim's state directory, gone at the end.
pub(crate) struct Pod {
    pub(crate) directory: tempfile::TempDir,
}

impl Pod {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Opens a channel into it.
    pub(crate) fn channel(&self) -> Channel {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rdev-shim"));
        command
            .arg("serve")
            .env("RDEV_SHIM_DIR", self.directory.path());
        Channel::over(command)
    }

    /// A channel whose `serve` was started by somebody who ignores these signals.
    pub(crate) fn channel_ignoring(&self, signals: &str) -> Channel {
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' $1; exec \"$0\" serve"])
            .args([env!("CARGO_BIN_EXE_rdev-shim"), signals])
            .env("RDEV_SHIM_DIR", self.directory.path());
        Channel::over(command)
    }

    /// A path in it for the commands' own files.
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory
            .path()
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    }
}

/// Supervisors outlive everything; those of a test that failed are ended here, with their commands.
impl Drop for Pod {
    fn drop(&mut self) {
        let directory = self.directory.path().as_os_str().as_encoded_bytes();
        let ours = |pid: &u32| {
            std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment
                    .split(|byte| *byte == 0)
                    .any(|variable| variable.ends_with(directory))
            })
        };
        let supervisors: Vec<u32> = processes().filter(ours).collect();
        let below = |pid: &u32| {
            let parent = status_of(*pid).and_then(|status| status.get("PPid")?.parse().ok());
            parent.is_some_and(|parent| supervisors.contains(&parent))
        };
        let commands: Vec<u32> = processes().filter(below).collect();
        for pid in supervisors.iter().chain(&commands) {
            let pid = i32::try_from(*pid)
                .ok()
                .and_then(rustix::process::Pid::from_raw);
            let _ =
                pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
        }
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// One channel: a running `serve` and the frames that came out of it.
pub(crate) struct Channel {
    pub(crate) serve: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    buffer: BytesMut,
    /// Replies that came while another was waited for.
    earlier: VecDeque<Reply>,
    pub(crate) instance: String,
}

impl Channel {
    /// Runs `command`, which must be a `serve`, and takes its hello.
    pub(crate) fn over(mut command: Command) -> Self {
        let mut serve = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut channel = Self {
            stdin: serve.stdin.take(),
            stdout: serve.stdout.take().unwrap(),
            serve,
            buffer: BytesMut::new(),
            earlier: VecDeque::new(),
            instance: String::new(),
        };
        let Reply::Hello {
            protocol: 1,
            instance,
            ..
        } = channel.receive()
        else {
            panic!("the first frame is no hello");
        };
        channel.instance = instance;
        channel
    }

    pub(crate) fn send(&mut self, request: &Request) {
        let mut frame = BytesMut::new();
        request.encode(&mut frame).unwrap();
        self.stdin.as_mut().unwrap().write_all(&frame).unwrap();
    }

    /// The next reply; `None` at the end of the channel.
    pub(crate) fn try_receive(&mut self) -> Option<Reply> {
        self.earlier.pop_front().or_else(|| self.read())
    }

    /// Gives an order and waits for its answer: whether it was applied. Output may overtake it.
    pub(crate) fn order(&mut self, request: &Request) -> bool {
        self.send(request);
        loop {
            match self.read().expect("the channel ended") {
                Reply::Controlled { applied, .. } => return applied,
                other => self.earlier.push_back(other),
            }
        }
    }

    fn read(&mut self) -> Option<Reply> {
        let mut scratch = vec![0; 256 * 1024];
        loop {
            if let Some(reply) = Reply::decode(&mut self.buffer).unwrap() {
                return Some(reply);
            }
            let mut polled = [PollFd::from_borrowed_fd(self.stdout.as_fd(), PollFlags::IN)];
            let patience = Timespec {
                tv_sec: PATIENCE_SECONDS,
                tv_nsec: 0,
            };
            assert_ne!(
                poll(&mut polled, Some(&patience)).unwrap(),
                0,
                "nothing comes any more"
            );
            let length = self.stdout.read(&mut scratch).unwrap();
            if length == 0 {
                return None;
            }
            self.buffer.extend_from_slice(&scratch[..length]);
        }
    }

    pub(crate) fn receive(&mut self) -> Reply {
        self.try_receive().expect("the channel ended")
    }

    pub(crate) fn launch(&mut self, tag: Tag, key: &str, spec: Spec) {
        self.send(&Request::Launch {
            tag,
            key: key.to_owned(),
            instance: String::new(),
            spec: Box::new(spec),
            from: Offsets::default(),
            window_bytes: WIDE_BYTES,
        });
    }

    pub(crate) fn follow(&mut self, tag: Tag, key: &str, from: Offsets) {
        self.send(&Request::Follow {
            tag,
            key: key.to_owned(),
            instance: String::new(),
            from,
            window_bytes: WIDE_BYTES,
        });
    }

    pub(crate) fn acknowledge(&mut self, tag: Tag, offsets: Offsets) {
        let acknowledged = Acknowledged {
            offsets,
            next_event_number: 0,
        };
        self.send(&Request::Acknowledge { tag, acknowledged });
    }

    /// The acceptance of `tag`, which must come next.
    pub(crate) fn accepted(&mut self, expected: Tag) -> Accepted {
        match self.receive() {
            Reply::Accepted {
                tag,
                existing,
                acknowledged,
                pid,
            } if tag == expected => Accepted {
                existing,
                acknowledged,
                pid,
            },
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// The refusal of `tag`, which must come next.
    pub(crate) fn refused(&mut self, expected: Tag) -> RefusalCode {
        match self.receive() {
            Reply::Refused { tag, code, message } if tag == expected => {
                assert!(!message.is_empty());
                code
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    /// The next output of `tag`, which must come next.
    pub(crate) fn output(&mut self, expected: Tag) -> Chunk {
        match self.receive() {
            Reply::Output { tag, chunk } if tag == expected => chunk,
            other => panic!("no output: {other:?}"),
        }
    }

    /// Everything of `tag` from now on to its end, acknowledged as it comes.
    pub(crate) fn rest(&mut self, tag: Tag, from: Offsets) -> Finished {
        let mut received = Received::new(from);
        let mut acknowledged = from.total();
        loop {
            match self.receive() {
                Reply::Output { tag: of, chunk } if of == tag => {
                    received.take(&chunk);
                    if received.to.total() - acknowledged >= 1024 * 1024 {
                        acknowledged = received.to.total();
                        self.acknowledge(tag, received.to);
                    }
                }
                Reply::Resized { tag: of, resize } if of == tag => received.resize(&resize),
                Reply::End { tag: of, end } if of == tag => {
                    return Finished { received, end };
                }
                other => panic!("neither output nor end: {other:?}"),
            }
        }
    }

    /// As [`Channel::rest`], but every piece is acknowledged at once.
    pub(crate) fn rest_eagerly(&mut self, tag: Tag, mut received: Received) -> Finished {
        loop {
            match self.receive() {
                Reply::Output { chunk, .. } => {
                    received.take(&chunk);
                    self.acknowledge(tag, received.to);
                }
                Reply::Resized { resize, .. } => received.resize(&resize),
                Reply::End { end, .. } => return Finished { received, end },
                other => panic!("neither output nor end: {other:?}"),
            }
        }
    }

    /// Writes something that is no frame.
    pub(crate) fn send_noise(&mut self) {
        self.stdin
            .as_mut()
            .unwrap()
            .write_all(b"\0\0GET / HTTP/1.1\r\n")
            .unwrap();
    }

    /// Runs a command from launch to end.
    pub(crate) fn run(&mut self, key: &str, spec: Spec) -> Finished {
        self.launch(1, key, spec);
        assert!(!self.accepted(1).existing);
        let finished = self.rest(1, Offsets::default());
        finished.check();
        finished
    }

    /// Kills the `serve` at the end of this channel.
    pub(crate) fn kill(&mut self) {
        self.serve.kill().unwrap();
        self.serve.wait().unwrap();
    }

    /// Closes our side and waits for the end of `serve`.
    pub(crate) fn close(&mut self) -> bool {
        self.stdin = None;
        while self.try_receive().is_some() {}
        self.serve.wait().unwrap().success()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.serve.kill();
        let _ = self.serve.wait();
    }
}

pub(crate) struct Accepted {
    pub(crate) existing: bool,
    pub(crate) acknowledged: Acknowledged,
    pub(crate) pid: u32,
}

/// Bytes that came, checked to be without a gap or a repeat.
pub(crate) struct Received {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Each size of the terminal, and after how many bytes: columns, rows, offset.
    pub(crate) sizes: Vec<(u16, u16, u64)>,
    pub(crate) to: Offsets,
}

impl Received {
    pub(crate) fn new(from: Offsets) -> Self {
        Self {
            stdout: Vec::new(),
            stderr: Vec::new(),
            sizes: Vec::new(),
            to: from,
        }
    }

    pub(crate) fn resize(&mut self, resize: &Resize) {
        let (number, offset) = (resize.number, resize.offset);
        assert_eq!(
            (number, offset),
            (self.to.resizes + 1, self.to.stdout),
            "a gap or a repeat"
        );
        assert!(resize.time_micros > 0);
        self.to.resizes = number;
        self.sizes
            .push((resize.size.columns, resize.size.rows, offset));
    }

    pub(crate) fn take(&mut self, chunk: &Chunk) {
        assert_eq!(chunk.offset, self.to.of(chunk.stream), "a gap or a repeat");
        assert!(!chunk.bytes.is_empty() && chunk.time_micros > 0);
        self.to.set(chunk.stream, chunk.end_offset());
        match chunk.stream {
            Stream::Stdout => self.stdout.extend_from_slice(&chunk.bytes),
            Stream::Stderr => self.stderr.extend_from_slice(&chunk.bytes),
        }
    }
}

/// An exec with its end.
pub(crate) struct Finished {
    pub(crate) received: Received,
    pub(crate) end: End,
}

impl Finished {
    /// The totals and hashes of the end are those of what came.
    pub(crate) fn check(&self) {
        let Received { stdout, stderr, .. } = &self.received;
        assert_eq!(self.end.stdout_bytes, stdout.len() as u64);
        assert_eq!(self.end.stderr_bytes, stderr.len() as u64);
        assert_eq!(self.end.stdout_sha256, sha256(stdout));
        assert_eq!(self.end.stderr_sha256, sha256(stderr));
    }

    pub(crate) fn stdout(&self) -> &str {
        str::from_utf8(&self.received.stdout).unwrap()
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub(crate) fn shell(script: &str) -> Spec {
    argv(&["sh", "-c", script])
}

pub(crate) fn argv(argv: &[&str]) -> Spec {
    Spec::new(argv.iter().map(|word| (*word).to_owned()).collect())
}

/// A field of `/proc/PID/status`; `None` when there is no such process.
pub(crate) fn status_of(pid: u32) -> Option<HashMap<String, String>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let pairs = status.lines().filter_map(|line| line.split_once(':'));
    Some(
        pairs
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
    )
}

/// The process is there and no zombie.
pub(crate) fn lives(pid: u32) -> bool {
    status_of(pid).is_some_and(|status| !status["State"].starts_with('Z'))
}

/// The supervisor of a command: its parent.
pub(crate) fn supervisor_of(pid: u32) -> u32 {
    status_of(pid).unwrap()["PPid"].parse().unwrap()
}

/// Ends one process, at once.
pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
