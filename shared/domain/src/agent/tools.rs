//! What an agent asked of its tools, and what they answered, as a conversation is kept with it.
//! Invariant: the same line gives the same messages, each with its place in the line.

/// What is kept of one input or answer: a screen or two for people; the log has all of it.
pub const TOOL_TEXT_MAX_BYTES: usize = 64 * 1024;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolSide {
    /// The agent, to the tool.
    Use,
    /// The tool.
    Result,
}

impl ToolSide {
    /// As in the API and in the read model.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Use => "tool_use",
            Self::Result => "tool_result",
        }
    }
}

/// One use of a tool, or its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolMessage {
    /// Which block of the line, from 0.
    pub block: u16,
    /// Who speaks.
    pub side: ToolSide,
    /// What use and answer have in common.
    pub tool_use_id: String,
    /// The tool, where it is named.
    pub tool_name: Option<String>,
    /// The use of the tool that runs the agent which this is of.
    pub parent_tool_use_id: Option<String>,
    /// Whether the answer is one.
    pub is_error: Option<bool>,
    /// The input as the JSON text it came as, or the answer's text. May hold NUL characters.
    pub text: String,
    /// The text is only the beginning.
    pub truncated: bool,
}

impl ToolMessage {
    /// Cuts its text to what is kept.
    pub(super) fn cut(mut self) -> Self {
        self.truncated = self.text.len() > TOOL_TEXT_MAX_BYTES;
        let end = self.text.floor_char_boundary(TOOL_TEXT_MAX_BYTES);
        self.text.truncate(end);
        self
    }
}
