//! The end of a command: what its pipes still hold, and then the end frame.

use std::io;
use std::time::Duration;

use rdev_frames::{End, Exit};
use sha2::Digest;

use super::super::limits::Over;
use super::{Output, Supervisor};
use crate::place::hex;

/// What a pipe may still hold once nobody below us is left to write into it. A pipe gives more than a
/// hundred KiB at once, a terminal 4.
const LAST_READS_PER_PIPE: usize = 64;

/// How long and how often the end frame is tried on a full disk, whose reserve somebody else took.
const END_RETRY_EVERY: Duration = Duration::from_millis(200);
const END_RETRIES: usize = 300;

/// The exit that is told when not even SIGKILL ended the command.
const SIGKILL: i32 = 9;

impl Supervisor {
    /// Writes the end. Until this has succeeded the exec is not over.
    pub(super) fn finish(mut self) -> io::Result<()> {
        for index in 0..self.outputs.len() {
            let mut reads = 0;
            while reads < LAST_READS_PER_PIPE && self.read_output(index)? {
                reads += 1;
            }
        }
        let end = self.end();
        self.write_end(&end)?;
        self.peers.tell(true);
        // What is only for the living; a failure leaves a little garbage until it is collected.
        let _ = self.claim.tidy_up();
        Ok(())
    }

    fn end(&self) -> End {
        let [stdout, stderr] = &self.outputs;
        let digest = |output: &Output| hex(&output.hash.clone().finalize());
        let written = self.writer.written();
        End {
            exit: self.exit.unwrap_or(Exit::Signal(SIGKILL)),
            timed_out: self.timed_out.is_some(),
            was_idle: self.timed_out == Some(Over::Silence),
            has_survivors: self.stop.has_given_up(),
            canceled: self.canceled,
            spawn_error: self.spawn_error.clone(),
            error: self.error.clone(),
            stdout_bytes: written.stdout,
            stderr_bytes: written.stderr,
            stdout_sha256: digest(stdout),
            stderr_sha256: digest(stderr),
            duration_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn write_end(&mut self, end: &End) -> io::Result<()> {
        let mut result = self.writer.append_end(end);
        if result.is_err() {
            // If somebody was faster, trying again is all that is left.
            let _ = self.claim.give_reserve_back();
            result = self.writer.append_end(end);
        }
        for _ in 0..END_RETRIES {
            if result.is_ok() {
                break;
            }
            std::thread::sleep(END_RETRY_EVERY);
            result = self.writer.append_end(end);
        }
        result
    }
}
