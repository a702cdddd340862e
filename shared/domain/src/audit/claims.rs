//! Who may write: one command, then claims with rising numbers, each until the next begins.

use rdev_contract::envelope::Message;
use rdev_contract::event::{Kind, Outcome, Resumed, ResumedFrom, Started};
use rdev_contract::id::ClaimId;

/// The claim that holds the exec.
#[derive(Debug, Default)]
pub(super) struct Claims {
    has_command: bool,
    has_admitted: bool,
    has_started: bool,
    is_lost: bool,
    claim: Option<ClaimId>,
    attempt: u32,
}

impl Claims {
    /// What comes next may be of any claim: something before it is not known.
    pub(super) const fn lose(&mut self) {
        self.is_lost = true;
    }

    pub(super) const fn attempts(&self) -> u32 {
        self.attempt
    }

    pub(super) fn check(&mut self, kind: Kind, message: &Message<'_>) -> Result<(), String> {
        let is_lost = std::mem::replace(&mut self.is_lost, false);
        let result = match kind {
            // Of no claim, and no claim ends with it.
            Kind::Admitted => {
                self.is_lost = is_lost;
                return self.admitted(message);
            }
            Kind::Command => self.command(message),
            Kind::Started => self.started(message, is_lost),
            Kind::Resumed => self.resumed(message, is_lost),
            Kind::Output | Kind::Claude | Kind::Codex | Kind::Approval => {
                self.output(message, is_lost)
            }
            Kind::Complete => self.complete(message, is_lost),
        };
        if is_lost && kind != Kind::Command {
            self.has_command = true;
            self.has_started |= message.head.attempt > 0;
        }
        self.claim = message.head.claim;
        self.attempt = message.head.attempt;
        result
    }

    fn command(&mut self, message: &Message<'_>) -> Result<(), String> {
        let is_first = !std::mem::replace(&mut self.has_command, true) && !self.has_started;
        let head = &message.head;
        if is_first && head.claim.is_none() && head.attempt == 0 {
            return Ok(());
        }
        Err("a command that is not the first message of the exec".to_owned())
    }

    fn admitted(&mut self, message: &Message<'_>) -> Result<(), String> {
        if std::mem::replace(&mut self.has_admitted, true) {
            return Err("the exec was admitted before".to_owned());
        }
        if !self.has_command && !self.is_lost {
            return Err("admitted without a command".to_owned());
        }
        if message.head.claim.is_some() || message.head.attempt != 0 {
            return Err("admitted by a claim: only the scheduler admits".to_owned());
        }
        Ok(())
    }

    fn started(&mut self, message: &Message<'_>, is_lost: bool) -> Result<(), String> {
        let fact: Started = message.fact().map_err(|error| error.to_string())?;
        let had_started = std::mem::replace(&mut self.has_started, true);
        if had_started && !is_lost {
            return Err("the exec was started before".to_owned());
        }
        if !self.has_command && !is_lost {
            return Err("started without a command".to_owned());
        }
        self.follows(message, fact.claim, fact.attempt, is_lost)
    }

    fn resumed(&self, message: &Message<'_>, is_lost: bool) -> Result<(), String> {
        let fact: Resumed = message.fact().map_err(|error| error.to_string())?;
        if !self.has_started && !is_lost {
            return Err("taken over before it was started".to_owned());
        }
        self.follows(message, fact.claim, fact.attempt, is_lost)
    }

    /// A new claim: one attempt more, and its fact says what its head says.
    fn follows(
        &self,
        message: &Message<'_>,
        claim: ClaimId,
        attempt: u32,
        is_lost: bool,
    ) -> Result<(), String> {
        let head = &message.head;
        if head.claim != Some(claim) || head.attempt != attempt {
            return Err("its fact names another claim than its head".to_owned());
        }
        if is_lost {
            return Ok(());
        }
        if head.attempt != self.attempt + 1 {
            return Err(format!(
                "attempt {}, expected {}",
                head.attempt,
                self.attempt + 1
            ));
        }
        if head.claim == self.claim {
            return Err("a new attempt under the former claim".to_owned());
        }
        Ok(())
    }

    fn output(&self, message: &Message<'_>, is_lost: bool) -> Result<(), String> {
        if is_lost {
            return Ok(());
        }
        if !self.has_started {
            return Err("output before the exec was started".to_owned());
        }
        self.holds(message)
    }

    fn holds(&self, message: &Message<'_>) -> Result<(), String> {
        let head = &message.head;
        if (head.claim, head.attempt) == (self.claim, self.attempt) {
            return Ok(());
        }
        Err(format!(
            "written under attempt {}, but attempt {} holds the exec",
            head.attempt, self.attempt
        ))
    }

    /// An end without a process is a claim of its own.
    fn complete(&self, message: &Message<'_>, is_lost: bool) -> Result<(), String> {
        let head = &message.head;
        let is_own_claim = self.has_started
            && head.attempt == self.attempt + 1
            && head.claim.is_some()
            && head.claim != self.claim;
        if is_lost || is_own_claim {
            return Ok(());
        }
        if !self.has_command {
            return Err("an end without a command".to_owned());
        }
        self.holds(message)
    }

    /// What was started is never rejected, and what was not can only be that, canceled or timed out.
    pub(super) fn check_end(&self, outcome: Outcome) -> Result<(), String> {
        let fits = match outcome {
            Outcome::Rejected => !self.has_started,
            Outcome::Canceled | Outcome::TimedOut => true,
            Outcome::Exited | Outcome::Signaled | Outcome::Lost => self.has_started,
        };
        if !fits {
            let started = if self.has_started { "was" } else { "was not" };
            return Err(format!(
                "its outcome is {}, but it {started} started",
                outcome.name()
            ));
        }
        Ok(())
    }
}

/// Where a take-over says that it goes on.
pub(super) fn resumed_from(message: &Message<'_>) -> Option<ResumedFrom> {
    if message.head.known_kind() != Some(Kind::Resumed) {
        return None;
    }
    message.fact::<Resumed>().ok().map(|fact| fact.from)
}
