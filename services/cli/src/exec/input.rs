//! Standard input, handed on to the command: byte for byte, once, whatever happens on the way.
//!
//! Each piece says where it is in the whole, so it may be sent again. While one is on its way, more is
//! read; at the end of a terminal's line nothing waits for more.

use std::io::{self, Read as _};
use std::time::Duration;

use rdev_contract::http::StdinAccepted;
use rdev_contract::id::ExecId;
use tokio::sync::mpsc;

use super::interrupts::Interrupts;
use crate::api::{Api, ApiError, place};
use crate::failure::{Done, Failure};
use crate::progress::Progress;

/// As much as a pipe holds.
const READ_MAX_BYTES: usize = 64 * 1024;
/// Pieces that wait to be sent.
const WAITING_MAX: usize = 16;
/// A piece of standard input may not be longer.
const PIECE_MAX_BYTES: usize = 512 * 1024;
/// Of what is typed, or pasted, while nothing can be sent.
const TYPED_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Ctrl-C, as a terminal's key.
const INTERRUPT: u8 = 3;

/// What was read, or why nothing more can be.
pub(crate) type Pieces = mpsc::Receiver<io::Result<Vec<u8>>>;

/// Where input goes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) api: Api,
    pub(crate) exec: ExecId,
    /// A piece is tried again for so long.
    pub(crate) patience: Duration,
}

/// Reads standard input until it ends, in a thread of its own: a read cannot be given up.
pub(crate) fn read() -> Pieces {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = vec![0; READ_MAX_BYTES];
        loop {
            let read = match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => Ok(buffer[..count].to_vec()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let is_last = read.is_err();
            if sender.blocking_send(read).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

/// Hands the pieces on, from where the last one ended; closes the command's input behind the last one.
///
/// # Errors
/// When the command has not got all of it and can take more: its input is not closed then.
pub(crate) async fn hand_on(target: Target, pieces: Pieces) -> Done<()> {
    match all(&target, pieces).await {
        Err(NotHandedOn::Refused(error)) if is_none_of_our_troubles(&error) => Ok(()),
        Err(NotHandedOn::Refused(error)) => Err(Failure::new(format!(
            "standard input could not be handed on to its end: {error}"
        ))),
        Err(NotHandedOn::Unread(error)) => Err(Failure::new(format!(
            "standard input could not be read to its end: {error}"
        ))),
        Ok(()) => Ok(()),
    }
}

enum NotHandedOn {
    Refused(ApiError),
    Unread(io::Error),
}

async fn all(target: &Target, mut pieces: Pieces) -> Result<(), NotHandedOn> {
    let mut offset = target.next_offset().await.map_err(NotHandedOn::Refused)?;
    let mut failed = None;
    while failed.is_none()
        && let Some(piece) = pieces.recv().await
    {
        let mut piece = piece.map_err(NotHandedOn::Unread)?;
        while piece.len() + READ_MAX_BYTES <= PIECE_MAX_BYTES
            && let Ok(more) = pieces.try_recv()
        {
            match more {
                Ok(more) => piece.extend_from_slice(&more),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let sent = target.send(offset, &piece, false).await;
        offset = sent.map_err(NotHandedOn::Refused)?;
    }
    if let Some(error) = failed {
        return Err(NotHandedOn::Unread(error));
    }
    let closed = target.send(offset, &[], true).await;
    closed.map(drop).map_err(NotHandedOn::Refused)
}

/// What is typed at a terminal: as above, but looked through for what is meant for us. That is heard
/// whatever becomes of the rest: who cannot type any more can still leave.
pub(crate) async fn type_in(
    target: Target,
    keys: Pieces,
    progress: Progress,
    interrupts: Interrupts,
) {
    let (typed, to_send) = mpsc::channel(1);
    let sending = async {
        let Err(error) = send_typed(&target, to_send).await else {
            return false;
        };
        if error.code() == Some("exec_complete") {
            return false;
        }
        progress.note(&format!(
            "what is typed is not handed on any more: {error}; Ctrl-C leaves the command alone"
        ));
        true
    };
    listen(keys, typed, sending, &progress, &interrupts).await;
}

/// `sending` says whether keys are lost from then on.
async fn listen(
    mut keys: Pieces,
    typed: mpsc::Sender<Vec<u8>>,
    sending: impl Future<Output = bool>,
    progress: &Progress,
    interrupts: &Interrupts,
) {
    let (mut escape, mut waiting) = (Escape::default(), Vec::new());
    let (mut is_sending, mut is_deaf) = (true, false);
    let mut sending = std::pin::pin!(sending);
    loop {
        tokio::select! {
            read = keys.recv() => {
                let read = match read {
                    Some(Ok(read)) => read,
                    Some(Err(error)) => {
                        progress.note(&format!("the terminal cannot be read any more: {error}"));
                        break;
                    }
                    None => break,
                };
                let (bytes, leaves) = escape.look(&read);
                if leaves || is_deaf && read.contains(&INTERRUPT) {
                    return interrupts.leave();
                }
                if is_sending && waiting.len() + bytes.len() <= TYPED_MAX_BYTES {
                    waiting.extend_from_slice(&bytes);
                }
            }
            permit = typed.reserve(), if is_sending && !waiting.is_empty() => {
                if let Ok(permit) = permit {
                    permit.send(std::mem::take(&mut waiting));
                } else {
                    waiting.clear();
                }
            }
            lost = &mut sending, if is_sending => (is_sending, is_deaf) = (false, lost),
        }
    }
    // Nobody types any more; what was typed is still for the command.
    if is_sending {
        let rest = async {
            if !waiting.is_empty() {
                let _ = typed.send(waiting).await;
            }
            drop(typed);
        };
        tokio::join!(rest, sending);
    }
}

async fn send_typed(target: &Target, mut typed: mpsc::Receiver<Vec<u8>>) -> Result<(), ApiError> {
    let mut offset = target.next_offset().await?;
    while let Some(typed) = typed.recv().await {
        for piece in typed.chunks(PIECE_MAX_BYTES) {
            offset = target.send(offset, piece, false).await?;
        }
    }
    Ok(())
}

impl Target {
    /// Where the next piece has to begin.
    async fn next_offset(&self) -> Result<u64, ApiError> {
        self.send(0, &[], false).await
    }

    async fn send(&self, offset: u64, piece: &[u8], ends: bool) -> Result<u64, ApiError> {
        let end = if ends { "&end=true" } else { "" };
        let path = place::of_exec(&self.exec, &format!("stdin?offset={offset}{end}"));
        let sent = self.api.post_bytes(&path, piece.to_vec(), self.patience);
        let accepted: StdinAccepted = sent.await?;
        Ok(accepted.next_offset)
    }
}

/// A command that has ended, or reads no more, has had what it wants.
fn is_none_of_our_troubles(error: &ApiError) -> bool {
    matches!(error.code(), Some("exec_complete" | "stdin_closed"))
}

/// Looks for `~.` at the beginning of a line, as of ssh: leave. `~~` there is one `~`.
#[derive(Debug)]
struct Escape {
    state: Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// At the beginning of a line.
    LineBegins,
    /// Behind a `~` there.
    Tilde,
    /// Anywhere else.
    Within,
}

impl Default for Escape {
    fn default() -> Self {
        Self {
            state: Key::LineBegins,
        }
    }
}

impl Escape {
    /// What is for the command, and whether to leave.
    fn look(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut bytes = Vec::with_capacity(typed.len() + 1);
        for &byte in typed {
            if self.state == Key::Tilde {
                match byte {
                    b'.' => return (bytes, true),
                    b'~' => {}
                    _ => bytes.push(b'~'),
                }
                bytes.push(byte);
            } else if self.state == Key::LineBegins && byte == b'~' {
                self.state = Key::Tilde;
                continue;
            } else {
                bytes.push(byte);
            }
            self.state = match byte {
                b'\r' | b'\n' => Key::LineBegins,
                _ => Key::Within,
            };
        }
        (bytes, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(pieces: &[&str]) -> (String, bool) {
        let (mut escape, mut bytes) = (Escape::default(), Vec::new());
        for piece in pieces {
            let (more, leaves) = escape.look(piece.as_bytes());
            bytes.extend(more);
            if leaves {
                return (String::from_utf8_lossy(&bytes).into_owned(), true);
            }
        }
        (String::from_utf8_lossy(&bytes).into_owned(), false)
    }

    #[test]
    fn only_a_tilde_that_begins_a_line_means_something() {
        assert_eq!(typed(&["ls ~.\r"]), ("ls ~.\r".to_owned(), false));
        assert_eq!(typed(&["~~.\r"]), ("~.\r".to_owned(), false));
        assert_eq!(typed(&["~x"]), ("~x".to_owned(), false));
        assert_eq!(typed(&["ls\r", "~", "."]), ("ls\r".to_owned(), true));
        assert_eq!(typed(&["~."]), (String::new(), true));
    }
}
