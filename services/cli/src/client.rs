//! The commands that speak to a gateway: how they are started, and how they end.

use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;
use rdev_contract::agent::Agent;

use crate::exec::ending::{Ending, UNREAD};
use crate::failure::{Done, Failure};
use crate::{Command, agent, doctor, exec, lists, logs};

/// Everything that is done through the API.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Client {
    /// Run a command in a session's pod, as if it ran here.
    Exec(Box<exec::Options>),
    /// Go back to a command that runs.
    Attach(Box<exec::attach::Options>),
    /// Show what commands have printed.
    Logs(Box<logs::Options>),
    /// End commands.
    Cancel(Box<exec::attach::CancelOptions>),
    /// Ask claude for something, and watch.
    Claude(Box<agent::Options>),
    /// Ask codex for something, and watch.
    Codex(Box<agent::Options>),
    /// List, make and end sessions.
    Sessions(Box<lists::SessionsOptions>),
    /// List commands.
    Execs(Box<lists::ExecsOptions>),
    /// List conversations with agents, or show one.
    Conversations(Box<lists::ConversationsOptions>),
    /// Find out what does not work, and what to do.
    Doctor(Box<doctor::Options>),
    /// Print completions for a shell.
    Completions {
        /// Which.
        shell: Shell,
    },
}

impl Client {
    /// Does it.
    pub(crate) fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return Failure::from(error).tell(),
        };
        let done = runtime.block_on(Box::pin(self.dispatch()));
        // A read of standard input cannot be given up.
        runtime.shutdown_background();
        match done {
            Ok(ending) => ending.take(),
            Err(failure) if failure.is_unread => Ending::Code(UNREAD).take(),
            Err(failure) => failure.tell(),
        }
    }

    async fn dispatch(self) -> Done<Ending> {
        match self {
            Self::Exec(options) => exec::run(*options).await,
            Self::Attach(options) => exec::attach::run(*options).await,
            Self::Logs(options) => logs::run(*options).await,
            Self::Cancel(options) => exec::attach::run_cancel(*options).await,
            Self::Claude(options) => agent::run(Agent::Claude, *options).await,
            Self::Codex(options) => agent::run(Agent::Codex, *options).await,
            Self::Sessions(options) => lists::sessions(*options).await,
            Self::Execs(options) => lists::execs(*options).await,
            Self::Conversations(options) => lists::conversations(*options).await,
            Self::Doctor(options) => doctor::run(*options).await,
            Self::Completions { shell } => {
                let mut command = Command::command();
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut command, "rdev", &mut script);
                std::io::stdout().write_all(&script)?;
                Ok(Ending::FINE)
            }
        }
    }
}
