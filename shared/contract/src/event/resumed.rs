//! `resumed`: another executor took the exec over. Written as the first message of its claim;
//! it fences the former executor, because that one's next publish expects an older tail.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PodIdentity;
use crate::id::ClaimId;
use crate::position::{EventNo, Offsets};

/// The `data` of a `resumed` message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resumed {
    /// This claim; every later message of the claim carries it too.
    pub claim: ClaimId,
    /// One more than the claim before.
    pub attempt: u32,
    /// Name of the executor, for people.
    pub executor: String,
    /// The container it runs in: the one that `started` recorded.
    pub pod: PodIdentity,
    /// Nonce of the shim instance.
    pub shim: String,
    /// From where the output goes on.
    pub from: ResumedFrom,
    /// How many claims in a row before this one failed soon and brought no event.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_before: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// The place at which a take-over continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResumedFrom {
    /// The number that the next event will have.
    pub next: EventNo,
    /// Bytes that the log holds already.
    #[serde(flatten)]
    pub offsets: Offsets,
}
