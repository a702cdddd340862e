//! `rdev exec`: a command in a session's pod, as if it ran here; and what it has in common with
//! `rdev attach` and with agents.

pub(crate) mod attach;
pub(crate) mod ending;
pub(crate) mod following;
pub(crate) mod input;
pub(crate) mod interrupts;
pub(crate) mod new;
pub(crate) mod seat;
pub(crate) mod show;
mod sink;
pub(crate) mod terminal;
pub(crate) mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use rdev_contract::http::ExecRequest;
use rdev_runtime::parse_duration;

use self::ending::Ending;
use self::new::{NewArgs, whole_seconds};
use self::seat::Seat;
use crate::failure::{Done, Failure};

/// Settings of `rdev exec`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    new: NewArgs,
    /// Hand standard input on to the command.
    #[arg(short = 'i', long, conflicts_with = "detach")]
    stdin: bool,
    /// Run it in a terminal: keys, colours, full screens. Enter ~ . leaves it.
    #[arg(short, long, conflicts_with = "detach")]
    tty: bool,
    /// A variable for the command: NAME=VALUE, or NAME for the value here. It is logged.
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// End it when it has printed nothing for so long.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    idle_timeout: Option<Duration>,
    /// Do not start it after so long in the queue.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    queue_timeout: Option<Duration>,
    /// One pipe for both outputs, so that their order is kept; all of it comes on standard output.
    #[arg(long)]
    merge: bool,
    /// The command: program and arguments as they are, or one text for the shell.
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// When it could not be asked for, or not be followed.
pub(crate) async fn run(options: Options) -> Done<Ending> {
    let request = options.request()?;
    let seat = if options.tty {
        Seat::Terminal { is_new: true }
    } else if options.stdin {
        Seat::Pipe { is_new: true }
    } else {
        Seat::None
    };
    options.new.run(request, seat, None).await
}

impl Options {
    fn request(&self) -> Done<ExecRequest> {
        let (command, args) = command_of(&self.command)?;
        Ok(ExecRequest {
            command: Some(command),
            args: Some(args),
            env: Some(environment(&self.env)?),
            idle_timeout_seconds: self.idle_timeout.map(whole_seconds),
            queue_timeout_seconds: self.queue_timeout.map(whole_seconds),
            stdin_open: self.stdin.then_some(true),
            merge: self.merge.then_some(true),
            tty: self.tty.then(terminal::size),
            ..self.new.request("shell")
        })
    }
}

/// One word is for the shell, as of ssh; several are a program and its arguments, as they are.
fn command_of(words: &[String]) -> Done<(String, Vec<String>)> {
    match words {
        [] => Err(Failure::new("there is no command")),
        [script] => Ok((script.clone(), Vec::new())),
        words => Ok((r#"exec "$@""#.to_owned(), words.to_vec())),
    }
}

fn environment(given: &[String]) -> Done<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for one in given {
        let (name, value) = match one.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => match std::env::var(one) {
                Ok(value) => (one.as_str(), value),
                Err(_) => return Err(Failure::new(format!("--env {one}: it is not set here"))),
            },
        };
        all.insert(name.to_owned(), value);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_is_a_script_and_several_are_arguments() -> Done<()> {
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            command_of(&words(&["cd /src && make"]))?,
            ("cd /src && make".to_owned(), vec![])
        );
        let several = words(&["printf", "%s", "a  b;c"]);
        assert_eq!(command_of(&several)?, (r#"exec "$@""#.to_owned(), several));
        Ok(())
    }

    #[test]
    fn a_variable_is_given_or_taken_from_here() -> Done<()> {
        let all = environment(&["A=1=2".to_owned(), "PATH".to_owned()])?;
        assert_eq!(all["A"], "1=2");
        assert_eq!(all.get("PATH").cloned(), std::env::var("PATH").ok());
        assert!(environment(&["NO_SUCH_THING".to_owned()]).is_err());
        Ok(())
    }
}
