//! The supervisor's terminal, if its command has one: each size that it gets is kept in the journal.

use rdev_frames::{Reply, Tag, TerminalSize};

use super::{Supervisor, now_micros};

impl Supervisor {
    /// Keeps the size that the terminal has now.
    pub(super) fn keep_size(&mut self) {
        let Some(terminal) = self.terminal.as_ref().filter(|_| self.error.is_none()) else {
            return;
        };
        match self.writer.append_resize(now_micros(), terminal.size()) {
            Ok(()) => self.grown = true,
            Err(error) => self.fail(format!("the journal could not be written: {error}")),
        }
    }

    /// Sets the size of the terminal, if this order has not come before.
    pub(super) fn resize(&mut self, tag: Tag, control_seq: u64, size: TerminalSize) -> Reply {
        let unsupported = |message: String| Reply::Unsupported { tag, message };
        if self.terminal.is_none() {
            return unsupported("this command has no terminal".to_owned());
        }
        let applied = self.is_new_order(control_seq);
        if let Some(terminal) = self.terminal.as_mut().filter(|_| applied) {
            match terminal.resize(size) {
                Ok(true) => self.keep_size(),
                Ok(false) => {}
                Err(error) => {
                    return unsupported(format!("the terminal's size cannot be set: {error}"));
                }
            }
        }
        Reply::Controlled {
            tag,
            control_seq,
            applied,
        }
    }
}
