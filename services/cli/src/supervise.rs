//! Keeping the services of `rdev dev` running: a service that dies is started again at once, as
//! a cluster would do.

use std::time::Duration;

use rdev_embedded::{Program, Signal};
use rdev_runtime::Shutdown;

/// Longer than the services' own grace for draining.
const STOP_GRACE: Duration = Duration::from_secs(12);
/// Between the death of a service and its next start; keeps one that cannot start from spinning.
const RESTART_DELAY: Duration = Duration::from_millis(300);

/// Runs a service until shutdown, however often it dies; then asks it to end, and waits.
pub(crate) async fn keep_running(name: &'static str, program: Program, shutdown: Shutdown) {
    loop {
        match program.spawn() {
            Ok(child) => tokio::select! {
                status = child.wait() => {
                    tracing::warn!(service = name, %status, "service ended, starting it again");
                }
                () = shutdown.requested() => {
                    let status = child.stop(Signal::TERM, STOP_GRACE).await;
                    tracing::debug!(service = name, %status, "service stopped");
                    return;
                }
            },
            Err(error) => tracing::error!(service = name, %error, "service cannot be started"),
        }
        tokio::select! {
            () = tokio::time::sleep(RESTART_DELAY) => {}
            () = shutdown.requested() => return,
        }
    }
}
