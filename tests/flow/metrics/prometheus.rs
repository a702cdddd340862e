//! Debian's Prometheus, which scrapes and is asked.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use rdev_tests::Outcome;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Child;

use super::{address, root};

/// Longer than anything takes on a busy machine: a take-over, and the start of an executor.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(50);
const SCRAPE_INTERVAL: &str = "250ms";

/// A running Prometheus; it ends when it is dropped.
pub(super) struct Prometheus {
    _child: Child,
    _directory: TempDir,
    address: SocketAddr,
}

#[expect(clippy::print_stdout, reason = "a test that is left out says so")]
fn is_there() -> bool {
    let found = Command::new("prometheus").arg("--version").output().is_ok();
    if !found {
        println!("skipped: there is no Prometheus on this machine");
    }
    found
}

impl Prometheus {
    /// One that scrapes these jobs, with the rules of the project; none where the program is missing.
    pub(super) async fn start(targets: &[(&str, SocketAddr)]) -> Outcome<Option<Self>> {
        if !is_there() {
            return Ok(None);
        }
        let directory = tempfile::Builder::new()
            .prefix("rdev-prometheus-")
            .tempdir()?;
        let rules = root().join("deploy/prometheus/rules.yml").canonicalize()?;
        let mut text = format!(
            "global: {{scrape_interval: {SCRAPE_INTERVAL}, scrape_timeout: {SCRAPE_INTERVAL}, \
             evaluation_interval: {SCRAPE_INTERVAL}}}\nrule_files: [\"{}\"]\nscrape_configs:\n",
            rules.display()
        );
        let mut jobs: Vec<_> = targets.iter().map(|(job, _)| *job).collect();
        jobs.dedup();
        for job in jobs {
            let of_job = targets.iter().filter(|(one, _)| *one == job);
            let addresses: Vec<_> = of_job.map(|(_, at)| format!("\"{at}\"")).collect();
            let addresses = addresses.join(", ");
            text +=
                &format!("  - job_name: {job}\n    static_configs: [{{targets: [{addresses}]}}]\n");
        }
        let path = directory.path().join("prometheus.yml");
        std::fs::write(&path, text)?;
        let address = address()?;
        let log = std::fs::File::create(directory.path().join("log"))?;
        let child = tokio::process::Command::new("prometheus")
            .arg(format!("--config.file={}", path.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let prometheus = Self {
            _child: child,
            _directory: directory,
            address,
        };
        let ready = async {
            let url = format!("http://{address}/-/ready");
            while !reqwest::get(&url)
                .await
                .is_ok_and(|answer| answer.status() == 200)
            {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, ready).await;
        waited.map_err(|_| "Prometheus does not get ready")?;
        Ok(Some(prometheus))
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Outcome<Value> {
        let mut url = reqwest::Url::parse(&format!("http://{}{path}", self.address))?;
        url.query_pairs_mut().extend_pairs(query);
        let answer: Value = reqwest::get(url).await?.json().await?;
        if answer["status"] != "success" {
            return Err(format!("{query:?}: {answer}").into());
        }
        Ok(answer["data"].clone())
    }

    /// The values that a query has now.
    pub(super) async fn ask(&self, query: &str) -> Outcome<Vec<f64>> {
        let data = self.get("/api/v1/query", &[("query", query)]).await?;
        let results = data["result"].as_array().cloned().unwrap_or_default();
        let value = |one: &Value| one["value"][1].as_str()?.parse().ok();
        Ok(results.iter().filter_map(value).collect())
    }

    /// Waits until a query has this one value.
    pub(super) async fn until(&self, query: &str, value: f64) -> Outcome<()> {
        let mut last = Vec::new();
        let asking = async {
            loop {
                last = self.ask(query).await?;
                if last == [value] {
                    return Outcome::Ok(());
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        let asked = tokio::time::timeout(PATIENCE, asking).await;
        asked.map_err(|_| format!("{query} is {last:?} and not {value}"))?
    }

    /// Every rule was evaluated, and could be.
    pub(super) async fn check_rules(&self) -> Outcome<()> {
        let data = self.get("/api/v1/rules", &[]).await?;
        let groups = data["groups"].as_array().cloned().unwrap_or_default();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array());
        let rules: Vec<&Value> = rules.flatten().collect();
        assert!(rules.len() > 20, "{data}");
        for rule in rules {
            assert_eq!(rule["health"], "ok", "{rule}");
        }
        Ok(())
    }

    /// Every query of the dashboard can be answered.
    pub(super) async fn check_dashboard(&self) -> Outcome<()> {
        let text = std::fs::read_to_string(root().join("deploy/grafana/rdev.json"))?;
        let dashboard: Value = serde_json::from_str(&text)?;
        let panels = dashboard["panels"].as_array().ok_or("no panels")?;
        let targets = panels
            .iter()
            .filter_map(|panel| panel["targets"].as_array());
        for target in targets.flatten() {
            let query = target["expr"].as_str().ok_or("no expr")?;
            self.ask(&query.replace("$__rate_interval", "1m")).await?;
        }
        Ok(())
    }
}
