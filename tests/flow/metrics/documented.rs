//! What is exposed is what docs/metrics.md says: names, types and labels, by service.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

/// Appear only where spans are exported.
const WITH_A_COLLECTOR: &str = "with a collector";

/// A metric, as it is documented or exposed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
}

/// The rows of the table: name, what it is, and of which services.
fn documented() -> Outcome<BTreeMap<String, (Metric, String)>> {
    let text = std::fs::read_to_string(root().join("docs/metrics.md"))?;
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, of, what] = cells[..] else {
            return Err(format!("not a row of five: {line}").into());
        };
        assert!(!what.is_empty(), "{line}");
        let labels = labels
            .split(',')
            .map(str::trim)
            .filter(|label| !label.is_empty());
        let metric = Metric {
            kind: kind.to_owned(),
            labels: labels.map(str::to_owned).collect(),
        };
        found.insert(name.trim_matches('`').to_owned(), (metric, of.to_owned()));
    }
    Ok(found)
}

/// What a text for Prometheus has.
fn exposed(text: &str) -> BTreeMap<String, Metric> {
    let mut found = BTreeMap::<String, Metric>::new();
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap_or_default();
            let (kind, labels) = (kind.to_owned(), BTreeSet::new());
            found.insert(name.to_owned(), Metric { kind, labels });
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, _) = line.rsplit_once(' ').unwrap_or_default();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let of = |found: &BTreeMap<String, Metric>, name: &str| {
            let endings = ["", "_bucket", "_sum", "_count"];
            let mut names = endings.iter().filter_map(|end| name.strip_suffix(end));
            names
                .find(|name| found.contains_key(*name))
                .map(str::to_owned)
        };
        let name = of(&found, name).unwrap_or_else(|| panic!("not declared: {line}"));
        let labels = labels.trim_end_matches('}').split("\",");
        let names = labels.filter_map(|label| Some(label.split_once("=\"")?.0.to_owned()));
        if let Some(metric) = found.get_mut(&name) {
            metric.labels.extend(names.filter(|label| label != "le"));
        }
    }
    found
}

/// Debian's own judge of names, types and help, where it is there.
fn lint(text: &str) -> Outcome<()> {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        return Ok(());
    };
    promtool
        .stdin
        .take()
        .ok_or("no stdin")?
        .write_all(text.as_bytes())?;
    let judged = promtool.wait_with_output()?;
    let said = String::from_utf8_lossy(&judged.stderr);
    assert!(judged.status.success() && said.is_empty(), "{said}\n{text}");
    Ok(())
}

#[tokio::test]
async fn what_is_exposed_is_documented() -> Outcome<()> {
    let mut counted = Counted::start().await?;
    let (_executor, executor) = counted.executor(4)?;
    let client = &counted.client;
    let session = client.session("documented").await?;
    let body = json!({"type": "shell", "command": "cat", "stdin_open": true, "stream_id": "open"});
    client.exec(&session, &body).await?;
    client
        .stdin(&session, "open", "offset=0&end=true", "hello\n".to_owned())
        .await?;
    client.transcript(&session, "open").await?.check()?;
    let documented = documented()?;
    let mut seen = BTreeSet::new();
    for (service, address) in [
        ("gateway", counted.gateway.1),
        ("executor", executor),
        ("projector", counted.projector.1),
    ] {
        // The scheduler tells of the queue as long as it is certain to be the one.
        let is_whole = |text: &str| service != "executor" || text.contains("\nrdev_sessions_kept ");
        let text = until_counted(address, is_whole).await?;
        lint(&text)?;
        for (name, metric) in exposed(&text) {
            let (row, of) = documented
                .get(&name)
                .ok_or_else(|| format!("{service} exposes {name}, which docs/metrics.md lacks"))?;
            let is_of = of == "all"
                || of.contains(service)
                || of == "scheduler" && service == "executor"
                || of == "archiver" && service == "projector";
            assert!(is_of, "{name} is of {of}, and not of {service}");
            assert_eq!(*row, metric, "{name} is not as docs/metrics.md says");
            seen.insert(name);
        }
        assert!(
            !text.contains(&session) && !text.contains("\"demo\""),
            "{text}"
        );
    }
    let missing = documented.iter().filter(|(name, (_, of))| {
        // Nothing is archived here.
        let is_elsewhere = of == "archiver" || of.ends_with(WITH_A_COLLECTOR);
        !is_elsewhere && !seen.contains(*name)
    });
    let missing: Vec<_> = missing.map(|(name, _)| name).collect();
    assert!(
        missing.is_empty(),
        "docs/metrics.md has {missing:?}, which nobody exposes"
    );
    Ok(())
}
