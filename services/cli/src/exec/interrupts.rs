//! What signals to this process mean for the command: Ctrl-C cancels it, once more leaves it alone,
//! Ctrl-\ leaves it alone at once, and so do SIGTERM and SIGHUP.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rdev_contract::id::ExecId;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::ending::{DETACHED, Ending};
use crate::api::{Api, ApiError, place};
use crate::progress::Progress;

/// The command may be on its way to the log.
const NOT_THERE_YET: Duration = Duration::from_millis(300);
const CANCEL_TRIES: usize = 10;

/// Listens from when it is made.
#[derive(Debug, Clone)]
pub(crate) struct Interrupts {
    state: watch::Receiver<State>,
    sender: Arc<watch::Sender<State>>,
}

/// What was asked for so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Nothing,
    /// Ctrl-C: the command is being canceled.
    Canceling,
    /// This process is to end.
    Leave(Ending),
}

impl Interrupts {
    /// Listens; `exec` is what is canceled.
    ///
    /// # Errors
    /// When signals cannot be listened for.
    pub(crate) fn of(api: &Api, exec: &ExecId, progress: &Progress) -> io::Result<Self> {
        let (sender, state) = watch::channel(State::Nothing);
        let sender = Arc::new(sender);
        let listener = Listener {
            api: api.clone(),
            exec: exec.clone(),
            progress: progress.clone(),
            state: Arc::clone(&sender),
        };
        if let Some(interrupt) = unless_ignored(SignalKind::interrupt())? {
            tokio::spawn(listener.listen(interrupt));
        }
        for (kind, ending) in [
            (SignalKind::quit(), Ending::Code(DETACHED)),
            (SignalKind::terminate(), Ending::Signal(Signal::TERM)),
            (SignalKind::hangup(), Ending::Signal(Signal::HUP)),
        ] {
            let Some(mut signal) = unless_ignored(kind)? else {
                continue;
            };
            let sender = Arc::clone(&sender);
            tokio::spawn(async move {
                if signal.recv().await.is_some() {
                    sender.send_replace(State::Leave(ending));
                }
            });
        }
        Ok(Self { state, sender })
    }

    /// Waits until this process is to leave the command alone.
    pub(crate) async fn left(&self) -> Ending {
        let mut state = self.state.clone();
        let left = state
            .wait_for(|state| matches!(state, State::Leave(_)))
            .await;
        match left.map(|state| *state) {
            Ok(State::Leave(ending)) => ending,
            Ok(_) | Err(_) => std::future::pending().await,
        }
    }

    /// Leaves it alone without a signal.
    pub(crate) fn leave(&self) {
        self.sender
            .send_replace(State::Leave(Ending::Code(DETACHED)));
    }

    /// Whether Ctrl-C was pressed.
    pub(crate) fn is_canceling(&self) -> bool {
        *self.state.borrow() == State::Canceling
    }
}

/// What whoever started us ignores stays ignored: `nohup`, and scripts that start us with `&`.
fn unless_ignored(kind: SignalKind) -> io::Result<Option<tokio::signal::unix::Signal>> {
    if rdev_shim::is_ignored(kind.as_raw_value()) {
        return Ok(None);
    }
    signal(kind).map(Some)
}

struct Listener {
    api: Api,
    exec: ExecId,
    progress: Progress,
    state: Arc<watch::Sender<State>>,
}

impl Listener {
    async fn listen(self, mut interrupt: tokio::signal::unix::Signal) {
        if interrupt.recv().await.is_none() {
            return;
        }
        self.state.send_replace(State::Canceling);
        if self.progress.is_seen() {
            self.progress
                .note("canceling it; Ctrl-C again leaves it alone");
        }
        let again = async {
            if interrupt.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = again => {}
            () = self.cancel() => {
                if interrupt.recv().await.is_none() {
                    return;
                }
            }
        }
        self.state
            .send_replace(State::Leave(Ending::Signal(Signal::INT)));
    }

    async fn cancel(&self) {
        for _ in 0..CANCEL_TRIES {
            match cancel(&self.api, &self.exec).await {
                Ok(()) => return,
                Err(error) if error.status() == Some(404) => {
                    tokio::time::sleep(NOT_THERE_YET).await;
                }
                Err(error) => {
                    self.progress
                        .note(&format!("it cannot be canceled: {error}"));
                    return;
                }
            }
        }
        // Whoever asks for it cancels it once it is.
        self.progress
            .note("it is not there to be canceled yet; Ctrl-C again leaves it alone");
    }
}

/// Asks for the end of an exec; that it has ended already is as well.
pub(crate) async fn cancel(api: &Api, exec: &ExecId) -> Result<(), ApiError> {
    let path = place::of_exec(exec, "cancel");
    match api.post::<Value>(&path, &json!({})).await {
        Err(error) if error.code() == Some("exec_complete") => Ok(()),
        other => other.map(drop),
    }
}
