//! A terminal that a program sits at, and who looks at it.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rdev_tests::{Failure, Outcome};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::process::{Child, Command};

/// Nothing that is shown takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program at a terminal of 100 columns and 30 rows.
pub(super) struct AtTerminal {
    pub(super) child: Child,
    master: std::fs::File,
    read: Receiver<Vec<u8>>,
    /// Everything that was shown so far.
    pub(super) shown: Vec<u8>,
    /// Up to where it was waited for.
    seen: usize,
}

impl AtTerminal {
    /// Starts it there.
    pub(super) fn start(mut command: Command) -> Outcome<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let size = Winsize {
            ws_row: 30,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size)?;
        let name = ptsname(&master, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = || rustix::fs::open(name.as_c_str(), flags, Mode::empty());
        let (stdin, stdout, stderr): (OwnedFd, OwnedFd, OwnedFd) = (open()?, open()?, open()?);
        let child = command
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::from(stderr))
            .spawn()?;
        // The terminal ends with its last user.
        drop(command);
        let master = std::fs::File::from(master);
        let (mut reader, (sender, read)) = (master.try_clone()?, channel());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            master,
            read,
            shown: Vec::new(),
            seen: 0,
        })
    }

    pub(super) fn resize(&self, cols: u16, rows: u16) -> Outcome<()> {
        let size = Winsize {
            ws_row: rows,
            ws_col: cols,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(tcsetwinsize(&self.master, size)?)
    }

    pub(super) fn types(&mut self, keys: &str) -> Outcome<()> {
        Ok(self.master.write_all(keys.as_bytes())?)
    }

    /// Waits until this is shown, behind what was waited for before.
    pub(super) fn until(&mut self, wanted: &str) -> Outcome<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rest = &self.shown[self.seen..];
            let found = rest
                .windows(wanted.len())
                .position(|part| part == wanted.as_bytes());
            if let Some(at) = found {
                self.seen += at + wanted.len();
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.read.recv_timeout(left) {
                Ok(more) => self.shown.extend_from_slice(&more),
                Err(_) => {
                    let shown = String::from_utf8_lossy(&self.shown);
                    return Err(Failure::from(format!("no {wanted:?} in {shown:?}")));
                }
            }
        }
    }

    /// Its exit code, and everything that was shown.
    pub(super) async fn end(mut self) -> Outcome<(Option<i32>, String)> {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await??;
        while let Ok(more) = self.read.recv_timeout(PATIENCE) {
            self.shown.extend_from_slice(&more);
        }
        Ok((
            status.code(),
            String::from_utf8_lossy(&self.shown).into_owned(),
        ))
    }
}
