//! Every frame kind, in one place. A kind is never zero, so that the zeros of a hole in a journal
//! cannot be taken for a frame; a number that was used once is never given another meaning.

/// A request: JSON.
pub(crate) const REQUEST: u8 = 1;
/// A request with bytes: the length of some JSON, the JSON, the bytes.
pub(crate) const REQUEST_WITH_BYTES: u8 = 2;

/// A reply: JSON.
pub(crate) const REPLY: u8 = 64;
/// Output: a tag, then what a chunk is in the journal.
pub(crate) const OUTPUT: u8 = 65;

/// The journal: what the command printed.
pub(crate) const JOURNAL_CHUNK: u8 = 128;
/// The journal: how it ended, as JSON.
pub(crate) const JOURNAL_END: u8 = 129;
/// The journal: a size of the command's terminal, as JSON.
pub(crate) const JOURNAL_RESIZE: u8 = 130;
