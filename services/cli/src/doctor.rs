//! `rdev doctor`: looks at everything that the settings lead to, and says of each what to do.
//!
//! It changes nothing, but for one `true` that it runs in a session that is there already.

mod cluster;
mod gateway;
mod servers;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::builder::OsStringValueParser;
use serde::Serialize;

use crate::exec::ending::Ending;
use crate::failure::Done;
use crate::settings::{ConnectionArgs, Settings};
use crate::style::{Style, harmless};
use crate::target::SessionArg;

/// Something does not work.
const UNWELL: u8 = 1;

/// Settings of `rdev doctor`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) session: SessionArg,
    /// Run nothing, not even `true`.
    #[arg(long)]
    pub(crate) no_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(crate) services: ServiceArgs,
}

/// What only those have who run the services; what is not set is not looked at.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "For those who run the services")]
pub(crate) struct ServiceArgs {
    /// The log.
    #[arg(
        long,
        env = "RDEV_NATS_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) nats_url: Option<String>,
    /// File that says who this is to NATS.
    #[arg(long, env = "RDEV_NATS_CREDS", value_name = "FILE")]
    pub(crate) nats_creds: Option<String>,
    /// Certificate authority of NATS.
    #[arg(long, env = "RDEV_NATS_CA", value_name = "FILE")]
    pub(crate) nats_ca: Option<PathBuf>,
    /// The read model.
    #[arg(
        long,
        env = "RDEV_POSTGRES_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) postgres_url: Option<String>,
    /// What runs commands: kube or local.
    #[arg(long, env = "RDEV_BACKEND", value_name = "BACKEND")]
    pub(crate) backend: Option<String>,
    /// The kubeconfig of the executors. Scripts have it empty for none.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE", value_parser = OsStringValueParser::new())]
    kubeconfig: Option<OsString>,
    /// The namespace of the pods.
    #[arg(
        long,
        env = "RDEV_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = "default"
    )]
    pub(crate) namespace: String,
    /// Templates of pods: then executors make and remove pods.
    #[arg(long, env = "RDEV_TEMPLATES", value_name = "FILE")]
    pub(crate) templates: Option<PathBuf>,
    /// The shim that executors upload.
    #[arg(long, env = "RDEV_SHIM_PATH", value_name = "FILE")]
    pub(crate) shim_path: Option<PathBuf>,
}

impl ServiceArgs {
    pub(crate) fn kubeconfig(&self) -> Option<&Path> {
        let named = self.kubeconfig.as_deref().map(Path::new);
        named.filter(|path| !path.as_os_str().is_empty())
    }
}

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    /// It works.
    Ok,
    /// It works, but somebody should look at it.
    Warn,
    /// It does not work.
    Fail,
    /// It was not looked at.
    Skip,
}

/// What was found out about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) what: &'static str,
    /// How well it is.
    pub(crate) health: Health,
    /// What was seen.
    pub(crate) seen: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
}

impl Finding {
    pub(crate) fn new(what: &'static str, health: Health, seen: impl Into<String>) -> Self {
        Self {
            what,
            health,
            seen: seen.into(),
            advice: None,
        }
    }

    pub(crate) fn ok(what: &'static str, seen: impl Into<String>) -> Self {
        Self::new(what, Health::Ok, seen)
    }

    pub(crate) fn fail(what: &'static str, seen: impl Into<String>) -> Self {
        Self::new(what, Health::Fail, seen)
    }

    pub(crate) fn warn(what: &'static str, seen: impl Into<String>) -> Self {
        Self::new(what, Health::Warn, seen)
    }

    pub(crate) fn skip(what: &'static str, seen: impl Into<String>) -> Self {
        Self::new(what, Health::Skip, seen)
    }

    pub(crate) fn advice(self, advice: impl Into<String>) -> Self {
        Self {
            advice: Some(advice.into()),
            ..self
        }
    }

    fn line(&self, style: Style) -> String {
        let word = match self.health {
            Health::Ok => style.green("ok  "),
            Health::Warn => style.yellow("warn"),
            Health::Fail => style.red("fail"),
            Health::Skip => style.dim("skip"),
        };
        let mut line = format!("{word}  {:<11} {}\n", self.what, harmless(&self.seen));
        if let Some(advice) = &self.advice {
            let advice = harmless(advice);
            line += &format!("{:18}{} {advice}\n", "", style.cyan("→"));
        }
        line
    }
}

/// Looks at everything.
///
/// # Errors
/// When the settings cannot be read, or the findings not be printed.
pub(crate) async fn run(options: Options) -> Done<Ending> {
    let settings = Settings::read(&options.connection)?;
    let mut report = Report {
        as_json: options.json,
        style: Style::of(&io::stdout()),
        findings: Vec::new(),
    };
    gateway::look(&options, &settings, &mut report).await?;
    servers::look(&options.services, &settings, &mut report).await?;
    cluster::look(&options.services, &settings, &mut report).await?;
    report.end()
}

/// Findings, shown as they come.
pub(crate) struct Report {
    as_json: bool,
    style: Style,
    findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn add(&mut self, finding: Finding) -> io::Result<()> {
        if !self.as_json {
            let mut out = io::stdout();
            out.write_all(finding.line(self.style).as_bytes())?;
            out.flush()?;
        }
        self.findings.push(finding);
        Ok(())
    }

    fn count(&self, health: Health) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.health == health)
            .count()
    }

    fn end(self) -> Done<Ending> {
        let mut out = io::stdout();
        let failed = self.count(Health::Fail);
        if self.as_json {
            let text = serde_json::to_string_pretty(&self.findings).map_err(io::Error::from)?;
            writeln!(out, "{text}")?;
        } else {
            let words = match (failed, self.count(Health::Warn)) {
                (0, 0) => self.style.green("all is well"),
                (0, warned) => self.style.yellow(&format!("it works; {warned} to look at")),
                (failed, _) => self.style.red(&format!("{failed} to mend")),
            };
            writeln!(out, "\n{words}")?;
        }
        Ok(Ending::Code(if failed == 0 { 0 } else { UNWELL }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_to_do() {
        let finding = Finding::fail("key", "it is expired").advice("make another");
        assert_eq!(
            finding.line(Style::PLAIN),
            "fail  key         it is expired\n                  → make another\n"
        );
    }
}
