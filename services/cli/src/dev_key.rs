//! The key of `rdev dev`: made at the first start, kept in the data directory, where only its owner can
//! read it.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rdev_bus::{Bus, BusConfig};
use rdev_contract::key::{ApiKey, CreateKey, KeyRecord, Scope};
use rdev_domain::keys::check;

use crate::keys::create;

const FILE: &str = "key";

/// The key of the last start, if it is one of this log, or a new one.
///
/// # Errors
/// Says what does not work.
pub(crate) async fn key(nats: &str, data_dir: &Path) -> Result<ApiKey, String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let bus = Bus::connect(config(nats), "rdev-dev").await;
    let bus = bus.map_err(|error| failed(&error))?;
    bus.ensure_keys().await.map_err(|error| failed(&error))?;
    let file = data_dir.join(FILE);
    let kept = std::fs::read_to_string(&file).ok();
    if let Some(key) = kept.and_then(|text| text.trim().parse::<ApiKey>().ok()) {
        let found = bus.key(&key.id).await.map_err(|error| failed(&error))?;
        let is_good = |record: &KeyRecord| check(record, &key.secret, Timestamp::now()).is_ok();
        if found.is_some_and(|found| is_good(&found.value)) {
            return Ok(key);
        }
    }
    let request = CreateKey {
        name: "rdev dev".to_owned(),
        scopes: Scope::ALL.into(),
        projects: vec!["*".to_owned()],
        expires_in_seconds: None,
    };
    let (key, _) = create(&bus, request)
        .await
        .map_err(|error| failed(&error))?;
    rdev_embedded::write_secret(&file, &format!("{key}\n"))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(key)
}

/// Only the bucket of keys is made with it, of which nothing but the copies is set.
fn config(nats: &str) -> BusConfig {
    BusConfig {
        url: nats.to_owned(),
        credentials: None,
        authority: None,
        replicas: 1,
        output_ttl: Duration::ZERO,
        facts_ttl: Duration::ZERO,
        log_max_bytes: -1,
    }
}
