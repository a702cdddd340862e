//! `rdev attach`: back to an exec, to see and be it to its end; and `rdev cancel`.

use std::borrow::Cow;
use std::io::IsTerminal as _;

use rdev_contract::event::Text;
use rdev_contract::http::ScreenView;
use rdev_contract::id::ExecId;
use tokio::io::AsyncWriteExt as _;

use super::ending::Ending;
use super::following::{FollowArgs, Following, plan};
use super::interrupts::{Interrupts, cancel};
use super::seat::Seat;
use super::show::Form;
use crate::api::follow::TAIL;
use crate::api::{Api, ApiError, place};
use crate::begin::begin;
use crate::failure::{Done, Failure};
use crate::progress::Progress;
use crate::settings::ConnectionArgs;
use crate::target::{self, IfMissing, SessionArg};

/// Settings of `rdev attach`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    session: SessionArg,
    /// The exec: its id, or SESSION/ID; the newest one that runs if it is left out.
    exec: Option<String>,
    /// Hand standard input on to the command, which must have been asked for with input.
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Begin behind this event, which was shown last.
    #[arg(long, value_name = "EVENT_ID")]
    after: Option<String>,
    /// Begin with the last so many events.
    #[arg(long, value_name = "COUNT", conflicts_with = "after")]
    tail: Option<u32>,
    /// Print every event as a line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    follow: FollowArgs,
}

/// Attaches.
///
/// # Errors
/// When there is no such exec, or it cannot be followed.
pub(crate) async fn run(options: Options) -> Done<Ending> {
    let (settings, progress, api) = begin(&options.connection)?;
    let exec = match &options.exec {
        Some(name) => target::exec(&api, &settings, &options.session, name, &progress).await?,
        None => newest_running(&api, &options.session, &progress).await?,
    };
    let interrupts = Interrupts::of(&api, &exec, &progress)?;
    let mut plan = plan(&exec, &options.follow, options.after.clone());
    if let Some(count) = options.tail {
        plan.query.push((TAIL, count.to_string()));
    }
    let form = Form::of(options.json);
    let mut seat = if options.stdin {
        Seat::Pipe { is_new: false }
    } else {
        Seat::None
    };
    let wants_screen = form == Form::Plain
        && options.after.is_none()
        && options.tail.is_none()
        && std::io::stdout().is_terminal();
    if wants_screen && let Some(screen) = screen(&api, &exec).await? {
        draw(&screen).await?;
        plan.after = Some(screen.next);
        seat = Seat::Terminal { is_new: false };
    }
    let following = Following {
        form,
        seat,
        asker: None,
        plan,
    };
    following.run(&api, &exec, &interrupts, &progress).await
}

async fn newest_running(api: &Api, session: &SessionArg, progress: &Progress) -> Done<ExecId> {
    let session = match &session.session {
        Some(name) => Some(target::session(api, name, IfMissing::Refuse, progress).await?),
        None => None,
    };
    let running = [("status", "running".to_owned())];
    let found = target::newest(api, session, &running).await?;
    found.ok_or_else(|| Failure::new("nothing runs").hint("`rdev execs` lists what did"))
}

/// What the exec's terminal shows, if it has one.
async fn screen(api: &Api, exec: &ExecId) -> Done<Option<ScreenView>> {
    match api.get(&place::of_exec(exec, "screen")).await {
        Ok(screen) => Ok(Some(screen)),
        Err(error) if is_without_screen(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// It has no terminal, or its beginning is gone and the events have to do.
fn is_without_screen(error: &ApiError) -> bool {
    matches!(error.code(), Some("no_terminal" | "events_expired"))
}

async fn draw(screen: &ScreenView) -> Done<()> {
    let drawn = Text {
        line: screen.ansi.as_deref().map(Cow::Borrowed),
        line_base64: screen.ansi_base64.as_deref().map(Cow::Borrowed),
        stream: None,
        partial: true,
    };
    let bytes = drawn.bytes();
    let bytes = bytes.map_err(|error| Failure::new(format!("the screen: {error}")))?;
    let mut out = tokio::io::stdout();
    out.write_all(&bytes).await?;
    Ok(out.flush().await?)
}

/// Settings of `rdev cancel`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CancelOptions {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    session: SessionArg,
    /// The execs: their ids, or SESSION/ID.
    #[arg(required = true, value_name = "EXEC")]
    execs: Vec<String>,
}

/// Cancels; that one has ended already is as well.
///
/// # Errors
/// When there is no such exec, or the order cannot be given.
pub(crate) async fn run_cancel(options: CancelOptions) -> Done<Ending> {
    let (settings, progress, api) = begin(&options.connection)?;
    for name in &options.execs {
        let exec = target::exec(&api, &settings, &options.session, name, &progress).await?;
        cancel(&api, &exec).await?;
    }
    Ok(Ending::FINE)
}
