//! What is in the program is what is in the directory, and browsers are told to be careful with it.

use std::collections::BTreeSet;
use std::path::{Path as FilePath, PathBuf};

use super::*;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/console");
/// The files of others, as they were published: see `console/vendor/README.md`.
const VENDORED: [(&str, &str); 2] = [
    (
        "vendor/dompurify.mjs",
        "1a06b721ad8b46d6174b21f22ea70290aaf3e5a81d65af3b7178113953f7c9b1",
    ),
    (
        "vendor/marked.mjs",
        "5371fea86fd0656b4fc7bea7c94c663109d82789b69433eeee78d42895aa44de",
    ),
];

fn files(directory: &FilePath, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // Licences and a note about them lie beside the files of others.
        let is_text = path
            .extension()
            .is_some_and(|ending| ending == "md" || ending == "txt");
        if path.is_dir() {
            files(&path, found);
        } else if !is_text {
            found.push(path);
        }
    }
}

#[test]
fn every_file_is_in_the_program() {
    let mut found = Vec::new();
    files(FilePath::new(DIRECTORY), &mut found);
    let there: BTreeSet<String> = found
        .iter()
        .map(|path| path.strip_prefix(DIRECTORY).unwrap().display().to_string())
        .collect();
    let known: BTreeSet<String> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
    assert_eq!(there, known);
}

#[test]
fn every_import_is_there() {
    for asset in ASSETS
        .iter()
        .filter(|asset| kind(asset.path).contains("javascript"))
    {
        if asset.path.starts_with("vendor/") {
            continue;
        }
        let text = str::from_utf8(asset.content).unwrap();
        let imports = text.lines().filter(|line| line.contains(" from \""));
        for import in imports {
            let (_, name) = import.split_once(" from \"").unwrap();
            let name = name.trim_end_matches("\";");
            let base = FilePath::new(asset.path).parent().unwrap();
            let path = match name.strip_prefix("../") {
                Some(name) => PathBuf::from(name),
                None => base.join(name.trim_start_matches("./")),
            };
            let path = path.display().to_string();
            assert!(
                answer(&path, &HeaderMap::new()).is_ok(),
                "{}: {name}",
                asset.path
            );
        }
    }
}

#[test]
fn what_others_made_is_unchanged() {
    for (path, expected) in VENDORED {
        let asset = ASSETS.iter().find(|asset| asset.path == path).unwrap();
        let digest = Sha256::digest(asset.content);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, expected, "{path}");
    }
    let vendored = ASSETS.iter().filter(|asset| asset.path.ends_with(".mjs"));
    assert_eq!(vendored.count(), VENDORED.len());
}

#[test]
fn a_file_is_sent_once() {
    let first = answer(INDEX, &HeaderMap::new()).unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    let policy = first.headers()[header::CONTENT_SECURITY_POLICY].clone();
    let policy = policy.to_str().unwrap();
    for wanted in [
        "default-src 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for",
    ] {
        assert!(policy.contains(wanted), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(first.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"a\", {tag}")] {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, known.parse().unwrap());
        let again = answer(INDEX, &headers).unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"other\""));
    assert_eq!(answer(INDEX, &headers).unwrap().status(), StatusCode::OK);
    assert!(answer("../Cargo.toml", &HeaderMap::new()).is_err());
}
