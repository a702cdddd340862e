//! An exec that was asked for, followed to its end.

use std::time::Duration;

use rdev_contract::event::{Complete, Outcome};
use rdev_contract::http::ExecView;
use rdev_contract::id::ExecId;
use rdev_runtime::parse_duration;
use rustix::process::Signal;

use super::ending::{self, Ending};
use super::input::Target;
use super::interrupts::{Interrupts, cancel};
use super::new::name_of;
use super::seat::{Seat, sit_down, without_input};
use super::show::{Form, Show};
use super::terminal::Raw;
use super::watch::{Watch, Watched};
use crate::agent::approvals::Asker;
use crate::agent::sum_up;
use crate::agent::turn::Turn;
use crate::api::follow::{Plan, follow};
use crate::api::{Api, place};
use crate::failure::{Done, Failure};
use crate::progress::Progress;

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
    /// Who answers an agent's questions here.
    pub(crate) asker: Option<Asker>,
    pub(crate) plan: Plan,
}

impl Following {
    /// To its end, or until somebody wants to leave.
    pub(crate) async fn run(
        mut self,
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
            asker: self.asker.as_mut(),
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
async fn end(
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
            let back = how_to_attach(api, exec, show.last_id.as_deref());
            progress.note(&format!("{words}; {back}"));
            Ok(ending)
        }
        Err(failure) => Err(match failure.hint {
            Some(_) => failure,
            None => failure.hint(how_to_attach(api, exec, show.last_id.as_deref())),
        }),
    }
}

fn told(complete: &Complete, interrupts: &Interrupts, progress: &Progress) -> Ending {
    let is_ours = ending::code_of(complete) == ending::CANCELED && interrupts.is_canceling();
    let is_shells = complete.outcome == Outcome::Signaled;
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

pub(super) fn how_to_attach(api: &Api, exec: &ExecId, shown: Option<&str>) -> String {
    let name = name_of(exec.session, &exec.stream);
    let after = shown.filter(|id| !id.is_empty());
    let after = after.map_or_else(String::new, |id| format!(" --after {id}"));
    format!("to come back: rdev attach {name}{after}{}", api.flags())
}
