//! The terminal of whoever runs this, for a command in a terminal: its keys as they are pressed, and
//! its size.

use std::io::{self, IsTerminal as _};

use rdev_contract::http::TerminalRequest;
use rdev_contract::id::ExecId;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::api::{Api, place};
use crate::progress::Progress;

/// Where nobody has a terminal, as large as they once were.
const USUAL: TerminalRequest = TerminalRequest { cols: 80, rows: 24 };
/// The API knows none that is larger.
const MAX: u16 = 1000;

/// As long as it lives, keys are not looked at by the terminal itself.
#[derive(Debug)]
pub(crate) struct Raw {
    before: Termios,
    progress: Progress,
}

impl Raw {
    /// From now on; none where standard input is no terminal.
    ///
    /// # Errors
    /// When the terminal does not let itself be changed.
    pub(crate) fn begin(progress: &Progress) -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        progress.set_raw(true);
        Ok(Some(Self {
            before,
            progress: progress.clone(),
        }))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
        self.progress.set_raw(false);
    }
}

/// How large it is.
pub(crate) fn size() -> TerminalRequest {
    let size = tcgetwinsize(io::stdout()).or_else(|_| tcgetwinsize(io::stdin()));
    match size {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => TerminalRequest {
            cols: size.ws_col.min(MAX).into(),
            rows: size.ws_row.min(MAX).into(),
        },
        Ok(_) | Err(_) => USUAL,
    }
}

/// Tells the command of every other size, and at once if `tells_now`.
///
/// # Errors
/// When signals cannot be listened for.
pub(crate) async fn keep_size(api: Api, exec: ExecId, tells_now: bool) -> io::Result<()> {
    let mut changes = signal(SignalKind::window_change())?;
    let path = place::of_exec(&exec, "resize");
    if !tells_now {
        changes.recv().await;
    }
    loop {
        // A size that cannot be told now is told with the next one; the command goes on.
        let _ = api.post::<Value>(&path, &size()).await;
        if changes.recv().await.is_none() {
            return Ok(());
        }
    }
}
