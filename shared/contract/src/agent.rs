//! The agents whose runs are kept as conversations. The name of an agent is all that outside
//! consumers need: it is the type of its commands and the kind of its messages; its lines are
//! `{name}_event`, and the session that a run yielded is its `{name}_session_id`.

/// A program that is given a prompt, prints JSON lines and keeps its own session to go on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Agent {
    /// The Claude CLI: `claude -p --output-format stream-json`.
    Claude,
    /// The Codex CLI: `codex exec --json`.
    Codex,
}

impl Agent {
    /// All agents.
    pub const ALL: [Self; 2] = [Self::Claude, Self::Codex];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
        }
    }

    /// The name of the events that hold its lines.
    #[must_use]
    pub const fn event_name(self) -> &'static str {
        match self {
            Self::Claude => "claude_event",
            Self::Codex => "codex_event",
        }
    }

    /// Whose lines events of this name hold.
    #[must_use]
    pub fn of_event(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|agent| agent.event_name() == name)
    }
}

impl std::fmt::Display for Agent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}
