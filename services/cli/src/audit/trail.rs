//! Who did what, when, and from where: of commands, orders, sessions and keys, in the order of time.
//!
//! It is what the log says and no more: orders and commands that it has forgotten are not here (those
//! of the archive are verified by `--execs`), and of a key only its last rotation is known.

use std::fmt::Write as _;

use jiff::Timestamp;
use rdev_bus::follow::Follower;
use rdev_bus::keys::KeyNews;
use rdev_bus::{Bus, LogStream};
use rdev_contract::event::{Kind, Requester};
use rdev_contract::key::KeyRecord;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Filter;
use serde::{Deserialize, Serialize};

use super::Failure;
use super::report::Told;

/// What was done.
#[derive(Debug, Serialize)]
pub(super) struct TrailReport {
    entries: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    at: Timestamp,
    what: String,
    /// `project/session/stream`, or as much of it as there is; of a key its id.
    of: String,
    by: Requester,
}

/// What all that is written by gateways has in common.
#[derive(Deserialize)]
struct Written {
    at: Timestamp,
    project: String,
    session: String,
    stream: Option<String>,
    kind: Option<String>,
    by: Option<Requester>,
    data: Option<Data>,
    order: Option<Typed>,
}

#[derive(Deserialize)]
struct Data {
    by: Option<Requester>,
    #[serde(rename = "type")]
    work: Option<String>,
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: String,
}

/// Everything that was done from `since` on and before `until`.
pub(super) async fn trail(
    bus: &Bus,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<TrailReport, Failure> {
    let commands = vec![Filter::kind(Kind::Command)];
    let commands = bus.follow(LogStream::Exec, commands, StreamSeq(0)).await?;
    let sessions = vec![Filter::sessions()];
    let sessions = bus
        .follow(LogStream::Session, sessions, StreamSeq(0))
        .await?;
    let is_wanted = |entry: &Entry| {
        since.is_none_or(|since| entry.at >= since) && until.is_none_or(|until| entry.at < until)
    };
    let mut entries = Vec::new();
    for follower in [commands, sessions, bus.follow_trail().await?] {
        read(follower, |entry| {
            if is_wanted(&entry) {
                entries.push(entry);
            }
        })
        .await;
    }
    for news in bus.keys().await? {
        if let KeyNews::Key(record) = news.value {
            entries.extend(of_key(*record).into_iter().filter(is_wanted));
        }
    }
    entries.sort_by_key(|entry| entry.at);
    Ok(TrailReport { entries })
}

async fn read(mut follower: Follower, mut take: impl FnMut(Entry)) {
    while !follower.is_caught_up() {
        let message = follower.next().await;
        match serde_json::from_slice::<Written>(&message.value.payload) {
            Ok(written) => written.entry().into_iter().for_each(&mut take),
            Err(error) => {
                tracing::warn!(subject = message.value.subject, %error, "a message cannot be read");
            }
        }
    }
}

impl Written {
    /// None of what nobody asked for, as links of sessions to those of agents.
    fn entry(self) -> Option<Entry> {
        let (by, work) = match self.data {
            Some(data) => (data.by, data.work),
            None => (self.by, None),
        };
        let what = match (self.order, work, self.kind, &self.stream) {
            (Some(order), ..) => order.kind,
            (None, Some(work), ..) => format!("exec {work}"),
            (None, None, Some(kind), None) => format!("session {kind}"),
            (None, None, kind, _) => kind.unwrap_or_default(),
        };
        let stream = self.stream.map(|stream| format!("/{stream}"));
        Some(Entry {
            at: self.at,
            what,
            of: format!(
                "{}/{}{}",
                self.project,
                self.session,
                stream.unwrap_or_default()
            ),
            by: by?,
        })
    }
}

fn of_key(record: KeyRecord) -> Vec<Entry> {
    let entry = |what: &str, at, by| Entry {
        at,
        what: what.to_owned(),
        of: record.id.to_string(),
        by,
    };
    let mut entries = vec![entry("key created", record.created_at, record.created_by)];
    let rotated = record
        .rotated
        .map(|change| entry("key rotated", change.at, change.by));
    let revoked = record
        .revoked
        .map(|change| entry("key revoked", change.at, change.by));
    entries.extend(rotated.into_iter().chain(revoked));
    entries
}

impl Told for TrailReport {
    fn is_equal(&self) -> bool {
        true
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for Entry { at, what, of, by } in &self.entries {
            let key = if by.key.is_empty() { "-" } else { &by.key };
            let address = if by.address.is_empty() {
                "-"
            } else {
                &by.address
            };
            // What a client says of itself could draw lines of its own otherwise.
            let agent = by.agent.escape_debug();
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{at}  {key:<16}  {address:<21}  {what:<16}  {of}  {agent}"
            );
        }
        text
    }
}
