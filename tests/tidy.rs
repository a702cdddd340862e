//! The house rules that a compiler does not know: who may depend on whom, who owns which outside
//! thing, where each shared string lives, and how long a file may be. The tables here say the same
//! as ARCHITECTURE.md; a change of one is a change of the other.
//!
//! Every failure names the place and says what to do.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/links.rs"]
mod links;
#[path = "tidy/operating.rs"]
mod operating;
#[path = "tidy/reference.rs"]
mod reference;
#[path = "tidy/tree.rs"]
mod tree;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tree::{Manifest, Source, files, manifests, root, sources};

/// Beyond this a file has more than one subject.
const FILE_MAX_LINES: usize = 500;
/// A `main` parses its arguments and runs; everything else can be tested and is elsewhere.
const MAIN_MAX_LINES: usize = 40;

/// Which of our crates may use which. A new arrow is a design decision.
const ARROWS: [(&str, &[&str]); 18] = [
    ("rdev-contract", &[]),
    ("rdev-frames", &[]),
    ("rdev-runtime", &["rdev-contract"]),
    ("rdev-embedded", &[]),
    ("rdev-domain", &["rdev-contract"]),
    ("rdev-bus", &["rdev-contract", "rdev-runtime"]),
    ("rdev-readmodel", &["rdev-contract"]),
    ("rdev-archive", &["rdev-contract", "rdev-runtime"]),
    ("rdev-shim", &["rdev-frames"]),
    ("rdev-gateway", &GATEWAY),
    ("rdev-executor", &EXECUTOR),
    ("rdev-projector", &GATEWAY),
    ("rdev-cli", &CLI),
    ("rdev-kube-standin", &[]),
    ("rdev-tests", &TESTS),
    ("rdev-bench", &TESTS),
    ("rdev-cargo-fuzz", &["rdev-fuzz"]),
    (
        "rdev-fuzz",
        &["rdev-contract", "rdev-domain", "rdev-frames"],
    ),
];
const GATEWAY: [&str; 6] = [
    "rdev-archive",
    "rdev-contract",
    "rdev-domain",
    "rdev-bus",
    "rdev-runtime",
    "rdev-readmodel",
];
const EXECUTOR: [&str; 6] = [
    "rdev-contract",
    "rdev-domain",
    "rdev-bus",
    "rdev-runtime",
    "rdev-frames",
    "rdev-shim",
];
const CLI: [&str; 11] = [
    "rdev-archive",
    "rdev-bus",
    "rdev-contract",
    "rdev-domain",
    "rdev-embedded",
    "rdev-executor",
    "rdev-gateway",
    "rdev-projector",
    "rdev-readmodel",
    "rdev-runtime",
    "rdev-shim",
];
const TESTS: [&str; 9] = [
    "rdev-bus",
    "rdev-cli",
    "rdev-contract",
    "rdev-domain",
    "rdev-embedded",
    "rdev-kube-standin",
    "rdev-readmodel",
    "rdev-shim",
    "rdev-tests",
];
/// What any crate's own tests may use besides.
const FOR_TESTS: [&str; 2] = ["rdev-embedded", "rdev-kube-standin"];

/// Outside things, and the crates that own them: all others go through those. Tests of any crate
/// may use them as a client of what they test.
const OWNERS: [(&str, &[&str]); 28] = [
    // The bench publishes what is not fenced, to show what fencing costs.
    ("async-nats", &["rdev-bus", "rdev-bench"]),
    ("nkeys", &["rdev-bus"]),
    ("axum", &["rdev-gateway", "rdev-bench"]),
    ("tower-http", &["rdev-gateway"]),
    (
        "hyper",
        &["rdev-gateway", "rdev-kube-standin", "rdev-bench"],
    ),
    ("kube", &["rdev-executor"]),
    ("k8s-openapi", &["rdev-executor"]),
    ("tokio-tungstenite", &["rdev-executor", "rdev-kube-standin"]),
    (
        "tokio-postgres",
        // The bench fills tables with rows by the million.
        &[
            "rdev-readmodel",
            "rdev-projector",
            "rdev-tests",
            "rdev-bench",
        ],
    ),
    ("postgres-types", &["rdev-readmodel", "rdev-projector"]),
    ("deadpool-postgres", &["rdev-readmodel", "rdev-projector"]),
    ("refinery", &["rdev-readmodel", "rdev-projector"]),
    (
        "rustix",
        &[
            "rdev-shim",
            "rdev-runtime",
            "rdev-embedded",
            "rdev-kube-standin",
            "rdev-tests",
            "rdev-bench",
            // The terminal that a person sits at.
            "rdev-cli",
        ],
    ),
    ("reqwest", &["rdev-cli", "rdev-tests", "rdev-bench"]),
    ("object_store", &["rdev-archive"]),
    ("zstd", &["rdev-archive"]),
    ("hyper-rustls", &["rdev-runtime"]),
    ("jsonwebtoken", &["rdev-gateway"]),
    ("schemars", &["rdev-contract"]),
    ("tracing-subscriber", &["rdev-runtime"]),
    ("tracing-opentelemetry", &["rdev-runtime"]),
    ("opentelemetry", &["rdev-runtime"]),
    ("opentelemetry_sdk", &["rdev-runtime"]),
    ("opentelemetry-otlp", &["rdev-runtime"]),
    ("opentelemetry-http", &["rdev-runtime"]),
    ("prometheus-client", &["rdev-runtime"]),
    ("humantime", &["rdev-runtime"]),
    (
        "memchr",
        // The fuzzed code is the gateway's.
        &["rdev-domain", "rdev-gateway", "rdev-bench", "rdev-fuzz"],
    ),
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = [
    "common", "helper", "helpers", "misc", "types", "util", "utils", "stuff",
];

/// A string that lives in one file, and what to look for.
struct OneHome {
    what: &'static str,
    home: &'static str,
    needles: &'static [&'static str],
}

/// A variable of the environment may be called as something else is.
const VARIABLE: &str = "_VARIABLE: &str";

const ONE_HOME: [OneHome; 3] = [
    OneHome {
        what: "NATS name",
        home: "shared/contract/src/subject.rs",
        needles: &[
            "\"rdev.exec",
            "\"rdev.live",
            "\"rdev.session",
            "\"rdev.control",
            "\"rdev.ordered",
            "\"rdev.trail",
            "\"$KV.",
            "\"RDEV_EXEC\"",
            "\"RDEV_SESSION\"",
            "\"RDEV_CONTROL\"",
            "\"RDEV_KEYS\"",
            "\"RDEV_TRAIL\"",
            "\"RDEV_ACTIVITY\"",
            "\"RDEV_SCHEDULER\"",
            "\"executors\"",
        ],
    },
    OneHome {
        what: "route",
        home: "services/gateway/src/routes.rs",
        needles: &[
            "\"/projects",
            "\"/healthz",
            "\"/readyz",
            "\"/metrics",
            "\"/openapi",
            "\"/schemas",
            "\"/asyncapi",
            "\"/keys",
        ],
    },
    OneHome {
        what: "SQL",
        home: "shared/readmodel/src/sql.rs",
        needles: &[
            "SELECT ",
            "INSERT INTO ",
            "DELETE FROM ",
            "CREATE TABLE ",
            "CREATE SCHEMA ",
            "DROP TABLE ",
            "ALTER TABLE ",
            "TRUNCATE ",
            "\"UPDATE ",
        ],
    },
];

/// The machine of whoever wrote it: homes, what is temporary, and where the checkout lies
/// ([`checkouts`]). What an image, a test or the shim makes for itself is none.
const MACHINE_PATHS: [&str; 4] = ["/Users/", "/home/", "/root/", "/tmp/"];
const MADE_PATHS: [&str; 4] = [
    "/home/agent",
    "/home/rdev",
    "/tmp/password",
    "/tmp/rdev-shim",
];

/// The directory that this checkout lies in, beside others.
fn checkouts() -> String {
    let root = root();
    let beside = root.parent().filter(|parent| parent.parent().is_some());
    format!("{}/", beside.unwrap_or(&root).display())
}

#[test]
fn crates_depend_along_the_arrows() {
    let allowed: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let mut wrong = Vec::new();
    for manifest in manifests() {
        let Some(arrows) = allowed.get(manifest.name.as_str()) else {
            wrong.push(format!("{}: no entry in ARROWS", manifest.path));
            continue;
        };
        for used in &manifest.dependencies {
            let is_allowed = !used.name.starts_with("rdev-")
                || arrows.contains(&used.name.as_str())
                || used.for_tests && FOR_TESTS.contains(&used.name.as_str());
            if !is_allowed {
                wrong.push(format!("{}: {}", manifest.path, used.name));
            }
        }
    }
    let advice = "a dependency that ARCHITECTURE.md does not show: go through the crate that owns \
        the thing, or decide on the arrow, draw it there and add it to ARROWS";
    none(&wrong, advice);
}

#[test]
fn outside_things_have_owners() {
    let owners: BTreeMap<_, _> = OWNERS.into_iter().collect();
    let mut wrong = Vec::new();
    for manifest in manifests() {
        for used in manifest.dependencies.iter().filter(|used| !used.for_tests) {
            let owners = owners.get(used.name.as_str());
            if owners.is_some_and(|owners| !owners.contains(&manifest.name.as_str())) {
                wrong.push(format!("{}: {}", manifest.path, used.name));
            }
        }
    }
    let advice = "an outside thing used by a crate that does not own it: ask its owner (see \
        OWNERS) for what is needed, in the owner's terms";
    none(&wrong, advice);
}

#[test]
fn files_are_short() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        let is_main = source.path.starts_with("services/") && source.path.ends_with("/src/main.rs");
        let limit = if is_main {
            MAIN_MAX_LINES
        } else {
            FILE_MAX_LINES
        };
        if lines > limit {
            wrong.push(format!("{}: {lines} lines, {limit} at most", source.path));
        }
    }
    none(
        &wrong,
        "a file with more than one subject: give the second one a file of its own",
    );
}

#[test]
fn files_say_what_they_are() {
    let lacks = |source: &Source| source.path.contains("/src/") && !source.text.starts_with("//!");
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(lacks)
        .map(|source| source.path)
        .collect();
    let advice = "a module without a head: begin it with `//!` lines that say what it is, who \
        writes and reads it, and its invariant";
    none(&wrong, advice);
}

#[test]
fn modules_have_names_that_say_something() {
    let is_empty = |source: &Source| {
        let path = source.path.trim_end_matches(".rs");
        path.split('/').any(|part| EMPTY_NAMES.contains(&part))
    };
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(is_empty)
        .map(|source| source.path)
        .collect();
    none(
        &wrong,
        "a module named after nothing: name it after what it holds",
    );
}

#[test]
fn shared_strings_have_one_home() {
    for OneHome {
        what,
        home,
        needles,
    } in ONE_HOME
    {
        let mut wrong = Vec::new();
        // A home may have rooms: modules of its own.
        let rooms = format!("{}/", home.trim_end_matches(".rs"));
        for source in sources() {
            let is_home = source.path == home || source.path.starts_with(&rooms);
            if !is_home && !source.is_test() {
                let found = source.code_with(needles).into_iter();
                wrong.extend(found.filter(|line| !line.contains(VARIABLE)));
            }
        }
        none(
            &wrong,
            &format!("a {what} outside its one file: spell it in {home} and use it from there"),
        );
    }
}

#[test]
fn nothing_is_left_for_later() {
    let needles = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ign", "ore]"),
    ];
    let found: Vec<_> = sources()
        .iter()
        .flat_map(|source| source.lines_with(&needles))
        .collect();
    let advice = "something left for later: do it, or leave it out; a test that cannot run \
        everywhere says why in its `ignore = \"…\"`";
    none(&found, advice);
}

#[test]
fn no_path_of_a_machine() {
    let mut found = Vec::new();
    let checkouts = checkouts();
    let mut paths = MACHINE_PATHS.to_vec();
    paths.push(&checkouts);
    for source in files(&["rs", "toml", "md", "yml", "yaml", "sh", "py", "sql", "json"]) {
        if source.path == "tests/tidy.rs" || source.path.starts_with("tests/fixtures/") {
            continue;
        }
        let lines = source.lines_with(&paths);
        found.extend(
            lines
                .into_iter()
                .filter(|line| !MADE_PATHS.iter().any(|made| line.contains(made))),
        );
    }
    let advice = "a path that exists on one machine only: take it from a setting, or make the \
        directory where it is used";
    none(&found, advice);
}

/// The checks above find what they look for.
#[test]
fn the_checks_can_fail() {
    let source = Source {
        path: "services/x/src/y.rs".to_owned(),
        text: "//! Head of \"/projects\".\nlet a = \"/projects/1\";\n\
            #[cfg(test)]\nmod tests {\n    const B: &str = \"/projects/2\";\n}\n"
            .to_owned(),
    };
    let found = source.code_with(&["\"/projects"]);
    assert_eq!(found, ["services/x/src/y.rs:2: let a = \"/projects/1\";"]);
    assert_eq!(source.lines_with(&["/projects"]).len(), 3);

    let manifest = Manifest::parse(
        "x/Cargo.toml",
        "[package]\nname = \"x\"\n[dependencies]\nrdev-bus.workspace = true\n\
         axum = { version = \"1\" }\n[dependencies.kube]\nversion = \"5\"\n\
         [target.'cfg(unix)'.dependencies]\nrustix = \"1\"\n[dev-dependencies]\nrdev-cli.workspace = true\n",
    );
    let names: Vec<_> = manifest
        .dependencies
        .iter()
        .map(|used| used.name.as_str())
        .collect();
    assert_eq!(names, ["rdev-bus", "axum", "kube", "rustix", "rdev-cli"]);
    let for_tests: Vec<_> = manifest
        .dependencies
        .iter()
        .map(|used| used.for_tests)
        .collect();
    assert_eq!(for_tests, [false, false, false, false, true]);
    assert_eq!(manifest.name, "x");

    assert_eq!(
        manifests().len(),
        ARROWS.len(),
        "an entry of ARROWS without a crate"
    );
    let homes = ONE_HOME.iter().map(|string| root().join(string.home));
    assert!(
        homes.into_iter().all(|home| home.is_file()),
        "a home of ONE_HOME is gone"
    );
}

fn none(wrong: &[String], advice: &str) {
    if wrong.is_empty() {
        return;
    }
    let mut message = format!("{advice}\n");
    for place in wrong {
        // Writing to a String cannot fail.
        let _ = writeln!(message, "  {place}");
    }
    panic!("{message}");
}
