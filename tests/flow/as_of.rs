//! Reading what one has written, through a projector that is slow, stopped, or passes it over.

use std::time::Duration;

use rdev_embedded::Signal;
use rdev_tests::Outcome;
use rdev_tests::client::{Answer, Client};
use rdev_tests::world::Service;
use serde_json::{Value, json};

use super::world;

const TOKEN: &str = "rdev-as-of";
/// A projector that works for one part of the time and stands still for five.
const WORKS: Duration = Duration::from_millis(20);
const STANDS: Duration = Duration::from_millis(100);

fn ids(answer: &Answer) -> Vec<String> {
    let items = answer.json()["items"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let id = |item: &Value| item["id"].as_str().unwrap_or_default().to_owned();
    items.iter().map(id).collect()
}

fn code(answer: &Answer) -> (u16, String) {
    let code = answer.json()["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status, code)
}

async fn execs(client: &Client, session: &str, as_of: &str) -> Outcome<Answer> {
    client
        .get(&format!(
            "/sessions/{session}/execs?limit=200&as_of={as_of}"
        ))
        .await
}

/// Stops and continues it, for ever.
async fn slow_down(projector: &Service) -> Outcome<()> {
    loop {
        projector.signal(Signal::STOP)?;
        tokio::time::sleep(STANDS).await;
        projector.signal(Signal::CONT)?;
        tokio::time::sleep(WORKS).await;
    }
}

#[tokio::test]
async fn a_list_shows_what_was_just_posted() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("writes").await?;
    let path = format!("/sessions/{session}/exec");
    let reading = async {
        for round in 0..100 {
            let stream = format!("e{round}");
            let body = json!({"type": "shell", "command": "true", "stream_id": stream});
            let posted = client.post(&path, &body).await?;
            assert_eq!(posted.status, 201, "{}", posted.text);
            let listed = execs(client, &session, posted.header(TOKEN)).await?;
            assert_eq!(listed.status, 200, "{}", listed.text);
            assert!(ids(&listed).contains(&stream), "round {round}");
        }
        // A repeat names the same place.
        let body = json!({"type": "shell", "command": "true", "stream_id": "e0"});
        let again = client.post(&path, &body).await?;
        assert_eq!(again.status, 200);
        let listed = execs(client, &session, again.header(TOKEN)).await?;
        assert_eq!(listed.status, 200, "{}", again.header(TOKEN));
        Outcome::Ok(())
    };
    tokio::select! {
        read = reading => read,
        failed = slow_down(&services.projector) => failed,
    }
}

#[tokio::test]
async fn sessions_are_listed_as_they_were_left() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let reading = async {
        for round in 0..10 {
            let body = json!({"pod": format!("p{round}")});
            let created = client.post("/sessions", &body).await?;
            let id = created.json()["id"].as_str().unwrap_or_default().to_owned();
            let list = async |answer: &Answer| {
                let as_of = answer.header(TOKEN);
                let listed = client
                    .get(&format!("/sessions?limit=1&as_of={as_of}"))
                    .await?;
                assert_eq!(listed.status, 200, "{as_of}: {}", listed.text);
                Outcome::Ok(listed.json()["items"][0].clone())
            };
            let listed = list(&created).await?;
            assert_eq!(
                (&listed["id"], &listed["status"]),
                (&json!(id), &json!("active"))
            );
            // Ending it twice is ending it once, and names a place that includes the end.
            for _ in 0..2 {
                let ended = client.delete(&format!("/sessions/{id}")).await?;
                let listed = list(&ended).await?;
                assert_eq!(
                    (&listed["id"], &listed["status"]),
                    (&json!(id), &json!("ended"))
                );
            }
        }
        Outcome::Ok(())
    };
    tokio::select! {
        read = reading => read,
        failed = slow_down(&services.projector) => failed,
    }
}

/// The projector passes over output: its position stays behind it while nothing else comes.
#[tokio::test]
async fn the_id_of_any_event_is_a_token() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("events").await?;
    let command = "echo one; while ! test -e go; do sleep 0.05; done; echo two";
    let body = json!({"type": "shell", "command": command, "stream_id": "x"});
    client.exec(&session, &body).await?;
    let mut events = client.events(&session, "x", None).await?;
    let output = events.until("output").await?;
    let listed = execs(client, &session, &output.id).await?;
    assert_eq!(listed.status, 200, "{}", listed.text);
    assert_eq!(listed.json()["items"][0]["status"], "running");

    client.shell(&session, "touch go").await?;
    let complete = events.until("complete").await?;
    let listed = execs(client, &session, &complete.id).await?;
    let items = listed.json()["items"].clone();
    let of_exec = |item: &&Value| item["id"] == "x";
    let ended = items
        .as_array()
        .and_then(|items| items.iter().find(of_exec));
    assert_eq!(ended.ok_or("not listed")?["status"], "complete");

    let path = format!("/conversations?as_of={}", complete.id);
    assert_eq!(client.get(&path).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_wait_ends() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("stuck").await?;
    services.projector.signal(Signal::STOP)?;
    let body = json!({"type": "shell", "command": "echo one", "stream_id": "s"});
    let posted = client
        .post(&format!("/sessions/{session}/exec"), &body)
        .await?;
    let token = posted.header(TOKEN).to_owned();
    let output = client.transcript(&session, "s").await?.numbered()[0]
        .id
        .clone();
    for as_of in [&token, &output] {
        let refused = execs(client, &session, as_of).await?;
        assert_eq!(
            code(&refused),
            (503, "not_projected_yet".to_owned()),
            "{as_of}"
        );
        assert_eq!(refused.header("retry-after"), "2");
        assert_eq!(refused.json()["outcome_unknown"], false);
    }
    // Who does not ask for it does not wait for it.
    let listed = client.get(&format!("/sessions/{session}/execs")).await?;
    assert_eq!(listed.status, 200);
    services.projector.signal(Signal::CONT)?;
    let listed = execs(client, &session, &token).await?;
    assert_eq!((listed.status, ids(&listed)), (200, vec!["s".to_owned()]));
    Ok(())
}

#[tokio::test]
async fn many_may_wait() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("many").await?;
    services.projector.signal(Signal::STOP)?;
    let body = json!({"type": "shell", "command": "true", "stream_id": "m"});
    let posted = client
        .post(&format!("/sessions/{session}/exec"), &body)
        .await?;
    let token = posted.header(TOKEN).to_owned();
    let lists = (0..200).map(|_| execs(client, &session, &token));
    let (continued, lists) = tokio::join!(
        async {
            tokio::time::sleep(STANDS).await;
            services.projector.signal(Signal::CONT)
        },
        futures::future::try_join_all(lists)
    );
    continued?;
    for listed in lists? {
        assert_eq!((listed.status, ids(&listed)), (200, vec!["m".to_owned()]));
    }
    Ok(())
}

#[tokio::test]
async fn places_that_are_not_in_the_log_are_refused() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("places").await?;
    let body = json!({"type": "shell", "command": "echo one", "stream_id": "p"});
    let posted = client
        .post(&format!("/sessions/{session}/exec"), &body)
        .await?;
    let token = posted.header(TOKEN).to_owned();
    let id = client.transcript(&session, "p").await?.numbered()[0]
        .id
        .clone();
    let (log, created_at) = token.rsplit_once('-').ok_or("no identity")?;
    let tag = id.rsplit('-').next().unwrap_or_default();
    let microseconds: i64 = created_at.parse()?;
    for (as_of, expected) in [
        (format!("exec-999999-{created_at}"), "as_of_beyond_end"),
        (format!("99999999-1-{tag}"), "as_of_beyond_end"),
        ("session-999999".to_owned(), "as_of_beyond_end"),
        (format!("{log}-{}", microseconds - 1), "as_of_another_log"),
        (format!("{log}-x"), "invalid_as_of"),
        ("yesterday".to_owned(), "invalid_as_of"),
        ("1".repeat(8192), "invalid_as_of"),
    ] {
        let refused = execs(client, &session, &as_of).await?;
        assert_eq!(code(&refused), (400, expected.to_owned()), "{as_of}");
    }
    Ok(())
}
