//! Lists with filters on a real PostgreSQL: what is asked for, all of it, whatever the page.

#![expect(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

mod rows;
mod server;

use jiff::{SignedDuration, Timestamp};
use rdev_contract::event::{Complete, Outcome, PodIdentity, Requester};
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_readmodel::{
    Change, Commanded, Completed, ConversationFilter, ExecFilter, ExecStatus, ReadError, ReadModel,
    SessionEnded, SessionFilter, SessionStatus, Started, TimeRange, migrate,
};
use rows::{at, created, life, project, request, session, turn, walk, write};
use server::TestServer;

fn exec(session_number: u128, stream: &str) -> ExecId {
    ExecId {
        project: project("demo"),
        session: session(session_number),
        stream: stream.parse().unwrap(),
    }
}

fn commanded(exec: &ExecId, when: Timestamp) -> Change {
    Change::Commanded(Box::new(Commanded {
        exec: exec.clone(),
        kind: "shell",
        command: Some("true".to_owned()),
        prompt: None,
        args: Vec::new(),
        cwd: None,
        timeout_seconds: 5,
        by: Requester::default(),
        log: life(),
        sequence: StreamSeq(1),
        at: when,
    }))
}

fn started(exec: &ExecId, when: Timestamp) -> Change {
    Change::Started(Box::new(Started {
        exec: exec.clone(),
        log: life(),
        attempt: 1,
        executor: "executor".to_owned(),
        argv: Vec::new(),
        resume_id: None,
        pod: PodIdentity {
            namespace: "default".into(),
            name: "pod".into(),
            uid: "uid".into(),
            container: "main".into(),
            container_id: "containerd://1".into(),
            restarts: 0,
        },
        at: when,
    }))
}

fn completed(exec: &ExecId, outcome: Outcome, when: Timestamp) -> Change {
    Change::Completed(Box::new(Completed {
        exec: exec.clone(),
        log: life(),
        sequence: StreamSeq(9),
        complete: Complete::without_process(outcome, "why"),
        at: when,
    }))
}

/// In two sessions, oldest first: queued, running, exited, lost; the same stream ids in both.
async fn eight_execs(server: &TestServer) {
    migrate(&server.url).await.unwrap();
    let mut changes = Vec::new();
    for (hour, stream) in ["queued", "running", "exited", "lost"].iter().enumerate() {
        for number in [1, 2] {
            let exec = exec(number, stream);
            let when = at(3 * hour as u128);
            changes.push(commanded(&exec, when));
            if *stream != "queued" {
                changes.push(started(&exec, when));
            }
            match *stream {
                "exited" => changes.push(completed(&exec, Outcome::Exited, when)),
                "lost" => changes.push(completed(&exec, Outcome::Lost, when)),
                _ => {}
            }
        }
    }
    write(server, &changes).await;
}

async fn listed(model: &ReadModel, filter: &ExecFilter, limit: u32) -> Vec<String> {
    let execs = walk(limit, async |page| {
        model.execs(&project("demo"), filter, &page).await
    });
    let short = |id: &str| id.chars().last().unwrap();
    execs
        .await
        .iter()
        .map(|view| format!("{}{}", view.id, short(&view.session_id)))
        .collect()
}

fn during(from: u128, to: u128) -> TimeRange {
    let (from, to) = (at(3 * from).to_string(), at(3 * to).to_string());
    TimeRange::parse(Some(&from), Some(&to)).unwrap()
}

#[tokio::test]
async fn execs_are_found_by_status_outcome_time_and_session() {
    let server = TestServer::start().await;
    eight_execs(&server).await;
    let model = ReadModel::new(&server.url);
    let ever = TimeRange::default();
    let of = |status, outcome, range| ExecFilter::new(status, outcome, range).unwrap();
    let both: [(ExecFilter, &[&str]); 8] = [
        (
            of(None, None, ever),
            &[
                "lost2", "lost1", "exited2", "exited1", "running2", "running1", "queued2",
                "queued1",
            ],
        ),
        (
            of(Some(ExecStatus::Queued), None, ever),
            &["queued2", "queued1"],
        ),
        (
            of(Some(ExecStatus::Running), None, ever),
            &["running2", "running1"],
        ),
        (
            of(Some(ExecStatus::Complete), None, ever),
            &["lost2", "lost1", "exited2", "exited1"],
        ),
        (of(None, Some(Outcome::Lost), ever), &["lost2", "lost1"]),
        (of(None, Some(Outcome::Rejected), ever), &[]),
        // The first moment belongs to a range, the last one does not.
        (
            of(None, None, during(1, 3)),
            &["exited2", "exited1", "running2", "running1"],
        ),
        (
            of(Some(ExecStatus::Complete), None, during(1, 3)),
            &["exited2", "exited1"],
        ),
    ];
    for (filter, expected) in both {
        for limit in [1, 2, 3, 200] {
            let found = listed(&model, &filter, limit).await;
            assert_eq!(found, expected, "{filter:?} in pages of {limit}");
            let of_one = listed(&model, &filter.clone().of_session(session(1)), limit).await;
            let expected = expected.iter().filter(|id| id.ends_with('1'));
            let expected: Vec<_> = expected.copied().collect();
            assert_eq!(of_one, expected, "{filter:?} of one session");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_cursor_is_a_place_whatever_the_filter() {
    let server = TestServer::start().await;
    eight_execs(&server).await;
    let model = ReadModel::new(&server.url);
    let demo = project("demo");
    let everything = ExecFilter::default();
    let first = model
        .execs(&demo, &everything, &request(3, None))
        .await
        .unwrap();
    // Behind the cursor the range ends earlier: it goes on at the later of both places.
    let early = ExecFilter::new(None, None, during(0, 2)).unwrap();
    let next = request(200, first.next_cursor.clone());
    let found = model.execs(&demo, &early, &next).await.unwrap().items;
    assert_eq!(found.len(), 4);
    // The list of a session is another one.
    let of_one = everything.of_session(session(1));
    let refused = model.execs(&demo, &of_one, &next).await;
    assert!(
        matches!(refused, Err(ReadError::InvalidCursor(_))),
        "{refused:?}"
    );
    server.stop().await;
}

#[tokio::test]
async fn sessions_and_conversations_are_found_by_status_and_time() {
    let server = TestServer::start().await;
    migrate(&server.url).await.unwrap();
    let mut changes: Vec<_> = (0..6).map(|number| created("demo", number)).collect();
    changes.push(Change::SessionEnded(SessionEnded {
        project: project("demo"),
        session: session(4),
        by: Requester::default(),
        reason: None,
        at: at(9) + SignedDuration::from_secs(1),
    }));
    changes.extend(turn("demo", 0, "a", at(0)));
    changes.extend(turn("demo", 3, "b", at(3)));
    write(&server, &changes).await;
    let model = ReadModel::new(&server.url);
    let demo = project("demo");
    let ids = async |status, range, limit| {
        let filter = SessionFilter { status, range };
        let found = walk(limit, async |page| {
            model.sessions(&demo, &filter, &page).await
        })
        .await;
        found.into_iter().map(|view| view.id).collect::<Vec<_>>()
    };
    let expected = |numbers: &[u128]| -> Vec<String> {
        numbers
            .iter()
            .map(|number| session(*number).to_string())
            .collect()
    };
    let ever = TimeRange::default();
    for limit in [1, 2, 200] {
        assert_eq!(
            ids(Some(SessionStatus::Active), ever, limit).await,
            expected(&[5, 3, 2, 1, 0])
        );
        assert_eq!(
            ids(Some(SessionStatus::Ended), ever, limit).await,
            expected(&[4])
        );
        assert_eq!(ids(None, during(0, 1), limit).await, expected(&[2, 1, 0]));
    }
    for (session, range, expected) in [
        (None, ever, 2),
        (Some(session(3)), ever, 1),
        (Some(session(5)), ever, 0),
        (None, during(1, 2), 1),
    ] {
        let filter = ConversationFilter { session, range };
        let found = model
            .conversations(&demo, &filter, &request(200, None))
            .await
            .unwrap();
        assert_eq!(found.items.len(), expected, "{filter:?}");
    }
    server.stop().await;
}
