//! What the operating system lets this process do.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the number of files that may be open from the soft limit to the hard one: each reader
/// is a socket, and the usual soft limit of 1,024 is there for programs that use `select`.
pub fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => tracing::debug!(open_files = limit.current, "raised the limit of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
}
