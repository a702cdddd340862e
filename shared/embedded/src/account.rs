//! Under which account PostgreSQL runs, and whether that account can reach a path.
//!
//! PostgreSQL refuses to run as root. When we are root it runs as the owner of its data, else as the
//! user `postgres`, else as `nobody`.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Preferred first: Debian's PostgreSQL packages make the first one, every system has the second.
const ACCOUNT_NAMES: [&str; 2] = ["postgres", "nobody"];

/// A user that a child runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    /// The user's number.
    pub(crate) uid: u32,
    /// The number of the user's main group.
    pub(crate) gid: u32,
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The account for the server with this data directory (which may not exist yet), or `None` when we
/// are an ordinary user and the server simply runs as us.
pub(crate) fn for_data(data: &Path) -> io::Result<Option<Account>> {
    if !is_root() {
        return Ok(None);
    }
    match fs::metadata(data) {
        Ok(metadata) if metadata.uid() != 0 => {
            return Ok(Some(Account {
                uid: metadata.uid(),
                gid: metadata.gid(),
            }));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let users = fs::read_to_string("/etc/passwd")?;
    ACCOUNT_NAMES
        .iter()
        .find_map(|name| find(&users, name))
        .map(Some)
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor \
                 `nobody`: make one of them, or run this as an ordinary user",
            )
        })
}

/// Finds a user in the text of `/etc/passwd`.
fn find(users: &str, name: &str) -> Option<Account> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then_some(Account { uid, gid })
    })
}

impl Account {
    /// Whether mode bits alone let this account search every directory above `path`, and search
    /// `path` itself if it is a directory, or read and run it if it is a program. Access control lists are not looked at: where they grant more, the answer is a harmless no.
    pub(crate) fn reaches(self, path: &Path) -> io::Result<bool> {
        let path = path.canonicalize()?;
        for ancestor in path.ancestors().skip(1) {
            if !self.may(&fs::metadata(ancestor)?, 0o1) {
                return Ok(false);
            }
        }
        let metadata = fs::metadata(&path)?;
        let needed = if metadata.is_dir() { 0o1 } else { 0o5 };
        Ok(self.may(&metadata, needed))
    }

    /// Whether the mode grants the `needed` bits (read 4, write 2, search 1).
    fn may(self, metadata: &fs::Metadata, needed: u32) -> bool {
        let shift = if metadata.uid() == self.uid {
            6
        } else if metadata.gid() == self.gid {
            3
        } else {
            0
        };
        (metadata.mode() >> shift) & needed == needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn users_are_found_by_their_whole_name_and_never_root() {
        let users = "root:x:0:0:root:/root:/bin/sh\npostgres2:x:7:8::/:\n\
                     postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash\n\
                     toor:x:0:0::/:\nbroken\n";
        let postgres = Some(Account { uid: 101, gid: 104 });
        assert_eq!(find(users, "postgres"), postgres);
        assert_eq!(find(users, "toor"), None);
        assert_eq!(find(users, "nobody"), None);
        assert_eq!(find(users, "broken"), None);
    }

    #[test]
    fn a_closed_ancestor_is_out_of_reach() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o755)).unwrap();
        let stranger = Account {
            uid: 4_000_000,
            gid: 4_000_000,
        };
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!stranger.reaches(&inner).unwrap());
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711)).unwrap();
        assert!(stranger.reaches(&inner).unwrap());
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!stranger.reaches(&inner).unwrap(), "closed itself");
    }
}
