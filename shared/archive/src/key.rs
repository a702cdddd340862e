//! Names of objects. They say which exec, which life of the log, and which messages; so a listing is
//! enough to know what is there, and an exec id that was used again is not taken for the first.

use std::fmt;

use jiff::Timestamp;
use object_store::path::Path;
use rdev_contract::id::{ExecId, ProjectId, SessionId};
use rdev_contract::position::{LogIdentity, StreamSeq};

/// The first part of every name: another one belongs to another format.
const ROOT: &str = "v1";
const EXECS: &str = "execs";
const POSITIONS: &str = "positions";
const WHOLE_SUFFIX: &str = ".ndjson.zst";
const PART_SUFFIX: &str = ".part.ndjson.zst";

/// The name of an object: an exec in one life of the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Which exec.
    pub exec: ExecId,
    /// The life of the log that the sequences are of.
    pub log: LogIdentity,
    /// Its first message that is in the object.
    pub first: StreamSeq,
    /// Its last message, `complete`.
    pub last: StreamSeq,
    /// Something was gone before it was archived.
    pub is_part: bool,
}

impl Key {
    /// Whether the object may hold this message.
    #[must_use]
    pub fn covers(&self, sequence: StreamSeq) -> bool {
        self.first <= sequence && sequence <= self.last
    }

    pub(crate) fn path(&self, prefix: &Path) -> Path {
        let suffix = if self.is_part {
            PART_SUFFIX
        } else {
            WHOLE_SUFFIX
        };
        // Twenty digits: any of the numbers, so that names sort as they do.
        let name = format!(
            "{:020}-{:020}-{:020}{suffix}",
            self.log.timestamp().as_microsecond(),
            self.first.0,
            self.last.0
        );
        exec_prefix(prefix, &self.exec).join(name)
    }

    /// What a listing names; none of anything else.
    pub(crate) fn of_path(prefix: &Path, path: &Path) -> Option<Self> {
        let parts: Vec<_> = path.prefix_match(prefix)?.collect();
        let [root, execs, project, session, stream, name] = parts.as_slice() else {
            return None;
        };
        if (root.as_ref(), execs.as_ref()) != (ROOT, EXECS) {
            return None;
        }
        let name = name.as_ref();
        let (numbers, is_part) = match name.strip_suffix(PART_SUFFIX) {
            Some(numbers) => (numbers, true),
            None => (name.strip_suffix(WHOLE_SUFFIX)?, false),
        };
        let mut numbers = numbers.split('-');
        let (created_at, first, last) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let created_at = Timestamp::from_microsecond(created_at.parse().ok()?).ok()?;
        let key = Self {
            exec: ExecId {
                project: project.as_ref().parse().ok()?,
                session: session.as_ref().parse().ok()?,
                stream: stream.as_ref().parse().ok()?,
            },
            log: LogIdentity::created_at(created_at),
            first: StreamSeq(first.parse().ok()?),
            last: StreamSeq(last.parse().ok()?),
            is_part,
        };
        // One object has one name.
        (key.path(prefix) == *path).then_some(key)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path(&Path::default()).fmt(formatter)
    }
}

fn all(prefix: &Path) -> Path {
    prefix.clone().join(ROOT).join(EXECS)
}

/// What the names of all objects begin with.
pub(crate) fn execs_prefix(prefix: &Path) -> Path {
    all(prefix)
}

/// The same of a session.
pub(crate) fn session_prefix(prefix: &Path, project: &ProjectId, session: SessionId) -> Path {
    all(prefix).join(project.as_str()).join(session.to_string())
}

/// The same of an exec.
pub(crate) fn exec_prefix(prefix: &Path, exec: &ExecId) -> Path {
    session_prefix(prefix, &exec.project, exec.session).join(exec.stream.as_str())
}

/// Where it is kept how far a life of the log is archived.
pub(crate) fn position_path(prefix: &Path, log: LogIdentity) -> Path {
    let name = format!("{:020}.json", log.timestamp().as_microsecond());
    prefix.clone().join(ROOT).join(POSITIONS).join(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(created_at: i64, first: u64, last: u64, is_part: bool) -> Key {
        Key {
            exec: ExecId {
                project: "demo".parse().unwrap(),
                session: "0192f0c1-0000-7000-8000-000000000001".parse().unwrap(),
                stream: "one-_A".parse().unwrap(),
            },
            log: LogIdentity::created_at(Timestamp::from_microsecond(created_at).unwrap()),
            first: StreamSeq(first),
            last: StreamSeq(last),
            is_part,
        }
    }

    proptest! {
        #[test]
        fn a_name_says_what_it_was_made_of(
            created_at in 0..253_402_207_200_000_000_i64,
            first in any::<u64>(),
            last in any::<u64>(),
            is_part: bool,
            prefix in "[a-z]{0,3}(/[a-z]{1,3}){0,2}",
        ) {
            let prefix = Path::from(prefix);
            let key = key(created_at, first, last, is_part);
            let path = key.path(&prefix);
            prop_assert_eq!(Key::of_path(&prefix, &path), Some(key));
        }

        #[test]
        fn names_of_an_exec_sort_as_its_lives(
            one in (0..4_i64, 0..4_u64), other in (0..4_i64, 0..4_u64),
        ) {
            let (one, other) = (key(one.0, one.1, 9, false), key(other.0, other.1, 9, false));
            let paths = (one.path(&Path::default()), other.path(&Path::default()));
            prop_assert_eq!(one.cmp(&other), paths.0.cmp(&paths.1));
        }
    }

    #[test]
    fn other_names_are_none_of_ours() {
        let prefix = Path::from("p");
        let good = key(7, 1, 2, false).path(&prefix).to_string();
        assert!(Key::of_path(&prefix, &Path::from(good.clone())).is_some());
        for other in [
            good.replace("p/v1", "v1"),
            good.replace("v1", "v2"),
            good.replace("execs", "positions"),
            good.replace("demo", "De.mo"),
            good.replace(".zst", ".zst2"),
            good.replace(".ndjson", ""),
            good.replace("-0000000000000000000", "-"),
            good.replace("00000000000000000007", "7"),
            format!("{good}/x"),
        ] {
            assert_eq!(
                Key::of_path(&prefix, &Path::from(other.clone())),
                None,
                "{other}"
            );
        }
    }
}
