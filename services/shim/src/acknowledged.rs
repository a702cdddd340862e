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

/// Four numbers of eight bytes. A supervisor that knows no terminals makes a record without the last
/// one.
const RECORD_BYTES: usize = 32;

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
    let mut known = 0;
    while known < RECORD_BYTES {
        match file.read_at(&mut record[known..], known as u64)? {
            0 => break,
            length => known += length,
        }
    }
    let mut numbers = record
        .as_chunks::<8>()
        .0
        .iter()
        .map(|bytes| u64::from_be_bytes(*bytes));
    let mut next = || numbers.next().unwrap_or_default();
    let (stdout, stderr, next_event_number) = (next(), next(), next());
    Ok(Acknowledged {
        offsets: Offsets {
            stdout,
            stderr,
            resizes: next(),
        },
        next_event_number,
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
            after.offsets.resizes,
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
                resizes: 4,
            },
            next_event_number: 3,
        };
        assert_eq!(raise(&file, first).unwrap(), first);
        let stale = Acknowledged {
            offsets: Offsets {
                stdout: 5,
                stderr: 9,
                resizes: 3,
            },
            next_event_number: 1,
        };
        let both = Acknowledged {
            offsets: Offsets {
                stdout: 7,
                stderr: 9,
                resizes: 4,
            },
            next_event_number: 3,
        };
        assert_eq!(raise(&file, stale).unwrap(), both);
        assert_eq!(read(&file).unwrap(), both);
    }

    #[test]
    fn a_record_of_a_supervisor_that_knows_no_terminals_is_read_and_raised() {
        let mut file = tempfile::tempfile().unwrap();
        let numbers = [7_u64, 2, 3].map(u64::to_be_bytes);
        io::Write::write_all(&mut file, numbers.as_flattened()).unwrap();
        let known = Acknowledged {
            offsets: Offsets::new(7, 2),
            next_event_number: 3,
        };
        assert_eq!(read(&file).unwrap(), known);
        let more = Acknowledged {
            next_event_number: 4,
            ..known
        };
        assert_eq!(raise(&file, more).unwrap(), more);
    }
}
