//! The document says what the routes are, and all of it leads somewhere.

use std::collections::BTreeSet;

use serde_json::Value;

use super::document::document;
use super::operations::OPERATIONS;
use super::parameters;
use crate::routes::Declared;
use crate::routes::routes;
use crate::routes::tests::trust;

/// Written anew by a test run with this variable.
const WRITE_ANEW: &str = "RDEV_WRITE_OPENAPI";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

fn declared() -> Vec<Declared> {
    routes(&trust(true)).declared
}

fn whole() -> Value {
    document(&declared())
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let key = |method: &axum::http::Method, path: &str| format!("{method} {path}");
    let routes: BTreeSet<_> = declared()
        .iter()
        .map(|(method, path, _)| key(method, path))
        .collect();
    let described: BTreeSet<_> = OPERATIONS
        .iter()
        .map(|operation| key(&operation.method, operation.path))
        .collect();
    assert_eq!(routes, described);
    let ids: BTreeSet<_> = OPERATIONS.iter().map(|operation| operation.id).collect();
    assert_eq!(ids.len(), OPERATIONS.len(), "an id is there twice");
    for operation in OPERATIONS {
        let used = parameters::of_path(operation.path).chain(operation.query.iter().copied());
        for name in used {
            assert!(parameters::is_known(name), "{}: {name}", operation.id);
        }
    }
}

#[test]
fn references_resolve() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members
                    .values()
                    .for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = whole();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

/// A change of the API shows in a review as a change of this file.
#[test]
fn the_file_is_what_is_served() {
    let document = whole();
    if std::env::var_os(WRITE_ANEW).is_some() {
        let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
        std::fs::write(FILE, text).unwrap();
    }
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
    assert!(
        kept == document,
        "the API has changed: run `{WRITE_ANEW}=1 cargo test -p rdev-gateway openapi`, and look \
         whether it only adds"
    );
}
