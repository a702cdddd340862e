//! The rows that messages become, on a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

mod database;
mod log;
mod scenario;

use std::collections::BTreeMap;

use database::TestDatabase;
use log::{Log, claude_session, exec, project, result_line, session, shell, yielded};
use rdev_bus::LogStream;
use rdev_contract::event::{Complete, Outcome};
use rdev_contract::http::{ConversationView, MessageView};
use rdev_contract::position::StreamSeq;
use rdev_readmodel::{ConversationFilter, PageLimit, PageRequest, ReadModel, SessionFilter};
use scenario::{eventful, open, project_all, resume};

#[tokio::test]
async fn messages_become_rows() {
    let database = TestDatabase::start().await;
    let (execs, sessions) = eventful();
    project_all(&database, &execs, &sessions).await;
    let model = ReadModel::new(&database.url);

    let all = model
        .sessions(
            &project(),
            &SessionFilter::default(),
            &PageRequest::default(),
        )
        .await
        .unwrap();
    let by_id: BTreeMap<_, _> = all
        .items
        .iter()
        .map(|view| (view.id.clone(), view))
        .collect();
    let one = by_id[&session(1).to_string()];
    assert_eq!(
        (
            one.status.as_str(),
            one.pod.as_deref().unwrap_or_default(),
            one.namespace.as_deref()
        ),
        ("active", "pod-1", Some("team"))
    );
    assert_eq!(one.claude_session_id, Some(claude_session(2).to_string()));
    assert_eq!(
        one.created_at,
        "2026-11-22T06:21:00.123456Z".parse().unwrap()
    );
    let two = by_id[&session(2).to_string()];
    assert_eq!(two.status, "ended");
    assert_eq!(
        two.ended_at,
        Some("2026-11-22T06:21:07.623456Z".parse().unwrap())
    );

    let four = by_id[&session(4).to_string()];
    assert_eq!(
        (four.pod.as_deref(), four.pod_state.as_deref()),
        (Some("web-1"), Some("ready"))
    );
    assert_eq!(four.selector["app"], "web");
    let times = (four.idle_ends_at, four.expires_at);
    let time = |text: &str| Some(text.parse().unwrap());
    let expected = (time("2026-12-01T00:00:00Z"), time("2027-01-01T00:00:00Z"));
    assert_eq!((times, four.idle_timeout_seconds), (expected, Some(60)));

    let first = model.exec(&exec(1, "a")).await.unwrap().unwrap();
    assert_eq!(
        (first.kind.as_str(), first.status.as_str(), first.attempts),
        ("claude", "complete", 2)
    );
    let expected = serde_json::to_value(yielded(session(1), claude_session(1))).unwrap();
    assert_eq!(first.complete, Some(expected));
    let refused = model.exec(&exec(2, "d")).await.unwrap().unwrap();
    let complete: Complete = serde_json::from_value(refused.complete.unwrap()).unwrap();
    assert_eq!(
        complete,
        Complete::without_process(Outcome::Rejected, "too \u{FFFD} late")
    );
    assert_eq!(refused.started_at, None);
    let waiting = model.exec(&exec(2, "waiting")).await.unwrap().unwrap();
    assert_eq!(
        (waiting.status.as_str(), waiting.complete),
        ("queued", None)
    );
    assert_eq!(model.exec(&exec(1, "nothing")).await.unwrap(), None);
    database.stop().await;
}

#[tokio::test]
async fn a_conversation_has_its_turns_in_order() {
    let database = TestDatabase::start().await;
    let (execs, sessions) = eventful();
    project_all(&database, &execs, &sessions).await;
    let model = ReadModel::new(&database.url);

    let found = model
        .conversations(
            &project(),
            &ConversationFilter::default(),
            &PageRequest::default(),
        )
        .await
        .unwrap()
        .items;
    // Only of the sessions whose execs yielded a session of an agent; the newest first.
    assert_eq!(found.len(), 2);
    assert_eq!(
        (
            found[0].claude_session_id.as_str(),
            &found[0].codex_session_id
        ),
        ("", &Some(claude_session(3).to_string()))
    );
    let found = &found[1..];
    let conversation = session(1).conversation();
    assert_eq!(found[0].id, conversation.to_string());
    assert_eq!(found[0].title, "Session 0192aaaa");
    // Of the later command, although the earlier one ended later.
    assert_eq!(found[0].claude_session_id, claude_session(2).to_string());
    assert_eq!(
        found[0].created_at,
        "2026-11-22T06:21:00.123456Z".parse().unwrap()
    );
    assert!(found[0].updated_at > found[0].created_at);
    let one = model.conversation(&project(), conversation).await.unwrap();
    let one = ConversationView {
        usage: None,
        ..one.unwrap()
    };
    assert_eq!(one, found[0]);

    let page = model
        .messages(&project(), conversation, &PageRequest::default())
        .await
        .unwrap();
    let shown = |message: &MessageView| (message.role.clone(), message.content.clone());
    let long = "long \u{FFFD} answer ".repeat(20);
    let expected = [
        ("user", "first \u{FFFD} prompt"),
        ("tool_use", r#"{"a":"\u0000"}"#),
        ("tool_result", "b\u{FFFD}"),
        ("assistant", long.as_str()),
        ("user", "second prompt"),
        ("tool_use", r#"{"a":"\u0000"}"#),
        ("assistant", "second answer"),
    ];
    let expected = expected.map(|(role, content)| (role.to_owned(), content.to_owned()));
    assert_eq!(page.items.iter().map(shown).collect::<Vec<_>>(), expected);
    assert_eq!(page.items[0].created_at, found[0].created_at);
    assert_eq!(page.items[3].created_at, found[0].updated_at);

    let cost = "SELECT total_cost_usd FROM execs WHERE stream = ";
    assert_eq!(
        database.value(&format!("{cost}'a'")).await.as_deref(),
        Some("0.125")
    );
    assert_eq!(
        database.value(&format!("{cost}'b'")).await.as_deref(),
        Some("0.0000001")
    );
    let note = "SELECT usage->>'note' FROM execs WHERE stream = 'a'";
    assert_eq!(database.value(note).await.as_deref(), Some("a\u{FFFD}b"));
    database.stop().await;
}

#[tokio::test]
async fn poison_is_kept_and_holds_nobody_up() {
    let database = TestDatabase::start().await;
    let (execs, sessions) = eventful();
    project_all(&database, &execs, &sessions).await;

    assert_eq!(
        ReadModel::new(&database.url).poison_count().await.unwrap(),
        3
    );
    let model = ReadModel::new(&database.url);
    let two = PageLimit::try_from(2).unwrap();
    let newest = model.poison(two).await.unwrap();
    assert_eq!(newest.len(), 2);
    assert!(newest[0].stored_at >= newest[1].stored_at, "{newest:?}");
    assert!(
        newest
            .iter()
            .all(|one| one.place.sequence.0 > 0 && !one.reason.is_empty())
    );
    let reopened = open(&database, LogStream::Exec, &execs).await;
    assert_eq!(reopened.poisoned(), 2);
    let reasons = "SELECT string_agg(reason, ' | ' ORDER BY log, sequence) FROM poison";
    let reasons = database.value(reasons).await.unwrap();
    let [not_json, broken_line, no_fact] = reasons.split(" | ").collect::<Vec<_>>()[..] else {
        panic!("{reasons}");
    };
    assert!(not_json.contains("decoded"), "{reasons}");
    assert!(broken_line.contains("part 1"), "{reasons}");
    assert!(no_fact.contains("missing field"), "{reasons}");
    let payload = "SELECT convert_from(payload, 'UTF8') FROM poison ORDER BY log, sequence LIMIT 1";
    assert_eq!(database.value(payload).await.as_deref(), Some("no JSON"));
    let exec_place = ReadModel::new(&database.url);
    assert!(exec_place.is_past("RDEV_EXEC", execs.last()).await.unwrap());
    assert!(
        exec_place
            .is_past("RDEV_SESSION", sessions.last())
            .await
            .unwrap()
    );
    assert!(
        !exec_place
            .is_past("RDEV_EXEC", StreamSeq(execs.last().0 + 1))
            .await
            .unwrap()
    );
    assert_eq!(
        database
            .value("SELECT count(*) FROM fragments")
            .await
            .as_deref(),
        Some("0")
    );
    database.stop().await;
}

/// A time that PostgreSQL cannot hold is a valid one in the log.
#[tokio::test]
async fn a_value_that_cannot_be_stored_is_poison() {
    let database = TestDatabase::start().await;
    let mut execs = Log::new();
    execs.command(&exec(1, "a"), shell("true"));
    execs.command(&exec(1, "b"), shell("true"));
    execs.command(&exec(1, "c"), shell("true"));
    let stored = &mut execs.messages[1].value.payload;
    let text = String::from_utf8(stored.to_vec()).unwrap();
    let at = text.find("\"at\":\"").unwrap() + 6;
    let ancient = format!("{}-005000-01-01T00:00:00Z{}", &text[..at], &text[at + 27..]);
    *stored = ancient.into();

    resume(&database, LogStream::Exec, &execs, 3, 100).await;
    let streams = "SELECT string_agg(stream, ',' ORDER BY stream) FROM execs";
    assert_eq!(database.value(streams).await.as_deref(), Some("a,c"));
    let reason = database.value("SELECT reason FROM poison").await.unwrap();
    assert!(reason.contains("SQLSTATE 22008"), "{reason}");
    assert!(
        ReadModel::new(&database.url)
            .is_past("RDEV_EXEC", execs.last())
            .await
            .unwrap()
    );
    database.stop().await;
}

#[tokio::test]
async fn an_exec_whose_command_expired_is_shown_as_far_as_it_is_known() {
    let database = TestDatabase::start().await;
    let mut execs = Log::new();
    let gone = exec(1, "a");
    execs.started(&gone);
    execs.claude_lines(&gone, &[&result_line("answer", "1")]);
    execs.complete(&gone, &yielded(gone.session, claude_session(1)));
    resume(&database, LogStream::Exec, &execs, 3, 100).await;
    let model = ReadModel::new(&database.url);
    let view = model.exec(&gone).await.unwrap().unwrap();
    assert_eq!(
        (view.kind.as_str(), view.status.as_str()),
        ("unknown", "complete")
    );
    let conversation = gone.session.conversation();
    let page = model
        .messages(&project(), conversation, &PageRequest::default())
        .await
        .unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0].role, "assistant");
    database.stop().await;
}
