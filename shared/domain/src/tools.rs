//! What claude asked of its tools, and what they answered: the content blocks of its lines that a
//! conversation is kept with. Used by the projector and by whoever rebuilds or audits the read
//! model.
//!
//! Tolerant: lines and blocks of other kinds are passed over. Invariant: the same line gives the
//! same messages, each with the place of its block.

use serde_json::value::RawValue;

use crate::claude::{Fields, field, text_field, text_of};

/// What is kept of one input or answer: a screen or two for people; the log has all of it.
pub const TOOL_TEXT_MAX_BYTES: usize = 64 * 1024;
/// Lines of other kinds are many, and this is in none of them, but for chance.
const MARK: &str = "\"tool_";

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolSide {
    /// Claude, to the tool.
    Use,
    /// The tool.
    Result,
}

impl ToolSide {
    /// As in the API and in the read model, and as the CLI names the block.
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
    /// The tool; the answer does not name it.
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

/// The tool messages of one line of the CLI's standard output, in order.
#[must_use]
pub fn tool_messages(line: &str) -> Vec<ToolMessage> {
    if !line.contains(MARK) {
        return Vec::new();
    }
    parse(line).unwrap_or_default()
}

fn parse(line: &str) -> Option<Vec<ToolMessage>> {
    let fields: Fields<'_> = serde_json::from_str(line).ok()?;
    let side = match text_field(&fields, "type")?.as_str() {
        "assistant" => ToolSide::Use,
        "user" => ToolSide::Result,
        _ => return None,
    };
    let parent = text_field(&fields, "parent_tool_use_id");
    let message: Fields<'_> = serde_json::from_str(field(&fields, "message")?.get()).ok()?;
    let blocks: Vec<&RawValue> = serde_json::from_str(field(&message, "content")?.get()).ok()?;
    let messages = (0..=u16::MAX).zip(blocks).filter_map(|(block, raw)| {
        let found = of_block(block, side, raw)?;
        Some(ToolMessage {
            parent_tool_use_id: parent.clone(),
            ..found
        })
    });
    Some(messages.collect())
}

fn of_block(block: u16, side: ToolSide, raw: &RawValue) -> Option<ToolMessage> {
    let fields: Fields<'_> = serde_json::from_str(raw.get()).ok()?;
    if text_field(&fields, "type")? != side.name() {
        return None;
    }
    let (id, mut text) = match side {
        ToolSide::Use => {
            let input = field(&fields, "input").map_or("null", RawValue::get);
            (text_field(&fields, "id")?, input.to_owned())
        }
        ToolSide::Result => {
            let answer = field(&fields, "content").map(answer).unwrap_or_default();
            (text_field(&fields, "tool_use_id")?, answer)
        }
    };
    let truncated = text.len() > TOOL_TEXT_MAX_BYTES;
    text.truncate(text.floor_char_boundary(TOOL_TEXT_MAX_BYTES));
    Some(ToolMessage {
        block,
        side,
        tool_use_id: id,
        tool_name: text_field(&fields, "name"),
        parent_tool_use_id: None,
        is_error: field(&fields, "is_error")
            .and_then(|value| serde_json::from_str(value.get()).ok()),
        text,
        truncated,
    })
}

/// A text, or blocks: of those that are none (an image), the kind.
fn answer(content: &RawValue) -> String {
    if let Some(text) = text_of(content) {
        return text;
    }
    let Ok(blocks) = serde_json::from_str::<Vec<Fields<'_>>>(content.get()) else {
        return String::new();
    };
    let texts: Vec<String> = blocks
        .iter()
        .map(|block| match text_field(block, "text") {
            Some(text) => text,
            None => format!("[{}]", text_field(block, "type").unwrap_or_default()),
        })
        .collect();
    texts.join("\n")
}

#[cfg(test)]
#[path = "tools_tests.rs"]
mod tests;
