//! `supervise`: one process per exec, detached from everything.
//!
//! It is started by `serve` with the launch request as its standard input, claims the exec, starts
//! the command, answers on its standard output, and from then on holds nothing of whoever started
//! it. Invariant: between the claim and the end frame it ends only by being killed; whoever finds
//! its lock free and no end frame may say that the exec is lost.

mod command;
mod feed;
mod limits;
mod peers;
mod reaper;
mod run;
mod stop;
mod terminal;
pub(crate) mod tree;

use std::io::{self, Read, Write};
use std::process::ExitCode;

use bytes::BytesMut;
use rdev_frames::{FrameError, Request, Spec};
use serde::{Deserialize, Serialize};

use crate::Program;
use crate::claim::Claim;
use crate::place::{Place, PlaceError};
use crate::signals;

/// The subcommand; its argument is the exec's key, for people who list processes.
pub(crate) const SUBCOMMAND: &str = "supervise";

/// What a supervisor tells the `serve` that started it, as JSON, before it closes its standard
/// output.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The exec is claimed now, and its command is started (or could not be: the journal says so).
    Claimed,
    /// It was claimed or collected before; nothing was started.
    Existing,
    /// It could not be claimed; nothing was started.
    Failed(String),
}

#[derive(Debug, thiserror::Error)]
enum SuperviseError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("cannot read what to run: {0}")]
    Read(#[from] io::Error),
    #[error("cannot understand what to run: {0}")]
    Request(#[from] FrameError),
    #[error("there is nothing to run in the request")]
    NoLaunch,
    #[error("cannot claim the exec: {0}")]
    Claim(io::Error),
    #[error("cannot detach: {0}")]
    Detach(io::Error),
}

/// Runs the supervisor.
pub(crate) fn main(program: &Program) -> ExitCode {
    match claim() {
        Ok(Some((claim, spec))) => {
            run::supervise(program, claim, &spec, || answer(&Answer::Claimed))
        }
        Ok(None) => {
            answer(&Answer::Existing);
            ExitCode::SUCCESS
        }
        Err(error) => {
            answer(&Answer::Failed(error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn claim() -> Result<Option<(Claim, Box<Spec>)>, SuperviseError> {
    let (key, spec) = read_launch()?;
    let place = Place::open()?;
    detach().map_err(SuperviseError::Detach)?;
    let claim = Claim::make(&place, &key).map_err(SuperviseError::Claim)?;
    Ok(claim.map(|claim| (claim, spec)))
}

fn read_launch() -> Result<(String, Box<Spec>), SuperviseError> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    match Request::decode(&mut BytesMut::from(&bytes[..]))? {
        Some(Request::Launch { key, spec, .. }) => Ok((key, spec)),
        _ => Err(SuperviseError::NoLaunch),
    }
}

/// A session of our own, so that no terminal's end reaches us; what others ignore is not handed on; and
/// everything that the command leaves behind becomes our child, so that a stop finds it.
fn detach() -> io::Result<()> {
    match rustix::process::setsid() {
        // Already the leader of a process group, for instance when started by hand.
        Ok(_) | Err(rustix::io::Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    signals::hand_on_none_ignored()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// Tells `serve`, which may be gone, and lets go of its pipe.
fn answer(answer: &Answer) {
    if let Ok(json) = serde_json::to_vec(answer) {
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(&json).and_then(|()| stdout.flush());
    }
    if let Ok(null) = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
    {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}
