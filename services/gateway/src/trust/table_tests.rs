//! The table: what comes late, what ends, and what cannot be told.

use std::collections::BTreeSet;

use rdev_contract::event::Requester;
use rdev_contract::key::{CreateKey, FormerSecret, Scope};
use rdev_domain::keys::{Randomness, create, revoke};

use super::*;

fn made() -> (ApiKey, KeyRecord) {
    let request = CreateKey {
        name: "one".to_owned(),
        scopes: BTreeSet::from([Scope::Read]),
        projects: vec!["demo".to_owned()],
        expires_in_seconds: None,
    };
    let random = Randomness {
        id: [1; 8],
        secret: [2; 32],
    };
    create(request, &random, Timestamp::now(), Requester::default()).unwrap()
}

fn table() -> KeyTable {
    KeyTable::new(Allowance {
        rate: 1,
        burst: 1,
        streams: 1,
    })
}

fn learn(table: &KeyTable, sequence: u64, record: &KeyRecord) {
    table.learn(Recorded {
        sequence: StreamSeq(sequence),
        value: KeyNews::Key(Box::new(record.clone())),
    });
}

fn caller(table: &KeyTable, key: &ApiKey) -> Result<Caller, ApiError> {
    table.caller(key, Client::default(), Timestamp::now())
}

#[tokio::test]
async fn a_revocation_ends_what_was_begun_and_stays() {
    let (key, record) = made();
    let revoked = revoke(&record, Timestamp::now(), Requester::default()).unwrap();
    let table = table();
    assert!(caller(&table, &key).is_err());
    learn(&table, 1, &record);
    let begun = caller(&table, &key).unwrap();
    // The same again, as after a reconnect, ends nothing.
    learn(&table, 1, &record);
    let lease = begun.lease.clone();
    let over = tokio::time::timeout(Duration::from_millis(1), lease.over());
    assert!(over.await.is_err());
    learn(&table, 2, &revoked);
    begun.lease.over().await;
    assert!(caller(&table, &key).is_err());
    // What was stored before is not news.
    learn(&table, 1, &record);
    assert!(caller(&table, &key).is_err());
}

#[tokio::test(start_paused = true)]
async fn keys_are_trusted_for_a_while_when_nobody_can_tell() {
    let (key, record) = made();
    let table = table();
    learn(&table, 1, &record);
    tokio::time::advance(TRUSTED_FOR).await;
    assert!(caller(&table, &key).is_ok());
    tokio::time::advance(Duration::from_millis(1)).await;
    let refused = caller(&table, &key).unwrap_err();
    assert_eq!(refused.code(), "log_unavailable");
    // Whoever has not seen the last entry knows nothing.
    table.confirm(StreamSeq(2), Instant::now());
    assert!(caller(&table, &key).is_err());
    table.confirm(StreamSeq(1), Instant::now());
    assert!(caller(&table, &key).is_ok());
}

#[tokio::test]
async fn a_key_that_is_gone_ends_what_was_begun() {
    let (key, record) = made();
    let table = table();
    learn(&table, 2, &record);
    let begun = caller(&table, &key).unwrap();
    let gone = |sequence| {
        table.learn(Recorded {
            sequence: StreamSeq(sequence),
            value: KeyNews::Gone(key.id.clone()),
        });
    };
    gone(1);
    assert!(caller(&table, &key).is_ok());
    gone(3);
    begun.lease.over().await;
    assert!(caller(&table, &key).is_err());
}

#[test]
fn a_ticket_is_good_as_long_as_the_secret_it_was_made_with() {
    let (key, mut record) = made();
    let table = table();
    learn(&table, 1, &record);
    let made_with = caller(&table, &key).unwrap().secret;
    let now = Timestamp::now();
    let holder = |secret: &str, at| table.holder(&key.id, secret, Client::default(), at);
    assert!(holder(&made_with, now).is_ok());
    assert!(holder("", now).is_err());
    let later = now + jiff::SignedDuration::from_secs(60);
    record.former = Some(FormerSecret {
        hash: record.hash.clone(),
        until: later,
    });
    record.hash = "0".repeat(64);
    learn(&table, 2, &record);
    assert!(holder(&made_with, now).is_ok());
    assert!(holder(&made_with, later).is_err());
}

#[test]
fn a_use_is_noted_once_a_minute() {
    let (key, record) = made();
    let table = table();
    learn(&table, 1, &record);
    let at = |seconds| Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    let used = |seconds| table.caller(&key, Client::default(), at(seconds)).unwrap();
    used(0);
    assert_eq!(table.take_uses().len(), 1);
    used(30);
    assert_eq!(table.take_uses().len(), 0);
    used(61);
    assert_eq!(table.take_uses().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_expiry_ends_what_was_begun() {
    let (key, mut record) = made();
    record.expires_at = Some(Timestamp::now() + jiff::SignedDuration::from_secs(60));
    let table = table();
    learn(&table, 1, &record);
    let lease = caller(&table, &key).unwrap().lease;
    let begin = Instant::now();
    lease.over().await;
    let lasted = begin.elapsed();
    assert!(lasted <= Duration::from_secs(61), "{lasted:?}");
    assert!(lasted >= Duration::from_secs(59), "{lasted:?}");
}
