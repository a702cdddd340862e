//! Reading again, reading late, and reading from the wrong place.

use rdev_tests::Outcome;
use serde_json::json;

use super::world;

#[tokio::test]
async fn any_reader_at_any_time_sees_the_same() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("readers").await?;
    // Subscribed before the exec exists, as clients of the original may do.
    let early = client.events(&session, "s1", None).await?;
    let command = "for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; sleep 0.02; done";
    let body = json!({"type": "shell", "command": command, "stream_id": "s1"});
    client.exec(&session, &body).await?;
    let early = early.rest().await?;
    early.check()?;
    let late = client.transcript(&session, "s1").await?;
    assert_eq!(early.numbered(), late.numbered());
    // From every event on.
    for (index, event) in late.numbered().iter().enumerate() {
        let resumed = client.events(&session, "s1", Some(&event.id)).await?;
        if event.name == "complete" {
            assert_eq!(resumed.status, 204);
            continue;
        }
        let resumed = resumed.rest().await?;
        assert_eq!(
            resumed.numbered(),
            late.numbered()[index + 1..],
            "from {}",
            event.id
        );
        assert_eq!(resumed.events[0].json()["reconnecting"], true);
    }
    // Nothing of it, from the end on, is over at once.
    let path = format!("/sessions/{session}/execs/s1/events?tail=0");
    assert_eq!(client.get(&path).await?.status, 204);
    Ok(())
}

#[tokio::test]
async fn a_reader_that_leaves_stops_nothing() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("leaver").await?;
    let command = "echo first; while ! test -e go; do sleep 0.05; done; echo last";
    let stream = client
        .exec(&session, &json!({"type": "shell", "command": command}))
        .await?;
    let mut events = client.events(&session, &stream, None).await?;
    let first = events.until("output").await?;
    drop(events);
    client.shell(&session, "touch go").await?;
    let rest = client
        .events(&session, &stream, Some(&first.id))
        .await?
        .rest()
        .await?;
    assert_eq!(rest.numbered()[0].json()["line"], "last");
    assert_eq!(rest.complete()["ok"], true);
    Ok(())
}

#[tokio::test]
async fn wrong_cursors_are_refused() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("cursors").await?;
    let stream = client
        .exec(
            &session,
            &json!({"type": "shell", "command": "echo secret"}),
        )
        .await?;
    let own = client.transcript(&session, &stream).await?;
    let other = client
        .exec(&session, &json!({"type": "shell", "command": "echo mine"}))
        .await?;
    client.transcript(&session, &other).await?;
    let id = &own.numbered()[0].id;
    let tag = id.rsplit('-').next().unwrap_or_default();
    let long = "1".repeat(8192);
    let cases = [
        (other.as_str(), id.clone()),
        (&stream, format!("99999999-1-{tag}")),
        (&stream, format!("1-99-{tag}")),
        (&stream, "-1".to_owned()),
        (&stream, "abc".to_owned()),
        (&stream, format!("18446744073709551616-1-{tag}")),
        (&stream, format!("18446744073709551615-1-{tag}")),
        (&stream, format!("1-18446744073709551616-{tag}")),
        (&stream, format!("01-1-{tag}")),
        (&stream, long),
    ];
    for (stream, cursor) in cases {
        let answer = client.events(&session, stream, Some(&cursor)).await?;
        assert_eq!(answer.status, 400, "{stream} {cursor}");
    }
    // The header wins over the query.
    let url = client.url(&format!(
        "/sessions/{session}/events?stream_id={stream}&last_event_id=x"
    ));
    let answer = client
        .http()
        .get(url)
        .header("Last-Event-ID", id)
        .send()
        .await?;
    assert_eq!(answer.status(), 200);
    Ok(())
}

#[tokio::test]
async fn the_frames_are_exact() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("frames").await?;
    let stream = client
        .exec(&session, &json!({"type": "shell", "command": "echo hi"}))
        .await?;
    client.transcript(&session, &stream).await?;
    let answer = client
        .get(&format!("/sessions/{session}/events?stream_id={stream}"))
        .await?;
    assert_eq!(
        answer.header("content-type").split(';').next(),
        Some("text/event-stream")
    );
    assert_eq!(answer.header("cache-control"), "no-cache, no-transform");
    assert_eq!(answer.header("x-accel-buffering"), "no");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let blocks: Vec<_> = answer
        .text
        .split("\n\n")
        .filter(|block| !block.is_empty())
        .collect();
    assert!(blocks[0].contains("event: connected\n"), "{}", answer.text);
    assert!(blocks[0].contains("retry: "), "{}", answer.text);
    assert!(
        answer.text.lines().all(|line| !line.starts_with(':')),
        "{}",
        answer.text
    );
    let output = blocks
        .iter()
        .find(|block| block.contains("event: output"))
        .ok_or("no output")?;
    let lines: Vec<_> = output.lines().collect();
    assert!(
        lines.iter().any(|line| line.starts_with("id: ")),
        "{output}"
    );
    assert!(
        lines.contains(&r#"data: {"line":"hi","stream":"stdout"}"#),
        "{output}"
    );
    Ok(())
}
