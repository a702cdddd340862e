//! The terminal of a command that has one: the supervisor holds the master side of a pair, the
//! command has the other side as its input, its outputs, and what controls its session.
//!
//! Invariant: as long as the command's own process lives, this side sees no end, even if the
//! command closes all its descriptors and opens the terminal again later. After that, the end has
//! come when nobody has it open any more, as for a pipe.

use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use rdev_frames::TerminalSize;
use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Winsize, tcgetattr, tcsetattr,
    tcsetwinsize,
};

/// What `c_cc` holds where a special character is turned off.
const NO_CHARACTER: u8 = 0;

/// The supervisor's side.
#[derive(Debug)]
pub(crate) struct Terminal {
    master: OwnedFd,
    /// The command's side, held open while its process lives.
    held: Option<OwnedFd>,
    size: TerminalSize,
}

impl Terminal {
    /// Opens a terminal of this size; the second one is the command's side.
    pub(crate) fn open(size: TerminalSize) -> io::Result<(Self, OwnedFd)> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let side = other_side(&master)?;
        let mut modes = tcgetattr(&side)?;
        // Backspace takes away a character, not a byte of it.
        modes.input_modes |= InputModes::IUTF8;
        tcsetattr(&side, OptionalActions::Now, &modes)?;
        fcntl_setfl(&master, OFlags::NONBLOCK)?;
        tcsetwinsize(&master, winsize(size))?;
        let held = Some(side.try_clone()?);
        let terminal = Self { master, held, size };
        Ok((terminal, side))
    }

    /// One more descriptor of the supervisor's side; it does not block.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.master.try_clone()
    }

    /// Its size.
    pub(crate) fn size(&self) -> TerminalSize {
        self.size
    }

    /// Sets its size; whoever runs in it gets SIGWINCH. `false` when it has that size.
    pub(crate) fn resize(&mut self, size: TerminalSize) -> io::Result<bool> {
        if size == self.size {
            return Ok(false);
        }
        tcsetwinsize(&self.master, winsize(size))?;
        self.size = size;
        Ok(true)
    }

    /// The command's process is gone: from now on its end can be seen.
    pub(crate) fn let_go(&mut self) {
        self.held = None;
    }
}

/// What is typed into a terminal to say that nothing follows. Where input comes by lines, the
/// character for it only hands over a line that is not ended: then it takes a second one.
pub(crate) fn end_of_file(terminal: &OwnedFd, is_line_ended: bool) -> Bytes {
    let Ok(modes) = tcgetattr(terminal) else {
        return Bytes::new();
    };
    let character = modes.special_codes[SpecialCodeIndex::VEOF];
    if character == NO_CHARACTER {
        return Bytes::new();
    }
    let by_lines = modes.local_modes.contains(LocalModes::ICANON);
    let count = if by_lines && !is_line_ended { 2 } else { 1 };
    Bytes::from(vec![character; count])
}

fn other_side(master: &OwnedFd) -> io::Result<OwnedFd> {
    // We lead a session without a terminal: without NOCTTY this one would become ours.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    match ioctl_tiocgptpeer(master, flags) {
        // A kernel that does not know the request; the name does as well where `/dev/pts` is there.
        Err(Errno::NOTTY | Errno::INVAL) => {
            let name = ptsname(master, Vec::new())?;
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            Ok(open(name, flags, Mode::empty())?)
        }
        result => Ok(result?),
    }
}

fn winsize(size: TerminalSize) -> Winsize {
    Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
