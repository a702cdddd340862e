//! How `rdev exec` ends: as the command did, or with a code of its own.

use std::process::ExitCode;

use rdev_contract::event::{Complete, Outcome};
use rustix::process::Signal;

/// The command was never started.
pub(crate) const REJECTED: u8 = 120;
/// Nobody can know how it ended.
pub(crate) const LOST: u8 = 121;
/// Somebody canceled it.
pub(crate) const CANCELED: u8 = 122;
/// It goes on without us.
pub(crate) const DETACHED: u8 = 123;
/// It ran, waited or was silent for too long; as of `timeout`.
pub(crate) const TIMED_OUT: u8 = 124;
/// Nobody reads what is printed: as if by SIGPIPE.
pub(crate) const UNREAD: u8 = 141;
/// Shells add this to the number of the signal that ended a command.
const SIGNAL_BASE: i32 = 128;

/// The end of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With a code.
    Code(u8),
    /// By the signal that it was sent: so that a script that runs it ends, too.
    Signal(Signal),
}

impl Ending {
    /// All went well.
    pub(crate) const FINE: Self = Self::Code(0);

    /// Ends the process, or says how to.
    pub(crate) fn take(self) -> ExitCode {
        match self {
            Self::Code(code) => ExitCode::from(code),
            Self::Signal(signal) => {
                let number = signal.as_raw();
                let _ = signal_hook::low_level::emulate_default_handler(number);
                ExitCode::from(low_byte(SIGNAL_BASE + number))
            }
        }
    }
}

/// The code that a command's end stands for.
pub(crate) fn code_of(complete: &Complete) -> u8 {
    match complete.outcome {
        Outcome::Exited => match low_byte(complete.exit_code) {
            // An agent that ended well without having done what was asked.
            0 if !complete.ok => 1,
            code => code,
        },
        Outcome::Signaled => low_byte(complete.exit_code),
        Outcome::TimedOut => TIMED_OUT,
        Outcome::Canceled => CANCELED,
        Outcome::Lost => LOST,
        Outcome::Rejected => REJECTED,
    }
}

/// What is said of an end that its output does not tell; nothing of one that a shell would not tell
/// either.
pub(crate) fn in_words(complete: &Complete) -> Option<String> {
    let what = match complete.outcome {
        Outcome::Exited if complete.exit_code == 0 && !complete.ok => {
            "the agent has not done what was asked"
        }
        // It could not be begun: no such program, or no such directory.
        Outcome::Exited
            if matches!(complete.exit_code, 126 | 127) && !complete.reason.is_empty() =>
        {
            return Some(complete.reason.clone());
        }
        Outcome::Exited => return None,
        Outcome::Signaled => {
            let number = complete.signal.unwrap_or_default();
            return Some(format!("the command was ended by signal {number}"));
        }
        Outcome::TimedOut => "the command was stopped, because a time was over",
        Outcome::Canceled => "the command was canceled",
        Outcome::Lost => "nobody knows how the command ended",
        Outcome::Rejected => "the command was not started",
    };
    if complete.reason.is_empty() {
        return Some(what.to_owned());
    }
    Some(format!("{what}: {}", complete.reason))
}

/// As the operating system takes an exit code.
fn low_byte(code: i32) -> u8 {
    code.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(outcome: Outcome, exit_code: i32, ok: bool) -> Complete {
        Complete {
            exit_code,
            ok,
            ..Complete::without_process(outcome, "why")
        }
    }

    #[test]
    fn each_end_has_a_code() {
        let code = |outcome, exit_code, ok| code_of(&complete(outcome, exit_code, ok));
        assert_eq!(code(Outcome::Exited, 0, true), 0);
        assert_eq!(code(Outcome::Exited, 3, false), 3);
        assert_eq!(code(Outcome::Exited, 0, false), 1);
        assert_eq!(code(Outcome::Signaled, 137, false), 137);
        assert_eq!(code(Outcome::Rejected, -1, false), REJECTED);
        assert_eq!(code(Outcome::Lost, -1, false), LOST);
        assert_eq!(code(Outcome::Canceled, -1, false), CANCELED);
        assert_eq!(code(Outcome::TimedOut, -1, false), TIMED_OUT);
    }

    #[test]
    fn only_an_odd_end_is_talked_about() {
        assert_eq!(in_words(&complete(Outcome::Exited, 1, false)), None);
        let missing = in_words(&complete(Outcome::Exited, 127, false));
        assert_eq!(missing.as_deref(), Some("why"));
        assert!(in_words(&complete(Outcome::Exited, 0, false)).is_some());
        assert_eq!(
            in_words(&complete(Outcome::Rejected, -1, false)).as_deref(),
            Some("the command was not started: why")
        );
    }
}
