//! What a run of an agent said about itself so far: its session and how its last turn went. Kept
//! by the executor.
//!
//! Invariant: exit code 0 alone is never a success, and an id that the agent told before it began
//! is never one to resume: Claude's `--resume` of an unknown id is answered with a result that
//! echoes it.

use rdev_contract::agent::Agent;
use rdev_contract::event::{AgentLine, RawEvent};
use rdev_contract::id::AgentSessionId;

use super::{AgentResult, Asking, Told, read};
use crate::fragment::FragmentJoiner;

/// What the lines seen so far say.
#[derive(Debug, Clone)]
pub struct Tally {
    agent: Agent,
    has_begun: bool,
    session_id: Option<AgentSessionId>,
    result: Option<Box<AgentResult>>,
    joiner: FragmentJoiner,
}

impl Tally {
    /// Of a run that has said nothing yet.
    #[must_use]
    pub fn new(agent: Agent) -> Self {
        Self {
            agent,
            has_begun: false,
            session_id: None,
            result: None,
            joiner: FragmentJoiner::default(),
        }
    }

    /// Whose.
    #[must_use]
    pub const fn agent(&self) -> Agent {
        self.agent
    }

    /// Takes in one line of standard output. Gives what it says of a question, which is not kept here.
    pub fn observe(&mut self, line: &str) -> Option<Asking> {
        let mut asking = None;
        for told in read(self.agent, line) {
            match told {
                Told::Began { .. } => self.has_begun = true,
                Told::Session(id) => {
                    if self.has_begun {
                        self.session_id = Some(id);
                    }
                }
                Told::Answer(_) => {}
                Told::Asking(said) => asking = Some(said),
                Told::Ended(result) => self.result = Some(result),
            }
        }
        asking
    }

    /// Takes in events as they stand in the log, in order, which is what a take-over has. Fragments
    /// are joined, other events passed over. Gives what they say of questions.
    pub fn observe_events(&mut self, events: &[RawEvent<'_>]) -> Vec<Asking> {
        let mut asking = Vec::new();
        for event in events {
            if event.name != self.agent.event_name() {
                continue;
            }
            if let Some(fragment) = &event.fragment {
                if let Ok(Some(data)) = self.joiner.push(fragment) {
                    asking.extend(self.observe_data(&data));
                }
            } else if let Some(data) = event.data {
                asking.extend(self.observe_data(data.get()));
            }
        }
        asking
    }

    fn observe_data(&mut self, data: &str) -> Option<Asking> {
        let line = AgentLine::of_data(data)?;
        self.observe(line.text())
    }

    /// The session that a later run can resume.
    #[must_use]
    pub const fn session_id(&self) -> Option<AgentSessionId> {
        self.session_id
    }

    /// How the last turn went.
    #[must_use]
    pub fn result(&self) -> Option<&AgentResult> {
        self.result.as_deref()
    }

    /// Whether a process that ended with this exit code did what it was asked.
    #[must_use]
    pub fn is_success(&self, exit_code: i32) -> bool {
        exit_code == 0 && self.result().is_some_and(|result| result.is_success)
    }

    /// Why it was no success, in words; empty if the last turn was one.
    #[must_use]
    pub fn failure(&self) -> String {
        match self.result() {
            None => format!("{} ended without a result", self.agent),
            Some(result) => result.failure.clone(),
        }
    }
}
