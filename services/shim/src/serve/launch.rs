//! Starting a supervisor.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use bytes::BytesMut;
use rdev_frames::Request;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::{Program, supervise};

/// Starts a supervisor for `request`, a launch of `key`, and gives the pipe that its answer comes
/// through. The request lies in memory: whether we live or die, the supervisor gets all of it.
pub(super) fn start(program: &Program, key: &str, request: &Request) -> io::Result<OwnedFd> {
    let mut frame = BytesMut::new();
    request.encode(&mut frame).map_err(io::Error::other)?;
    let mut memory = File::from(memfd_create("launch", MemfdFlags::CLOEXEC)?);
    memory.write_all(&frame)?;
    memory.rewind()?;
    let (answer, answer_writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    program
        .command(supervise::SUBCOMMAND)
        .arg0("rdev-shim")
        .arg(key)
        .stdin(Stdio::from(memory))
        .stdout(Stdio::from(answer_writer))
        .stderr(Stdio::null())
        .spawn()?;
    Ok(answer)
}
