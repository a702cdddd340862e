//! What an executor has told to be in the log, kept where the next executor finds it.
//!
//! One small record per exec, written by whichever `serve` passes an acknowledgement on, read by a
//! take-over. Invariant: it never goes down, whoever writes: writers take the record's own lock and
//! keep the larger of each field. It need not outlive the machine: then the container is another.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rdev_frames::{Acknowledged, Offsets};
use rustix::fs::{FlockOperation, flock};

/// Three numbers of eight bytes.
const RECORD_BYTES: usize = 24;

/// The record before the first acknowledgement.
pub(crate) const EMPTY_RECORD: [u8; RECORD_BYTES] = [0; RECORD_BYTES];

/// The record.
pub(crate) fn read(file: &File) -> io::Result<Acknowledged> {
    flock(file, FlockOperation::LockShared)?;
    let result = read_locked(file);
    flock(file, FlockOperation::Unlock)?;
    result
}

/// Raises the record to at least `acknowledged`, and gives what it is then.
pub(crate) fn raise(file: &File, acknowledged: Acknowledged) -> io::Result<Acknowledged> {
    flock(file, FlockOperation::LockExclusive)?;
    let result = raise_locked(file, acknowledged);
    flock(file, FlockOperation::Unlock)?;
    result
}

fn read_locked(file: &File) -> io::Result<Acknowledged> {
    let mut record = EMPTY_RECORD;
    file.read_exact_at(&mut record, 0)?;
    let mut numbers = record
        .as_chunks::<8>()
        .0
        .iter()
        .map(|bytes| u64::from_be_bytes(*bytes));
    let mut next = || numbers.next().unwrap_or_default();
    Ok(Acknowledged {
        offsets: Offsets {
            stdout: next(),
            stderr: next(),
        },
        next_event_number: next(),
    })
}

fn raise_locked(file: &File, acknowledged: Acknowledged) -> io::Result<Acknowledged> {
    let before = read_locked(file)?;
    let after = before.max(acknowledged);
    if after != before {
        let numbers = [
            after.offsets.stdout,
            after.offsets.stderr,
            after.next_event_number,
        ];
        file.write_all_at(numbers.map(u64::to_be_bytes).as_flattened(), 0)?;
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_writer_cannot_lower_the_record() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &EMPTY_RECORD).unwrap();
        assert_eq!(read(&file).unwrap(), Acknowledged::default());
        let first = Acknowledged {
            offsets: Offsets {
                stdout: 7,
                stderr: 2,
            },
            next_event_number: 3,
        };
        assert_eq!(raise(&file, first).unwrap(), first);
        let stale = Acknowledged {
            offsets: Offsets {
                stdout: 5,
                stderr: 9,
            },
            next_event_number: 1,
        };
        let both = Acknowledged {
            offsets: Offsets {
                stdout: 7,
                stderr: 9,
            },
            next_event_number: 3,
        };
        assert_eq!(raise(&file, stale).unwrap(), both);
        assert_eq!(read(&file).unwrap(), both);
    }
}
