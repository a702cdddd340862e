//! Standard input, handed on to the command: byte for byte, once, whatever happens on the way.
//!
//! Each piece says where it is in the whole, so it may be sent again. While one is on its way, more is
//! read; at the end of a terminal's line nothing waits for more.

use std::io::Read as _;

use rdev_contract::http::StdinAccepted;
use rdev_contract::id::ExecId;
use tokio::sync::mpsc;

use super::interrupts::Interrupts;
use crate::api::{Api, ApiError, place};
use crate::progress::Progress;

/// As much as a pipe holds.
const READ_MAX_BYTES: usize = 64 * 1024;
/// Pieces that wait to be sent.
const WAITING_MAX: usize = 16;
/// A piece of standard input may not be longer.
const PIECE_MAX_BYTES: usize = 512 * 1024;

/// What was read.
pub(crate) type Pieces = mpsc::Receiver<Vec<u8>>;

/// Reads standard input until it ends, in a thread of its own: a read cannot be given up.
pub(crate) fn read() -> Pieces {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; READ_MAX_BYTES];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    receiver
}

/// Hands the pieces on, from `offset` on; closes the command's input behind the last one.
pub(crate) async fn hand_on(api: Api, exec: ExecId, mut pieces: Pieces, progress: Progress) {
    let mut offset = match next_offset(&api, &exec).await {
        Ok(offset) => offset,
        Err(error) => return refused(&error, &progress),
    };
    while let Some(mut piece) = pieces.recv().await {
        while piece.len() + READ_MAX_BYTES <= PIECE_MAX_BYTES
            && let Ok(more) = pieces.try_recv()
        {
            piece.extend_from_slice(&more);
        }
        match send(&api, &exec, offset, &piece, false).await {
            Ok(next) => offset = next,
            Err(error) => return refused(&error, &progress),
        }
    }
    if let Err(error) = send(&api, &exec, offset, &[], true).await {
        refused(&error, &progress);
    }
}

/// What is typed at a terminal: as above, but looked through for what is meant for us.
pub(crate) async fn type_in(
    api: Api,
    exec: ExecId,
    mut keys: Pieces,
    progress: Progress,
    interrupts: Interrupts,
) {
    let mut offset = match next_offset(&api, &exec).await {
        Ok(offset) => offset,
        Err(error) => return refused(&error, &progress),
    };
    let mut escape = Escape::default();
    while let Some(mut typed) = keys.recv().await {
        while let Ok(more) = keys.try_recv() {
            typed.extend_from_slice(&more);
        }
        let (bytes, leaves) = escape.look(&typed);
        if leaves {
            return interrupts.leave();
        }
        for piece in bytes.chunks(PIECE_MAX_BYTES) {
            match send(&api, &exec, offset, piece, false).await {
                Ok(next) => offset = next,
                Err(error) => return refused(&error, &progress),
            }
        }
    }
}

/// Where the next piece has to begin.
async fn next_offset(api: &Api, exec: &ExecId) -> Result<u64, ApiError> {
    send(api, exec, 0, &[], false).await
}

async fn send(
    api: &Api,
    exec: &ExecId,
    offset: u64,
    piece: &[u8],
    ends: bool,
) -> Result<u64, ApiError> {
    let end = if ends { "&end=true" } else { "" };
    let path = place::of_exec(exec, &format!("stdin?offset={offset}{end}"));
    let accepted: StdinAccepted = api.post_bytes(&path, piece.to_vec()).await?;
    Ok(accepted.next_offset)
}

/// A command that has ended, or reads no more, is none of our troubles.
fn refused(error: &ApiError, progress: &Progress) {
    if !matches!(error.code(), Some("exec_complete" | "stdin_closed")) {
        progress.note(&format!(
            "standard input is not handed on any more: {error}"
        ));
    }
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
