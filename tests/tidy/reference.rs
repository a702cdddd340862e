//! The summary of the API in the documentation is made of the OpenAPI document.

use std::fs;

use serde_json::Value;

use crate::tree::root;

const PAGE: &str = "docs/api.md";
const DOCUMENT: &str = "services/gateway/openapi.json";
/// What is between these lines is made; the rest of the page is written by hand.
const BEGIN: &str = "<!-- made of openapi.json: begin -->\n";
const END: &str = "<!-- made of openapi.json: end -->\n";
/// Writes the page anew.
const WRITE_ANEW: &str = "RDEV_WRITE_DOCS";

/// The name of the schema of a body or an answer, or its media type.
fn content(value: &Value) -> String {
    let contents = value["content"].as_object().into_iter().flatten();
    let mut names: Vec<_> = contents
        .map(|(kind, content)| match content["schema"]["$ref"].as_str() {
            Some(reference) => reference.rsplit('/').next().unwrap_or_default().to_owned(),
            None => kind.clone(),
        })
        .collect();
    names.dedup();
    names.join(", ")
}

fn row(path: &str, method: &str, operation: &Value) -> String {
    let answers = operation["responses"].as_object().into_iter().flatten();
    let done = answers.filter(|(status, _)| status.starts_with('2') || status.starts_with('3'));
    let done: Vec<_> = done
        .map(|(status, answer)| format!("{status} {}", content(answer)).trim().to_owned())
        .collect();
    let takes = content(&operation["requestBody"]);
    let method = method.to_ascii_uppercase();
    let summary = operation["summary"].as_str().unwrap_or_default();
    format!(
        "| `{method} {path}` | {summary} | {takes} | {} |\n",
        done.join("; ")
    )
}

#[test]
fn the_api_page_is_what_the_document_says() {
    let document = fs::read_to_string(root().join(DOCUMENT)).expect("the document");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let mut table = "| request | what | takes | answers |\n|---|---|---|---|\n".to_owned();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            table += &row(path, method, operation);
        }
    }
    let path = root().join(PAGE);
    let page = fs::read_to_string(&path).expect("the page");
    let (head, rest) = page.split_once(BEGIN).expect("where it begins");
    let (_, tail) = rest.split_once(END).expect("where it ends");
    let wanted = format!("{head}{BEGIN}{table}{END}{tail}");
    if std::env::var_os(WRITE_ANEW).is_some() {
        fs::write(&path, &wanted).expect("the page is written");
    }
    let page = fs::read_to_string(&path).expect("the page");
    assert!(
        page == wanted,
        "the API has changed: run {WRITE_ANEW}=1 cargo test -p rdev-tests --test tidy api_page"
    );
}
