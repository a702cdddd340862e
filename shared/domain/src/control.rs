//! What may be ordered of an exec, and what an order adds to those before it. Used by whoever gives
//! orders.
//!
//! Invariant: an order is made of what all orders before it come to ([`Given`]), and stored only if
//! none has come in between. So input has no gap and no repeat, whoever sends it and however often.

use rdev_contract::control::{ControlMessage, Given, Input, Order, SignalName, StdinGiven};
use rdev_contract::event::{CommandSpec, TerminalSize};

/// The input in one order: with the third that base64 adds, and with what stands around it, it fits
/// the smallest `max_payload` that is accepted, 1 MiB.
pub const STDIN_ORDER_MAX_BYTES: usize = 512 * 1024;
/// The input that is kept for a command that runs and does not read it: what an executor may have to
/// hold of one exec, besides its output.
pub const STDIN_KEPT_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// The input that is kept for a command that waits for its start. Thousands may wait.
pub const STDIN_KEPT_QUEUED_MAX_BYTES: u64 = 512 * 1024;
/// Orders that are kept until they are carried out: far more than people give, and few enough to be
/// read at once by whoever takes the exec over.
pub const ORDERS_KEPT_MAX_COUNT: u64 = 1024;

/// An order that is to be stored, and what all orders come to with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// What is wanted.
    pub order: Order,
    /// What the orders come to.
    pub given: Given,
}

/// A piece of standard input, as it comes from a client.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// Where in the whole of standard input it is.
    pub offset: u64,
    /// The bytes.
    pub bytes: &'a [u8],
    /// Nothing comes after it.
    pub end: bool,
}

/// Why a piece of standard input is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StdinRefused {
    /// It begins behind what was given, or ends before that.
    #[error("this does not continue standard input: the next piece begins at {next_offset}")]
    Gap {
        /// Where the next piece has to begin.
        next_offset: u64,
    },
    /// It has ended, or the exec was asked for without more of it.
    #[error("standard input ends at {next_offset}: to give more, ask for an exec with stdin_open")]
    Closed {
        /// Where it ended.
        next_offset: u64,
    },
}

impl StdinRefused {
    /// Up to where standard input has been taken.
    #[must_use]
    pub const fn next_offset(self) -> u64 {
        let (Self::Gap { next_offset } | Self::Closed { next_offset }) = self;
        next_offset
    }
}

/// What has been given to an exec before its first order: the input in its command.
#[must_use]
pub fn given_with(spec: &CommandSpec) -> Given {
    Given {
        number: 0,
        stdin: StdinGiven {
            to: spec.stdin.as_ref().map_or(0, |text| text.len() as u64),
            ended: !spec.stdin_open,
        },
        canceled: false,
    }
}

/// Cancels the exec; `None` when it has been canceled.
#[must_use]
pub fn cancel(before: &Given, reason: &str) -> Option<Addition> {
    (!before.canceled).then(|| Addition {
        order: Order::Cancel {
            reason: reason.to_owned(),
        },
        given: Given {
            number: before.number + 1,
            canceled: true,
            ..*before
        },
    })
}

/// Signals the exec's processes.
#[must_use]
pub const fn signal(before: &Given, signal: SignalName) -> Addition {
    Addition {
        order: Order::Signal { signal },
        given: Given {
            number: before.number + 1,
            ..*before
        },
    }
}

/// Sets the size of the exec's terminal.
#[must_use]
pub const fn resize(before: &Given, size: TerminalSize) -> Addition {
    Addition {
        order: Order::Resize { size },
        given: Given {
            number: before.number + 1,
            ..*before
        },
    }
}

/// Gives input; `None` when all of the piece was given before. What was given before is not given
/// again, and not compared.
///
/// # Errors
/// [`StdinRefused`] when the piece does not continue what was given.
pub fn stdin(
    spec: &CommandSpec,
    before: &Given,
    piece: &Piece<'_>,
) -> Result<Option<Addition>, StdinRefused> {
    let StdinGiven { to, ended } = before.stdin;
    let (gap, closed) = (
        StdinRefused::Gap { next_offset: to },
        StdinRefused::Closed { next_offset: to },
    );
    if !spec.stdin_open {
        return Err(closed);
    }
    let known = to.checked_sub(piece.offset).ok_or(gap)?;
    let known = usize::try_from(known).unwrap_or(usize::MAX);
    if piece.end && known > piece.bytes.len() {
        return Err(gap);
    }
    let fresh = piece.bytes.get(known..).unwrap_or_default();
    if ended && !fresh.is_empty() {
        return Err(closed);
    }
    if fresh.is_empty() && (!piece.end || ended) {
        return Ok(None);
    }
    Ok(Some(Addition {
        order: Order::Stdin {
            offset: to,
            input: Input::of(fresh),
            end: piece.end,
        },
        given: Given {
            number: before.number + 1,
            stdin: StdinGiven {
                to: to + fresh.len() as u64,
                ended: piece.end,
            },
            ..*before
        },
    }))
}

/// What is kept of the orders of an exec: since the oldest of those that nobody has removed yet, as an
/// executor does when it has carried them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// How many.
    orders: u64,
    /// Bytes of input in them.
    stdin_bytes: u64,
}

impl Kept {
    /// All that was ever given: what is kept when nothing is removed.
    #[must_use]
    pub const fn of_all(given: &Given, at_first: &Given) -> Self {
        Self {
            orders: given.number,
            stdin_bytes: given.stdin.to.saturating_sub(at_first.stdin.to),
        }
    }

    /// What is kept with `given` as what all come to, and this as the oldest order.
    #[must_use]
    pub fn since(oldest: &ControlMessage, given: &Given) -> Self {
        let from = match oldest.order {
            Order::Stdin { offset, .. } => offset,
            Order::Cancel { .. }
            | Order::Signal { .. }
            | Order::Resize { .. }
            | Order::Answer { .. }
            | Order::Unknown => oldest.given.stdin.to,
        };
        Self {
            orders: given.number.saturating_sub(oldest.given.number) + 1,
            stdin_bytes: given.stdin.to.saturating_sub(from),
        }
    }

    /// Whether so much may be kept.
    #[must_use]
    pub const fn fits(self, is_started: bool) -> bool {
        let stdin_max_bytes = if is_started {
            STDIN_KEPT_MAX_BYTES
        } else {
            STDIN_KEPT_QUEUED_MAX_BYTES
        };
        self.stdin_bytes <= stdin_max_bytes && self.orders <= ORDERS_KEPT_MAX_COUNT
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
