//! `rdev logs`: what execs have printed, and with `--follow` what they go on to print.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use rdev_contract::event::OutputStream;
use rdev_contract::http::ExecView;
use rdev_contract::id::{ExecId, SessionId, StreamId};
use rdev_contract::sse::frame_name;
use rdev_runtime::parse_duration;
use serde::Deserialize;
use tokio::sync::mpsc::Receiver;

use crate::agent::sum_up;
use crate::agent::turn::{Piece, Turn};
use crate::api::follow::{News, Plan, TAIL, follow, number_of};
use crate::api::sse::SseEvent;
use crate::api::{Api, place};
use crate::begin::begin;
use crate::exec::ending::Ending;
use crate::exec::following::{FollowArgs, plan};
use crate::exec::show::{Form, Show};
use crate::exec::watch::{Watch, Watched};
use crate::failure::{Done, Failure};
use crate::progress::Progress;
use crate::settings::ConnectionArgs;
use crate::target::{self, IfMissing, SessionArg};

/// Execs of a session that are shown at most.
const EXECS_MAX: usize = 1_000;

/// Settings of `rdev logs`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    session: SessionArg,
    /// The exec: its id, or SESSION/ID; without it, the newest one, or with --since all of the session.
    exec: Option<String>,
    /// Go on as long as something comes; without EXEC, with whatever the session runs later, too.
    #[arg(short, long)]
    follow: bool,
    /// Of the session, all execs that were asked for since: 10m, 2h, or a time as in 2026-11-22T06:21:00Z.
    #[arg(long, value_name = "WHEN", value_parser = when, conflicts_with_all = ["exec", "after", "tail"])]
    since: Option<Timestamp>,
    /// Of the exec, what is behind this event.
    #[arg(long, value_name = "EVENT_ID", requires = "exec")]
    after: Option<String>,
    /// Of the exec, the last so many events; its end is one.
    #[arg(short = 'n', long, value_name = "COUNT", conflicts_with = "after")]
    tail: Option<u32>,
    /// Print every event as a line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    following: FollowArgs,
}

/// A time, or how long ago it was.
pub(crate) fn when(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let ago = parse_duration(text)
        .map_err(|_| "give how long ago, as in 10m or 2h, or a time, as in 2026-11-22T06:21:00Z")?;
    before_now(ago)
}

fn before_now(ago: Duration) -> Result<Timestamp, String> {
    let now = Timestamp::now();
    now.checked_sub(ago)
        .map_err(|_| "that is too long ago".to_owned())
}

/// Shows them.
///
/// # Errors
/// When there is nothing of the kind, or it cannot be read.
pub(crate) async fn run(options: Options) -> Done<Ending> {
    let (settings, progress, api) = begin(&options.connection)?;
    let logs = Logs {
        form: Form::of(options.json),
        options: &options,
        api: &api,
        progress: &progress,
    };
    if options.exec.is_none() && options.follow && options.tail.is_some() {
        return Err(Failure::new(
            "-n is for one exec, and -f without one is for all of the session",
        )
        .hint("name the exec, or give --since in place of -n"));
    }
    if let Some(name) = &options.exec {
        let exec = target::exec(&api, &settings, &options.session, name, &progress).await?;
        return logs.one(&exec, options.follow).await;
    }
    let session = match options.session.name(&settings) {
        Some(name) => Some(target::session(&api, name, IfMissing::Refuse, &progress).await?),
        None => None,
    };
    match session {
        Some(session) if options.follow || options.since.is_some() => logs.session(session).await,
        None if options.follow || options.since.is_some() => {
            Err(Failure::new("no session is named").hint("give -s, or the name of an exec"))
        }
        session => match target::newest(&api, session, &[]).await? {
            Some(exec) => logs.one(&exec, false).await,
            None => Err(Failure::new("there are no execs yet")),
        },
    }
}

struct Logs<'a> {
    form: Form,
    options: &'a Options,
    api: &'a Api,
    progress: &'a Progress,
}

impl Logs<'_> {
    /// Of one exec.
    async fn one(&self, exec: &ExecId, follows: bool) -> Done<Ending> {
        let mut plan = plan(exec, &self.options.following, self.options.after.clone());
        if let Some(count) = self.options.tail {
            plan.query.push((TAIL, count.to_string()));
        }
        let is_whole = plan.after.is_none() && plan.query.is_empty();
        let mut show = self.show(is_whole);
        let watched = self.watch(exec, plan, &mut show, !follows).await?;
        if let Watched::Complete(complete) = &watched {
            if self.form == Form::Plain {
                sum_up(self.api, exec, &mut show).await;
            }
            if let Some(stream) = show.differs(complete) {
                return Err(Failure::new(format!("the SHA-256 of {stream} differs")));
            }
        }
        Ok(Ending::FINE)
    }

    fn show(&self, is_whole: bool) -> Show {
        Show::new(
            self.form,
            Turn::new(self.progress.style),
            self.progress,
            is_whole,
        )
    }

    async fn watch(
        &self,
        exec: &ExecId,
        plan: Plan,
        show: &mut Show,
        until_caught_up: bool,
    ) -> Done<Watched> {
        let watch = Watch {
            api: self.api,
            exec,
            progress: self.progress,
            show,
            interrupts: None,
            asker: None,
            until_caught_up,
        };
        let watched = watch.run(follow(self.api, plan)).await?;
        if let Watched::Unread = watched {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        }
        Ok(watched)
    }

    /// Of the execs of a session: those that were asked for since, or the newest, and with `--follow`
    /// whatever comes.
    async fn session(&self, session: SessionId) -> Done<Ending> {
        let project = self.api.project()?.clone();
        // From here on nothing is missed; what was before is read from each exec.
        let mut feed = match self.options.follow {
            true => Some(self.feed(session).await?),
            false => None,
        };
        let path = place::execs(&project, Some(session));
        let since = self.options.since.map(|since| ("since", since.to_string()));
        let max = if since.is_some() { EXECS_MAX } else { 1 };
        let mut execs: Vec<ExecView> = self.api.list(&path, since.as_slice(), max).await?;
        execs.reverse();
        let mut shown = Several {
            logs: self,
            session,
            of: HashMap::new(),
            current: None,
        };
        for view in execs {
            let exec = target::of_view(self.api, &view)?;
            shown.catch_up(&exec.stream).await?;
        }
        if let Some(feed) = &mut feed {
            for event in std::mem::take(&mut feed.early) {
                shown.event(&event).await?;
            }
            shown.follow(&mut feed.news).await?;
        }
        Ok(Ending::FINE)
    }

    /// The events of the session from now on; it has its place when this returns.
    async fn feed(&self, session: SessionId) -> Done<Feed> {
        let mut news = follow(
            self.api,
            Plan {
                path: place::feed(self.api.project()?, session),
                query: vec![(TAIL, "0".to_owned())],
                after: None,
                of_one_exec: false,
                poll: self.options.following.poll,
                patience: self.options.following.reconnect_for,
            },
        );
        let mut early = Vec::new();
        while let Some(next) = news.recv().await {
            match next {
                // A stream greets with its place, and a page says where the next one begins.
                News::Events(events) => {
                    early = events;
                    break;
                }
                News::Lost(why) => self.lost(&why),
                News::Back => self.progress.clear(),
                News::Over => break,
                News::Failed(error) => return Err(error.into()),
            }
        }
        Ok(Feed { news, early })
    }

    fn lost(&self, why: &str) {
        self.progress
            .say(&format!("connection lost ({why}), trying again"));
    }
}

/// What a session does from some moment on.
struct Feed {
    news: Receiver<News>,
    /// Came with the place itself.
    early: Vec<SseEvent>,
}

/// Several execs, each with what was shown of it.
struct Several<'a> {
    logs: &'a Logs<'a>,
    session: SessionId,
    of: HashMap<StreamId, Show>,
    current: Option<StreamId>,
}

/// Which exec an event of a feed is of.
#[derive(Deserialize)]
struct OfExec {
    stream_id: StreamId,
}

impl Several<'_> {
    /// Shows what is new of one exec, up to now.
    async fn catch_up(&mut self, stream: &StreamId) -> Done<()> {
        let exec = ExecId {
            project: self.logs.api.project()?.clone(),
            session: self.session,
            stream: stream.clone(),
        };
        let mut show = self
            .of
            .remove(stream)
            .unwrap_or_else(|| self.logs.show(true));
        self.announce(stream, &mut show).await?;
        let after = show.last_id.clone();
        let plan = plan(&exec, &self.logs.options.following, after);
        self.logs.watch(&exec, plan, &mut show, true).await?;
        self.of.insert(stream.clone(), show);
        Ok(())
    }

    async fn announce(&mut self, stream: &StreamId, show: &mut Show) -> Done<()> {
        if self.current.as_ref() == Some(stream) || self.logs.form == Form::Json {
            return Ok(());
        }
        self.current = Some(stream.clone());
        let style = self.logs.progress.style;
        let piece = Piece {
            to: OutputStream::Stderr,
            text: format!("{}\n", style.bold(&format!("==> {stream} <=="))),
        };
        show.own(&[piece]).await?;
        Ok(show.flush().await?)
    }

    async fn follow(&mut self, feed: &mut Receiver<News>) -> Done<()> {
        while let Some(news) = feed.recv().await {
            match news {
                News::Events(events) => {
                    for event in &events {
                        self.event(event).await?;
                    }
                }
                News::Lost(why) => self.logs.lost(&why),
                News::Back => self.logs.progress.clear(),
                News::Over => return Ok(()),
                News::Failed(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn event(&mut self, event: &SseEvent) -> Done<()> {
        let own = [frame_name::SESSION, frame_name::GAP];
        let Ok(OfExec { stream_id }) = serde_json::from_str(&event.data) else {
            return Ok(());
        };
        if own.contains(&event.name.as_str()) {
            return Ok(());
        }
        let number = number_of(&event.id).unwrap_or(0);
        let shown = self
            .of
            .get(&stream_id)
            .and_then(|show| show.last_id.as_deref());
        let shown = shown.and_then(number_of).unwrap_or(0);
        if number <= shown {
            return Ok(());
        }
        if number > shown + 1 {
            // It began before the feed did, and was in no list yet.
            return self.catch_up(&stream_id).await;
        }
        let mut show = self
            .of
            .remove(&stream_id)
            .unwrap_or_else(|| self.logs.show(true));
        self.announce(&stream_id, &mut show).await?;
        show.event(event).await?;
        show.flush().await?;
        self.of.insert(stream_id, show);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_is_a_time_or_how_long_ago() {
        assert_eq!(
            when("2026-11-22T06:21:00Z").unwrap().as_second(),
            1_795_328_460
        );
        let ago = Timestamp::now().as_second() - when("10m").unwrap().as_second();
        assert!((600..602).contains(&ago), "{ago}");
        assert!(when("soon").unwrap_err().contains("10m"));
    }
}
