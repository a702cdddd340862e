//! Turns of the recorded outputs, as they are shown.

use std::path::Path;

use insta::assert_snapshot;

use super::*;

/// A recording, shown; `2>` is before what goes to standard error.
fn shown(agent: Agent, recording: &str, cost: Option<f64>) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let path = root.join(agent.name()).join(format!("{recording}.jsonl"));
    let lines = std::fs::read_to_string(path).unwrap();
    let mut turn = Turn::new(Style::PLAIN);
    let mut text = String::new();
    for piece in lines
        .lines()
        .flat_map(|line| turn.event(agent, &format!("{{\"event\":{line}}}")))
    {
        let mark = match piece.to {
            OutputStream::Stdout => "1>",
            OutputStream::Stderr => "2>",
        };
        for line in piece.text.lines() {
            text += &format!("{mark} {line}\n");
        }
    }
    text + &turn
        .summary(cost)
        .unwrap_or_else(|| "no summary".to_owned())
}

#[test]
fn an_answer() {
    assert_snapshot!(shown(Agent::Claude, "simple", Some(0.0495)));
}

#[test]
fn tools_are_folded() {
    assert_snapshot!(shown(Agent::Claude, "tool_multi", None));
}

#[test]
fn a_tool_is_denied() {
    assert_snapshot!(shown(Agent::Claude, "tool_denied_default", None));
}

#[test]
fn another_agent_works_for_it() {
    assert_snapshot!(shown(Agent::Claude, "subagent", None));
}

#[test]
fn the_api_refuses() {
    assert_snapshot!(shown(Agent::Claude, "err_401", None));
}

#[test]
fn it_may_not_go_on() {
    assert_snapshot!(shown(Agent::Claude, "max_turns", None));
}

#[test]
fn codex_works() {
    assert_snapshot!(shown(Agent::Codex, "tools", None));
}

#[test]
fn codex_fails() {
    assert_snapshot!(shown(Agent::Codex, "failed", None));
}

#[test]
fn what_is_no_line_of_an_agent_is_passed_over() {
    let mut turn = Turn::new(Style::COLOURED);
    for odd in [
        "",
        "null",
        "[]",
        "{\"type\":\"assistant\",\"message\":7}",
        "{\"type\":\"result\"}",
    ] {
        let data = format!("{{\"event\":{odd}}}");
        assert_eq!(turn.event(Agent::Claude, &data), [], "{odd}");
    }
}

#[test]
fn amounts_are_written_as_people_do() {
    assert_eq!(grouped(0), "0");
    assert_eq!(grouped(1_234_567), "1,234,567");
    assert_eq!(dollars(0.0495), "$0.0495");
    assert_eq!(dollars(12.345), "$12.35");
    assert_eq!(seconds(1_250), "1.2 s");
    assert_eq!(seconds(185_000), "3 m 5 s");
    assert_eq!(seconds(7_260_000), "2 h 1 m");
}
