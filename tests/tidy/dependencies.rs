//! What comes from others is what `deny.toml` lets in: its licences, its sources, no banned crate.
//! `cargo deny` checks the same and more; this needs neither it nor a network.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde::Deserialize;
use spdx::{Expression, LicenseReq, ParseMode};

use crate::tree::root;

#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}

#[derive(Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: String,
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Metadata = serde_json::from_slice(&output.stdout).expect("its metadata");
    metadata.packages
}

/// What `cargo run --release -- dev` compiles is for one machine: the client of Kubernetes alone would
/// be a sixth of it.
#[test]
fn the_program_for_one_machine_is_built_without_kubernetes() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{lib}"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let built = String::from_utf8(output.stdout).expect("names");
    let built: BTreeSet<&str> = built.lines().collect();
    assert!(built.contains("rdev_executor"), "{built:?}");
    for absent in ["kube", "k8s_openapi"] {
        assert!(!built.contains(absent), "{absent}");
    }
}

/// Why the package may not be used; none if it may.
fn why_not(package: &Package, rules: &Rules) -> Option<String> {
    let Package { name, license, .. } = package;
    if rules.bans.deny.iter().any(|banned| banned.name == *name) {
        return Some("it is banned".to_owned());
    }
    let Some(source) = &package.source else {
        let is_ours = package
            .manifest_path
            .starts_with(&*root().to_string_lossy());
        return (!is_ours).then(|| "it is a directory outside the project".to_owned());
    };
    if !source.starts_with("registry+") {
        return Some(format!("it comes from {source}"));
    }
    let Some(license) = license else {
        return Some("it names no licence".to_owned());
    };
    let is_allowed = |wanted: &LicenseReq| {
        let wanted = wanted.to_string();
        rules.licenses.allow.contains(&wanted)
    };
    match Expression::parse_mode(license, ParseMode::LAX) {
        Ok(expression) if expression.evaluate(is_allowed) => None,
        Ok(_) => Some(format!("its licence is {license}")),
        Err(error) => Some(format!("its licence cannot be read: {error}")),
    }
}

fn rules() -> Rules {
    let text = fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    toml::from_str(&text).expect("rules")
}

#[test]
fn what_comes_from_others_may_come_in() {
    let (packages, rules) = (packages(), rules());
    let refused: Vec<String> = packages
        .iter()
        .filter_map(|package| {
            let why = why_not(package, &rules)?;
            Some(format!("{} {}: {why}", package.name, package.version))
        })
        .collect();
    assert!(
        refused.is_empty(),
        "use another crate, or decide in deny.toml and say why:\n{}",
        refused.join("\n")
    );
    let registries: BTreeSet<_> = packages
        .iter()
        .filter_map(|one| one.source.as_ref())
        .collect();
    assert_eq!(
        registries.len(),
        1,
        "more than one registry: {registries:?}"
    );
}

#[test]
fn rules_refuse_what_they_should() {
    let rules = rules();
    let package = |name: &str, license: Option<&str>, source: Option<&str>| Package {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        license: license.map(str::to_owned),
        source: source.map(str::to_owned),
        manifest_path: "/elsewhere/Cargo.toml".to_owned(),
    };
    let registry = Some("registry+index");
    let fine = [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0-only OR MIT",
        "Apache-2.0 WITH LLVM-exception",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
    ];
    for license in fine {
        let found = why_not(&package("a", Some(license), registry), &rules);
        assert_eq!(found, None, "{license}");
    }
    for refused in [
        package("a", Some("GPL-3.0-only"), registry),
        package("a", Some("MIT AND GPL-3.0-only"), registry),
        package("a", Some("my own"), registry),
        package("a", None, registry),
        package("openssl-sys", Some("MIT"), registry),
        package("a", Some("MIT"), Some("git+ssh://somewhere")),
        package("a", Some("MIT"), None),
    ] {
        assert!(why_not(&refused, &rules).is_some(), "{:?}", refused.license);
    }
}
