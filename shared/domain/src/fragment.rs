//! Joins the parts of an agent's line that was too long for one message. Used by every reader that
//! looks into agents' events: the gateway, the projector, an executor that takes over.
//!
//! Invariant: what comes out is the data of one event, whole; a part with index 0 begins it anew,
//! because a take-over in the middle of a line repeats the line.

use rdev_contract::event::Fragment;

/// Bounds the memory of a reader whatever the log holds: the longest line that a writer makes an
/// event of, with room for the frame of its data.
pub const JOINED_MAX_BYTES: usize = crate::run::AGENT_LINE_MAX_BYTES + 64;

/// Parts of one line, until the last one is there.
#[derive(Debug, Clone, Default)]
pub struct FragmentJoiner {
    text: String,
    next_index: u32,
}

/// The part does not follow the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// A part is missing: the reader began in the middle of the line.
    #[error("part {found} of a line where part {expected} belongs")]
    OutOfOrder {
        /// The index that would have been next.
        expected: u32,
        /// The index of the part.
        found: u32,
    },
    /// Longer than any line that a writer makes an event of.
    #[error("the line is longer than {JOINED_MAX_BYTES} bytes")]
    TooLong,
}

impl FragmentJoiner {
    /// Takes the next part; gives the JSON text of the event's data with the last one.
    ///
    /// # Errors
    /// [`FragmentError`] when the part cannot belong here; the parts so far are dropped, and the
    /// next part 0 begins anew.
    pub fn push(&mut self, fragment: &Fragment<'_>) -> Result<Option<String>, FragmentError> {
        if fragment.index == 0 {
            self.clear();
        }
        let expected = self.next_index;
        if fragment.index != expected {
            self.clear();
            let found = fragment.index;
            return Err(FragmentError::OutOfOrder { expected, found });
        }
        if self.text.len() + fragment.text.len() > JOINED_MAX_BYTES {
            self.clear();
            return Err(FragmentError::TooLong);
        }
        self.text.push_str(&fragment.text);
        self.next_index += 1;
        if !fragment.last {
            return Ok(None);
        }
        let text = std::mem::take(&mut self.text);
        self.clear();
        Ok(Some(text))
    }

    /// Whether parts of a line are waiting for the rest.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.next_index > 0
    }

    fn clear(&mut self) {
        self.text = String::new();
        self.next_index = 0;
    }
}

#[cfg(test)]
#[path = "fragment_tests.rs"]
mod tests;
