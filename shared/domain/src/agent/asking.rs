//! What an agent says when it asks whether it may use a tool.

use serde_json::value::RawValue;

/// The agent's own name of a question may have so many bytes; they are UUIDs. A longer one is not
/// understood.
pub const APPROVAL_ID_MAX_BYTES: usize = 256;

/// A line about a question.
#[derive(Debug, Clone)]
pub enum Asking {
    /// It is asked, and waits.
    Asked(Box<Asked>),
    /// It does not want to know any more; by the name of the question.
    Withdrawn(String),
}

/// A question.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its name.
    pub id: String,
    /// The tool.
    pub tool_name: String,
    /// What the use is called in the agent's messages; empty if it is not told.
    pub tool_use_id: String,
    /// With what, as it was printed.
    pub input: Box<RawValue>,
    /// Rules that would make the question needless, as they were printed.
    pub suggestions: Option<Box<RawValue>>,
}
