//! `rdev exec`: a command in a session's pod, as if it ran here; and what it has in common with
//! `rdev attach`.

pub(crate) mod attach;
pub(crate) mod ending;
pub(crate) mod input;
pub(crate) mod interrupts;
mod seat;
pub(crate) mod show;
mod sink;
pub(crate) mod terminal;
pub(crate) mod watch;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use rand::Rng as _;
use rdev_contract::event::Complete;
use rdev_contract::http::{ExecAccepted, ExecRequest, ExecView};
use rdev_contract::id::{ExecId, SessionId, StreamId};
use rdev_runtime::parse_duration;
use rustix::process::Signal;

use self::ending::Ending;
use self::input::Target;
use self::interrupts::{Interrupts, cancel};
use self::seat::{Seat, sit_down, without_input};
use self::show::{Form, Show};
use self::terminal::Raw;
use self::watch::{Watch, Watched};
use crate::agent::sum_up;
use crate::agent::turn::Turn;
use crate::api::follow::{Plan, follow};
use crate::api::{Api, place};
use crate::client::begin;
use crate::failure::{Done, Failure};
use crate::progress::Progress;
use crate::settings::ConnectionArgs;
use crate::target::{IfMissing, SessionArg};

/// How an id of an exec begins that was chosen here.
const ID_BEGINNING: &str = "x";
/// 50 random bits: no two execs of a session have the same.
const ID_CHARS: usize = 10;
/// Without those that look like others.
const ID_ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// How a stream is followed.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FollowArgs {
    /// Ask again and again instead of holding a connection: for networks that hold streams back. Found
    /// out by itself after 20 s.
    #[arg(long)]
    pub(crate) poll: bool,
    /// Give up after so long without any connection; the command goes on.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    pub(crate) reconnect_for: Duration,
}

/// Settings of `rdev exec`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    session: SessionArg,
    /// Hand standard input on to the command.
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Run it in a terminal: keys, colours, full screens. Enter ~ . leaves it.
    #[arg(short, long)]
    tty: bool,
    /// Print the exec's name and leave it running.
    #[arg(short, long, conflicts_with_all = ["stdin", "tty", "json"])]
    detach: bool,
    /// A variable for the command: NAME=VALUE, or NAME for the value here. It is logged.
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Its working directory in the pod.
    #[arg(short = 'w', long, value_name = "DIR")]
    cwd: Option<String>,
    /// End it when it has run for so long, as in 90s or 2h.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// End it when it has printed nothing for so long.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    idle_timeout: Option<Duration>,
    /// Do not start it after so long in the queue.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    queue_timeout: Option<Duration>,
    /// One pipe for both outputs, so that their order is kept; all of it comes on standard output.
    #[arg(long)]
    merge: bool,
    /// Name the exec yourself; the same one with the same command again runs nothing twice.
    #[arg(long, value_name = "ID")]
    id: Option<StreamId>,
    /// Print every event as a line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    follow: FollowArgs,
    /// The command: program and arguments as they are, or one text for the shell.
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// When it could not be asked for, or not be followed.
pub(crate) async fn run(options: Options) -> Done<Ending> {
    let (settings, progress, api) = begin(&options.connection)?;
    let project = api.project()?.clone();
    let request = options.request()?;
    let session = options
        .session
        .find(&api, &settings, IfMissing::Create, &progress);
    let session = session.await?;
    let stream = options.id.clone().map_or_else(drawn_id, Ok)?;
    let exec = ExecId {
        project,
        session,
        stream,
    };
    if options.detach {
        post(&api, &exec, request, &progress).await?;
        return detached(&exec);
    }
    let interrupts = Interrupts::of(&api, &exec, &progress)?;
    if let Some(ending) = ask(&api, &exec, request, &interrupts, &progress).await? {
        return Ok(ending);
    }
    let form = if options.json {
        Form::Json
    } else {
        Form::Plain
    };
    let seat = if options.tty {
        Seat::Terminal { is_new: true }
    } else if options.stdin {
        Seat::Pipe { is_new: true }
    } else {
        Seat::None
    };
    let following = Following {
        form,
        seat,
        plan: plan(&exec, &options.follow, None),
    };
    following.run(&api, &exec, &interrupts, &progress).await
}

impl Options {
    fn request(&self) -> Done<ExecRequest> {
        let (command, args) = command_of(&self.command)?;
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs().max(1));
        Ok(ExecRequest {
            kind: "shell".to_owned(),
            command: Some(command),
            args: Some(args),
            env: Some(environment(&self.env)?),
            cwd: self.cwd.clone(),
            timeout_seconds: seconds(self.timeout),
            idle_timeout_seconds: seconds(self.idle_timeout),
            queue_timeout_seconds: seconds(self.queue_timeout),
            stdin_open: self.stdin.then_some(true),
            merge: self.merge.then_some(true),
            tty: self.tty.then(terminal::size),
            ..ExecRequest::default()
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

/// An id for a new exec: short, since people write it.
pub(crate) fn drawn_id() -> Done<StreamId> {
    let mut generator = rand::rng();
    let mut id = ID_BEGINNING.to_owned();
    for _ in 0..ID_CHARS {
        let at = generator.random_range(0..ID_ALPHABET.len());
        id.push(char::from(ID_ALPHABET[at]));
    }
    id.parse().map_err(|_| Failure::new("no id was drawn"))
}

/// Asks for a command. It is tried again under its own id, which is safe.
pub(crate) async fn post(
    api: &Api,
    exec: &ExecId,
    request: ExecRequest,
    progress: &Progress,
) -> Done<()> {
    let request = ExecRequest {
        stream_id: Some(exec.stream.to_string()),
        ..request
    };
    let path = place::exec(&exec.project, exec.session);
    let _: ExecAccepted = api.post(&path, &request).await?;
    if progress.is_verbose() {
        progress.say(&format!(
            "the command is {}",
            name_of(exec.session, &exec.stream)
        ));
    }
    Ok(())
}

/// The same, for somebody who may cancel it or leave meanwhile: then it says how to come back, and is
/// how to end.
///
/// # Errors
/// When it is refused.
pub(crate) async fn ask(
    api: &Api,
    exec: &ExecId,
    request: ExecRequest,
    interrupts: &Interrupts,
    progress: &Progress,
) -> Done<Option<Ending>> {
    let asked = async {
        post(api, exec, request, progress).await?;
        // An order to cancel it that was given before it was there may have come to nothing.
        if interrupts.is_canceling()
            && let Err(error) = cancel(api, exec).await
        {
            progress.note(&format!("it cannot be canceled: {error}"));
        }
        Ok(None)
    };
    tokio::select! {
        asked = asked => asked,
        ending = interrupts.left() => {
            let back = how_to_attach(exec, None);
            progress.note(&format!("it may have begun nevertheless; {back}"));
            Ok(Some(ending))
        }
    }
}

/// What `rdev attach`, `logs` and `cancel` take.
fn name_of(session: SessionId, stream: &StreamId) -> String {
    format!("{session}/{stream}")
}

/// Says what the exec is called that is left running.
pub(crate) fn detached(exec: &ExecId) -> Done<Ending> {
    writeln!(std::io::stdout(), "{}", name_of(exec.session, &exec.stream))?;
    Ok(Ending::FINE)
}

/// How the events of one exec are followed, from its beginning or behind an event.
pub(crate) fn plan(exec: &ExecId, args: &FollowArgs, after: Option<String>) -> Plan {
    Plan {
        path: place::of_exec(exec, "events"),
        query: Vec::new(),
        after,
        of_one_exec: true,
        poll: args.poll,
        patience: args.reconnect_for,
    }
}

/// An exec that was asked for, followed to its end.
pub(crate) struct Following {
    pub(crate) form: Form,
    pub(crate) seat: Seat,
    pub(crate) plan: Plan,
}

impl Following {
    /// To its end, or until somebody wants to leave.
    pub(crate) async fn run(
        self,
        api: &Api,
        exec: &ExecId,
        interrupts: &Interrupts,
        progress: &Progress,
    ) -> Done<Ending> {
        let is_whole = self.plan.after.is_none() && self.plan.query.is_empty();
        let is_terminal = matches!(self.seat, Seat::Terminal { .. });
        if is_terminal {
            progress.clear();
        }
        let raw = if is_terminal {
            Raw::begin(progress)?
        } else {
            None
        };
        let seen = if raw.is_some() {
            progress.without_lines()
        } else {
            progress.clone()
        };
        let mut show = Show::new(self.form, Turn::new(progress.style), &seen, is_whole);
        let target = Target {
            api: api.clone(),
            exec: exec.clone(),
            patience: self.plan.patience,
        };
        let news = follow(api, self.plan);
        let mut seated = sit_down(self.seat, target, interrupts, &seen);
        let watch = Watch {
            api,
            exec,
            progress: &seen,
            show: &mut show,
            interrupts: Some(interrupts),
            asker: None,
            until_caught_up: false,
        };
        let watched = tokio::select! {
            watched = watch.run(news) => watched,
            failure = seated.failed() => {
                progress.clear();
                Err(without_input(failure, self.seat, api, exec).await)
            }
        };
        drop(seated);
        drop(raw);
        if let (Ok(Watched::Complete(_)), Form::Plain) = (&watched, self.form) {
            sum_up(api, exec, &mut show).await;
        }
        end(watched, &show, api, exec, interrupts, progress).await
    }
}

/// What this process ends with, and what it says before.
pub(crate) async fn end(
    watched: Done<Watched>,
    show: &Show,
    api: &Api,
    exec: &ExecId,
    interrupts: &Interrupts,
    progress: &Progress,
) -> Done<Ending> {
    match watched {
        Ok(Watched::Complete(complete)) => {
            if let Some(stream) = show.differs(&complete) {
                return Err(Failure::new(format!(
                    "what was shown of {stream} is not what the command printed (its SHA-256 differs)"
                ))
                .hint(format!("rdev logs {} shows it again", exec.stream)));
            }
            Ok(told(&complete, interrupts, progress))
        }
        Ok(Watched::Over | Watched::CaughtUp) => {
            progress.note("it had ended by then, and there is nothing more of it");
            let view: ExecView = api.get(&place::one(exec)).await?;
            let complete = view.complete.map(serde_json::from_value::<Complete>);
            match complete {
                Some(Ok(complete)) => Ok(told(&complete, interrupts, progress)),
                Some(Err(_)) | None => Ok(Ending::Code(ending::LOST)),
            }
        }
        Ok(Watched::Unread) => {
            let _ = cancel(api, exec).await;
            Ok(Ending::Code(ending::UNREAD))
        }
        Ok(Watched::Left(ending)) => {
            let words = match ending {
                Ending::Signal(Signal::INT) => "it is being canceled",
                Ending::Signal(_) | Ending::Code(_) => "it goes on without you",
            };
            let back = how_to_attach(exec, show.last_id.as_deref());
            progress.note(&format!("{words}; {back}"));
            Ok(ending)
        }
        Err(failure) => Err(match failure.hint {
            Some(_) => failure,
            None => failure.hint(how_to_attach(exec, show.last_id.as_deref())),
        }),
    }
}

fn told(complete: &Complete, interrupts: &Interrupts, progress: &Progress) -> Ending {
    let is_ours = ending::code_of(complete) == ending::CANCELED && interrupts.is_canceling();
    let is_shells = complete.outcome == rdev_contract::event::Outcome::Signaled;
    if let Some(words) = ending::in_words(complete)
        && (progress.is_seen() || !is_shells)
    {
        progress.note(&words);
    }
    if is_ours {
        return Ending::Signal(Signal::INT);
    }
    Ending::Code(ending::code_of(complete))
}

fn how_to_attach(exec: &ExecId, shown: Option<&str>) -> String {
    let name = name_of(exec.session, &exec.stream);
    let after = shown.filter(|id| !id.is_empty());
    let after = after.map_or_else(String::new, |id| format!(" --after {id}"));
    format!("to come back: rdev attach {name}{after}")
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
    fn ids_are_short_and_differ() -> Done<()> {
        let (one, other) = (drawn_id()?, drawn_id()?);
        assert_eq!(one.as_str().len(), 11);
        assert_ne!(one, other);
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
