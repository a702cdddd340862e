//! The HTTP API: what it accepts, what it refuses, and how.

use rdev_tests::Outcome;
use rdev_tests::client::Answer;
use serde_json::{Value, json};

use super::world;

fn assert_problem(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text);
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{what}"
    );
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{what}");
    for field in ["type", "title", "detail", "code"] {
        assert!(
            problem[field].as_str().is_some_and(|text| !text.is_empty()),
            "{what}: {problem}"
        );
    }
}

#[tokio::test]
async fn bad_requests_are_refused_and_run_nothing() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("strict").await?;
    let path = format!("/sessions/{session}/exec");
    let marker = "touch executed";
    let cases = [
        json!({"type": "python", "command": marker}),
        json!({"command": marker}),
        json!({"type": "shell"}),
        json!({"type": "shell", "command": ""}),
        json!({"type": "git"}),
        json!({"type": "claude"}),
        json!({"type": "claude", "prompt": "x", "conversation_id": "--help"}),
        json!({"type": "claude", "prompt": "x", "args": ["--resume", "y"]}),
        json!({"type": "git", "command": "--exec-path=/tmp"}),
        json!({"type": "shell", "command": "touch a\u{0}b"}),
        json!({"type": "shell", "command": marker, "env": {"A=B": "c"}}),
        json!({"type": "shell", "command": marker, "stream_id": "a.b"}),
        json!({"type": "shell", "command": marker, "stream_id": "../../x"}),
        json!({"type": "shell", "command": marker, "stream_id": ">"}),
        json!({"type": "shell", "command": marker, "timeout_seconds": 0}),
        json!({"type": "shell", "command": marker, "timeout_seconds": 999_999_999}),
        json!({"type": "shell", "command": [marker]}),
        json!("shell"),
    ];
    for body in &cases {
        assert_problem(&client.post(&path, body).await?, 400, &body.to_string());
    }
    for body in [
        "",
        "{",
        "{\"type\":\"shell\",\"command\":\"touch executed\"} x",
    ] {
        let request = client.http().post(client.url(&path)).body(body);
        let request = request.header("content-type", "application/json");
        assert_problem(&client.send(request).await?, 400, body);
    }
    let large = json!({"type": "shell", "command": "x".repeat(2 * 1024 * 1024)});
    assert_problem(&client.post(&path, &large).await?, 413, "2 MiB");
    assert_eq!(client.shell(&session, "ls").await?.stdout(), "");
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_is_not_allowed_405() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("mine").await?;
    let other = client.of_project("other");
    let unknown = "01920000-0000-7000-8000-000000000000";
    let body = json!({"type": "shell", "command": "true"});
    for answer in [
        client
            .post(&format!("/sessions/{unknown}/exec"), &body)
            .await?,
        client.post("/sessions/not-a-uuid/exec", &body).await?,
        other
            .post(&format!("/sessions/{session}/exec"), &body)
            .await?,
        other.get(&format!("/sessions/{session}")).await?,
        other
            .get(&format!("/sessions/{session}/events?stream_id=x"))
            .await?,
        client.get(&format!("/sessions/{unknown}")).await?,
        client.get(&format!("/conversations/{unknown}")).await?,
        client.get("/no/such/route").await?,
        client.of_project("Not_A_Project").get("/sessions").await?,
        client
            .send(client.http().get(format!("{}/nowhere", client.base)))
            .await?,
    ] {
        assert_problem(&answer, 404, "");
    }
    let answer = client.get(&format!("/sessions/{session}/exec")).await?;
    assert_problem(&answer, 405, "GET exec");
    assert!(
        answer.header("allow").contains("POST"),
        "{:?}",
        answer.headers
    );
    Ok(())
}

#[tokio::test]
async fn one_stream_id_is_one_process() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("once").await?;
    let path = format!("/sessions/{session}/exec");
    let body =
        json!({"type": "shell", "command": "echo x >> count; wc -l < count", "stream_id": "same"});
    let posts = (0..50).map(|_| client.post(&path, &body));
    let answers = futures::future::try_join_all(posts).await?;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(
        created,
        1,
        "{:?}",
        answers
            .iter()
            .map(|answer| answer.status)
            .collect::<Vec<_>>()
    );
    assert!(
        answers
            .iter()
            .all(|answer| answer.json() == answers[0].json())
    );
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer.status, 200 | 201))
    );
    assert_eq!(
        client.transcript(&session, "same").await?.stdout().trim(),
        "1"
    );

    let other = json!({"type": "shell", "command": "echo other", "stream_id": "same"});
    assert_problem(&client.post(&path, &other).await?, 409, "another body");

    let keyed = |command: &str| {
        let body = json!({"type": "shell", "command": command});
        client.send(
            client
                .http()
                .post(client.url(&path))
                .header("Idempotency-Key", "k 1")
                .json(&body),
        )
    };
    let (first, again) = (
        keyed("echo x >> keyed").await?,
        keyed("echo x >> keyed").await?,
    );
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.json(), again.json());
    assert_problem(
        &keyed("echo other").await?,
        409,
        "another body under the same key",
    );
    let stream = first.json()["id"].as_str().unwrap_or_default().to_owned();
    client.transcript(&session, &stream).await?;
    assert_eq!(
        client
            .shell(&session, "wc -l < keyed")
            .await?
            .stdout()
            .trim(),
        "1"
    );
    Ok(())
}

#[tokio::test]
async fn sessions_are_created_listed_got_and_ended() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let body = json!({"pod": "p1", "namespace": "team", "container": "main"});
    let created = client.post("/sessions", &body).await?;
    assert_eq!(created.status, 201);
    let view = created.json();
    let id = view["id"].as_str().unwrap_or_default().to_owned();
    assert!(
        created
            .header("location")
            .ends_with(&format!("/projects/demo/sessions/{id}"))
    );
    assert_eq!(
        (&view["status"], &view["pod"]),
        (&json!("active"), &json!("p1"))
    );
    // Usable at once: read from the log, not from the read model.
    let got = client.get(&format!("/sessions/{id}")).await?;
    assert_eq!((got.status, got.json()), (200, view.clone()));
    assert_problem(
        &client.post("/sessions", &json!({"pod": "UPPER"})).await?,
        400,
        "pod",
    );
    assert_problem(
        &client
            .post("/sessions", &json!({"pod": "a", "x": 1}))
            .await?,
        400,
        "unknown",
    );

    let ended = client.delete(&format!("/sessions/{id}")).await?;
    assert!(matches!(ended.status, 200 | 204), "{}", ended.text);
    assert!(matches!(
        client.delete(&format!("/sessions/{id}")).await?.status,
        200 | 204
    ));
    assert_eq!(
        client.get(&format!("/sessions/{id}")).await?.json()["status"],
        "ended"
    );
    let body = json!({"type": "shell", "command": "true"});
    assert_problem(
        &client.post(&format!("/sessions/{id}/exec"), &body).await?,
        400,
        "ended",
    );

    Ok(())
}

#[tokio::test]
async fn lists_have_pages_and_belong_to_one_project() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let listed = |answer: Value| answer["items"].as_array().map_or(0, Vec::len);
    for pod in ["p1", "p2", "p3"] {
        client.session(pod).await?;
    }
    let wait = async {
        while listed(client.get("/sessions?limit=200").await?.json()) < 3 {
            tokio::task::yield_now().await;
        }
        Outcome::Ok(())
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), wait).await??;
    let first = client.get("/sessions?limit=2").await?.json();
    let cursor = first["next_cursor"].as_str().unwrap_or_default();
    let second = client
        .get(&format!("/sessions?limit=2&cursor={cursor}"))
        .await?
        .json();
    assert_eq!((listed(first), listed(second.clone())), (2, 1));
    assert!(second["next_cursor"].is_null());
    assert_problem(&client.get("/sessions?cursor=%21").await?, 400, "cursor");
    assert_eq!(
        listed(client.of_project("other").get("/sessions").await?.json()),
        0
    );
    Ok(())
}

#[tokio::test]
async fn a_gateway_drains_and_another_goes_on() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let (_second, other) = world.gateway()?;
    world.ready(&other).await?;
    let client = &services.client;
    let session = client.session("drain").await?;
    let body = json!({"type": "shell", "command": "echo one; while ! test -e go; do sleep 0.05; done; echo two"});
    let stream = client.exec(&session, &body).await?;
    let mut events = client.events(&session, &stream, None).await?;
    let output = events.until("output").await?;
    services.gateway.signal(rdev_embedded::Signal::TERM)?;
    let reconnect = events.until("reconnect").await?;
    assert_eq!(reconnect.json()["reason"], "draining");
    assert_eq!(events.next().await?, None);
    other.shell(&session, "touch go").await?;
    let rest = other
        .events(&session, &stream, Some(&output.id))
        .await?
        .rest()
        .await?;
    let texts: Vec<_> = rest
        .numbered()
        .iter()
        .map(|event| event.name.clone())
        .collect();
    assert_eq!(texts, ["output", "complete"]);
    assert_eq!(rest.numbered()[0].json()["line"], "two");
    Ok(())
}
