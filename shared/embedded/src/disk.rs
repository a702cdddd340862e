//! Room on disks.

use std::io;
use std::path::Path;

/// Bytes that the file system of this path has left for whoever is not root.
///
/// # Errors
/// The system does not tell, as for a path that is not there.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
