//! What the services count: names that are documented, values that move as they should, seen by
//! Debian's Prometheus, which also judges every alert rule and every query of the dashboard.

#[path = "metrics/documented.rs"]
mod documented;
#[path = "metrics/prometheus.rs"]
mod prometheus;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::world::{PROJECT, Service, World};
use serde_json::{Value, json};

use crate::options;
use prometheus::Prometheus;

/// The checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A world whose services tell what they count.
struct Counted {
    world: World,
    client: Client,
    gateway: (Service, SocketAddr),
    projector: (Service, SocketAddr),
}

impl Counted {
    async fn start() -> Outcome<Self> {
        let (gateway, projector, listen) = (address()?, address()?, address()?);
        let options = options().variable(HEALTH_LISTEN, projector.to_string());
        let mut world = World::bare(options).await?;
        let projecting = world.projector()?;
        let serving = world.gateway_with(&[
            ("RDEV_LISTEN", listen.to_string()),
            ("RDEV_MAX_STREAMS", READERS_MAX.to_string()),
            (HEALTH_LISTEN, gateway.to_string()),
        ])?;
        let client = Client::new(format!("http://{listen}"), PROJECT);
        world.ready(&client).await?;
        Ok(Self {
            world,
            client,
            gateway: (serving, gateway),
            projector: (projecting, projector),
        })
    }

    /// One more executor, with so many slots.
    fn executor(&mut self, slots: u32) -> Outcome<(Service, SocketAddr)> {
        let address = address()?;
        let service = self.world.local_executor(&[
            (HEALTH_LISTEN, address.to_string()),
            ("RDEV_EXECUTOR_SLOTS", slots.to_string()),
        ])?;
        Ok((service, address))
    }
}

/// As many readers as a test has at a time.
const READERS_MAX: u32 = 3;
const HEALTH_LISTEN: &str = "RDEV_HEALTH_LISTEN";

fn address() -> Outcome<SocketAddr> {
    Ok(SocketAddr::from((
        Ipv4Addr::LOCALHOST,
        rdev_embedded::draw_port()?,
    )))
}

async fn fetch(address: SocketAddr, path: &str) -> Outcome<(u16, String)> {
    let answer = reqwest::get(format!("http://{address}{path}")).await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

#[tokio::test]
async fn prometheus_sees_what_happens() -> Outcome<()> {
    let mut counted = Counted::start().await?;
    let (first, first_at) = counted.executor(2)?;
    let (second_at, client) = (address()?, counted.client.clone());
    let Some(prometheus) = Prometheus::start(&[
        ("rdev-gateway", counted.gateway.1),
        ("rdev-executor", first_at),
        ("rdev-executor", second_at),
        ("rdev-projector", counted.projector.1),
    ])
    .await?
    else {
        return Ok(());
    };
    let session = client.session("counted").await?;
    for _ in 0..3 {
        client.shell(&session, "seq 100").await?.check()?;
    }
    for (query, value) in [
        ("sum(rdev_exec_starts_total)", 3.0),
        (
            "sum(rdev_execs_completed_total{type='shell',outcome='exited'})",
            3.0,
        ),
        (
            "sum(rdev_http_requests_total{route=~'.*/exec',method='POST',status='201'})",
            3.0,
        ),
        ("sum(rdev_output_bytes_total)", 3.0 * 292.0),
        // With the three `complete`.
        ("sum(rdev_events_logged_total)", 303.0),
        ("sum(rdev_delivered_events_total)", 303.0),
        (
            "sum(rdev_publish_duration_seconds_count{kind='complete'})",
            3.0,
        ),
        ("sum(rdev_scheduler)", 1.0),
        ("sum(rdev_projector_active)", 1.0),
        ("max(rdev_projection_lag_messages)", 0.0),
        ("min(rdev_ready{job!='rdev-executor'})", 1.0),
        ("sum(rdev_nats_connections)", 4.0),
    ] {
        prometheus.until(query, value).await?;
    }
    the_queue_and_readers_are_seen(&prometheus, &client, &session).await?;

    first.kill().await;
    let variables = [
        (HEALTH_LISTEN, second_at.to_string()),
        ("RDEV_EXECUTOR_SLOTS", "9".to_owned()),
    ];
    let _second = counted.world.local_executor(&variables)?;
    for (query, value) in [
        ("sum(rdev_exec_takeovers_total)", 2.0),
        ("sum(rdev_queue_waiting)", 0.0),
        (
            "sum(rdev_execs_running{job='rdev-executor'} and on (instance) up == 1)",
            5.0,
        ),
        ("sum(up{job='rdev-executor'})", 1.0),
    ] {
        prometheus.until(query, value).await?;
    }
    for index in 0..5 {
        client.cancel(&session, &format!("long-{index}")).await?;
    }
    let canceled = "sum(rdev_execs_completed_total{outcome='canceled'})";
    prometheus.until(canceled, 5.0).await?;
    prometheus.check_rules().await?;
    prometheus.check_dashboard().await
}

/// Two run and three wait; readers come and go, one too many among them.
async fn the_queue_and_readers_are_seen(
    prometheus: &Prometheus,
    client: &Client,
    session: &str,
) -> Outcome<()> {
    for index in 0..5 {
        let stream_id = format!("long-{index}");
        let command = "echo begun; sleep 600";
        let body = json!({"type": "shell", "command": command, "stream_id": stream_id});
        client.exec(session, &body).await?;
    }
    let mut first = client.events(session, "long-0", None).await?;
    let mut second = client
        .stream(&format!("/sessions/{session}/events"), None)
        .await?;
    first.until("caught_up").await?;
    second.until("caught_up").await?;
    let url = client.url(&format!(
        "/sessions/{session}/events?stream_id=long-4&wait=60"
    ));
    let poll = client.http().get(url).header("Accept", "application/json");
    let poll = tokio::spawn(poll.send());
    let polled = "sum(rdev_readers{mode='poll'})";
    prometheus.until(polled, 1.0).await?;
    let path = format!("/sessions/{session}/events?stream_id=long-0");
    let sent_away = client.get_as(&path, "text/event-stream", None).await?;
    assert!(sent_away.text.contains("overloaded"), "{}", sent_away.text);
    for (query, value) in [
        ("sum(rdev_queue_waiting)", 3.0),
        ("sum(rdev_queue_waiting{reason='slots'})", 3.0),
        // They run, and what they have printed is in the log.
        ("sum(rdev_output_bytes_total)", 3.0 * 292.0 + 2.0 * 6.0),
        ("sum(rdev_journal_unlogged_bytes)", 0.0),
        ("max(rdev_queue_running)", 2.0),
        ("sum(rdev_execs_running)", 2.0),
        ("max(rdev_queue_oldest_age_seconds) > bool 0", 1.0),
        ("sum(rdev_readers{scope='exec',mode='follow'})", 1.0),
        ("sum(rdev_readers{scope='session',mode='follow'})", 1.0),
        ("sum(rdev_readers_behind)", 0.0),
        ("sum(rdev_reader_slots)", f64::from(READERS_MAX)),
        ("sum(rdev_reader_slots_free)", 0.0),
        ("sum(rdev_reader_ends_total{reason='overloaded'})", 1.0),
    ] {
        prometheus.until(query, value).await?;
    }
    poll.abort();
    drop((first, second));
    for (query, value) in [
        ("sum(rdev_http_requests_total{status='499'})", 1.0),
        ("sum(rdev_readers)", 0.0),
        ("sum(rdev_reader_ends_total{reason='gone'})", 3.0),
    ] {
        prometheus.until(query, value).await?;
    }
    Ok(())
}

/// Nobody listens there.
const NO_CLUSTER: &str = "\
apiVersion: v1
kind: Config
current-context: nowhere
contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody}}]
clusters: [{name: nowhere, cluster: {server: \"http://127.0.0.1:1\"}}]
users: [{name: nobody, user: {}}]
";

/// A probe says which dependency is missing, and why.
#[tokio::test]
async fn readiness_names_what_is_missing() -> Outcome<()> {
    let mut counted = Counted::start().await?;
    let (_executor, executor) = counted.executor(4)?;
    let services = [counted.gateway.1, executor, counted.projector.1];
    until_ready(&services, 200, &["ready", "nats up"]).await?;
    until_ready(&[executor], 200, &["scheduler up: "]).await?;
    until_ready(
        &[counted.gateway.1],
        200,
        &["postgres up", "scheduler up: "],
    )
    .await?;
    until_ready(
        &[counted.projector.1],
        200,
        &["postgres up", "RDEV_EXEC position="],
    )
    .await?;

    let nowhere = counted.world.directory().join("kubeconfig");
    std::fs::write(&nowhere, NO_CLUSTER)?;
    let lost_at = address()?;
    let _lost = counted.world.executor_with(&[
        ("RDEV_BACKEND", "kube".to_owned()),
        ("KUBECONFIG", nowhere.display().to_string()),
        (HEALTH_LISTEN, lost_at.to_string()),
    ])?;
    let words = ["not ready", "nats up", "kubernetes down: the API server"];
    until_ready(&[lost_at], 503, &words).await?;

    counted.world.nats.stop().await;
    until_ready(&services, 503, &["not ready", "nats down: "]).await?;
    let url = format!("{}/readyz", counted.client.base);
    let answer: Value = reqwest::get(url).await?.json().await?;
    assert_eq!(answer["status"], "not ready");
    assert_eq!(answer["missing"][0], "nats");
    nobody_schedules(counted.gateway.1, executor).await?;
    let (status, _) = fetch(executor, "/healthz").await?;
    assert_eq!(status, 200);
    counted.world.nats.restart().await?;
    until_ready(&services, 200, &["ready", "nats up"]).await
}

/// Whoever was the scheduler does not renew its term, and no other can.
async fn nobody_schedules(gateway: SocketAddr, executor: SocketAddr) -> Outcome<()> {
    until_ready(&[gateway, executor], 503, &["scheduler down: "]).await?;
    until_counted(executor, |text| {
        text.contains("\nrdev_scheduler 0\n") && !text.contains("\nrdev_queue_waiting{")
    })
    .await?;
    Ok(())
}

/// Waits until the metrics of a service are as wanted.
async fn until_counted(service: SocketAddr, is_wanted: impl Fn(&str) -> bool) -> Outcome<String> {
    let counting = async {
        loop {
            let (status, text) = fetch(service, "/metrics").await.unwrap_or_default();
            if status == 200 && is_wanted(&text) {
                break text;
            }
            tokio::time::sleep(prometheus::LOOK_INTERVAL).await;
        }
    };
    let counted = tokio::time::timeout(prometheus::PATIENCE, counting).await;
    Ok(counted.map_err(|_| format!("{service} does not count what is wanted"))?)
}

async fn until_ready(services: &[SocketAddr], status: u16, words: &[&str]) -> Outcome<()> {
    let asking = async {
        for service in services {
            loop {
                let (answered, text) = fetch(*service, "/readyz").await.unwrap_or_default();
                if answered == status && words.iter().all(|word| text.contains(word)) {
                    break;
                }
                tokio::time::sleep(prometheus::LOOK_INTERVAL).await;
            }
        }
    };
    let asked = tokio::time::timeout(prometheus::PATIENCE, asking).await;
    Ok(asked.map_err(|_| format!("no {status} with {words:?} of {services:?}"))?)
}
