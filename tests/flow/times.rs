//! The times after which an exec ends: of its wait, of its run, of its silence. What it printed by
//! then is kept, and the reason says which it was.

use std::time::Duration;

use rdev_tests::Outcome;
use rdev_tests::world::World;
use serde_json::json;

use super::{options, world};

#[tokio::test]
async fn a_run_and_a_silence_that_last_too_long_are_stopped() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let session = client.session("times").await?;
    // Children, one of them in a session of its own, hold the output open.
    let forks = "sleep 300 & setsid sleep 300 & ";
    let cases = [
        (
            json!({"type": "shell", "timeout_seconds": 1,
                "command": format!("{forks} echo begun; while :; do echo on >&2; sleep 0.1; done")}),
            "timeout_seconds is over",
            "begun\n",
        ),
        (
            json!({"type": "shell", "idle_timeout_seconds": 1,
                "command": format!("{forks} for i in 1 2 3 4; do echo $i; sleep 0.4; done; wait")}),
            "idle_timeout_seconds is over",
            "1\n2\n3\n4\n",
        ),
    ];
    for (body, reason, printed) in cases {
        let transcript = client.run(&session, &body).await?;
        transcript.check()?;
        let complete = transcript.complete();
        assert_eq!(complete["outcome"], "timed_out", "{complete}");
        assert_eq!(
            (&complete["exit_code"], &complete["ok"]),
            (&json!(-1), &json!(false))
        );
        let found = complete["reason"].as_str().unwrap_or_default();
        assert!(found.starts_with(reason), "{complete}");
        assert_eq!(transcript.stdout(), printed);
    }
    // What prints often enough runs on.
    let body = json!({"type": "shell", "idle_timeout_seconds": 2,
        "command": "for i in 1 2 3 4 5 6 7 8; do sleep 0.4; echo $i; done"});
    let transcript = client.run(&session, &body).await?;
    assert_eq!(transcript.complete()["exit_code"], 0);
    world.audit(&[], &[]).await?.expect_equal()
}

#[tokio::test]
async fn what_waits_for_too_long_is_never_started() -> Outcome<()> {
    let (mut world, gateways) = World::of_readers(options(), 1).await?;
    let client = &gateways.clients[0];
    let session = client.session("late").await?;
    let queued = |stream: &str, seconds: u64| {
        json!({"type": "shell", "command": format!("touch {stream}"), "stream_id": stream,
            "queue_timeout_seconds": seconds})
    };
    client.exec(&session, &queued("late", 1)).await?;
    client.exec(&session, &queued("patient", 600)).await?;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let _executor = world.executor()?;
    let patient = client.transcript(&session, "patient").await?;
    assert_eq!(patient.complete()["exit_code"], 0, "{patient:?}");
    let late = client.transcript(&session, "late").await?;
    let complete = late.complete();
    assert_eq!(complete["outcome"], "timed_out", "{complete}");
    assert_eq!(
        (&complete["exit_code"], &complete["ok"]),
        (&json!(-1), &json!(false))
    );
    let reason = complete["reason"].as_str().unwrap_or_default();
    assert!(
        reason.starts_with("queue_timeout_seconds is over"),
        "{complete}"
    );
    let shown = client
        .get(&format!("/sessions/{session}/execs/late"))
        .await?;
    assert_eq!(shown.json()["started_at"], json!(null));
    assert!(!world.pod("late").join("late").exists());
    assert!(world.pod("late").join("patient").exists());
    world.audit(&["--execs"], &[]).await?.expect_equal()?;
    world.audit(&[], &[]).await?.expect_equal()
}
