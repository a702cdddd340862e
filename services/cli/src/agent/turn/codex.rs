//! Lines of `codex exec --json`.

use serde_json::Value;

use super::{Account, Piece, Turn, telling};

impl Turn {
    pub(super) fn codex(&mut self, line: &Value, pieces: &mut Vec<Piece>) {
        match line["type"].as_str() {
            Some("thread.started") => self.introduce("codex", pieces),
            Some("item.started") => self.codex_begins(&line["item"], pieces),
            Some("item.completed") => self.codex_has_done(&line["item"], pieces),
            Some("error") => {
                self.warn(line["message"].as_str().unwrap_or("an error"), pieces);
            }
            Some("turn.completed") => {
                let usage = &line["usage"];
                self.account = Some(Account {
                    input_tokens: usage["input_tokens"].as_u64(),
                    output_tokens: usage["output_tokens"].as_u64(),
                    ..Account::default()
                });
            }
            Some("turn.failed") => {
                let why = line["error"]["message"]
                    .as_str()
                    .unwrap_or("it says not why");
                self.account = Some(Account {
                    trouble: Some(why.to_owned()),
                    ..Account::default()
                });
            }
            _ => {}
        }
    }

    fn codex_begins(&self, item: &Value, pieces: &mut Vec<Piece>) {
        match item["type"].as_str() {
            Some("command_execution") => {
                let command = item["command"].as_str().unwrap_or_default();
                self.uses("shell", command, "", pieces);
            }
            Some("mcp_tool_call") => {
                let tool = item["tool"].as_str().unwrap_or("a tool");
                self.uses(tool, &telling(&item["arguments"]), "", pieces);
            }
            Some("web_search") => self.uses("search", &telling(item), "", pieces),
            _ => {}
        }
    }

    fn codex_has_done(&mut self, item: &Value, pieces: &mut Vec<Piece>) {
        let failed = item["status"].as_str() == Some("failed");
        match item["type"].as_str() {
            Some("agent_message") => self.say(item["text"].as_str().unwrap_or_default(), pieces),
            Some("command_execution") => {
                let output = item["aggregated_output"].as_str().unwrap_or_default();
                self.came_of_it(output, failed, "", pieces);
            }
            Some("mcp_tool_call") => {
                let result = &item["result"]["content"][0]["text"];
                self.came_of_it(result.as_str().unwrap_or("done"), failed, "", pieces);
            }
            Some("file_change") => {
                for change in item["changes"].as_array().into_iter().flatten() {
                    let kind = change["kind"].as_str().unwrap_or("change");
                    self.uses(
                        kind,
                        change["path"].as_str().unwrap_or_default(),
                        "",
                        pieces,
                    );
                }
            }
            Some("error") => self.warn(item["message"].as_str().unwrap_or("an error"), pieces),
            _ => {}
        }
    }
}
