//! What goes on beside an exec that is watched, for what it is given: standard input, keys, a size.

use std::io::IsTerminal as _;
use std::time::Duration;

use rdev_contract::id::ExecId;

use super::input::{self, Target};
use super::interrupts::{Interrupts, cancel};
use super::new::name_of;
use super::terminal;
use crate::api::Api;
use crate::failure::{Done, Failure};
use crate::progress::Progress;

/// A command whose input was lost is canceled, unless nobody answers at all.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// What is given to the command while it is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seat {
    /// Nothing.
    None,
    /// Standard input, to its end.
    Pipe {
        /// The command was asked for with it, and is nothing without it.
        is_new: bool,
    },
    /// What is typed, or else standard input, and the terminal's size.
    Terminal {
        /// It has that size already.
        is_new: bool,
    },
}

/// Tasks that end with whoever holds this.
pub(crate) struct Tasks(Vec<tokio::task::AbortHandle>);

impl Tasks {
    /// One.
    pub(crate) fn one(task: tokio::task::AbortHandle) -> Self {
        Self(vec![task])
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// What goes on for the command's input.
pub(super) struct Seated {
    _tasks: Tasks,
    input: Option<tokio::task::JoinHandle<Done<()>>>,
}

impl Seated {
    /// Waits for input that could not be handed on.
    pub(super) async fn failed(&mut self) -> Failure {
        if let Some(input) = &mut self.input {
            let handed_on = input.await;
            self.input = None;
            match handed_on {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => return failure,
                Err(error) => return Failure::new(error.to_string()),
            }
        }
        std::future::pending().await
    }
}

pub(super) fn sit_down(
    seat: Seat,
    target: Target,
    interrupts: &Interrupts,
    progress: &Progress,
) -> Seated {
    let mut tasks = Vec::new();
    let hands_on = match seat {
        Seat::None => false,
        Seat::Pipe { .. } => true,
        Seat::Terminal { is_new } => {
            let (api, exec) = (target.api.clone(), target.exec.clone());
            let size = terminal::keep_size(api, exec, !is_new);
            tasks.push(tokio::spawn(size).abort_handle());
            let is_terminal = std::io::stdin().is_terminal();
            if is_terminal {
                let (progress, interrupts) = (progress.clone(), interrupts.clone());
                let typing = input::type_in(target.clone(), input::read(), progress, interrupts);
                tasks.push(tokio::spawn(typing).abort_handle());
            }
            // Of one that others type into, no script's input is the end.
            is_new && !is_terminal
        }
    };
    let input = hands_on.then(|| tokio::spawn(input::hand_on(target, input::read())));
    tasks.extend(input.as_ref().map(tokio::task::JoinHandle::abort_handle));
    Seated {
        _tasks: Tasks(tasks),
        input,
    }
}

/// A command that was asked for with an input that it will not have is canceled.
pub(super) async fn without_input(
    failure: Failure,
    seat: Seat,
    api: &Api,
    exec: &ExecId,
) -> Failure {
    if matches!(seat, Seat::None | Seat::Pipe { is_new: false }) {
        return failure;
    }
    let canceled = tokio::time::timeout(CANCEL_TIMEOUT, cancel(api, exec)).await;
    let name = name_of(exec.session, &exec.stream);
    failure.hint(match canceled {
        Ok(Ok(())) => {
            format!("the command is being canceled; rdev logs {name} shows what it has printed")
        }
        Ok(Err(_)) | Err(_) => {
            format!("the command could not be canceled, and waits for the rest: rdev cancel {name}")
        }
    })
}
