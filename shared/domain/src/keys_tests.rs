//! Keys: made, compared, rotated and ended.

use std::collections::BTreeSet;

use rdev_contract::key::Scope;

use super::grace_seconds as grace_seconds_of;
use super::*;

const AT: Timestamp = Timestamp::UNIX_EPOCH;

fn random(byte: u8) -> Randomness {
    Randomness {
        id: [7; KEY_ID_CHARS / 2],
        secret: [byte; SECRET_CHARS / 2],
    }
}

fn request(life: Option<u64>) -> CreateKey {
    CreateKey {
        name: "ci".to_owned(),
        scopes: BTreeSet::from([Scope::Read]),
        projects: vec!["demo".to_owned()],
        expires_in_seconds: life,
    }
}

fn made(life: Option<u64>) -> (ApiKey, KeyRecord) {
    create(request(life), &random(1), AT, Requester::default()).unwrap()
}

fn later(seconds: i64) -> Timestamp {
    AT + SignedDuration::from_secs(seconds)
}

#[test]
fn a_key_is_shown_once_and_kept_as_a_hash() {
    let (key, record) = made(None);
    let text = key.to_string();
    assert_eq!(text, format!("rdev_0707070707070707_{}", "01".repeat(32)));
    assert_eq!(text.parse::<ApiKey>().unwrap(), key);
    let kept = serde_json::to_string(&record).unwrap();
    assert!(!kept.contains(&key.secret), "{kept}");
    assert!(!format!("{key:?}").contains(&key.secret));
    assert_eq!(check(&record, &key.secret, AT), Ok(None));
    for wrong in ["", &key.secret[1..], &"02".repeat(32), &record.hash] {
        assert_eq!(check(&record, wrong, AT), Err(KeyRefused::Wrong), "{wrong}");
    }
}

#[test]
fn what_is_no_key() {
    let secret = "0".repeat(SECRET_CHARS);
    for text in [
        String::new(),
        "rdev_".to_owned(),
        secret.clone(),
        format!("rdev_0707070707070707_{}", &secret[1..]),
        format!("rdev_0707070707070707_{secret}0"),
        format!("rdev_070707070707070_{secret}"),
        format!("rdev_*_{secret}"),
        format!("rdev_0707070707070707_{}A", &secret[1..]),
        format!("Rdev_0707070707070707_{secret}"),
    ] {
        assert!(text.parse::<ApiKey>().is_err(), "{text}");
    }
}

#[test]
fn a_key_ends_at_its_time() {
    let (key, record) = made(Some(60));
    assert_eq!(check(&record, &key.secret, later(59)), Ok(Some(later(60))));
    assert!(is_usable(&record, later(59)) && !is_usable(&record, later(60)));
    let refused = check(&record, &key.secret, later(60));
    assert_eq!(refused, Err(KeyRefused::Expired));
}

#[test]
fn a_revoked_key_stays_revoked() {
    let (key, record) = made(None);
    let revoked = revoke(&record, later(1), Requester::default()).unwrap();
    let refused = check(&revoked, &key.secret, later(1));
    assert_eq!(refused, Err(KeyRefused::Revoked));
    // Whoever does not know the secret is not told that there was such a key.
    assert_eq!(check(&revoked, "x", AT), Err(KeyRefused::Wrong));
    assert_eq!(revoke(&revoked, later(2), Requester::default()), None);
}

#[test]
fn a_former_secret_is_good_for_the_grace() {
    let (former, record) = made(None);
    let rotated = |record: &KeyRecord, byte, grace| {
        rotate(record, grace, &random(byte), AT, Requester::default())
    };
    let record = rotated(&record, 2, 10);
    let current = key(record.id.clone(), &random(2));
    assert_eq!(current.id, former.id);
    assert_eq!(check(&record, &current.secret, later(10)), Ok(None));
    assert_eq!(
        check(&record, &former.secret, later(9)),
        Ok(Some(later(10)))
    );
    let refused = check(&record, &former.secret, later(10));
    assert_eq!(refused, Err(KeyRefused::Rotated));
    // The one before the former is gone at once.
    let record = rotated(&record, 3, 10);
    assert_eq!(check(&record, &former.secret, AT), Err(KeyRefused::Wrong));
    let grace = |grace_seconds| grace_seconds_of(&RotateKey { grace_seconds }).ok();
    assert_eq!(grace(None), Some(GRACE_DEFAULT_SECONDS));
    assert_eq!(grace(Some(GRACE_MAX_SECONDS)), Some(GRACE_MAX_SECONDS));
    assert_eq!(grace(Some(GRACE_MAX_SECONDS + 1)), None);
}

#[test]
fn what_cannot_be_asked_for() {
    let create = |request| create(request, &random(1), AT, Requester::default());
    let named = |name: String| CreateKey {
        name,
        ..request(None)
    };
    assert!(create(named("n".repeat(NAME_MAX_BYTES))).is_ok());
    assert!(create(request(Some(LIFE_MAX_SECONDS))).is_ok());
    for wrong in [
        named("n".repeat(NAME_MAX_BYTES + 1)),
        named(" ".to_owned()),
        named("a\nb".to_owned()),
        request(Some(0)),
        request(Some(LIFE_MAX_SECONDS + 1)),
        CreateKey {
            scopes: BTreeSet::new(),
            ..request(None)
        },
        CreateKey {
            projects: Vec::new(),
            ..request(None)
        },
        CreateKey {
            projects: vec!["a.b".to_owned()],
            ..request(None)
        },
    ] {
        assert!(create(wrong.clone()).is_err(), "{wrong:?}");
    }
}

#[test]
fn projects_cover_each_other() {
    let projects = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned());
        Projects::try_from(names.collect::<Vec<_>>()).unwrap()
    };
    let (all, a, ab) = (projects(&["*"]), projects(&["a"]), projects(&["a", "b"]));
    assert_eq!(all, projects(&["a", "*"]));
    assert!(all.cover(&all) && all.cover(&ab) && ab.cover(&a) && a.cover(&a));
    assert!(!ab.cover(&all) && !a.cover(&ab));
    let (in_a, in_b) = ("a".parse().unwrap(), "b".parse().unwrap());
    assert!(all.contain(&in_b) && a.contain(&in_a) && !a.contain(&in_b));
}
