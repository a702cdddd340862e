//! Schedulers that die, are stopped or asked to end while commands wait: nothing is lost, nothing
//! runs twice, and the order is kept. And a log of a version that had no scheduler.

use std::time::Duration;

use async_nats::jetstream::{self, consumer};
use jiff::Timestamp;
use rdev_bus::append::{Entry, ExecWriter};
use rdev_contract::envelope::{Body, Message, Recorded};
use rdev_contract::event::{Kind, PodIdentity, Started};
use rdev_contract::id::ClaimId;
use rdev_contract::subject::{EXEC_STREAM, FORMER_CONSUMER, Filter};
use rdev_embedded::Signal;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::log::{ExecLog, exec_id, until_kind};
use rdev_tests::world::{Service, World};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::options;

const SCHEDULES: &str = "this executor is the scheduler";
const DEPOSED: &str = "this executor is no longer the scheduler";
const COMMANDS: usize = 40;
const POD: &str = "queue";
/// Nothing takes longer on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(60);
/// A term lapses after 3 s; the command that ran is offered again after 5 s.
const CONTINUES_WITHIN: Duration = Duration::from_secs(15);

/// A queue of commands that each note their number, one after the other.
struct Queue {
    world: World,
    client: Client,
    session: String,
    /// The scheduler.
    first: Service,
    _services: Vec<Service>,
}

impl Queue {
    async fn begin() -> Outcome<Self> {
        let options = options().variable("RDEV_SESSION_RUNNING_MAX", "1");
        let mut world = World::bare(options).await?;
        let projector = world.projector()?;
        let (gateway, client) = world.gateway()?;
        world.ready(&client).await?;
        let first = world.executor()?;
        first.until_it_says(SCHEDULES).await?;
        let second = world.executor()?;
        second.until_it_says("executor is ready").await?;
        let session = client.session(POD).await?;
        for number in 0..COMMANDS {
            let body = json!({"type": "shell", "command": format!("echo {number} >> order; sleep 0.1"),
                "stream_id": stream(number)});
            client.exec(&session, &body).await?;
        }
        Ok(Self {
            world,
            client,
            session,
            first,
            _services: vec![projector, gateway, second],
        })
    }

    /// What was noted so far.
    fn order(&self) -> Vec<usize> {
        let path = self.world.pod(POD).join("order");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    async fn until_noted(&self, count: usize) -> Outcome<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.order().len() < count {
            if Instant::now() > deadline {
                return Err(format!("{:?} of {count}\n{}", self.order(), self.world.logs()).into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Each ran once, in order, and was admitted behind the end of the one before.
    async fn end(&self) -> Outcome<()> {
        self.until_noted(COMMANDS).await?;
        let bus = self.world.bus().await?;
        let mut ended = 0;
        for number in 0..COMMANDS {
            let transcript = self
                .client
                .transcript(&self.session, &stream(number))
                .await?;
            transcript.check()?;
            let exec = exec_id(&self.client, &self.session, &stream(number))?;
            let log = ExecLog::read(&bus, &exec).await?;
            log.check()?;
            let admitted = log.of(Kind::Admitted).next().ok_or("not admitted")?;
            assert!(admitted.sequence > ended, "{number} did not wait");
            ended = log.of(Kind::Complete).next().ok_or("no end")?.sequence;
        }
        assert_eq!(self.order(), (0..COMMANDS).collect::<Vec<_>>());
        Ok(())
    }
}

fn stream(number: usize) -> String {
    format!("q{number}")
}

#[tokio::test]
async fn a_killed_scheduler_is_replaced_and_the_queue_goes_on() -> Outcome<()> {
    let queue = Queue::begin().await?;
    queue.until_noted(5).await?;
    queue.first.kill().await;
    let (since, noted) = (Instant::now(), queue.order().len());
    queue.until_noted(noted + 2).await?;
    assert!(since.elapsed() < CONTINUES_WITHIN, "{:?}", since.elapsed());
    queue.end().await
}

#[tokio::test]
async fn a_stopped_scheduler_that_wakes_up_admits_nothing() -> Outcome<()> {
    let queue = Queue::begin().await?;
    queue.until_noted(5).await?;
    queue.first.signal(Signal::STOP)?;
    let noted = queue.order().len();
    queue.until_noted(noted + 2).await?;
    queue.first.signal(Signal::CONT)?;
    queue.first.until_it_says(DEPOSED).await?;
    queue.end().await
}

#[tokio::test]
async fn a_scheduler_that_is_asked_to_end_hands_over_at_once() -> Outcome<()> {
    let queue = Queue::begin().await?;
    queue.until_noted(5).await?;
    let since = Instant::now();
    queue.first.stop().await;
    let noted = queue.order().len();
    queue.until_noted(noted + 2).await?;
    // The term was resigned: nobody waited for it to lapse.
    assert!(
        since.elapsed() < Duration::from_millis(2_900),
        "{:?}",
        since.elapsed()
    );
    queue.end().await
}

#[tokio::test]
async fn a_queue_outlives_its_server() -> Outcome<()> {
    let mut queue = Queue::begin().await?;
    queue.until_noted(5).await?;
    queue.world.nats.kill().await;
    // Longer than a scheduler is certain of its term.
    tokio::time::sleep(Duration::from_secs(3)).await;
    queue.world.nats.restart().await?;
    queue.end().await
}

/// Commands of a version without a scheduler: one that nobody has claimed, and one that an executor
/// of that version runs, in a pod that is gone.
#[tokio::test]
async fn commands_of_a_version_without_a_scheduler_are_finished() -> Outcome<()> {
    let mut world = World::bare(options()).await?;
    let projector = world.projector()?;
    let (gateway, client) = world.gateway()?;
    world.ready(&client).await?;
    let nats = async_nats::connect(world.nats.url()).await?;
    let log = jetstream::new(nats).get_stream(EXEC_STREAM).await?;
    let former = consumer::pull::Config {
        durable_name: Some(FORMER_CONSUMER.to_owned()),
        filter_subject: Filter::kind(Kind::Command).as_str().to_owned(),
        ..Default::default()
    };
    log.create_consumer(former).await?;
    let session = client.session("upgraded").await?;
    for stream in ["waits", "runs"] {
        let body = json!({"type": "shell", "command": "echo hi", "stream_id": stream});
        client.exec(&session, &body).await?;
    }
    let (bus, runs) = (world.bus().await?, exec_id(&client, &session, "runs")?);
    let command = bus.tail(&runs).await?.ok_or("no command")?;
    let tail = Recorded {
        sequence: command.sequence,
        value: Message::decode(&command.value.payload)?.chain,
    };
    let started = Started {
        claim: ClaimId::new(Uuid::new_v4()),
        attempt: 1,
        executor: "former".to_owned(),
        argv: Vec::new(),
        resume_id: None,
        pod: PodIdentity {
            namespace: client.project.clone(),
            name: "upgraded".to_owned(),
            uid: "gone".to_owned(),
            container: String::new(),
            container_id: "gone".to_owned(),
            restarts: 0,
        },
        shim: "gone".to_owned(),
    };
    let data = serde_json::value::to_raw_value(&started)?;
    let entry = Entry {
        kind: Kind::Started,
        first: None,
        to: None,
        body: Body::Data(&data),
    };
    let mut writer = ExecWriter::new(bus.clone(), runs.clone(), Some(started.claim), 1, tail);
    writer.append(entry, Timestamp::now()).await?;

    let executor = world.executor()?;
    let transcript = client.transcript(&session, "waits").await?;
    transcript.check()?;
    assert_eq!(transcript.stdout(), "hi\n");
    let end = until_kind(&bus, &runs, Kind::Complete).await?;
    assert_eq!(end.value["events"][0]["data"]["outcome"], "lost", "{end:?}");
    let kinds = ExecLog::read(&bus, &runs).await?;
    let kinds: Vec<_> = kinds.0.iter().map(rdev_tests::log::Line::kind).collect();
    assert_eq!(kinds, ["command", "started", "admitted", "complete"]);
    let retired = log.consumer_info(FORMER_CONSUMER).await?;
    assert_eq!(retired.config.filter_subject, Filter::nothing().as_str());
    drop((projector, gateway, executor));
    Ok(())
}
