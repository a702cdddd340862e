//! Waits for a change of a directory's files, by inotify.

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// Some file systems (network, overlay) do not tell every change, and a user can run out of inotify
/// instances: then we look again after this long. The usual path never waits for it.
const LOOK_AGAIN_MILLISECONDS: u64 = 200;

/// Room for a burst of events; what does not fit stays queued.
const EVENTS_BUFFER_BYTES: usize = 4096;

#[expect(
    deprecated,
    reason = "its replacement is unsafe; what it guards against cannot happen with a descriptor that \
              the value owns"
)]
fn owned(events: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(events)
}

/// A watch on one directory.
pub(crate) struct Watch {
    events: Option<AsyncFd<OwnedFd>>,
}

impl Watch {
    /// Begins to watch. Make it *before* looking at the directory, so that nothing falls in between.
    pub(crate) fn new(directory: &Path) -> Self {
        let open = || -> io::Result<AsyncFd<OwnedFd>> {
            let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let interesting = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO;
            inotify::add_watch(&events, directory, interesting)?;
            owned(events)
        };
        let events = open()
            .inspect_err(|error| {
                tracing::debug!(directory = %directory.display(), %error, "no inotify: looking at intervals");
            })
            .ok();
        Self { events }
    }

    /// Returns when something in the directory may have changed.
    pub(crate) async fn changed(&mut self) {
        let pause = Duration::from_millis(LOOK_AGAIN_MILLISECONDS);
        let Some(events) = &self.events else {
            tokio::time::sleep(pause).await;
            return;
        };
        let Ok(Ok(mut ready)) = tokio::time::timeout(pause, events.readable()).await else {
            return;
        };
        let mut buffer = [0; EVENTS_BUFFER_BYTES];
        let drained = ready.try_io(|events| {
            rustix::io::read(events.get_ref(), &mut buffer).map_err(io::Error::from)
        });
        if let Ok(Err(error)) = drained {
            tracing::debug!(%error, "inotify events cannot be read");
        }
    }
}
