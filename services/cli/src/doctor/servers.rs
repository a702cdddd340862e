//! The log and the database, for those who run the services: where their addresses are known.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rdev_bus::{Bus, BusConfig, ConnectError, Credentials, LogStream};
use rdev_readmodel::{PostgresUrl, ReadModel};
use tokio::time::{Instant, timeout};

use super::{Finding, Report, ServiceArgs};
use crate::failure::Done;
use crate::settings::Settings;

const NATS_TIMEOUT: Duration = Duration::from_secs(15);
const POSTGRES_TIMEOUT: Duration = Duration::from_secs(10);
/// Executors say every second that they are there.
const EXECUTORS_HEARD_WITHIN: Duration = Duration::from_millis(2_200);

pub(super) async fn look(
    services: &ServiceArgs,
    settings: &Settings,
    report: &mut Report,
) -> Done<()> {
    let dev = settings.dev.as_ref();
    let nats_url = services
        .nats_url
        .clone()
        .or_else(|| Some(dev?.nats_url.clone()));
    match nats_url {
        Some(url) => nats(services, url, report).await?,
        None => report.add(Finding::skip("nats", "RDEV_NATS_URL is not set here"))?,
    }
    let postgres_url = services
        .postgres_url
        .clone()
        .or_else(|| Some(dev?.postgres_url.clone()));
    let finding = match postgres_url {
        Some(url) => postgres(&url).await,
        None => Finding::skip("postgres", "RDEV_POSTGRES_URL is not set here"),
    };
    Ok(report.add(finding)?)
}

async fn nats(services: &ServiceArgs, url: String, report: &mut Report) -> Done<()> {
    let credentials = services
        .nats_creds
        .as_deref()
        .map(Credentials::read)
        .transpose();
    let credentials = match credentials {
        Ok(credentials) => credentials,
        Err(reason) => {
            let finding = Finding::fail("nats", format!("RDEV_NATS_CREDS: {reason}"));
            return Ok(report.add(finding)?);
        }
    };
    let config = config(url, credentials, services.nats_ca.clone());
    let asked = Instant::now();
    let connecting = timeout(NATS_TIMEOUT, Bus::connect(config, "rdev-doctor")).await;
    let bus = match connecting {
        Ok(Ok(bus)) => bus,
        Ok(Err(error)) => return Ok(report.add(not_connected(&error))?),
        Err(_) => {
            let finding = Finding::fail("nats", "no connection in time");
            return Ok(
                report.add(finding.advice("is the address right, and no firewall between?"))?
            );
        }
    };
    let took = asked.elapsed().as_millis();
    report.add(Finding::ok(
        "nats",
        format!("connected, and the server can do what is needed ({took} ms)"),
    ))?;
    report.add(log(&bus).await)?;
    Ok(report.add(executors(&bus).await)?)
}

/// Only read from, so what it is to be like does not matter.
fn config(url: String, credentials: Option<Credentials>, authority: Option<PathBuf>) -> BusConfig {
    BusConfig {
        url,
        credentials,
        authority,
        replicas: 1,
        output_ttl: Duration::ZERO,
        facts_ttl: Duration::ZERO,
        log_max_bytes: -1,
    }
}

fn not_connected(error: &ConnectError) -> Finding {
    let advice = match error {
        ConnectError::Unreachable { .. } => "is it running, and is RDEV_NATS_URL right?",
        ConnectError::Unsuitable(_) => "install nats-server 2.12 or newer with deploy/nats.conf",
        ConnectError::Refused { .. } => {
            "`rdev nats-config` makes a key for each service (docs/nats.md)"
        }
    };
    Finding::fail("nats", error.to_string()).advice(advice)
}

async fn log(bus: &Bus) -> Finding {
    match bus.identity(LogStream::Exec).await {
        Ok(_) => Finding::ok("log", "the streams are there"),
        Err(error) => Finding::fail("log", format!("the streams cannot be read: {error}")).advice(
            "a gateway or an executor makes them at its start; a consumer's key may not read them",
        ),
    }
}

/// Who says that commands can be run.
async fn executors(bus: &Bus) -> Finding {
    let mut announced = match bus.announcements().await {
        Ok(announced) => announced,
        Err(error) => return Finding::warn("executor", format!("nobody can be heard: {error}")),
    };
    let mut slots = BTreeMap::new();
    let listen = async {
        while let Some(executor) = announced.next().await {
            slots.insert(executor.executor, executor.slots);
        }
    };
    let _ = timeout(EXECUTORS_HEARD_WITHIN, listen).await;
    let total: u32 = slots.values().sum();
    if total == 0 {
        let finding = Finding::fail("executor", "nobody runs commands");
        return finding
            .advice("start an executor; one that runs says in its log what it waits for");
    }
    Finding::ok("executor", format!("{} with {total} slots", slots.len()))
}

async fn postgres(url: &str) -> Finding {
    let url: PostgresUrl = match url.parse() {
        Ok(url) => url,
        Err(error) => return Finding::fail("postgres", format!("RDEV_POSTGRES_URL: {error}")),
    };
    let read_model = ReadModel::new(&url);
    let asked = Instant::now();
    match timeout(POSTGRES_TIMEOUT, read_model.positions()).await {
        Ok(Ok(positions)) if positions.is_empty() => Finding::warn(
            "postgres",
            "the tables are there, and nothing was read into them yet",
        )
        .advice("is a projector running?"),
        Ok(Ok(_)) => {
            let took = asked.elapsed().as_millis();
            Finding::ok("postgres", format!("the tables are there ({took} ms)"))
        }
        Ok(Err(error)) => Finding::fail("postgres", error.to_string())
            .advice("is RDEV_POSTGRES_URL right, and has a projector made the tables?"),
        Err(_) => Finding::fail("postgres", "no answer in time")
            .advice("is the address right, and no firewall between?"),
    }
}
