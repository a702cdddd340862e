//! What recorded runs of agents become, on a real PostgreSQL: tools, and what it cost.

#![expect(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

mod database;
mod log;
mod scenario;

use database::TestDatabase;
use log::{Log, claude, claude_session, codex, exec, project, session, yielded, yielded_of_codex};
use rdev_bus::LogStream;
use rdev_contract::agent::Agent;
use rdev_contract::event::{Complete, Outcome};
use rdev_contract::http::{MessageView, RunUsage};
use rdev_readmodel::{ConversationFilter, PageLimit, PageRequest, ReadModel, TimeRange};
use scenario::resume;

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/claude/",
            $name,
            ".jsonl"
        ))
    };
}

/// A run from command to end; `resumes` another one of its session, or begins anew.
fn run(log: &mut Log, stream: &str, resumes: bool, printed: &str) {
    let exec = exec(1, stream);
    log.command(&exec, claude(&format!("prompt of {stream}")));
    log.started_resuming(&exec, resumes.then(|| claude_session(1)));
    log.recording(&exec, printed);
    log.complete(&exec, &yielded(exec.session, claude_session(1)));
}

async fn projected(log: &Log) -> (TestDatabase, ReadModel) {
    let database = TestDatabase::start().await;
    resume(&database, LogStream::Exec, log, log.messages.len(), 7).await;
    let model = ReadModel::new(&database.url);
    (database, model)
}

async fn all_messages(model: &ReadModel, limit: u32) -> Vec<MessageView> {
    let (mut items, mut cursor) = (Vec::new(), None);
    loop {
        let request = PageRequest {
            limit: PageLimit::try_from(limit).unwrap(),
            cursor,
        };
        let conversation = session(1).conversation();
        let page = model.messages(&project(), conversation, &request).await;
        let page = page.unwrap();
        items.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return items;
        }
    }
}

#[tokio::test]
async fn tools_stand_between_the_prompt_and_its_answer() {
    let mut log = Log::new();
    run(&mut log, "b", false, recording!("tool_multi"));
    run(&mut log, "a", true, recording!("tool_denied_default"));
    // Has not ended: no turn yet, and so nothing of it is shown.
    let open = exec(1, "c");
    log.command(&open, claude("wait"));
    log.started(&open);
    log.recording(&open, recording!("tool_allowed"));
    let (database, model) = projected(&log).await;
    let expected = [
        ("user", "prompt of b"),
        ("tool_use", r#"{"command":"echo a","description":"a"}"#),
        ("tool_use", r#"{"command":"echo b","description":"b"}"#),
        ("tool_result", "a"),
        ("tool_result", "b"),
        ("assistant", "both done"),
        ("user", "prompt of a"),
        (
            "tool_use",
            r#"{"command":"touch /workspace/x.txt; echo hi","description":"run"}"#,
        ),
        ("tool_result", "touch in "),
        ("assistant", "Tool result seen."),
    ];
    for limit in [1, 2, 3, 4, 5, 200] {
        let found = all_messages(&model, limit).await;
        assert_eq!(found.len(), expected.len(), "pages of {limit}: {found:?}");
        for (message, (role, content)) in found.iter().zip(expected) {
            assert_eq!(message.role, role, "pages of {limit}");
            assert!(message.content.starts_with(content), "{message:?}");
        }
    }
    let found = all_messages(&model, 200).await;
    assert_eq!(found[1].tool_name.as_deref(), Some("Bash"));
    assert_eq!(found[1].tool_use_id, found[3].tool_use_id);
    assert_eq!(found[3].is_error, Some(false));
    assert_eq!(found[8].is_error, Some(true));
    assert_eq!(found[0].tool_use_id, None);
    let mut ids: Vec<_> = found.iter().map(|message| &message.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), found.len());
    database.stop().await;
}

async fn usage(model: &ReadModel, stream: &str) -> RunUsage {
    let view = model.exec(&exec(1, stream)).await.unwrap().unwrap();
    view.usage.unwrap()
}

/// The trap: a resumed run of the newest version prints sums over its predecessors, too.
#[tokio::test]
async fn each_run_costs_what_it_took_alone() {
    let mut log = Log::new();
    run(&mut log, "first", false, recording!("simple"));
    run(&mut log, "resumed", true, recording!("resume"));
    run(&mut log, "twice", true, recording!("bg_bash"));
    let old = recording!("resume")
        .replace("2.1.330", "2.0.77")
        .replace("model_usage_since_last_result", "unknown_to_it");
    run(&mut log, "old", true, &old);
    let between = old.replace("2.0.77", "2.1.250");
    run(&mut log, "between", true, &between);
    run(&mut log, "between_anew", false, &between);
    let refused = exec(1, "refused");
    log.command(&refused, claude("too late"));
    log.complete(
        &refused,
        &Complete::without_process(Outcome::Rejected, "late"),
    );
    let (database, model) = projected(&log).await;

    for (stream, cost, input, output, total) in [
        (
            "first",
            Some(0.049_504_000_000_000_006),
            Some(12311),
            Some(13),
            0.049_504_000_000_000_006,
        ),
        ("resumed", Some(0.0496), Some(12340), Some(12), 0.099_104),
        ("twice", Some(0.152_216), Some(37669), Some(77), 0.152_216),
        ("old", Some(0.099_104), Some(24651), Some(25), 0.099_104),
        ("between", None, None, None, 0.099_104),
        (
            "between_anew",
            Some(0.099_104),
            Some(24651),
            Some(25),
            0.099_104,
        ),
    ] {
        let found = usage(&model, stream).await;
        assert_eq!(found.cost_usd, cost, "{stream}");
        assert_eq!(found.input_tokens, input, "{stream}");
        assert_eq!(found.output_tokens, output, "{stream}");
        assert_eq!(found.total_cost_usd, Some(total), "{stream}");
        assert!(found.model_usage.is_some() && found.usage.is_some());
    }
    assert_eq!(
        usage(&model, "old").await.cli_version.as_deref(),
        Some("2.0.77")
    );
    assert_eq!(model.exec(&refused).await.unwrap().unwrap().usage, None);

    let ever = TimeRange::default();
    let totals = model.usage(&project(), None, &ever).await.unwrap();
    assert_eq!((totals.runs, totals.runs_not_known), (6, 1));
    assert_eq!(totals.input_tokens, 12311 + 12340 + 37669 + 24651 + 24651);
    let sum = 0.049_504_000_000_000_006 + 0.0496 + 0.152_216 + 2.0 * 0.099_104;
    assert!((totals.cost_usd - sum).abs() < 1e-12, "{totals:?}");
    let conversation = session(1).conversation();
    let conversation = model.conversation(&project(), conversation).await.unwrap();
    assert_eq!(conversation.unwrap().usage, Some(totals));

    let first = model.exec(&exec(1, "first")).await.unwrap().unwrap();
    let second = model.exec(&exec(1, "resumed")).await.unwrap().unwrap();
    let (since, until) = (first.created_at.to_string(), second.created_at.to_string());
    let range = TimeRange::parse(Some(&since), Some(&until)).unwrap();
    let totals = model.usage(&project(), None, &range).await.unwrap();
    assert_eq!((totals.runs, totals.input_tokens), (1, 12311));
    let other = "other".parse().unwrap();
    assert_eq!(model.usage(&other, None, &ever).await.unwrap().runs, 0);
    database.stop().await;
}

macro_rules! codex_recording {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/codex/",
            $name,
            ".jsonl"
        ))
    };
}

/// A run of codex, one line a message: what is answered and how it ended stand in different ones.
fn codex_run(log: &mut Log, stream: &str, resumes: bool, printed: &str) {
    let exec = exec(1, stream);
    log.command(&exec, codex(&format!("prompt of {stream}")));
    log.started_resuming(&exec, resumes.then(|| claude_session(2)));
    for line in printed.lines() {
        log.agent_lines(Agent::Codex, &exec, &[line]);
    }
    log.complete(&exec, &yielded_of_codex(exec.session, claude_session(2)));
}

#[tokio::test]
async fn a_conversation_is_held_with_both_agents() {
    let mut log = Log::new();
    codex_run(&mut log, "a", false, codex_recording!("tools"));
    run(&mut log, "b", false, recording!("simple"));
    codex_run(&mut log, "c", true, codex_recording!("resumed"));
    codex_run(&mut log, "d", false, codex_recording!("failed"));
    let (database, model) = projected(&log).await;
    let found = all_messages(&model, 3).await;
    let expected = [
        ("user", "prompt of a"),
        ("tool_use", "{\"command\":\"/bin/bash -lc 'echo a;"),
        ("tool_result", "a\nb\n"),
        ("tool_use", "{\"command\":\"/bin/bash -lc ls\"}"),
        ("tool_result", ""),
        ("tool_use", "{\"id\":\"item_4\",\"type\":\"file_change\""),
        ("tool_result", "{\"id\":\"item_4\",\"type\":\"file_change\""),
        ("assistant", "Done:"),
        ("user", "prompt of b"),
        ("assistant", "mock reply: hello world"),
        ("user", "prompt of c"),
        ("assistant", "Hello from the stand-in."),
        ("user", "prompt of d"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (message, (role, content)) in found.iter().zip(expected) {
        assert_eq!(message.role, role, "{message:?}");
        assert!(message.content.starts_with(content), "{message:?}");
    }
    assert_eq!(found[1].tool_name.as_deref(), Some("command_execution"));
    assert_eq!(found[2].is_error, Some(true));

    let conversation = session(1).conversation();
    let held = model.conversation(&project(), conversation).await.unwrap();
    let held = held.unwrap();
    assert_eq!(held.claude_session_id, claude_session(1).to_string());
    assert_eq!(held.codex_session_id, Some(claude_session(2).to_string()));
    database.stop().await;
}

/// Whatever a pod prints, lists and sums are shown.
#[tokio::test]
async fn what_no_run_costs_is_not_known() {
    let mut log = Log::new();
    run(&mut log, "right", false, recording!("simple"));
    let (cost, tokens) = ("0.049504000000000006", "12311");
    let printed = recording!("simple");
    assert!(printed.contains(cost) && printed.contains(tokens));
    let many = format!("0.{}1", "0".repeat(20_000));
    for (stream, cost_now, tokens_now) in [
        ("tiny", "1e-400", tokens),
        ("huge", "1e308", tokens),
        ("huge again", "1e308", tokens),
        ("long", many.as_str(), tokens),
        ("endless", cost, "9223372036854775807"),
        ("endless again", cost, "9223372036854775807"),
    ] {
        let printed = printed.replace(cost, cost_now).replace(tokens, tokens_now);
        run(&mut log, &stream.replace(' ', "-"), false, &printed);
    }
    let (database, model) = projected(&log).await;
    for (stream, cost, input) in [
        ("right", true, Some(12311)),
        ("tiny", false, None),
        ("huge", false, None),
        ("long", false, None),
        ("endless", true, None),
    ] {
        let found = usage(&model, stream).await;
        assert_eq!(found.cost_usd.is_some(), cost, "{stream}");
        assert_eq!(found.total_cost_usd.is_some(), cost, "{stream}");
        assert_eq!(found.input_tokens, input, "{stream}");
    }
    let ever = TimeRange::default();
    let totals = model.usage(&project(), None, &ever).await.unwrap();
    assert_eq!((totals.runs, totals.runs_not_known), (7, 4));
    let conversation = session(1).conversation();
    let conversation = model.conversation(&project(), conversation).await.unwrap();
    assert_eq!(conversation.unwrap().usage, Some(totals));
    database.stop().await;
}

#[tokio::test]
async fn codex_tells_tokens_of_its_session_and_no_cost() {
    let mut log = Log::new();
    codex_run(&mut log, "new", false, codex_recording!("tools"));
    codex_run(&mut log, "resumed", true, codex_recording!("resumed"));
    let (database, model) = projected(&log).await;
    let new = usage(&model, "new").await;
    assert_eq!((new.cost_usd, new.total_cost_usd), (None, None));
    assert_eq!(
        (new.input_tokens, new.cache_read_tokens, new.output_tokens),
        (Some(1620), Some(4000), Some(87))
    );
    // What it took alone is not told; what was printed is kept.
    let resumed = usage(&model, "resumed").await;
    assert_eq!((resumed.input_tokens, resumed.output_tokens), (None, None));
    assert_eq!(resumed.usage.unwrap()["input_tokens"], 6820);

    let ever = TimeRange::default();
    let totals = model.usage(&project(), None, &ever).await.unwrap();
    assert_eq!((totals.runs, totals.runs_not_known), (2, 2));
    assert_eq!((totals.input_tokens, totals.output_tokens), (1620, 87));
    // Claude took no part in this conversation.
    let all = ConversationFilter::default();
    let page = PageRequest::default();
    let held = model.conversations(&project(), &all, &page).await.unwrap();
    assert_eq!(held.items[0].claude_session_id, "");
    let view = model.exec(&exec(1, "new")).await.unwrap().unwrap();
    let complete = view.complete.unwrap();
    assert_eq!(complete["codex_session_id"], claude_session(2).to_string());
    database.stop().await;
}

/// Of each agent the exec with the later command says what the conversation goes on with.
#[tokio::test]
async fn a_later_command_is_what_an_agent_goes_on_with() {
    let mut log = Log::new();
    let [first, second] = [exec(1, "a"), exec(1, "b")];
    log.command(&first, codex("first"));
    log.command(&second, codex("second"));
    log.complete(
        &second,
        &yielded_of_codex(second.session, claude_session(2)),
    );
    log.complete(&first, &yielded_of_codex(first.session, claude_session(1)));
    let (database, model) = projected(&log).await;
    let conversation = session(1).conversation();
    let held = model.conversation(&project(), conversation).await.unwrap();
    let codex_session = held.unwrap().codex_session_id;
    assert_eq!(codex_session, Some(claude_session(2).to_string()));
    database.stop().await;
}
