//! The streams that a project's consumers read: mirrors of the log's, of that project's messages
//! only. A mirror keeps the sequences, and shows what it stores as the log does, so a consumer of
//! one project and one of all are the same program.

use std::time::Duration;

use async_nats::jetstream::{self, stream};
use async_recursion::async_recursion as boxed;
use rdev_contract::id::ProjectId;
use rdev_contract::subject::{
    COPIED, EXEC_STREAM, Filter, LIVE_DESTINATION, LIVE_SOURCE, SESSION_STREAM,
};
use tokio::time::Instant;

use crate::Bus;

/// Where the mirrors find the API of the log's account, in their own.
pub(super) const SOURCE_API: &str = "rdev.copied.api";
/// Consumers at once of one stream, of all who read a project.
pub(super) const CONSUMERS_MAX: u32 = 100;
/// Of consumers that are not kept on disk.
pub(super) const MEMORY_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// What the copies of one project may take on disk; beyond, the oldest messages are given up. The
/// server keeps so much free for each project, and does not start with less.
pub(super) const STORE_MAX_BYTES: i64 = 1024 * 1024 * 1024;
/// Sessions are small, and kept for ever.
const SESSION_STORE_MAX_BYTES: i64 = 128 * 1024 * 1024;

/// The server tries again after some time to reach what it copies from: more than a minute at most.
const FLOWS_WITHIN: Duration = Duration::from_secs(90);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A copy cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot copy {stream} for the consumers of {project}: {reason}")]
pub struct CopyError {
    stream: &'static str,
    project: ProjectId,
    reason: String,
}

/// Where the log's account has the API of a project's: the operator may ask there.
pub(super) fn api_of(project: &ProjectId) -> String {
    format!("{COPIED}.of.{project}")
}

/// Below which subject the messages come to a project's mirrors.
pub(super) fn delivered_to(project: &ProjectId) -> String {
    format!("{COPIED}.to.{project}")
}

impl Bus {
    /// Makes the copies that the consumers of a project read, where they are missing, and waits until
    /// the server fills them. For an operator, when the server knows the project's account.
    ///
    /// # Errors
    /// [`CopyError`] when the server does not make or fill one.
    #[boxed]
    pub async fn copy_for(&self, project: &ProjectId) -> Result<(), CopyError> {
        let theirs = jetstream::with_prefix(self.client.clone(), &api_of(project));
        let execs = self.copy(EXEC_STREAM, Filter::project_execs(project), project);
        let execs = stream::Config {
            max_bytes: STORE_MAX_BYTES - SESSION_STORE_MAX_BYTES,
            republish: Some(stream::Republish {
                source: LIVE_SOURCE.to_owned(),
                destination: LIVE_DESTINATION.to_owned(),
                headers_only: false,
            }),
            allow_message_ttl: true,
            ..execs
        };
        let sessions = self.copy(SESSION_STREAM, Filter::project_sessions(project), project);
        let sessions = stream::Config {
            max_bytes: SESSION_STORE_MAX_BYTES,
            ..sessions
        };
        for (stream, config) in [(EXEC_STREAM, execs), (SESSION_STREAM, sessions)] {
            let failed = |reason: String| CopyError {
                stream,
                project: project.clone(),
                reason,
            };
            let copy = theirs.get_or_create_stream(config).await;
            let copy = copy.map_err(|error| failed(error.to_string()))?;
            flows(copy).await.map_err(failed)?;
        }
        Ok(())
    }

    fn copy(&self, stream: &str, filter: Filter, project: &ProjectId) -> stream::Config {
        stream::Config {
            name: stream.to_owned(),
            storage: stream::StorageType::File,
            discard: stream::DiscardPolicy::Old,
            num_replicas: self.config.replicas,
            mirror: Some(stream::Source {
                name: stream.to_owned(),
                filter_subject: Some(filter.as_str().to_owned()),
                external: Some(stream::External {
                    api_prefix: SOURCE_API.to_owned(),
                    delivery_prefix: Some(delivered_to(project)),
                }),
                ..Default::default()
            }),
            mirror_direct: true,
            allow_direct: true,
            ..Default::default()
        }
    }
}

/// Waits until a mirror hears from what it mirrors.
async fn flows(mut copy: stream::Stream) -> Result<(), String> {
    let deadline = Instant::now() + FLOWS_WITHIN;
    while Instant::now() < deadline {
        let info = copy.info().await.map_err(|error| error.to_string())?;
        let mirror = info.mirror.as_ref();
        if mirror.is_some_and(|mirror| mirror.active.is_some()) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    // nats-server 2.14 makes the account with the first reload, and its way to the log with the second.
    Err("it was made, but nothing comes: reload nats-server once more".to_owned())
}
