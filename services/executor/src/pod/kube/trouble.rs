//! What refusals and endings mean: the words of the API server, the kubelet, the scripts and the
//! shim, turned into a [`PodError`] that says what to do.
//!
//! Invariant: what another try can heal is `Unavailable`; nothing else is.

use super::super::{PodError, PodIdentity};
use super::shim;
use super::stream::{Ended, Farewell};

/// Why an exec did not become a channel.
pub(super) enum Obstacle {
    /// There is no shim in the container.
    ShimMissing,
    /// There is no `sh` in the container.
    NoShell,
    /// Something that a shim would not help against.
    Pod(PodError),
}

impl Obstacle {
    /// What is left when there is nothing more to try.
    pub(super) fn into_error(self, pod: &PodIdentity, why: &str) -> PodError {
        match self {
            Self::Pod(error) => error,
            Self::NoShell | Self::ShimMissing => no_shim(pod, why),
        }
    }
}

/// What the API said about a request.
pub(super) fn api_error(error: &kube::Error) -> PodError {
    let text = words(error);
    match status_code(error) {
        404 => PodError::NotFound(text),
        400 | 403 | 405 | 422 => PodError::Refused(text),
        _ => PodError::Unavailable(text),
    }
}

/// What the API said about an exec before the switch to WebSocket.
pub(super) fn exec_error(error: &kube::Error) -> PodError {
    let text = words(error);
    // A kubelet's answer, passed on by the API server (v4).
    if is_container_gone(&text) {
        return PodError::NotRunning(text);
    }
    api_error(error)
}

/// What the end of an exec without a word on stdout means.
pub(super) fn obstacle(pod: &PodIdentity, farewell: Farewell) -> Obstacle {
    let place = place(pod);
    let text = farewell.to_string();
    let Farewell { ended, stderr } = farewell;
    match ended {
        Ended::Code(shim::EXIT_MISSING | shim::EXIT_NOT_FOUND) => Obstacle::ShimMissing,
        Ended::Code(shim::EXIT_CANNOT_EXECUTE) => Obstacle::Pod(no_shim(
            pod,
            &format!("rdev-shim is there and cannot be run ({stderr})"),
        )),
        Ended::Refused(why) if is_missing_program(&why) => Obstacle::NoShell,
        Ended::Refused(why) if is_container_gone(&why) => {
            Obstacle::Pod(PodError::NotRunning(format!("{place}: {why}")))
        }
        // The shim's own complaint; it names what to set.
        Ended::Code(_) if !stderr.is_empty() && !is_killed(&ended) => Obstacle::Pod(
            PodError::NoShim(format!("the shim in {place} cannot work: {stderr}")),
        ),
        Ended::Code(_) | Ended::Success | Ended::Refused(_) | Ended::Broken(_) => Obstacle::Pod(
            PodError::Unavailable(format!("the connection to the shim in {place} was {text}")),
        ),
    }
}

/// What the end of an upload without a receipt means.
pub(super) fn upload_error(pod: &PodIdentity, farewell: Farewell) -> PodError {
    let place = place(pod);
    let text = farewell.to_string();
    let Farewell { ended, stderr } = farewell;
    let directory = "set RDEV_SHIM_DIR in the container to a directory in which programs can be written and run (an emptyDir)";
    match ended {
        Ended::Code(shim::EXIT_NOT_WRITABLE) => PodError::NoShim(format!(
            "the shim cannot be written in {place} ({stderr}): {directory}, or put rdev-shim into the image"
        )),
        Ended::Code(shim::EXIT_NOT_RUNNABLE) => PodError::NoShim(format!(
            "the shim cannot be run in {place} ({stderr}): {directory}, or put rdev-shim into the image"
        )),
        Ended::Code(shim::EXIT_OTHER_MACHINE) => PodError::NoShim(format!(
            "the executor's shim is for another machine than {place} ({stderr}): put rdev-shim into the image"
        )),
        Ended::Code(shim::EXIT_CANNOT_EXECUTE | shim::EXIT_NOT_FOUND) => PodError::NoShim(format!(
            "{place} lacks a program for the upload ({stderr}): put rdev-shim into the image"
        )),
        Ended::Refused(why) if is_container_gone(&why) => {
            PodError::NotRunning(format!("{place}: {why}"))
        }
        Ended::Code(shim::EXIT_INCOMPLETE) => PodError::Unavailable(format!(
            "the shim did not arrive whole in {place} ({stderr})"
        )),
        Ended::Code(_) | Ended::Success | Ended::Refused(_) | Ended::Broken(_) => {
            PodError::Unavailable(format!("the upload of the shim into {place} was {text}"))
        }
    }
}

/// The shim is not in the container and cannot be put there.
pub(super) fn no_shim(pod: &PodIdentity, why: &str) -> PodError {
    PodError::NoShim(format!(
        "there is no way to run commands in {}: {why}; put rdev-shim on the PATH of the image, or mount a volume that has it",
        place(pod)
    ))
}

/// A container in words.
pub(super) fn place(pod: &PodIdentity) -> String {
    format!(
        "{}/{} (container {})",
        pod.namespace, pod.name, pod.container
    )
}

/// An error in words, with its causes; what the API said stands alone.
pub(super) fn words(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

fn status_code(error: &kube::Error) -> u16 {
    if let kube::Error::Api(status) = error {
        status.code
    } else {
        0
    }
}

/// Whether the node said that the program is not in the container.
fn is_missing_program(why: &str) -> bool {
    why.contains("executable file not found") || why.contains("no such file or directory")
}

/// Whether the kubelet said that the container does not run.
fn is_container_gone(why: &str) -> bool {
    why.contains("container not found")
}

/// Whether a signal ended it: the container went, or memory did.
fn is_killed(ended: &Ended) -> bool {
    matches!(ended, Ended::Code(code) if *code > 128)
}
