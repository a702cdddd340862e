//! Tools in claude's lines: the content blocks `tool_use` and `tool_result`. Lines and blocks of
//! other kinds are passed over.

use serde_json::value::RawValue;

use crate::agent::json::{blocks_text, field, fields, object, text_field, text_of};
use crate::agent::{ToolMessage, ToolSide};

/// Lines of other kinds are many, and this is in none of them, but for chance.
const MARK: &str = "\"tool_";

/// The tool messages of one line, in order.
pub(super) fn tool_messages(line: &str) -> Vec<ToolMessage> {
    if !line.contains(MARK) {
        return Vec::new();
    }
    parse(line).unwrap_or_default()
}

fn parse(line: &str) -> Option<Vec<ToolMessage>> {
    let fields = fields(line)?;
    let side = match text_field(&fields, "type")?.as_str() {
        "assistant" => ToolSide::Use,
        "user" => ToolSide::Result,
        _ => return None,
    };
    let parent = text_field(&fields, "parent_tool_use_id");
    let message = object(&fields, "message")?;
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
    let fields = fields(raw.get())?;
    if text_field(&fields, "type")? != side.name() {
        return None;
    }
    let (id, text) = match side {
        ToolSide::Use => {
            let input = field(&fields, "input").map_or("null", RawValue::get);
            (text_field(&fields, "id")?, input.to_owned())
        }
        ToolSide::Result => {
            let answer = field(&fields, "content").map(answer).unwrap_or_default();
            (text_field(&fields, "tool_use_id")?, answer)
        }
    };
    let message = ToolMessage {
        block,
        side,
        tool_use_id: id,
        tool_name: text_field(&fields, "name"),
        parent_tool_use_id: None,
        is_error: field(&fields, "is_error")
            .and_then(|value| serde_json::from_str(value.get()).ok()),
        text,
        truncated: false,
    };
    Some(message.cut())
}

/// A text, or blocks.
fn answer(content: &RawValue) -> String {
    text_of(content).unwrap_or_else(|| blocks_text(content))
}

#[cfg(test)]
#[path = "tools_tests.rs"]
mod tests;
