//! A command that somebody asks for, of whatever kind: under an id that is chosen here, so that it may be
//! asked for again after any answer that did not come.

use std::io::Write as _;
use std::time::Duration;

use rand::Rng as _;
use rdev_contract::http::{ExecAccepted, ExecRequest};
use rdev_contract::id::{ExecId, SessionId, StreamId};
use rdev_runtime::parse_duration;

use super::ending::Ending;
use super::following::{FollowArgs, Following, how_to_attach, plan};
use super::interrupts::{Interrupts, cancel};
use super::seat::Seat;
use super::show::Form;
use crate::agent::approvals::Asker;
use crate::api::{Api, place};
use crate::begin::begin;
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

/// Settings of everything that is asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct NewArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    session: SessionArg,
    /// Print the exec's name and leave it running.
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) detach: bool,
    /// Print every event as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Its working directory in the pod.
    #[arg(short = 'w', long, value_name = "DIR")]
    cwd: Option<String>,
    /// End it when it has run for so long, as in 90s or 2h.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Name the exec yourself; the same one with the same command again runs nothing twice.
    #[arg(long, value_name = "ID")]
    id: Option<StreamId>,
    #[command(flatten)]
    follow: FollowArgs,
}

impl NewArgs {
    /// What of the request is the same for all kinds.
    pub(crate) fn request(&self, kind: &str) -> ExecRequest {
        ExecRequest {
            kind: kind.to_owned(),
            cwd: self.cwd.clone(),
            timeout_seconds: self.timeout.map(whole_seconds),
            ..ExecRequest::default()
        }
    }

    /// Asks for it, and follows it to its end unless it is to be left running.
    ///
    /// # Errors
    /// When it could not be asked for, or not be followed.
    pub(crate) async fn run(
        self,
        request: ExecRequest,
        seat: Seat,
        asker: Option<Asker>,
    ) -> Done<Ending> {
        let (settings, progress, api) = begin(&self.connection)?;
        let project = api.project()?.clone();
        let gateway = format!("an answer of {}", api.base());
        let session = self
            .session
            .find(&api, &settings, IfMissing::Create, &progress);
        let exec = ExecId {
            project,
            session: progress.wait_for(&gateway, session).await?,
            stream: self.id.map_or_else(drawn_id, Ok)?,
        };
        if self.detach {
            let asked = post(&api, &exec, request, &progress);
            progress.wait_for(&gateway, asked).await?;
            return detached(&exec);
        }
        let interrupts = Interrupts::of(&api, &exec, &progress)?;
        let asked = ask(&api, &exec, request, &interrupts, &progress);
        if let Some(ending) = progress.wait_for(&gateway, asked).await? {
            return Ok(ending);
        }
        let following = Following {
            form: Form::of(self.json),
            seat,
            asker,
            plan: plan(&exec, &self.follow, None),
        };
        following.run(&api, &exec, &interrupts, &progress).await
    }
}

/// As the API takes a time, which refuses none; part of a second is one.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
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
async fn post(api: &Api, exec: &ExecId, request: ExecRequest, progress: &Progress) -> Done<()> {
    let request = ExecRequest {
        stream_id: Some(exec.stream.to_string()),
        ..request
    };
    let path = place::exec(&exec.project, exec.session);
    let asked: Result<ExecAccepted, _> = api.post(&path, &request).await;
    if let Err(error) = asked {
        // What the gateway refuses it has not done, or it says so.
        let may_have_begun = error.problem().is_none() && api.may_pass(&error);
        let failure = Failure::from(error);
        return Err(match may_have_begun {
            true => failure.hint(may_have_begun_words(api, exec)),
            false => failure,
        });
    }
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
async fn ask(
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
            progress.note(&may_have_begun_words(api, exec));
            Ok(Some(ending))
        }
    }
}

fn may_have_begun_words(api: &Api, exec: &ExecId) -> String {
    let back = how_to_attach(api, exec, None);
    format!("it may have begun nevertheless; {back}")
}

/// What `rdev attach`, `logs` and `cancel` take.
pub(super) fn name_of(session: SessionId, stream: &StreamId) -> String {
    format!("{session}/{stream}")
}

/// Says what the exec is called that is left running.
fn detached(exec: &ExecId) -> Done<Ending> {
    writeln!(std::io::stdout(), "{}", name_of(exec.session, &exec.stream))?;
    Ok(Ending::FINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_differ() -> Done<()> {
        let (one, other) = (drawn_id()?, drawn_id()?);
        assert_eq!(one.as_str().len(), 11);
        assert_ne!(one, other);
        Ok(())
    }
}
