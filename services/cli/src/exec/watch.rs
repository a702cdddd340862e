//! An exec, watched to its end: what it prints is shown, and what is waited for is said.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rdev_contract::event::Complete;
use rdev_contract::http::ExecView;
use rdev_contract::id::ExecId;
use rdev_contract::queue::{QueuePlace, WaitReason};
use rdev_contract::sse::frame_name;
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;

use super::ending::Ending;
use super::interrupts::Interrupts;
use super::seat::Tasks;
use super::show::{Show, Shown};
use crate::agent::approvals::Asker;
use crate::api::follow::News;
use crate::api::{Api, place};
use crate::failure::{Done, Failure};
use crate::progress::Progress;

/// What comes sooner is not worth a line that comes and goes.
const FIRST_LOOK: Duration = Duration::from_millis(400);
/// Of a command that has printed something.
const NEXT_LOOK: Duration = Duration::from_millis(800);
/// A take-over takes 6 s at most; beyond, looks become rarer.
const LOOK_MAX: Duration = Duration::from_secs(10);
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// Whoever leaves waits so long for what is being written, so that coming back shows nothing twice.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How watching ended.
#[derive(Debug)]
pub(crate) enum Watched {
    /// The command has ended.
    Complete(Box<Complete>),
    /// It had ended before the place where this began.
    Over,
    /// There is nothing more yet, and that was enough.
    CaughtUp,
    /// Whoever reads what is shown is gone.
    Unread,
    /// This process is to leave it alone.
    Left(Ending),
}

/// Watches one exec.
pub(crate) struct Watch<'a> {
    pub(crate) api: &'a Api,
    pub(crate) exec: &'a ExecId,
    pub(crate) progress: &'a Progress,
    pub(crate) show: &'a mut Show,
    /// None: signals end this process as usual.
    pub(crate) interrupts: Option<&'a Interrupts>,
    pub(crate) asker: Option<&'a mut Asker>,
    /// Up to the present only.
    pub(crate) until_caught_up: bool,
}

impl Watch<'_> {
    /// Watches until it ends, or somebody has seen enough.
    ///
    /// # Errors
    /// When it cannot be followed, or not be shown.
    pub(crate) async fn run(mut self, mut news: Receiver<News>) -> Done<Watched> {
        let heard = Arc::new(Notify::new());
        let looks = self.progress.is_seen() && !self.until_caught_up;
        let onlooker = looks.then(|| {
            let (api, exec, progress) =
                (self.api.clone(), self.exec.clone(), self.progress.clone());
            let looking = look_on(api, exec, progress, Arc::clone(&heard));
            Tasks::one(tokio::spawn(looking).abort_handle())
        });
        let interrupts = self.interrupts;
        let watched = tokio::select! {
            watched = self.read(&mut news, &heard) => watched,
            ending = left_for_long(interrupts) => Ok(Watched::Left(ending)),
        };
        drop(onlooker);
        self.progress.clear();
        watched
    }

    async fn read(&mut self, news: &mut Receiver<News>, heard: &Notify) -> Done<Watched> {
        loop {
            let interrupts = self.interrupts;
            let answered = async {
                match &mut self.asker {
                    Some(asker) => asker.answered(self.api, self.exec, self.progress).await,
                    None => std::future::pending().await,
                }
            };
            let next = tokio::select! {
                ending = left(interrupts) => return Ok(Watched::Left(ending)),
                next = news.recv() => next,
                () = answered => continue,
            };
            match next {
                Some(News::Events(events)) => {
                    for event in &events {
                        match self.event(event, heard).await {
                            Ok(None) => {}
                            Ok(Some(watched)) => return Ok(watched),
                            Err(error) => return unread(error),
                        }
                    }
                    if let Err(error) = self.show.flush().await {
                        return unread(error);
                    }
                }
                Some(News::Lost(why)) => {
                    self.progress
                        .say(&format!("connection lost ({why}), trying again"));
                }
                Some(News::Back) => {
                    self.progress.clear();
                    if self.progress.is_verbose() {
                        self.progress.say("connected again");
                    }
                }
                Some(News::Over) => return Ok(Watched::Over),
                Some(News::Failed(error)) => return Err(error.into()),
                None => return Err(Failure::new("the reader of events has failed")),
            }
        }
    }

    /// Shows one event; says when it was the last.
    async fn event(
        &mut self,
        event: &crate::api::sse::SseEvent,
        heard: &Notify,
    ) -> io::Result<Option<Watched>> {
        match event.name.as_str() {
            frame_name::CONNECTED | frame_name::HEARTBEAT => {}
            frame_name::QUEUED => {
                if let Ok(place) = serde_json::from_str(&event.data) {
                    self.progress.say(&queued(&place));
                }
            }
            frame_name::CAUGHT_UP => {
                if self.until_caught_up {
                    self.show.flush().await?;
                    return Ok(Some(Watched::CaughtUp));
                }
            }
            _ => heard.notify_one(),
        }
        match self.show.event(event).await? {
            Shown::Nothing => {}
            Shown::Asked(approval) => {
                self.show.flush().await?;
                if let Some(asker) = &mut self.asker {
                    asker.ask(*approval, self.progress);
                }
            }
            Shown::Answered(id) => {
                if let Some(asker) = &mut self.asker {
                    asker.forget(&id, self.progress);
                }
            }
            Shown::Complete(complete) => {
                self.progress.clear();
                self.show.flush().await?;
                return Ok(Some(Watched::Complete(complete)));
            }
        }
        Ok(None)
    }
}

async fn left(interrupts: Option<&Interrupts>) -> Ending {
    match interrupts {
        Some(interrupts) => interrupts.left().await,
        None => std::future::pending().await,
    }
}

async fn left_for_long(interrupts: Option<&Interrupts>) -> Ending {
    let ending = left(interrupts).await;
    tokio::time::sleep(LEAVE_TIMEOUT).await;
    ending
}

fn unread(error: io::Error) -> Done<Watched> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(Watched::Unread);
    }
    Err(Failure::new(format!(
        "what it prints cannot be written: {error}"
    )))
}

/// Looks at an exec that is silent, and says what it waits for; and once more when it speaks again,
/// since its executor may have been replaced meanwhile.
async fn look_on(api: Api, exec: ExecId, progress: Progress, heard: Arc<Notify>) {
    let (mut pause, mut attempts, mut has_printed) = (FIRST_LOOK, 1, false);
    loop {
        let is_silent = tokio::time::timeout(pause, heard.notified()).await.is_err();
        let was_silent = pause > NEXT_LOOK;
        if is_silent {
            pause = (pause * 2).min(LOOK_MAX);
        } else {
            (pause, has_printed) = (NEXT_LOOK, true);
            if !was_silent {
                continue;
            }
        }
        let path = place::one(&exec);
        let Ok(found) = api.get_once::<ExecView>(&path, LOOK_TIMEOUT).await else {
            continue;
        };
        let view = found.value;
        if view.attempts > attempts {
            attempts = view.attempts;
            progress.say(&format!(
                "its executor was replaced; it goes on where it was (attempt {attempts})"
            ));
        } else if is_silent && let Some(words) = standing(&view, has_printed) {
            progress.say(&words);
        }
    }
}

/// What a silent exec waits for; nothing of one that has printed something.
fn standing(view: &ExecView, has_printed: bool) -> Option<String> {
    match view.status.as_str() {
        "queued" => Some(match &view.queue {
            Some(place) => queued(place),
            None => "about to start".to_owned(),
        }),
        "running" if !has_printed => Some("it runs and has printed nothing yet".to_owned()),
        _ => None,
    }
}

/// Where a command stands that waits.
pub(crate) fn queued(place: &QueuePlace) -> String {
    let why = match place.reason {
        None => return "about to start".to_owned(),
        Some(WaitReason::SessionLimit) => "its session has as many running as it may",
        Some(WaitReason::ProjectLimit) => "the project has as many running as it may",
        Some(WaitReason::AgentSession) => "the agent's earlier run has not ended",
        Some(WaitReason::SessionNotReady) => "the session's pod is not ready",
        Some(WaitReason::Slots) => "the executors are busy",
        Some(WaitReason::NoExecutor) => "no executor is there",
    };
    format!("queued, number {}: {why}", place.position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_in_words() {
        let place = |reason| QueuePlace {
            position: 3,
            ahead_in_session: 1,
            reason,
        };
        assert_eq!(queued(&place(None)), "about to start");
        assert_eq!(
            queued(&place(Some(WaitReason::Slots))),
            "queued, number 3: the executors are busy"
        );
    }
}
