//! The lives of sessions: pods that are made, chosen and removed, warnings and ends.

use std::time::Duration;

use rdev_kube_standin::PodSpec;
use rdev_tests::Outcome;
use rdev_tests::cluster::{Cluster, LABEL, NAMESPACE};
use rdev_tests::life::{CLAIMED, TEMPLATE, create, feed, told, until, with_templates};
use rdev_tests::world::{PROJECT, World};
use serde_json::{Value, json};

use super::options;

fn shell(command: &str) -> Value {
    json!({"type": "shell", "command": command})
}

#[tokio::test]
async fn a_directory_is_made_for_a_session_and_goes_with_it() -> Outcome<()> {
    let (options, _templates) = with_templates(options())?;
    let (world, services) = World::start(options).await?;
    let client = &services.client;
    let session = create(client, &json!({"template": TEMPLATE})).await?;
    // It waits in the queue if the directory is not there yet.
    let transcript = client.shell(&session, "pwd; echo kept > file").await?;
    transcript.check()?;
    let pod = world.pod(&format!("rdev-{session}"));
    assert_eq!(
        transcript.stdout().trim(),
        pod.canonicalize()?.display().to_string()
    );
    let view = until(client, &session, |view| view["pod_state"] == "ready").await?;
    assert_eq!(view["pod"], format!("rdev-{session}"));
    assert_eq!(
        (&view["template"], &view["status"]),
        (&json!(TEMPLATE), &json!("active"))
    );
    assert!(pod.join("file").exists());
    let path = format!("/sessions/{session}/exec");
    let once = json!({"type": "shell", "command": "echo once >> file", "stream_id": "once"});
    client.run(&session, &once).await?;
    client.delete(&format!("/sessions/{session}")).await?;
    let view = until(client, &session, |view| view["pod_state"] == "deleted").await?;
    assert_eq!(view["ended_reason"], "deleted");
    assert!(!pod.exists());
    // Whoever has lost the answer may ask for it again, and nothing makes the pod again.
    assert_eq!(client.post(&path, &once).await?.status, 200);
    let answer = client.post(&path, &shell("true")).await?;
    assert_eq!(answer.json()["code"], "session_not_active");
    assert!(!pod.exists());
    Ok(())
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_refused() -> Outcome<()> {
    let (options, _templates) = with_templates(options())?;
    let (_world, services) = World::start(options).await?;
    for (body, code, words) in [
        (
            json!({"template": "rust"}),
            "unknown_template",
            "there are box, claimed",
        ),
        (json!({}), "invalid_field", "one of"),
        (
            json!({"pod": "a", "selector": {"a": "b"}}),
            "invalid_field",
            "one of",
        ),
        (
            json!({"selector": {"a": "b,c"}}),
            "invalid_field",
            "selector",
        ),
        (
            json!({"template": TEMPLATE, "idle_timeout_seconds": 0}),
            "invalid_field",
            "idle",
        ),
    ] {
        let answer = services.client.post("/sessions", &body).await?;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (400, &json!(code)),
            "{body}"
        );
        assert!(answer.text.contains(words), "{}", answer.text);
    }
    // Directories have no labels.
    let body = json!({"selector": {"app": "web"}});
    let session = create(&services.client, &body).await?;
    let view = until(&services.client, &session, |view| view["status"] == "ended").await?;
    assert_eq!(view["ended_reason"], "failed");
    assert!(
        view["pod_message"]
            .as_str()
            .is_some_and(|text| text.contains("no labels"))
    );
    Ok(())
}

#[tokio::test]
async fn commands_wait_for_a_pod_that_is_made() -> Outcome<()> {
    let (options, _templates) = with_templates(options())?;
    let cluster = Cluster::start(options, &[]).await?;
    let (standin, client) = (&cluster.standin, cluster.client());
    // Whoever makes pods needs no rights on claims.
    standin.forbid(NAMESPACE, "sandboxclaims");
    standin.keep_waiting(Some("ContainerCreating"));
    let session = create(client, &json!({"template": TEMPLATE})).await?;
    let mut news = feed(client, &session).await?;
    let pending = told(&mut news, |news| {
        news["pod_message"]
            .as_str()
            .is_some_and(|text| text.contains("ContainerCreating"))
    });
    assert_eq!(pending.await?["pod_state"], "pending");
    let stream = client.exec(&session, &shell("echo $WHO")).await?;
    let mut events = client.events(&session, &stream, None).await?;
    let queued = events.until("queued").await?.json();
    assert_eq!(queued["reason"], "session_not_ready");
    let path = format!("/sessions/{session}/execs/{stream}");
    let waiting = client.get(&path).await?.json();
    assert_eq!(waiting["queue"]["reason"], "session_not_ready");
    standin.keep_waiting(None);
    told(&mut news, |news| news["pod_state"] == "ready").await?;
    assert_eq!(events.until("complete").await?.json()["exit_code"], 0);
    assert_eq!(
        client.transcript(&session, &stream).await?.stdout(),
        "box\n"
    );
    // It is this session's own.
    let body = json!({"selector": {"rdev.dev/session": session}});
    let other = create(client, &body).await?;
    let view = until(client, &other, |view| view["pod_message"].is_string()).await?;
    assert_eq!(view["pod_state"], "pending", "{view}");
    let pods = standin.pods(NAMESPACE);
    assert_eq!(pods.len(), 1);
    let labels = &pods[0]["metadata"]["labels"];
    assert_eq!(
        (&labels[LABEL], &labels["rdev.dev/session"]),
        (&json!(PROJECT), &json!(session))
    );
    assert_eq!(pods[0]["spec"]["securityContext"]["runAsNonRoot"], true);
    client.delete(&format!("/sessions/{session}")).await?;
    let end = told(&mut news, |news| news["pod_state"] == "deleted").await?;
    assert_eq!(
        (&end["status"], &end["reason"]),
        (&json!("ended"), &json!("deleted"))
    );
    assert!(standin.pods(NAMESPACE).is_empty());
    assert_eq!(standin.pods_made(), 1);
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_pod_that_cannot_be_made_ends_its_session_with_the_reason() -> Outcome<()> {
    let (options, _templates) = with_templates(options())?;
    let options = options.variable("RDEV_PROVISION_TIMEOUT", "2s");
    let cluster = Cluster::start(options, &[]).await?;
    let (standin, client) = (&cluster.standin, cluster.client());
    standin.keep_waiting(Some("ImagePullBackOff"));
    let late = create(client, &json!({"template": TEMPLATE})).await?;
    let stream = client.exec(&late, &shell("echo never")).await?;
    let complete = client.transcript(&late, &stream).await?.complete();
    assert_eq!(complete["outcome"], "rejected", "{complete}");
    let reason = complete["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains("within 2 s") && reason.contains("ImagePullBackOff"),
        "{reason}"
    );
    let view = until(client, &late, |view| view["pod_state"] == "deleted").await?;
    assert_eq!(view["ended_reason"], "failed");
    assert!(
        standin.pods(NAMESPACE).is_empty(),
        "what was made is removed"
    );
    standin.keep_waiting(None);
    let body = json!({"template": TEMPLATE, "container": "none"});
    let wrong = create(client, &body).await?;
    let view = until(client, &wrong, |view| view["status"] == "ended").await?;
    let message = view["pod_message"].as_str().unwrap_or_default();
    assert!(message.contains("no container none"), "{view}");
    standin.forbid(NAMESPACE, "pods");
    let refused = create(client, &json!({"template": TEMPLATE})).await?;
    let view = until(client, &refused, |view| view["status"] == "ended").await?;
    let message = view["pod_message"].as_str().unwrap_or_default();
    assert!(message.contains("forbidden"), "{view}");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_session_that_is_ended_before_its_pod_is_ready_leaves_nothing() -> Outcome<()> {
    let (options, _templates) = with_templates(options())?;
    let cluster = Cluster::start(options, &[]).await?;
    let (standin, client) = (&cluster.standin, cluster.client());
    standin.keep_waiting(Some("ContainerCreating"));
    let session = create(client, &json!({"template": TEMPLATE})).await?;
    let stream = client.exec(&session, &shell("echo never")).await?;
    standin.until_pods(NAMESPACE, |pods| pods.len() == 1).await;
    client.delete(&format!("/sessions/{session}")).await?;
    let complete = client.transcript(&session, &stream).await?.complete();
    assert_eq!(complete["outcome"], "rejected", "{complete}");
    until(client, &session, |view| view["pod_state"] == "deleted").await?;
    assert!(standin.pods(NAMESPACE).is_empty());
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn an_idle_session_is_warned_and_ends_and_what_runs_is_not_idle() -> Outcome<()> {
    let (options, _templates) = with_templates(options())?;
    let options = options.variable("RDEV_IDLE_WARNING", "1s");
    let (world, services) = World::start(options).await?;
    let client = &services.client;
    let body = json!({"template": TEMPLATE, "idle_timeout_seconds": 2});
    let session = create(client, &body).await?;
    let mut news = feed(client, &session).await?;
    // It runs for longer than the session may be idle.
    let stream = client.exec(&session, &shell("sleep 4")).await?;
    let mut events = client.events(&session, &stream, None).await?;
    let complete = events.until("complete").await?.json();
    assert_eq!(complete["exit_code"], 0, "{complete}");
    let warned = told(&mut news, |news| news["idle_ends_at"].is_string()).await?;
    assert_eq!(warned["status"], "active");
    let ended = told(&mut news, |news| news["status"] == "ended").await?;
    assert_eq!(ended["reason"], "idle");
    let view = until(client, &session, |view| view["pod_state"] == "deleted").await?;
    let time = |value: &Value| -> Outcome<jiff::Timestamp> {
        Ok(value.as_str().unwrap_or_default().parse()?)
    };
    assert!(time(&view["ended_at"])? >= time(&warned["idle_ends_at"])?);
    assert!(!world.pod(&format!("rdev-{session}")).exists());
    // The read model says the same, up to the last fact: to end it once more says where that is.
    let ended = client.delete(&format!("/sessions/{session}")).await?;
    let as_of = ended.header("rdev-as-of");
    let path = format!("/sessions?status=ended&as_of={as_of}");
    let listed = client.get(&path).await?.json();
    assert_eq!(listed["items"][0], view, "{listed}");
    Ok(())
}

/// Who comes is told so before the end that was announced, and not at it.
#[tokio::test]
async fn a_warning_is_taken_back_when_a_reader_comes() -> Outcome<()> {
    let (options, _templates) = with_templates(options())?;
    let options = options.variable("RDEV_IDLE_WARNING", "12s");
    let (_world, services) = World::start(options).await?;
    let client = &services.client;
    let body = json!({"template": TEMPLATE, "idle_timeout_seconds": 20});
    let session = create(client, &body).await?;
    let warned = until(client, &session, |view| view["idle_ends_at"].is_string()).await?;
    // It is looked once more, soon: whoever has come by then is not who this is about.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut news = feed(client, &session).await?;
    told(&mut news, |news| news["idle_ends_at"].is_null()).await?;
    let end: jiff::Timestamp = warned["idle_ends_at"]
        .as_str()
        .unwrap_or_default()
        .parse()?;
    assert!(jiff::Timestamp::now() < end, "{warned}");
    Ok(())
}

#[tokio::test]
async fn an_expired_session_stops_what_runs() -> Outcome<()> {
    let (options, _templates) = with_templates(options())?;
    let (world, services) = World::start(options).await?;
    let client = &services.client;
    let body = json!({"template": TEMPLATE, "expires_in_seconds": 3});
    let session = create(client, &body).await?;
    let stream = client.exec(&session, &shell("echo on; sleep 60")).await?;
    let complete = client.transcript(&session, &stream).await?.complete();
    assert_eq!(complete["outcome"], "canceled", "{complete}");
    let view = until(client, &session, |view| view["pod_state"] == "deleted").await?;
    assert_eq!(view["ended_reason"], "expired");
    assert!(!world.pod(&format!("rdev-{session}")).exists());
    Ok(())
}

#[tokio::test]
async fn a_pod_is_chosen_by_its_labels() -> Outcome<()> {
    let cluster = Cluster::start(options(), &[]).await?;
    let (standin, client) = (&cluster.standin, cluster.client());
    let pod = |name: &str, project: &str| {
        PodSpec::new(NAMESPACE, name)
            .label(LABEL, project)
            .label("app", "web")
    };
    standin.add_pod(pod("foreign", "another"))?;
    standin.add_pod(pod("starting", PROJECT))?;
    standin.set_phase(NAMESPACE, "starting", "Pending")?;
    let body = json!({"selector": {"app": "web"}});
    let session = create(client, &body).await?;
    let mut news = feed(client, &session).await?;
    let message = |news: &Value, words: &str| {
        news["pod_message"]
            .as_str()
            .is_some_and(|text| text.contains(words))
    };
    told(&mut news, |news| message(news, "starting")).await?;
    let stream = client.exec(&session, &shell("echo here")).await?;
    standin.set_phase(NAMESPACE, "starting", "Running")?;
    let ready = told(&mut news, |news| news["pod_state"] == "ready").await?;
    assert_eq!(ready["pod"], "starting");
    assert_eq!(
        client.transcript(&session, &stream).await?.stdout(),
        "here\n"
    );
    client.delete(&format!("/sessions/{session}")).await?;
    // It is not the session's own.
    until(client, &session, |view| view["status"] == "ended").await?;
    assert_eq!(standin.pods(NAMESPACE).len(), 2);
    // One that was chosen and is another one now is not used.
    let session = create(client, &body).await?;
    until(client, &session, |view| view["pod_state"] == "ready").await?;
    standin.recreate_pod(NAMESPACE, "starting").await?;
    let complete = client.shell(&session, "echo never").await?.complete();
    assert_eq!(complete["outcome"], "rejected", "{complete}");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_sandbox_is_claimed_and_given_back() -> Outcome<()> {
    let (options, _templates) = with_templates(options())?;
    let cluster = Cluster::start(options, &[]).await?;
    let (standin, client) = (&cluster.standin, cluster.client());
    standin.keep_waiting(Some("ContainerCreating"));
    let session = create(client, &json!({"template": CLAIMED})).await?;
    let mut news = feed(client, &session).await?;
    let pending = told(&mut news, |news| news["pod_message"].is_string()).await?;
    assert_eq!(pending.get("pod"), None, "a sandbox has its own name");
    let stream = client.exec(&session, &shell("echo $HOSTNAME")).await?;
    standin.until_pods(NAMESPACE, |pods| pods.len() == 1).await;
    standin.keep_waiting(None);
    let ready = told(&mut news, |news| news["pod_state"] == "ready").await?;
    let pod = ready["pod"].as_str().unwrap_or_default();
    assert!(pod.starts_with("boxes-"), "{ready}");
    let transcript = client.transcript(&session, &stream).await?;
    assert_eq!(transcript.stdout(), format!("{pod}\n"));
    let claims = standin.sandbox_claims();
    assert_eq!(claims.len(), 1);
    assert_eq!(claims[0]["metadata"]["name"], format!("rdev-{session}"));
    client.delete(&format!("/sessions/{session}")).await?;
    let view = until(client, &session, |view| view["pod_state"] == "deleted").await?;
    assert_eq!(view["pod"], pod);
    assert!(standin.sandbox_claims().is_empty());
    assert!(standin.pods(NAMESPACE).is_empty());
    cluster.shutdown().await;
    Ok(())
}
