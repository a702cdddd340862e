//! `rdev audit` as the process it is.

use std::process::Stdio;

use rdev_bus::access::Role;
use serde_json::Value;

use crate::Outcome;
use crate::world::World;

/// What it said.
#[derive(Debug, Clone)]
pub struct Audited {
    /// Its exit code: 0 equal, 1 different, 2 it could not find out.
    pub code: Option<i32>,
    /// Its report; null where there was none.
    pub report: Value,
    /// What it wrote besides.
    pub said: String,
}

impl Audited {
    /// What differs, the first first.
    #[must_use]
    pub fn differences(&self) -> &[Value] {
        self.report["differences"]
            .as_array()
            .map_or(&[], Vec::as_slice)
    }

    /// Equal, and nothing else.
    ///
    /// # Errors
    /// With the report when not.
    pub fn expect_equal(&self) -> Outcome<()> {
        if self.code == Some(0) && self.report["verdict"] == "equal" {
            return Ok(());
        }
        Err(format!("not equal: {self:#?}").into())
    }
}

impl World {
    /// Runs `rdev audit --json` with these arguments and variables on this world.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn audit(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome<Audited> {
        let output = tokio::process::Command::new(self.program())
            .args(["audit", "--json"])
            .args(arguments)
            .env("RDEV_NATS_URL", self.nats.url())
            .env("RDEV_NATS_CREDS", self.access.seed_of(Role::Auditor))
            .env("RDEV_POSTGRES_URL", &self.postgres_url)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        Ok(Audited {
            code: output.status.code(),
            report: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}
