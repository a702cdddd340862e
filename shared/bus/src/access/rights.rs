//! The subjects that each user needs, made of the log's names. What is not listed is refused.
//!
//! One thing that NATS cannot refuse: whoever may make a consumer may have it deliver to any subject
//! of the account, and so have the server publish there what the log holds already. That right have
//! the gateway, the executor, the projector and the auditor, for the streams that they follow; not
//! the consumers of projects, in whose account there is nothing to forge.

use std::collections::BTreeSet;

use rdev_contract::event::Kind;
use rdev_contract::id::ProjectId;
use rdev_contract::session::SessionKind;
use rdev_contract::subject::{
    ACTIVITY_BUCKET, ADMITTED_CONSUMER, CONTROL_DESTINATION, CONTROL_STREAM, CONTROL_SUBJECTS,
    EXEC_STREAM, FORMER_CONSUMER, Filter, KEYS_STREAM, LIVE_DESTINATION, SCHEDULER_BUCKET,
    SESSION_STREAM, SLOTS_ANNOUNCED, TRAIL_STREAM,
};
use serde_json::{Value, json};

use super::Role;

/// The streams that every service that writes makes where they are missing.
const STREAMS: [&str; 5] = [
    EXEC_STREAM,
    SESSION_STREAM,
    CONTROL_STREAM,
    TRAIL_STREAM,
    KEYS_STREAM,
];
const BUCKETS: [&str; 2] = [ACTIVITY_BUCKET, SCHEDULER_BUCKET];

/// What a user may publish and subscribe to.
#[derive(Debug, Default)]
pub(super) struct Rights {
    publish: BTreeSet<String>,
    /// Of what it could publish otherwise.
    never: BTreeSet<String>,
    subscribe: BTreeSet<String>,
}

impl Rights {
    /// As the server takes it. `public_key` is the user's: inboxes have it in them.
    pub(super) fn permissions(mut self, public_key: &str) -> Value {
        self.subscribe.insert(format!("{}.>", inbox(public_key)));
        json!({
            "publish": { "allow": self.publish, "deny": self.never },
            "subscribe": { "allow": self.subscribe },
        })
    }

    fn publishes(mut self, subjects: impl IntoIterator<Item = impl ToString>) -> Self {
        self.publish
            .extend(subjects.into_iter().map(|subject| subject.to_string()));
        self
    }

    fn hears(mut self, subject: impl ToString) -> Self {
        self.subscribe.insert(subject.to_string());
        self
    }

    fn asks(mut self, requests: impl IntoIterator<Item = String>) -> Self {
        let requests = requests.into_iter();
        self.publish
            .extend(requests.map(|request| format!("$JS.API.{request}")));
        self
    }

    /// Makes streams and buckets that are missing. It cannot change or remove one.
    fn makes_the_log(self) -> Self {
        let streams = STREAMS.map(str::to_owned).into_iter();
        let all = streams.chain(BUCKETS.map(bucket_stream));
        let requests = all.flat_map(|stream| {
            [
                format!("STREAM.INFO.{stream}"),
                format!("STREAM.CREATE.{stream}"),
            ]
        });
        self.asks(requests).asks(["INFO".to_owned()])
    }

    /// Single messages and pages of a stream.
    fn reads(self, stream: &str) -> Self {
        self.asks([
            format!("STREAM.INFO.{stream}"),
            format!("STREAM.MSG.GET.{stream}"),
            format!("DIRECT.GET.{stream}"),
            format!("DIRECT.GET.{stream}.>"),
        ])
    }

    /// All of a stream in its order, by a consumer without a name; never by the work queue.
    fn follows(mut self, stream: &str) -> Self {
        self.never.insert(format!(
            "$JS.API.CONSUMER.MSG.NEXT.{stream}.{ADMITTED_CONSUMER}"
        ));
        self.asks([
            format!("CONSUMER.CREATE.{stream}"),
            format!("CONSUMER.MSG.NEXT.{stream}.*"),
        ])
    }

    fn reads_bucket(self, bucket: &str) -> Self {
        self.reads(&bucket_stream(bucket))
    }

    fn writes_bucket(self, bucket: &str) -> Self {
        self.publishes([Filter::bucket(bucket)])
    }

    /// Removes orders that are carried out.
    fn removes_orders(self) -> Self {
        self.asks([format!("STREAM.PURGE.{CONTROL_STREAM}")])
    }

    /// Takes admitted commands, and keeps the queue that hands them out.
    fn works(self) -> Self {
        let admitted = format!("{EXEC_STREAM}.{ADMITTED_CONSUMER}");
        let former = format!("{EXEC_STREAM}.{FORMER_CONSUMER}");
        self.publishes([
            format!("$JS.ACK.{admitted}.>"),
            // As newer servers have it: with domain and account.
            format!("$JS.ACK.*.*.{admitted}.>"),
        ])
        .asks([
            format!("CONSUMER.INFO.{admitted}"),
            format!(
                "CONSUMER.CREATE.{admitted}.{}",
                Filter::kind(Kind::Admitted)
            ),
            format!("CONSUMER.CREATE.{EXEC_STREAM}"),
            format!("CONSUMER.MSG.NEXT.{EXEC_STREAM}.*"),
            format!("CONSUMER.INFO.{former}"),
            format!("CONSUMER.DELETE.{former}"),
            format!("CONSUMER.CREATE.{former}.{}", Filter::nothing()),
        ])
    }
}

/// What a user of the log's account may do; `None`: everything.
pub(super) fn of_role(role: Role) -> Option<Rights> {
    let rights = Rights::default();
    match role {
        Role::Gateway => Some(gateway(rights)),
        Role::Executor => Some(executor(rights)),
        Role::Projector => Some(reader(rights)),
        // What tickets are signed with is among the keys: they let read what it can read anyway.
        Role::Auditor => Some(
            reader(rights)
                .follows(TRAIL_STREAM)
                .reads(KEYS_STREAM)
                .follows(KEYS_STREAM),
        ),
        Role::Operator => None,
    }
}

fn reader(rights: Rights) -> Rights {
    rights
        .reads(EXEC_STREAM)
        .reads(SESSION_STREAM)
        .follows(EXEC_STREAM)
        .follows(SESSION_STREAM)
}

fn gateway(rights: Rights) -> Rights {
    rights
        .makes_the_log()
        .reads(EXEC_STREAM)
        .reads(SESSION_STREAM)
        .reads(CONTROL_STREAM)
        .follows(EXEC_STREAM)
        .follows(SESSION_STREAM)
        // The end of an exec that was canceled before anybody had it.
        .publishes([Kind::Command, Kind::Complete].map(Filter::kind))
        .publishes([SessionKind::Created, SessionKind::Ended].map(Filter::session_facts))
        .publishes([CONTROL_SUBJECTS])
        .removes_orders()
        .reads_bucket(SCHEDULER_BUCKET)
        .reads_bucket(ACTIVITY_BUCKET)
        .writes_bucket(ACTIVITY_BUCKET)
        .reads(KEYS_STREAM)
        .follows(KEYS_STREAM)
        .publishes([Filter::keys(), Filter::trail()])
        .hears(LIVE_DESTINATION)
}

fn executor(rights: Rights) -> Rights {
    let written = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Command);
    let facts = SessionKind::ALL
        .into_iter()
        .filter(|kind| *kind != SessionKind::Created);
    rights
        .makes_the_log()
        .reads(EXEC_STREAM)
        .reads(SESSION_STREAM)
        .reads(CONTROL_STREAM)
        .follows(SESSION_STREAM)
        .works()
        .publishes(written.map(Filter::kind))
        .publishes(facts.map(Filter::session_facts))
        // To whoever runs what is left of a session that has ended, or asked for a permission.
        .publishes([CONTROL_SUBJECTS])
        .removes_orders()
        .reads_bucket(ACTIVITY_BUCKET)
        .reads_bucket(SCHEDULER_BUCKET)
        .writes_bucket(SCHEDULER_BUCKET)
        .publishes([SLOTS_ANNOUNCED])
        .hears(SLOTS_ANNOUNCED)
        .hears(CONTROL_DESTINATION)
}

/// What a project's consumers may do in their own account, which holds nothing but the project's
/// messages: read, in every way that there is.
pub(super) fn of_consumers(project: &ProjectId) -> Rights {
    let mut rights = Rights::default()
        .asks(["INFO", "STREAM.NAMES", "STREAM.LIST"].map(str::to_owned))
        .hears(Filter::live_project(project))
        // Of this account: the clients' own default.
        .hears("_INBOX.>");
    for stream in [EXEC_STREAM, SESSION_STREAM] {
        let made = ["CREATE", "DURABLE.CREATE", "INFO", "DELETE", "MSG.NEXT"];
        rights = rights
            .reads(stream)
            .asks(made.map(|what| format!("CONSUMER.{what}.{stream}.>")))
            .asks(["CREATE", "NAMES", "LIST"].map(|what| format!("CONSUMER.{what}.{stream}")))
            .publishes([format!("$JS.ACK.{stream}.>"), format!("$JS.FC.{stream}.>")])
            .publishes([format!("$JS.ACK.*.*.{stream}.>")]);
    }
    rights
}

/// The prefix of a user's inboxes: only it may subscribe below.
pub(crate) fn inbox(public_key: &str) -> String {
    format!("_INBOX.{public_key}")
}

fn bucket_stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}
