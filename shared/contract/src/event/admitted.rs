//! `admitted`: the exec's turn has come. Written by the scheduler behind the command, at most once,
//! since it is fenced like everything else; read by executors, whose work queue these messages are,
//! and by whoever counts what waits and runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::position::StreamSeq;

/// The `data` of an `admitted` message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Admitted {
    /// Sequence of the exec's `command`.
    pub command_seq: StreamSeq,
    /// Name of the executor that was the scheduler, for people.
    pub scheduler: String,
}
