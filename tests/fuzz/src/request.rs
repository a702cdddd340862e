//! The body of `POST …/exec`.

use rdev_contract::agent::Agent;
use rdev_contract::event::{CommandSpec, Work};
use rdev_contract::http::ExecRequest;
use rdev_contract::id::SessionId;
use rdev_contract::position::StreamSeq;
use rdev_domain::invocation::{AgentPrograms, InvocationContext, invocation};
use rdev_domain::request::{RequestLimits, parse_exec_request, requested_stream};
use uuid::Uuid;

pub(crate) const SEEDS: &[&[u8]] = &[
    br#"{"type":"shell","command":"echo $1","args":["a b"],"env":{"A":"1"},"cwd":"/tmp","stdin":"x"}"#,
    br#"{"type":"git","command":"status","args":["--short"],"timeout_seconds":5,"merge":true}"#,
    br#"{"type":"git","command":"--upload-pack=sh","args":["-c","core.pager=sh"]}"#,
    br#"{"type":"claude","prompt":"--help","continue_conversation":true,"args":["--model","opus"]}"#,
    br#"{"type":"claude","prompt":"x","args":["--resume=--help"]}"#,
    br#"{"type":"claude","prompt":"x","conversation_id":"01935bd0-7a3c-7000-8000-5f1e2d3c4b5a"}"#,
    br#"{"type":"codex","prompt":"x","args":["--sandbox","read-only"],"stream_id":"mine"}"#,
    br#"{"type":"shell","command":"vi","tty":{"cols":80,"rows":24},"stdin_open":true,
        "idle_timeout_seconds":1,"queue_timeout_seconds":9}"#,
];

/// A request becomes a command that can be launched as it stands, or is refused.
pub fn request(bytes: &[u8]) {
    let Ok(request) = serde_json::from_slice::<ExecRequest>(bytes) else {
        return;
    };
    let stream = requested_stream(&request);
    let Ok(spec) = parse_exec_request(request.clone(), &RequestLimits::default()) else {
        return;
    };
    // The same request is the same command: that is what a repeat is compared by.
    let again = parse_exec_request(request, &RequestLimits::default());
    assert_eq!(again.as_ref(), Ok(&spec));
    let logged = serde_json::to_vec(&spec).map(|json| serde_json::from_slice::<CommandSpec>(&json));
    assert_eq!(logged.ok().and_then(Result::ok).as_ref(), Some(&spec));
    if let Ok(Some(stream)) = stream {
        launches(&spec, &stream);
    } else if let Ok(stream) = "fuzzed".parse() {
        launches(&spec, &stream);
    }
}

fn launches(spec: &CommandSpec, stream: &rdev_contract::id::StreamId) {
    let context = InvocationContext {
        programs: AgentPrograms {
            claude: "claude".to_owned(),
            codex: "codex".to_owned(),
        },
        home: None,
        session: SessionId::new(Uuid::from_u128(7)),
        stream: stream.clone(),
        command_seq: StreamSeq(1),
        resume_id: None,
    };
    let launched = invocation(spec, &context);
    let texts = launched.argv.iter().chain(launched.env.values());
    for text in texts.chain(launched.env.keys()).chain(&launched.cwd) {
        assert!(!text.contains('\0'), "{text:?} ends early in the pod");
    }
    for name in launched.env.keys() {
        assert!(!name.is_empty() && !name.contains('='), "{name:?}");
    }
    let argv: Vec<&str> = launched.argv.iter().map(String::as_str).collect();
    match &spec.work {
        Work::Shell { command } => assert_eq!(argv[..4], ["sh", "-c", command, "sh"]),
        Work::Git { command } => {
            assert_eq!(argv[..2], ["git", command]);
            assert!(!command.starts_with('-'), "{command:?} is an option");
        }
        Work::Claude { prompt, .. } => agent(Agent::Claude, prompt, &argv, &launched.stdin),
        Work::Codex { prompt, .. } => agent(Agent::Codex, prompt, &argv, &launched.stdin),
    }
}

/// The prompt comes by standard input, and what rdev says of the output stands.
fn agent(agent: Agent, prompt: &str, argv: &[&str], stdin: &[u8]) {
    assert!(!stdin.is_empty() || prompt.is_empty());
    let (program, fixed) = match agent {
        Agent::Claude => ("claude", ["--output-format", "--verbose"].as_slice()),
        Agent::Codex => ("codex", ["--json"].as_slice()),
    };
    assert_eq!(argv.first(), Some(&program));
    for flag in fixed {
        let count = argv.iter().filter(|argument| *argument == flag).count();
        assert!(count >= 1, "{flag} is missing in {argv:?}");
    }
}
