//! `rdev keys`: API keys, made, listed, rotated and revoked in the log itself. It needs what the
//! services need to reach NATS and no key: so the first one is made with it.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use rand::Rng;
use rdev_bus::keys::{KeyNews, KeyWriteError};
use rdev_bus::topology::TopologyError;
use rdev_bus::{Bus, BusConfig, ConnectError, ReadError};
use rdev_contract::event::Requester;
use rdev_contract::id::KeyId;
use rdev_contract::key::{
    ApiKey, CreateKey, KeyList, KeyMade, KeyRecord, KeyView, RotateKey, Scope,
};
use rdev_contract::position::StreamSeq;
use rdev_domain::keys::{self, Randomness};
use rdev_domain::request::RequestError;
use rdev_runtime::parse_duration;
use rdev_runtime::telemetry::{LogFormat, TelemetryArgs};
use serde::Serialize;

/// Settings of `rdev keys`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The log.
    #[command(flatten)]
    bus: BusConfig,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// What is logged, to standard error, as a tracing filter.
    #[arg(
        long = "log",
        env = "RDEV_LOG",
        value_name = "RDEV_LOG",
        default_value = "warn,rdev_bus::connect=error"
    )]
    filter: String,
    #[command(subcommand)]
    action: Action,
}

/// What is done.
#[derive(Debug, Clone, clap::Subcommand)]
enum Action {
    /// Make a key. It is printed, and never shown again.
    Create {
        /// What people call it.
        #[arg(long)]
        name: String,
        /// What may be done with it, joined by commas: read, exec, admin.
        #[arg(
            long = "scope",
            value_name = "SCOPES",
            value_delimiter = ',',
            required = true
        )]
        scopes: Vec<Scope>,
        /// In which projects, joined by commas; * for all.
        #[arg(
            long = "project",
            value_name = "PROJECTS",
            value_delimiter = ',',
            required = true
        )]
        projects: Vec<String>,
        /// After this it may not be used any more, as in 30days.
        #[arg(long, value_parser = parse_duration)]
        expires: Option<Duration>,
    },
    /// List all keys, those that have ended too.
    List,
    /// Give a key another secret, which is printed, and never shown again.
    Rotate {
        /// Its id.
        id: KeyId,
        /// For so long the former secret may still be used: 0s if others know it.
        #[arg(long, value_parser = parse_duration, default_value = "1h")]
        grace: Duration,
    },
    /// End a key, and what is being read with it.
    Revoke {
        /// Its id.
        id: KeyId,
    },
}

impl Options {
    /// Its logs are only about what went wrong.
    pub(crate) fn telemetry(&self) -> TelemetryArgs {
        TelemetryArgs {
            filter: self.filter.clone(),
            format: LogFormat::Text,
        }
    }
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The log cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is no place for keys.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The log does not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log does not answer to a change.
    #[error(transparent)]
    Write(#[from] KeyWriteError),
    /// It cannot be asked for.
    #[error("{}", .0.detail)]
    Request(RequestError),
    /// There is no such key.
    #[error("there is no key {0}")]
    NoSuchKey(KeyId),
    /// It was revoked before.
    #[error("the key {0} was revoked: make another")]
    Revoked(KeyId),
    /// The answer cannot be printed.
    #[error("the answer cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

/// Does what the command line says.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let bus = Bus::connect(options.bus, "rdev-keys").await?;
    bus.ensure_keys().await?;
    let json = options.json;
    match options.action {
        Action::Create {
            name,
            scopes,
            projects,
            expires,
        } => {
            let request = CreateKey {
                name,
                scopes: scopes.into_iter().collect(),
                projects,
                expires_in_seconds: expires.map(|expires| expires.as_secs()),
            };
            let (key, record) = create(&bus, request).await?;
            print_made(&key, record.view(None), json)
        }
        Action::List => print_list(list(&bus).await?, json),
        Action::Rotate { id, grace } => {
            let request = RotateKey {
                grace_seconds: Some(grace.as_secs()),
            };
            let grace_seconds = keys::grace_seconds(&request)?;
            let random = randomness();
            let change = |record: &KeyRecord| {
                let is_open = record.revoked.is_none();
                is_open.then(|| keys::rotate(record, grace_seconds, &random, now(), by()))
            };
            let found = bus.change_key(&id, change).await?;
            let record = found.ok_or_else(|| Failure::NoSuchKey(id.clone()))?.value;
            if record.revoked.is_some() {
                return Err(Failure::Revoked(id));
            }
            print_made(&keys::key(id, &random), record.view(None), json)
        }
        Action::Revoke { id } => {
            let change = |record: &KeyRecord| keys::revoke(record, now(), by());
            let found = bus.change_key(&id, change).await?;
            let record = found.ok_or(Failure::NoSuchKey(id))?.value;
            let mut items = list(&bus).await?;
            items.retain(|view| view.id == record.id);
            print_list(items, json)
        }
    }
}

/// Makes a key.
pub(crate) async fn create(bus: &Bus, request: CreateKey) -> Result<(ApiKey, KeyRecord), Failure> {
    let (key, record) = keys::create(request, &randomness(), now(), by())?;
    bus.store_key(&record, StreamSeq(0)).await?;
    Ok((key, record))
}

async fn list(bus: &Bus) -> Result<Vec<KeyView>, Failure> {
    let (mut records, mut used) = (HashMap::new(), HashMap::new());
    for entry in bus.keys().await? {
        match entry.value {
            KeyNews::Key(record) => {
                records.insert(record.id.clone(), record);
            }
            KeyNews::Used(id, last) => {
                used.insert(id, last);
            }
            KeyNews::Gone(id) => {
                records.remove(&id);
            }
            KeyNews::TicketSecret(_) | KeyNews::NoTicketSecret | KeyNews::Other => {}
        }
    }
    let views = records
        .values()
        .map(|record| record.view(used.get(&record.id).copied()));
    let mut views: Vec<_> = views.collect();
    views.sort_by_key(|view| view.created_at);
    Ok(views)
}

fn print_made(key: &ApiKey, view: KeyView, json: bool) -> Result<(), Failure> {
    let key = key.to_string();
    if json {
        return print_json(&KeyMade { key, view });
    }
    let mut out = std::io::stdout();
    writeln!(out, "{key}")?;
    Ok(out.flush()?)
}

fn print_list(items: Vec<KeyView>, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&KeyList { items });
    }
    let mut out = std::io::stdout();
    for view in items {
        let scopes: Vec<_> = view
            .grants
            .scopes
            .iter()
            .map(|scope| scope.name())
            .collect();
        let projects = Vec::from(view.grants.projects.clone());
        let (scopes, projects) = (scopes.join(","), projects.join(","));
        writeln!(
            out,
            "{}  {:<8}  {scopes:<15}  {projects:<20}  created {}  used {}  {}",
            view.id,
            standing(&view),
            day(Some(view.created_at)),
            day(view.last_used_at),
            view.name,
        )?;
    }
    Ok(out.flush()?)
}

fn standing(view: &KeyView) -> &'static str {
    if view.revoked_at.is_some() {
        "revoked"
    } else if view.expires_at.is_some_and(|at| at <= now()) {
        "expired"
    } else {
        "active"
    }
}

fn day(at: Option<Timestamp>) -> String {
    at.map_or_else(
        || "never".to_owned(),
        |at| at.strftime("%Y-%m-%dT%H:%MZ").to_string(),
    )
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Of the operating system's generator, by way of one that is seeded with it.
fn randomness() -> Randomness {
    let mut generator = rand::rng();
    Randomness {
        id: generator.random(),
        secret: generator.random(),
    }
}

fn by() -> Requester {
    Requester {
        agent: "rdev keys".to_owned(),
        ..Requester::default()
    }
}

fn now() -> Timestamp {
    Timestamp::now()
}
