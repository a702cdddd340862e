//! What operators are given holds together: queries name metrics that there are, alerts are explained,
//! and Debian's `promtool`, where it is there, has nothing against the rules.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::tree::root;

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect(path)
}

/// The names of the table, and of the series that histograms are made of.
fn documented() -> BTreeSet<String> {
    let text = text("docs/metrics.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut names = BTreeSet::from(["up".to_owned()]);
    for row in rows {
        let (name, rest) = row.split_once('`').expect("a name");
        names.insert(name.to_owned());
        if rest.contains("| histogram |") {
            names.extend(["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")));
        }
    }
    assert!(names.len() > 50, "the table was not found");
    names
}

/// Words of a query that can only be names of metrics.
fn named(query: &str) -> impl Iterator<Item = &str> {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = query.split(move |letter| !is_of_name(letter));
    words.filter(|word| word.starts_with("rdev_") || word.starts_with("process_"))
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/rdev.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let (names, guide) = (documented(), text("docs/operating.md"));
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    let mut queries = 0;
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(
            ids.insert(panel["id"].as_u64().expect("an id")),
            "{title}: its id is another's"
        );
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        let (x, y, w, h) = (place("x"), place("y"), place("w"), place("h"));
        assert!(w > 0 && x + w <= 24, "{title} is outside of the grid");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} covers another panel");
        }
        if panel["type"] == "row" {
            assert!(
                guide.contains(&format!("| {title} |")),
                "docs/operating.md lacks {title:?}"
            );
            continue;
        }
        assert!(
            !panel["description"]
                .as_str()
                .expect("a description")
                .is_empty()
        );
        for target in panel["targets"].as_array().expect("targets") {
            let query = target["expr"].as_str().expect("a query");
            let unknown: Vec<_> = named(query).filter(|name| !names.contains(*name)).collect();
            assert!(unknown.is_empty(), "{title}: no such metric: {unknown:?}");
            queries += 1;
        }
    }
    assert!(queries > 40, "only {queries} queries were found");
    for key in ["uid", "title", "schemaVersion", "templating", "time"] {
        assert!(!dashboard[key].is_null(), "a dashboard has {key}");
    }
}

#[test]
fn alerts_ask_for_what_there_is_and_are_explained() {
    let (rules, guide, names) = (
        text("deploy/prometheus/rules.yml"),
        text("docs/operating.md"),
        documented(),
    );
    let unknown: Vec<_> = named(&rules)
        .filter(|name| !names.contains(*name))
        .collect();
    assert!(unknown.is_empty(), "no such metric: {unknown:?}");
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: Vec<_> = alerts.collect();
    assert!(alerts.len() > 20, "{alerts:?}");
    for alert in &alerts {
        let anchor = format!("docs/operating.md#{}", alert.to_lowercase());
        assert!(
            rules.contains(&anchor),
            "{alert} does not say what to do: {anchor}"
        );
        assert!(
            guide.contains(&format!("### {alert}\n")),
            "docs/operating.md lacks {alert}"
        );
    }
    let explained = guide
        .lines()
        .filter_map(|line| line.strip_prefix("### Rdev"));
    assert_eq!(
        explained.count(),
        alerts.len(),
        "docs/operating.md has an alert that is gone"
    );
}

#[test]
fn promtool_takes_the_rules() {
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("skipped: there is no promtool on this machine");
        return;
    }
    for (what, file) in [("check", "rules.yml"), ("test", "rules_test.yml")] {
        let judged = Command::new("promtool")
            .args([what, "rules", file])
            .current_dir(root().join("deploy/prometheus"))
            .output()
            .expect("it runs");
        let said = [judged.stdout, judged.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(judged.status.success(), "{said}");
    }
}
