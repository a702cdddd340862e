//! Consumers of one project: what they see, and everything else that they try.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull, push};
use async_nats::jetstream::{self, stream};
use futures::{StreamExt, TryStreamExt};
use rdev_bus::access::{Access, Role};
use rdev_bus::submit::Submitted;
use rdev_bus::{Bus, LogStream};
use rdev_contract::event::{Command, CommandSpec, Kind, Requester, Work};
use rdev_contract::id::{ExecId, ProjectId};
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::{
    ADMITTED_CONSUMER, EXEC_STREAM, Filter, LIVE_DESTINATION, SESSION_STREAM, Subject,
};
use rdev_embedded::Signal;

use crate::raw::Raw;
use crate::{Guarded, exec_of, within};

const OURS: &str = "demo";
const THEIRS: &str = "other";

fn project(name: &str) -> ProjectId {
    name.parse().expect("a project id")
}

/// A server with two projects that have consumers, and the log's copies for both.
async fn shared() -> Guarded {
    let guarded = Guarded::start_for(&[OURS, THEIRS]).await;
    let operator = guarded.bus(Role::Operator).await;
    for name in [OURS, THEIRS] {
        operator.copy_for(&project(name)).await.expect("copies");
    }
    guarded
}

impl Guarded {
    async fn consumer(&self, name: &str) -> Raw {
        let seed = self.access.seed_of_consumer(&project(name));
        Raw::connect(&self.server.url(), &seed).await
    }
}

async fn submit(gateway: &Bus, project: &str) -> (ExecId, StreamSeq) {
    let exec = exec_of(project);
    let work = Work::Shell {
        command: "true".to_owned(),
    };
    let command = Command {
        spec: CommandSpec::new(work, 60),
        accept_until: "2030-01-01T00:00:00Z".parse().expect("a time"),
        awaits_pod: false,
        by: Requester::default(),
    };
    match gateway
        .submit(&exec, &command, jiff::Timestamp::now())
        .await
    {
        Ok(Submitted::Created(sequence)) => (exec, sequence),
        other => panic!("{other:?}"),
    }
}

/// Waits until a project's copy has this message.
async fn copied(raw: &Raw, sequence: StreamSeq) -> stream::Stream {
    let log = jetstream::new(raw.client.clone());
    let copied = async {
        loop {
            let stream = log.get_stream(EXEC_STREAM).await.expect("the copy");
            if stream.cached_info().state.last_sequence >= sequence.0 {
                return stream;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(copied).await
}

fn everything(filter: &str) -> pull::Config {
    pull::Config {
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::None,
        filter_subject: filter.to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_consumer_reads_its_project_under_the_logs_own_sequences() {
    let guarded = shared().await;
    let gateway = guarded.bus(Role::Gateway).await;
    let (_, foreign) = submit(&gateway, THEIRS).await;
    let (_, before) = submit(&gateway, OURS).await;
    let raw = guarded.consumer(OURS).await;
    let live = Filter::live_project(&project(OURS)).to_string();
    let mut live = raw.client.subscribe(live).await.expect("a subscription");
    raw.client.flush().await.expect("a connection");
    submit(&gateway, THEIRS).await;
    let (exec, after) = submit(&gateway, OURS).await;

    // Live: as it is stored, and nothing of others. The copy may have had the first to store still.
    let mut heard = None;
    while heard != Some(after.0) {
        let message = within(live.next()).await.expect("a message");
        assert!(message.subject.starts_with("rdev.live.demo."));
        let headers = message.headers.expect("headers");
        let sequence = headers.get("Nats-Sequence").expect("its place").as_str();
        heard = Some(sequence.parse().expect("a number"));
        assert!([before.0, after.0].contains(&heard.unwrap_or_default()));
    }

    // Replayed, with a filter that asks for more than there is.
    let copy = copied(&raw, after).await;
    let all = copy.create_consumer(everything(">")).await;
    let mut all = all.expect("a consumer").messages().await.expect("messages");
    let mut seen = Vec::new();
    while seen.last() != Some(&after.0) {
        let message = within(all.next()).await.expect("a message").expect("one");
        assert!(message.subject.starts_with("rdev.exec.demo."));
        seen.push(message.info().expect("its place").stream_sequence);
    }
    assert_eq!(seen, [before.0, after.0]);

    // By sequence: of another project there is nothing to be had.
    let stored = copy.get_raw_message(after.0).await.expect("a message");
    assert_eq!(
        stored.subject.as_str(),
        Subject::exec(&exec, Kind::Command).as_str()
    );
    assert_eq!(stored.sequence, after.0);
    copy.direct_get(after.0).await.expect("a message");
    assert!(copy.get_raw_message(foreign.0).await.is_err());
    assert!(copy.direct_get(foreign.0).await.is_err());
    let theirs = Filter::project_execs(&project(THEIRS)).to_string();
    assert!(copy.get_last_raw_message_by_subject(&theirs).await.is_err());
    assert!(copy.direct_get_last_for_subject(&*theirs).await.is_err());
    let none = copy.create_consumer(everything(&theirs)).await;
    assert_eq!(none.expect("a consumer").cached_info().num_pending, 0);
}

#[tokio::test]
async fn a_consumer_writes_nothing_and_hears_nobody_else() {
    let guarded = shared().await;
    let mut raw = guarded.consumer(OURS).await;
    let exec = exec_of(OURS);
    let mut subjects: Vec<_> = Kind::ALL
        .map(|kind| Subject::exec(&exec, kind).to_string())
        .into();
    subjects.push(Subject::control(&exec).to_string());
    subjects.push(LIVE_DESTINATION.replace('>', "demo.session.exec.command"));
    for stream in [EXEC_STREAM, SESSION_STREAM] {
        for what in [
            "CREATE",
            "UPDATE",
            "DELETE",
            "PURGE",
            "MSG.DELETE",
            "SNAPSHOT",
            "RESTORE",
        ] {
            subjects.push(format!("$JS.API.STREAM.{what}.{stream}"));
        }
    }
    // Where its copy comes from, and where it is delivered to.
    subjects.extend(
        [
            "rdev.copied.api.CONSUMER.CREATE.RDEV_EXEC.mine.rdev.exec.demo.>",
            "rdev.copied.api.CONSUMER.CREATE.RDEV_EXEC.mine.rdev.exec.other.>",
            "rdev.copied.to.demo.M.x",
            "rdev.copied.to.other.M.x",
            "rdev.copied.of.other.STREAM.DELETE.RDEV_EXEC",
            "$JS.API.STREAM.CREATE.MINE",
            "$KV.RDEV_KEYS.key",
            "$SYS.REQ.SERVER.PING",
            "rdev.slots",
            "_INBOX.anybody.1",
        ]
        .map(str::to_owned),
    );
    for subject in subjects {
        assert!(raw.cannot_publish(&subject).await, "{subject}");
    }
    for subject in [
        ">",
        "rdev.>",
        "rdev.exec.>",
        "rdev.live.>",
        "rdev.live.other.>",
        "rdev.copied.>",
        "$JS.>",
        "$KV.>",
    ] {
        assert!(raw.cannot_subscribe(subject).await, "{subject}");
    }

    // It may hear inboxes, but they are those of its own account.
    let mut inboxes = raw
        .client
        .subscribe("_INBOX.>")
        .await
        .expect("a subscription");
    raw.client.flush().await.expect("a connection");
    let gateway = guarded.bus(Role::Gateway).await;
    let executor = guarded.bus(Role::Executor).await;
    let (exec, _) = submit(&gateway, OURS).await;
    executor.tail(&exec).await.expect("an answer");
    let theirs = guarded.consumer(THEIRS).await;
    let log = jetstream::new(theirs.client.clone());
    log.get_stream(EXEC_STREAM).await.expect("their own copy");
    // Its own answer comes first and last.
    let own = jetstream::new(raw.client.clone());
    own.get_stream(EXEC_STREAM).await.expect("its copy");
    let heard = within(inboxes.next()).await.expect("a message");
    assert!(String::from_utf8_lossy(&heard.payload).contains("stream_info_response"));
    assert!(futures::FutureExt::now_or_never(inboxes.next()).is_none());
}

#[tokio::test]
async fn the_work_queue_is_not_within_a_consumers_reach() {
    let guarded = shared().await;
    let raw = guarded.consumer(OURS).await;
    let log = jetstream::new(raw.client.clone());
    let copy = log.get_stream(EXEC_STREAM).await.expect("the copy");
    assert!(copy.consumer_info(ADMITTED_CONSUMER).await.is_err());
    assert!(copy.delete_consumer(ADMITTED_CONSUMER).await.is_err());
    // One of that name is its own.
    let mut own = everything(&Filter::kind(Kind::Admitted).to_string());
    own.durable_name = Some(ADMITTED_CONSUMER.to_owned());
    copy.create_consumer(own).await.expect("its own");
    copy.delete_consumer(ADMITTED_CONSUMER)
        .await
        .expect("its own");
    // One that pushes what is stored, to where commands are, reaches nobody.
    let forging = push::Config {
        deliver_subject: Subject::exec(&exec_of(THEIRS), Kind::Command).to_string(),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::None,
        ..Default::default()
    };
    let gateway = guarded.bus(Role::Gateway).await;
    let (_, sequence) = submit(&gateway, OURS).await;
    copied(&raw, sequence).await;
    // Nobody listens there in its account, so the server may refuse it, too.
    let _ = copy.create_consumer(forging).await;
    let executor = guarded.bus(Role::Executor).await;
    executor.ensure_topology().await.expect("as it was");
    let (_, next) = submit(&gateway, OURS).await;
    assert_eq!(next.0, sequence.0 + 1, "something was stored between");
    executor.commands().await.expect("the work queue");
}

#[tokio::test]
async fn a_thousand_consumers_are_nothing_to_the_log() {
    let guarded = shared().await;
    let raw = guarded.consumer(OURS).await;
    let log = jetstream::new(raw.client.clone());
    let copy = log.get_stream(EXEC_STREAM).await.expect("the copy");
    let makes = (0..1000).map(|number| {
        let name = Some(format!("mine-{number}"));
        let config = pull::Config {
            name,
            inactive_threshold: Duration::from_secs(300),
            ..everything(">")
        };
        copy.create_consumer(config)
    });
    let makes = futures::stream::iter(makes).buffer_unordered(50);
    let made: Vec<_> = makes.map(|made| made.is_ok()).collect().await;
    let made = made.into_iter().filter(|made| *made).count();
    assert!((1..=100).contains(&made), "{made}");
    // What counts there is its queue alone: the server does not even count those of the copies.
    let operator = jetstream::new(guarded.raw(Role::Operator).await.client);
    let stream = operator.get_stream(EXEC_STREAM).await.expect("the log");
    let names: Vec<String> = stream
        .consumer_names()
        .try_collect()
        .await
        .expect("their names");
    assert_eq!(names, [ADMITTED_CONSUMER]);
    let projector = guarded.bus(Role::Projector).await;
    let filters = vec![Filter::execs()];
    let follower = projector.follow(LogStream::Exec, filters, StreamSeq(0));
    let mut follower = within(follower).await.expect("a follower");
    let gateway = guarded.bus(Role::Gateway).await;
    let (_, sequence) = submit(&gateway, OURS).await;
    assert_eq!(within(follower.next()).await.sequence, sequence);
}

/// No server is started again for it, and no connection notices.
#[tokio::test]
async fn a_consumer_is_added_and_removed_while_the_server_runs() {
    let mut guarded = Guarded::start_for(&[]).await;
    let gateway = guarded.bus(Role::Gateway).await;
    submit(&gateway, OURS).await;
    let before = guarded.access.configuration(None);
    guarded.access.add_consumer(project(OURS)).expect("a key");
    let operator = guarded.bus(Role::Operator).await;
    guarded.reconfigure(&before).await;
    operator.copy_for(&project(OURS)).await.expect("copies");
    operator.copy_for(&project(OURS)).await.expect("once more");
    let (_, sequence) = submit(&gateway, OURS).await;
    let mut raw = guarded.consumer(OURS).await;
    let copy = copied(&raw, sequence).await;
    copy.get_raw_message(sequence.0).await.expect("a message");

    let after = guarded.access.configuration(None);
    std::fs::remove_file(guarded.access.seed_of_consumer(&project(OURS))).expect("removed");
    guarded.access = Access::kept_in(&guarded.keys()).expect("keys");
    assert_eq!(guarded.access.configuration(None), before);
    guarded.reconfigure(&after).await;
    within(raw.disconnected()).await;
    submit(&gateway, OURS).await;
    assert!(gateway.is_connected());
}

impl Guarded {
    /// As an operator does it, and twice: see `copies`.
    async fn reconfigure(&self, former: &str) {
        let path = self.keys().with_file_name("nats").join("nats.conf");
        let text = std::fs::read_to_string(&path).expect("the configuration");
        assert!(text.contains(former));
        let text = text.replace(former, &self.access.configuration(None));
        std::fs::write(&path, text).expect("the configuration");
        for _ in 0..2 {
            let before = self.reloads();
            self.server.signal(Signal::HUP).expect("a server");
            let reloaded = async {
                while self.reloads() == before {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            within(reloaded).await;
        }
    }

    fn reloads(&self) -> usize {
        let log = std::fs::read_to_string(self.server.log()).expect("its log");
        log.matches("Reloaded server configuration").count()
    }
}
