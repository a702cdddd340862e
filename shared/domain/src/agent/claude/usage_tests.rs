//! Recorded outputs of the CLI, and versions of it.

use super::*;
use crate::agent::Tokens;
use crate::agent::json::{fields, text_field};

fn results(text: &str) -> Vec<RunAmounts> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = fields(line).unwrap();
        let is_result = text_field(&line, "type").unwrap_or_default() == "result";
        found.extend(is_result.then(|| amounts(&line)));
    }
    found
}

fn tokens(input: u64, output: u64) -> Tokens {
    Tokens {
        input,
        output,
        ..Tokens::default()
    }
}

#[test]
fn a_first_run_is_all_there_is() {
    let found = results(include_str!(
        "../../../../../tests/fixtures/claude/simple.jsonl"
    ));
    let expected = Amount {
        tokens: tokens(12311, 13),
        cost_usd: Some(0.049_504_000_000_000_006),
    };
    assert_eq!(found[0].total, Some(expected));
    assert_eq!(found[0].alone, Some(expected));
}

/// The trap: what a resumed run prints as its total is that of the runs before it, too.
#[test]
fn a_resumed_run_is_a_part_of_what_it_prints() {
    let found = results(include_str!(
        "../../../../../tests/fixtures/claude/resume.jsonl"
    ));
    let total = found[0].total.unwrap();
    assert_eq!(
        (total.tokens, total.cost_usd),
        (tokens(24651, 25), Some(0.099_104))
    );
    let alone = found[0].alone.unwrap();
    assert_eq!(
        (alone.tokens, alone.cost_usd),
        (tokens(12340, 12), Some(0.0496))
    );
}

/// A process with a background task ends twice; only its first result says where it began.
#[test]
fn a_second_result_counts_on() {
    let found = results(include_str!(
        "../../../../../tests/fixtures/claude/bg_bash.jsonl"
    ));
    assert_eq!(found[0].alone, found[0].total);
    assert_eq!(found[1].alone, None);
    assert_eq!(found[1].total.unwrap().tokens, tokens(37669, 77));
}

#[test]
fn versions_that_nobody_looked_at_are_not_known() {
    for (version, expected) in [
        ("1.0.128", Some(true)),
        ("2.0.77", Some(true)),
        ("2.1.197", Some(true)),
        ("2.1.198", None),
        ("2.1.329", None),
        ("2.1.330", Some(false)),
        ("3.0.0", Some(false)),
        ("", None),
        ("2.1", None),
        ("2.1.330.1", None),
        ("2.1.330-beta", None),
    ] {
        assert_eq!(counts_alone(version), expected, "{version}");
    }
}

#[test]
fn what_cannot_be_right_is_not_known() {
    let of = |models: &str, since: &str| {
        results(&format!(
            r#"{{"type":"result","result_index":0,"modelUsage":{models},"model_usage_since_last_result":{since}}}"#
        ))[0]
    };
    let one = r#"{"m":{"inputTokens":1,"outputTokens":2,"costUSD":0.5}}"#;
    let more = r#"{"m":{"inputTokens":1,"outputTokens":3,"costUSD":0.5}}"#;
    assert!(of(one, one).alone.is_some());
    assert!(of(more, one).alone.is_some());
    assert_eq!(of(one, more).alone, None);
    for unreadable in [
        "null",
        "7",
        r#"{"m":{"inputTokens":1}}"#,
        r#"{"m":{"inputTokens":-1,"outputTokens":2,"costUSD":0.5}}"#,
        r#"{"m":{"inputTokens":1,"outputTokens":2,"costUSD":-0.5}}"#,
    ] {
        assert_eq!(of(unreadable, one), RunAmounts::default(), "{unreadable}");
        assert_eq!(of(one, unreadable).alone, None, "{unreadable}");
    }
}
