//! Ending a command step by step: each signal of its stop list in turn, then SIGKILL until nothing
//! is left. Pure: the time is an argument, the signals to send are results.

use std::time::{Duration, Instant};

use rdev_frames::StopStep;

/// SIGKILL is sent again to what was forked while the first one went round.
const KILL_AGAIN: Duration = Duration::from_millis(50);

/// A process in an uninterruptible call survives even SIGKILL. After this long the exec ends with
/// an error, rather than never.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Ask everything to end, with this signal.
    Ask(i32),
    /// Kill everything.
    Kill,
    /// Nothing helps: go on without them.
    GiveUp,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Idle,
    Steps { next: usize, at: Instant },
    Killing { again: Instant, give_up: Instant },
    GivenUp,
}

/// The end of one command.
#[derive(Debug)]
pub(crate) struct Stop {
    steps: Vec<StopStep>,
    state: State,
}

impl Stop {
    /// Nothing is due before [`Stop::begin`].
    pub(crate) fn new(steps: Vec<StopStep>) -> Self {
        Self {
            steps,
            state: State::Idle,
        }
    }

    /// Begins now; `false` when it has begun before.
    pub(crate) fn begin(&mut self, now: Instant) -> bool {
        let begins = !self.has_begun();
        if begins {
            self.state = State::Steps { next: 0, at: now };
        }
        begins
    }

    /// The command is being ended.
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// Nothing more will be tried.
    pub(crate) fn has_given_up(&self) -> bool {
        matches!(self.state, State::GivenUp)
    }

    /// When something is due next.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        match self.state {
            State::Steps { at, .. } => Some(at),
            State::Killing { again, give_up } => Some(again.min(give_up)),
            State::Idle | State::GivenUp => None,
        }
    }

    /// What is due by `now`.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Due> {
        if self.next_at().is_none_or(|at| now < at) {
            return None;
        }
        match self.state {
            State::Steps { next, .. } => Some(self.step(next, now)),
            State::Killing { give_up, .. } if now >= give_up => {
                self.state = State::GivenUp;
                Some(Due::GiveUp)
            }
            State::Killing { give_up, .. } => {
                self.state = State::Killing {
                    again: now + KILL_AGAIN,
                    give_up,
                };
                Some(Due::Kill)
            }
            State::Idle | State::GivenUp => None,
        }
    }

    fn step(&mut self, next: usize, now: Instant) -> Due {
        let Some(step) = self.steps.get(next) else {
            self.state = State::Killing {
                again: now + KILL_AGAIN,
                give_up: now + GIVE_UP_AFTER,
            };
            return Due::Kill;
        };
        let wait = Duration::from_millis(step.wait_ms);
        self.state = State::Steps {
            next: next + 1,
            at: now + wait,
        };
        Due::Ask(step.signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_gets_its_time_and_then_comes_sigkill() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let steps = vec![
            StopStep {
                signal: 2,
                wait_ms: 1_000,
            },
            StopStep {
                signal: 15,
                wait_ms: 500,
            },
        ];
        let mut stop = Stop::new(steps);
        assert_eq!(stop.due(at(0)), None);
        assert!(stop.begin(at(0)));
        assert!(!stop.begin(at(1)), "the second order changes nothing");
        assert_eq!(stop.due(at(1)), Some(Due::Ask(2)));
        assert_eq!(stop.due(at(900)), None);
        assert_eq!(stop.due(at(1_001)), Some(Due::Ask(15)));
        assert_eq!(stop.due(at(1_500)), None);
        assert_eq!(stop.due(at(1_501)), Some(Due::Kill));
        assert_eq!(stop.due(at(1_502)), None);
        assert_eq!(stop.due(at(1_551)), Some(Due::Kill));
        assert!(!stop.has_given_up());
        assert_eq!(stop.due(at(11_501)), Some(Due::GiveUp));
        assert!(stop.has_given_up() && stop.has_begun());
        assert_eq!(stop.due(at(99_999)), None);
    }
}
