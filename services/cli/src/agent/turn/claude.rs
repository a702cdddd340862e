//! Lines of `claude -p --output-format stream-json --verbose`.

use serde_json::Value;

use super::{Account, Piece, Turn, aside, telling};
use crate::style::one_line;

impl Turn {
    pub(super) fn claude(&mut self, line: &Value, pieces: &mut Vec<Piece>) {
        match line["type"].as_str() {
            Some("system") => self.claude_system(line, pieces),
            Some("assistant") => self.claude_says(line, pieces),
            Some("user") => self.claude_is_told(line, pieces),
            Some("result") => self.claude_ends(line, pieces),
            _ => {}
        }
    }

    fn claude_system(&mut self, line: &Value, pieces: &mut Vec<Piece>) {
        match line["subtype"].as_str() {
            Some("init") => {
                let model = line["model"].as_str().unwrap_or("claude");
                self.introduce(&one_line(model, 80), pieces);
            }
            Some("api_retry") => {
                let error = line["error"].as_str().unwrap_or("an error");
                let (attempt, max) = (&line["attempt"], &line["max_retries"]);
                let words =
                    format!("the API answers with {error}: trying again ({attempt} of {max})");
                self.warn(&words, pieces);
            }
            _ => {}
        }
    }

    fn claude_says(&mut self, line: &Value, pieces: &mut Vec<Piece>) {
        let is_of_another = !line["parent_tool_use_id"].is_null();
        let indent = if is_of_another { "  " } else { "" };
        for block in line["message"]["content"].as_array().into_iter().flatten() {
            match block["type"].as_str() {
                Some("text") => {
                    let text = block["text"].as_str().unwrap_or_default();
                    if is_of_another {
                        let words = one_line(text, 200);
                        pieces.push(aside(&self.style.dim(&format!("{indent}{words}"))));
                    } else {
                        self.say(text, pieces);
                    }
                }
                Some("tool_use") => {
                    let tool = block["name"].as_str().unwrap_or("a tool");
                    self.uses(tool, &telling(&block["input"]), indent, pieces);
                }
                _ => {}
            }
        }
    }

    fn claude_is_told(&self, line: &Value, pieces: &mut Vec<Piece>) {
        let indent = if line["parent_tool_use_id"].is_null() {
            ""
        } else {
            "  "
        };
        for block in line["message"]["content"].as_array().into_iter().flatten() {
            if block["type"].as_str() == Some("tool_result") {
                let failed = block["is_error"].as_bool().unwrap_or(false);
                self.came_of_it(&text_of(&block["content"]), failed, indent, pieces);
            }
        }
    }

    fn claude_ends(&mut self, line: &Value, pieces: &mut Vec<Piece>) {
        let subtype = line["subtype"].as_str().unwrap_or_default();
        let text = line["result"].as_str().unwrap_or_default();
        let failed = line["is_error"].as_bool().unwrap_or(false) || subtype != "success";
        if !failed && !self.said.contains(text.trim_end_matches('\n')) {
            self.say(text, pieces);
        }
        let usage = &line["usage"];
        let read = [
            "input_tokens",
            "cache_creation_input_tokens",
            "cache_read_input_tokens",
        ];
        let read: Vec<_> = read
            .iter()
            .filter_map(|name| usage[*name].as_u64())
            .collect();
        let trouble = failed.then(|| {
            if text.is_empty() {
                subtype.replace('_', " ")
            } else {
                text.to_owned()
            }
        });
        self.account = Some(Account {
            duration_ms: line["duration_ms"].as_u64(),
            turns: line["num_turns"].as_u64(),
            input_tokens: (!read.is_empty()).then(|| read.iter().sum()),
            output_tokens: usage["output_tokens"].as_u64(),
            printed_cost: line["total_cost_usd"].as_f64(),
            trouble,
        });
    }
}

/// A result is a text, or blocks of which some are.
fn text_of(content: &Value) -> String {
    if let Some(text) = content.as_str() {
        return text.to_owned();
    }
    let blocks = content.as_array().into_iter().flatten();
    let texts = blocks.map(|block| match block["text"].as_str() {
        Some(text) => text.to_owned(),
        None => format!("({})", block["type"].as_str().unwrap_or("something")),
    });
    texts.collect::<Vec<_>>().join("\n")
}
