//! Requests: what is accepted and what it becomes; what is refused and with which code.

use proptest::prelude::*;
use serde_json::{Value, json};

use rdev_contract::agent::Agent;

use super::*;

const LIMITS: RequestLimits = RequestLimits {
    default_timeout_seconds: 1800,
    max_timeout_seconds: 3600,
};

fn parse(body: Value) -> Result<CommandSpec, RequestError> {
    parse_exec_request(serde_json::from_value(body).unwrap(), &LIMITS)
}

fn code(body: Value) -> &'static str {
    let error = parse(body.clone()).expect_err(&body.to_string());
    assert!(!error.detail.is_empty());
    error.code
}

fn shell_with(name: &str, value: Value) -> Value {
    let mut body = json!({"type": "shell", "command": "true"});
    body[name] = value;
    body
}

fn claude_with(name: &str, value: Value) -> Value {
    let mut body = json!({"type": "claude", "prompt": "hi"});
    body[name] = value;
    body
}

#[test]
fn a_request_as_the_original_api_takes_it() {
    let spec = parse(json!({
        "type": "shell", "command": "echo $1", "args": ["hi"], "prompt": "", "stream_id": "",
        "conversation_id": "", "continue_conversation": false, "unknown": 1
    }))
    .unwrap();
    assert_eq!(
        spec,
        CommandSpec {
            args: vec!["hi".to_owned()],
            ..CommandSpec::new(
                Work::Shell {
                    command: "echo $1".to_owned()
                },
                1800
            )
        }
    );
}

#[test]
fn a_claude_request_keeps_what_it_continues() {
    let spec = parse(json!({
        "type": "claude", "prompt": "-p --help", "args": ["--model", "opus"], "merge": true,
        "conversation_id": "F1F4509E-1d42-4e14-a6d2-37bbe0556b4b", "continue_conversation": true
    }))
    .unwrap();
    assert_eq!(
        spec.work,
        Work::Claude {
            prompt: "-p --help".to_owned(),
            continue_conversation: true,
            conversation_id: Some("f1f4509e-1d42-4e14-a6d2-37bbe0556b4b".to_owned()),
        }
    );
    assert!(!spec.merge, "claude's stdout is never mixed with anything");
}

#[test]
fn what_is_missing_or_empty_is_named() {
    assert_eq!(code(json!({})), "invalid_type");
    assert_eq!(
        code(json!({"type": "python", "command": "x"})),
        "invalid_type"
    );
    assert_eq!(code(json!({"type": "shell"})), "missing_command");
    assert_eq!(
        code(json!({"type": "git", "command": ""})),
        "missing_command"
    );
    assert_eq!(
        code(json!({"type": "claude", "command": "x"})),
        "missing_prompt"
    );
    assert_eq!(
        code(json!({"type": "claude", "prompt": ""})),
        "missing_prompt"
    );
}

#[test]
fn nothing_reads_as_an_option_that_is_not_meant_as_one() {
    for command in ["-c", "--exec-path=/tmp", "-"] {
        assert_eq!(
            code(json!({"type": "git", "command": command})),
            "invalid_command"
        );
    }
    for id in [
        "--help",
        "x",
        "f1f4509e1d424e14a6d237bbe0556b4b",
        "{f1f4509e-1d42-4e14-a6d2-37bbe0556b4b}",
    ] {
        assert_eq!(
            code(claude_with("conversation_id", json!(id))),
            "invalid_conversation_id"
        );
    }
}

#[test]
fn claude_arguments_that_collide_are_refused() {
    for &flag in agent::reserved(Agent::Claude) {
        assert_eq!(
            code(claude_with("args", json!(["--model", "opus", flag]))),
            "invalid_args"
        );
        assert_eq!(
            code(claude_with("args", json!([format!("{flag}=x")]))),
            "invalid_args"
        );
        parse(shell_with("args", json!([flag]))).unwrap();
    }
    for cluster in ["-pc", "-rf1f4509e", "-dp"] {
        assert_eq!(code(claude_with("args", json!([cluster]))), "invalid_args");
    }
    for fine in [
        "--model",
        "--model=opus",
        "-d",
        "-",
        "--resumed",
        "--permission-mode",
    ] {
        parse(claude_with("args", json!([fine]))).unwrap();
    }
    assert_eq!(code(claude_with("stdin", json!("x"))), "invalid_stdin");
}

fn codex_with(field: &str, value: serde_json::Value) -> serde_json::Value {
    let mut request = json!({"type": "codex", "prompt": "do it"});
    request[field] = value;
    request
}

#[test]
fn codex_is_asked_as_claude_is() {
    let conversation = "f1f4509e-1d42-4e14-a6d2-37bbe0556b4b";
    let spec = parse(codex_with("conversation_id", json!(conversation))).unwrap();
    let task = spec.work.agent().unwrap();
    assert_eq!((task.agent, task.prompt), (Agent::Codex, "do it"));
    assert_eq!(task.conversation_id, Some(conversation));
    assert!(!task.continue_conversation);
    assert!(!parse(codex_with("merge", json!(true))).unwrap().merge);
    assert_eq!(code(json!({"type": "codex"})), "missing_prompt");
    assert_eq!(code(codex_with("stdin", json!("x"))), "invalid_stdin");
    for &word in agent::reserved(Agent::Codex) {
        let args = json!(["--model", "gpt", word]);
        assert_eq!(code(codex_with("args", args)), "invalid_args", "{word}");
    }
    assert_eq!(code(codex_with("args", json!(["-mgpt"]))), "invalid_args");
    for fine in ["--sandbox", "workspace-write", "-c", "model=x", "--resumed"] {
        parse(codex_with("args", json!([fine]))).unwrap();
    }
}

#[test]
fn nul_reaches_no_argument() {
    assert_eq!(
        code(shell_with("command", json!("a\0b"))),
        "invalid_command"
    );
    assert_eq!(code(shell_with("args", json!(["a\0b"]))), "invalid_args");
    assert_eq!(code(shell_with("env", json!({"A": "a\0b"}))), "invalid_env");
    assert_eq!(code(shell_with("cwd", json!("/a\0b"))), "invalid_cwd");
    // Standard input takes any byte.
    parse(shell_with("stdin", json!("a\0b"))).unwrap();
    parse(claude_with("prompt", json!("a\0b"))).unwrap();
}

#[test]
fn environment_names() {
    for name in ["A", "_", "a1_B"] {
        parse(shell_with("env", json!({name: "x=y"}))).unwrap();
    }
    for name in ["", "1A", "A B", "A=B", "A-B", "É", "A\n"] {
        assert_eq!(
            code(shell_with("env", json!({name: "x"}))),
            "invalid_env",
            "{name:?}"
        );
    }
}

#[test]
fn secrets_are_references() {
    let secret = |name: &str, key: &str| json!({"TOKEN": {"name": name, "key": key}});
    let spec = parse(shell_with("secret_env", secret("git.hub", ".token_1"))).unwrap();
    assert_eq!(spec.secret_env["TOKEN"].name.as_str(), "git.hub");
    assert_eq!(spec.secret_env["TOKEN"].key.as_str(), ".token_1");
    for (name, key) in [
        ("", "a"),
        ("A", "a"),
        ("../b", "a"),
        ("a", ""),
        ("a", "."),
        ("a", ".."),
        ("a", "..b"),
        ("a", "b/c"),
        ("a", "b\0"),
    ] {
        let body = shell_with("secret_env", secret(name, key));
        assert_eq!(code(body), "invalid_secret_env", "{name:?} {key:?}");
    }
    let mut both = shell_with("secret_env", secret("a", "b"));
    both["env"] = json!({"TOKEN": "x"});
    assert_eq!(code(both), "invalid_secret_env");
    let named = |name: &str| json!({name: {"name": "a", "key": "b"}});
    assert_eq!(
        code(shell_with("secret_env", named("A=B"))),
        "invalid_secret_env"
    );
    for (count, is_fine) in [(SECRETS_MAX_COUNT, true), (SECRETS_MAX_COUNT + 1, false)] {
        let many: BTreeMap<String, _> = (0..count)
            .map(|number| (format!("S{number}"), json!({"name": "a", "key": "b"})))
            .collect();
        assert_eq!(
            parse(shell_with("secret_env", json!(many))).is_ok(),
            is_fine
        );
    }
}

#[test]
fn working_directories() {
    let path = |bytes: usize| format!("/{}", "x".repeat(bytes - 1));
    for fine in ["/".to_owned(), path(CWD_MAX_BYTES)] {
        assert_eq!(
            parse(shell_with("cwd", json!(fine))).unwrap().cwd,
            Some(fine)
        );
    }
    assert_eq!(parse(shell_with("cwd", json!(""))).unwrap().cwd, None);
    for bad in ["tmp", "./x", "~", path(CWD_MAX_BYTES + 1).as_str()] {
        assert_eq!(code(shell_with("cwd", json!(bad))), "invalid_cwd");
    }
}

#[test]
fn timeouts_at_below_and_above_the_limit() {
    for fine in [1, 3599, 3600] {
        assert_eq!(
            parse(shell_with("timeout_seconds", json!(fine)))
                .unwrap()
                .timeout_seconds,
            fine
        );
    }
    for bad in [0, 3601, u64::MAX] {
        assert_eq!(
            code(shell_with("timeout_seconds", json!(bad))),
            "invalid_timeout"
        );
    }
    let strict = RequestLimits {
        default_timeout_seconds: 1800,
        max_timeout_seconds: 60,
    };
    let request = serde_json::from_value(json!({"type": "shell", "command": "x"})).unwrap();
    assert_eq!(
        parse_exec_request(request, &strict)
            .unwrap()
            .timeout_seconds,
        60
    );
}

#[test]
fn the_other_times_and_open_input() {
    let spec = parse(shell_with("timeout_seconds", json!(5))).unwrap();
    assert_eq!(spec.idle_timeout_seconds, None);
    assert_eq!((spec.queue_timeout_seconds, spec.stdin_open), (None, false));
    let max = LIMITS.max_timeout_seconds;
    for (field, max) in [
        ("idle_timeout_seconds", max),
        ("queue_timeout_seconds", QUEUE_TIMEOUT_MAX_SECONDS),
    ] {
        for good in [1, max - 1, max] {
            assert!(parse(shell_with(field, json!(good))).is_ok(), "{field}");
        }
        for bad in [0, max + 1] {
            assert_eq!(code(shell_with(field, json!(bad))), "invalid_timeout");
        }
    }
    assert!(
        parse(shell_with("stdin_open", json!(true)))
            .unwrap()
            .stdin_open
    );
    assert_eq!(
        code(claude_with("stdin_open", json!(true))),
        "invalid_stdin"
    );
}

#[test]
fn terminals_at_below_and_above_the_limits() {
    let sizes = [(1, 1), (1000, 1000), (120, 40)];
    for (cols, rows) in sizes {
        let tty = json!({ "cols": cols, "rows": rows });
        for kind in ["shell", "git"] {
            let mut body = shell_with("tty", tty.clone());
            body["type"] = json!(kind);
            let spec = parse(body).unwrap();
            assert_eq!(spec.tty, Some(TerminalSize { cols, rows }));
            // All of it is stdout, and input stays open, whatever was said about that.
            assert!(spec.merge && spec.stdin_open);
        }
        assert_eq!(code(claude_with("tty", tty)), "invalid_tty");
    }
    for (cols, rows) in [
        (0, 1),
        (1, 0),
        (1001, 1),
        (1, 1001),
        (-1, 1),
        (65_536 + 80, 24),
    ] {
        let tty = json!({ "cols": cols, "rows": rows });
        assert_eq!(code(shell_with("tty", tty)), "invalid_tty");
    }
    assert_eq!(parse(shell_with("tty", json!(null))).unwrap().tty, None);
}

#[test]
fn arguments_at_below_and_above_the_limits() {
    for (bytes, is_fine) in [
        (ARGUMENT_MAX_BYTES - 1, true),
        (ARGUMENT_MAX_BYTES, true),
        (ARGUMENT_MAX_BYTES + 1, false),
    ] {
        let text = "x".repeat(bytes);
        assert_eq!(parse(shell_with("args", json!([text]))).is_ok(), is_fine);
        assert_eq!(parse(shell_with("command", json!(text))).is_ok(), is_fine);
        // The kernel counts NAME=VALUE.
        assert_eq!(
            parse(shell_with("env", json!({"A": text[2..]}))).is_ok(),
            is_fine
        );
        assert!(parse(claude_with("prompt", json!(text))).is_ok());
    }
    for (count, is_fine) in [
        (ARGUMENTS_MAX_COUNT, true),
        (ARGUMENTS_MAX_COUNT + 1, false),
    ] {
        assert_eq!(
            parse(shell_with("args", json!(vec![""; count]))).is_ok(),
            is_fine
        );
    }
    for (count, is_fine) in [
        (ENVIRONMENT_MAX_COUNT, true),
        (ENVIRONMENT_MAX_COUNT + 1, false),
    ] {
        let env: BTreeMap<String, &str> =
            (0..count).map(|index| (format!("A{index}"), "")).collect();
        assert_eq!(parse(shell_with("env", json!(env))).is_ok(), is_fine);
    }
    let many = vec!["x".repeat(128 * 1024 - 1); 9];
    assert_eq!(code(shell_with("args", json!(many))), "invalid_args");
}

#[test]
fn the_stream_id_that_a_client_chose() {
    let of = |body: Value| requested_stream(&serde_json::from_value(body).unwrap());
    assert_eq!(of(json!({})), Ok(None));
    assert_eq!(of(json!({"stream_id": ""})), Ok(None));
    assert_eq!(
        of(json!({"stream_id": "my-1"})).unwrap().unwrap().as_str(),
        "my-1"
    );
    for bad in ["a.b", "*", ">", "a b", "../x", "é"] {
        assert_eq!(
            of(json!({"stream_id": bad})).unwrap_err().code,
            "invalid_stream_id"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_accepted_can_be_executed(
        kind in "shell|git|claude", command in any::<String>(), args in prop::collection::vec(any::<String>(), 0..4),
        name in "[A-Z=0-9\0]{0,3}", value in any::<String>(), cwd in any::<String>(),
    ) {
        let body = json!({"type": kind, "command": command, "prompt": command, "args": args,
            "env": {name: value}, "cwd": cwd});
        if let Ok(spec) = parse(body) {
            prop_assert!(spec.args.iter().all(|argument| !argument.contains('\0')));
            prop_assert!(spec.env.iter().all(|(name, value)| !name.is_empty()
                && !name.contains(['=', '\0']) && !value.contains('\0')));
            prop_assert!(spec.cwd.is_none_or(|cwd| cwd.starts_with('/') && !cwd.contains('\0')));
            if let Work::Git { command } = &spec.work {
                prop_assert!(!command.starts_with('-'));
            }
        }
    }
}

#[test]
fn only_claude_asks_before_it_uses_tools() {
    assert_eq!(
        parse(claude_with("permissions", json!("")))
            .unwrap()
            .approvals,
        None
    );
    let asks = |more: Value| {
        let mut body = claude_with("permissions", json!("ask"));
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let policy = parse(asks(json!({}))).unwrap().approvals.unwrap();
    assert_eq!(
        (policy.timeout_seconds, policy.on_timeout),
        (None, OnTimeout::Deny)
    );
    let policy = parse(asks(
        json!({"approval_timeout_seconds": 3600, "approval_on_timeout": "cancel"}),
    ));
    let policy = policy.unwrap().approvals.unwrap();
    assert_eq!(
        (policy.timeout_seconds, policy.on_timeout),
        (Some(3600), OnTimeout::Cancel)
    );
    for body in [
        claude_with("permissions", json!("all")),
        claude_with("approval_timeout_seconds", json!(5)),
        claude_with("approval_on_timeout", json!("deny")),
        asks(json!({"approval_on_timeout": "allow"})),
        shell_with("permissions", json!("ask")),
        json!({"type": "codex", "prompt": "hi", "permissions": "ask"}),
    ] {
        assert_eq!(code(body), "invalid_permissions");
    }
    for seconds in [0, 3601] {
        let body = asks(json!({"approval_timeout_seconds": seconds}));
        assert_eq!(code(body), "invalid_timeout");
    }
    let own = json!(["--permission-prompt-tool", "mcp__a__b"]);
    assert_eq!(code(asks(json!({"args": own.clone()}))), "invalid_args");
    parse(claude_with("args", own)).unwrap();
    assert_eq!(code(asks(json!({"stdin_open": true}))), "invalid_stdin");
}
