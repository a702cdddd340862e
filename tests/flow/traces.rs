//! One trace through all services and over a take-over, as a collector of OpenTelemetry gets it; and
//! the same id in answers and logs where nobody collects.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use prost::Message as _;
use rdev_bus::Stored;
use rdev_contract::event::{Command, CommandSpec, Requester, Work};
use rdev_tests::Outcome;
use rdev_tests::client::{Answer, Client};
use rdev_tests::log::exec_id;
use rdev_tests::world::World;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{claude, options};

/// Longer than a take-over on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// What a span says.
#[derive(Debug, Clone)]
struct Span {
    service: String,
    name: String,
    trace: String,
    id: String,
    parent: String,
    links: Vec<String>,
    attributes: BTreeMap<String, String>,
}

impl Span {
    fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// Takes spans as a collector does.
#[derive(Clone, Default)]
struct Collector {
    got: Arc<Mutex<Got>>,
}

/// What came: as it was sent, and what it says.
#[derive(Default)]
struct Got {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Collector {
    fn got(&self) -> MutexGuard<'_, Got> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn start(&self) -> Outcome<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/v1/traces", post(take));
        let router = router.with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(format!("http://{address}"))
    }

    /// Waits until there is a span of this name, and what else is asked of it.
    async fn until(&self, name: &str, more: impl Fn(&Span) -> bool) -> Outcome<Span> {
        let looking = async {
            loop {
                let spans = self.got().spans.clone();
                let found = spans
                    .into_iter()
                    .find(|span| span.name == name && more(span));
                if let Some(span) = found {
                    return span;
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, looking).await;
        Ok(found.map_err(|_| format!("no {name:?} in {:#?}", self.got().spans))?)
    }
}

async fn take(State(collector): State<Collector>, body: Bytes) -> StatusCode {
    let Ok(export) = ExportTraceServiceRequest::decode(body.clone()) else {
        return StatusCode::BAD_REQUEST;
    };
    let mut got = collector.got();
    got.bytes.extend_from_slice(&body);
    for resource in export.resource_spans {
        let about = attributes(&resource.resource.unwrap_or_default().attributes);
        let scopes = resource.scope_spans.into_iter();
        for span in scopes.flat_map(|scope| scope.spans) {
            got.spans.push(Span {
                service: about["service.name"].clone(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
                attributes: attributes(&span.attributes),
            });
        }
    }
    StatusCode::OK
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Option<AnyValue>| {
        let value = value.as_ref()?.value.as_ref()?;
        if let any_value::Value::StringValue(text) = value {
            return Some(text.clone());
        }
        let any_value::Value::IntValue(number) = value else {
            return Some(format!("{value:?}"));
        };
        Some(number.to_string())
    };
    let pair = |one: &KeyValue| (one.key.clone(), text(&one.value).unwrap_or_default());
    attributes.iter().map(pair).collect()
}

async fn posted(client: &Client, session: &str, body: &Value) -> Outcome<Answer> {
    let url = client.url(&format!("/sessions/{session}/exec"));
    let request = client.http().post(url).json(body);
    let parent = format!("00-{TRACE}-{CALLER}-01");
    client.send(request.header("traceparent", parent)).await
}

#[tokio::test]
async fn one_trace_goes_through_all_services_and_over_a_take_over() -> Outcome<()> {
    let collector = Collector::default();
    let directory = tempfile::tempdir()?;
    let options = options()
        .variable("RDEV_CLAUDE_BIN", claude::stand_in(directory.path())?)
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", collector.start().await?)
        .variable("OTEL_BSP_SCHEDULE_DELAY", "100");
    let (mut world, gateways) = World::of_readers(options, 1).await?;
    let client = &gateways.clients[0];
    let first = world.executor()?;
    let session = client.session("traced").await?;
    let body = json!({
        "type": "shell", "command": "cat; echo private-word", "stdin_open": true,
        "stream_id": "traced", "env": {"WORD": "private-value"},
    });
    let answer = posted(client, &session, &body).await?;
    assert_eq!(
        (answer.status, answer.header("rdev-trace-id")),
        (201, TRACE)
    );
    let attempt = |number: &'static str| {
        move |span: &Span| span.trace == TRACE && span.attribute("attempt") == number
    };
    let claim = collector.until("claim", attempt("1")).await?;
    first.kill().await;
    let _second = world.executor()?;
    let other_claim = collector.until("claim", attempt("2")).await?;
    let end = client.stdin(&session, "traced", "offset=0&end=true", String::new());
    assert_eq!(end.await?.status, 202);
    client.transcript(&session, "traced").await?.check()?;

    let of_trace = |span: &Span| span.trace == TRACE;
    let request = "POST /projects/{project}/sessions/{session}/exec";
    let request = collector.until(request, of_trace).await?;
    let append = collector.until("append command", of_trace).await?;
    let run = collector.until("run", of_trace).await?;
    let complete = collector.until("complete", of_trace).await?;
    for (span, service, parent) in [
        (&request, "rdev-gateway", CALLER),
        (&append, "rdev-gateway", &request.id),
        (&claim, "rdev-executor", &append.id),
        (&other_claim, "rdev-executor", &append.id),
        (&run, "rdev-executor", &other_claim.id),
        (&complete, "rdev-executor", &run.id),
    ] {
        assert_eq!(
            (span.service.as_str(), span.parent.as_str()),
            (service, parent),
            "{span:?}"
        );
    }
    assert_eq!(request.attribute("http.response.status_code"), "201");
    assert_eq!(other_claim.links, std::slice::from_ref(&claim.id));
    assert_eq!(run.attribute("attempt"), "2");
    assert_eq!(complete.attribute("outcome"), "exited");
    for (name, parent) in [
        ("project command", &append),
        ("project started", &claim),
        ("project resumed", &other_claim),
        ("project complete", &complete),
    ] {
        let span = collector.until(name, of_trace).await?;
        assert_eq!(
            (span.service.as_str(), &span.parent),
            ("rdev-projector", &parent.id)
        );
        let batch = collector.until("project batch", |batch| span.links == [batch.id.clone()]);
        assert_ne!(batch.await?.trace, TRACE);
    }
    what_an_agent_says_makes_no_spans(&world, client, &session, &collector).await?;
    nothing_private_is_told(&collector)
}

/// Only what begins something names a span and gets one, however many messages there are between.
async fn what_an_agent_says_makes_no_spans(
    world: &World,
    client: &Client,
    session: &str,
    collector: &Collector,
) -> Outcome<()> {
    let body = json!({"type": "claude", "prompt": "simple", "stream_id": "agent"});
    assert_eq!(posted(client, session, &body).await?.status, 201);
    client.transcript(session, "agent").await?.check()?;
    let exec = exec_id(client, session, "agent")?;
    let stored = world.bus().await?.last_of_each_kind(&exec).await?;
    let (with, without): (Vec<_>, Vec<_>) = stored
        .iter()
        .map(|message| &message.value)
        .partition(|message| message.trace.is_some());
    let kinds = |messages: &[&Stored]| -> BTreeSet<String> {
        let kinds = messages.iter().map(|message| message.subject.rsplit('.'));
        let last = kinds.filter_map(|mut tokens| tokens.next());
        last.map(str::to_owned).collect()
    };
    let begin = ["command", "complete", "started"].map(str::to_owned);
    assert_eq!(kinds(&with), BTreeSet::from(begin));
    assert!(kinds(&without).contains("claude"));

    let of_agent = |span: &Span| span.attribute("stream.id") == "agent";
    collector.until("project complete", of_agent).await?;
    // They are told in their order: of what came before the end nothing more will come.
    let spans = collector.got().spans.clone();
    let projected = spans.iter().filter(|span| of_agent(span));
    let projected = projected.filter_map(|span| span.name.strip_prefix("project "));
    let projected: BTreeSet<_> = projected.collect();
    assert_eq!(
        projected,
        BTreeSet::from(["command", "complete", "started"])
    );
    Ok(())
}

fn nothing_private_is_told(collector: &Collector) -> Outcome<()> {
    let got = collector.got();
    let told = String::from_utf8_lossy(&got.bytes);
    assert!(told.contains("traced"), "the stream's id is told");
    for word in [
        "private-word",
        "private-value",
        "WORD",
        "stream_id=",
        "cat;",
    ] {
        assert!(!told.contains(word), "{word} is told");
    }
    Ok(())
}

/// Every line of a log is an object; those of this trace.
fn lines(log: &Path, trace: &str) -> Outcome<Vec<Value>> {
    let text = std::fs::read_to_string(log)?;
    let lines = text.lines().map(serde_json::from_str::<Value>);
    let lines = lines.collect::<Result<Vec<_>, _>>()?;
    let of_trace = lines.into_iter().filter(|line| line["trace_id"] == trace);
    Ok(of_trace.collect())
}

#[tokio::test]
async fn without_a_collector_a_trace_is_found_in_answers_and_logs() -> Outcome<()> {
    let options = options().variable("RDEV_LOG_FORMAT", "json");
    let (world, services) = World::start(options).await?;
    let client = &services.client;
    let session = client.session("logged").await?;
    let path = format!("/sessions/{session}/exec");
    let body = json!({"type": "shell", "command": "true", "stream_id": "logged"});
    let answer = client.post(&path, &body).await?;
    let trace = answer.header("rdev-trace-id").to_owned();
    assert!(
        trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{trace}"
    );
    client.transcript(&session, "logged").await?.check()?;
    services.executor.until_it_says("exec complete").await?;
    let said = lines(&services.executor.log, &trace)?;
    let ids: BTreeSet<_> = said
        .iter()
        .map(|line| (&line["project.id"], &line["session.id"], &line["stream.id"]))
        .map(|ids| format!("{ids:?}"))
        .collect();
    assert_eq!(ids.len(), 1, "{said:?}");
    let complete = said.iter().find(|line| line["message"] == "exec complete");
    let complete = complete.ok_or("no end in the log")?;
    assert_eq!(complete["session.id"], session.as_str());
    assert_eq!(
        (&complete["stream.id"], &complete["level"]),
        (&json!("logged"), &json!("INFO"))
    );

    // What ends without a claim is found, too.
    let exec = exec_id(client, &session, "late")?;
    let work = Work::Shell {
        command: "true".to_owned(),
    };
    let command = Command {
        spec: CommandSpec::new(work, 60),
        accept_until: Timestamp::UNIX_EPOCH,
        awaits_pod: false,
        by: Requester::default(),
    };
    let place = format!("00-{TRACE}-{CALLER}-00").parse()?;
    let bus = world.bus().await?;
    bus.submit_in(&exec, &command, Timestamp::now(), Some(place))
        .await?;
    let complete = client.transcript(&session, "late").await?.complete();
    assert_eq!(complete["outcome"], "rejected", "{complete}");
    let said = lines(&services.executor.log, TRACE)?;
    let ended = |line: &Value| line["message"] == "exec ended without a process";
    assert!(said.iter().any(ended), "{said:?}");

    // Another request is another trace, and a problem names its own.
    let unknown = client
        .get("/sessions/00000000-0000-7000-8000-000000000000")
        .await?;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["trace_id"], unknown.header("rdev-trace-id"));
    assert_ne!(unknown.header("rdev-trace-id"), trace);
    Ok(())
}
