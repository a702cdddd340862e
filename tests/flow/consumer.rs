//! A consumer of the log that is not ours, at work: one of the programs of docs/consumers.md, with
//! the real client of its language.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rdev_embedded::Signal;
use rdev_tests::Outcome;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use super::clients::{CLIENTS, NATS_PY, exists, install, python_packages};

/// What nats.js is made of.
const NATS_JS: [&str; 2] = ["@nats-io/transport-node@3.4.0", "@nats-io/jetstream@3.4.0"];
/// Nothing that a consumer waits for takes longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Where the programs are.
pub(super) fn programs() -> PathBuf {
    Path::new(CLIENTS).join("consumers")
}

/// A language that the programs are written in, with what they need.
pub(super) enum Language {
    Python(PathBuf),
    Node(PathBuf),
}

impl Language {
    pub(super) fn python() -> Outcome<Self> {
        Ok(Self::Python(python_packages("nats-py-nkeys", NATS_PY)?))
    }

    /// None where there is no npm.
    fn node() -> Outcome<Option<Self>> {
        if !exists("npm") {
            return Ok(None);
        }
        let packages = install("nats-js", |directory| {
            let mut npm = std::process::Command::new("npm");
            npm.args(["install", "--silent", "--prefix"])
                .arg(directory)
                .args(NATS_JS);
            npm
        })?;
        Ok(Some(Self::Node(packages)))
    }

    pub(super) fn all() -> Outcome<Vec<Self>> {
        let mut all = vec![Self::python()?];
        all.extend(Self::node()?);
        Ok(all)
    }
}

/// A program that runs until it is dropped, and prints lines of JSON.
pub(super) struct Consumer {
    pub(super) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    _copy: Option<TempDir>,
}

impl Consumer {
    pub(super) fn start(language: &Language, name: &str, arguments: &[&str]) -> Outcome<Self> {
        Self::start_as(language, name, arguments, None)
    }

    /// As the user whose seed is in this file.
    pub(super) fn start_as(
        language: &Language,
        name: &str,
        arguments: &[&str],
        seed: Option<&Path>,
    ) -> Outcome<Self> {
        let (mut command, copy) = match language {
            Language::Python(packages) => {
                let mut command = tokio::process::Command::new("python3");
                command.arg(programs().join(format!("{name}.py")));
                command.env("PYTHONPATH", packages);
                (command, None)
            }
            Language::Node(packages) => {
                // Node looks for packages beside the program.
                let copy = tempfile::tempdir_in(packages)?;
                let program = copy.path().join("program.mjs");
                std::fs::copy(programs().join(format!("{name}.mjs")), &program)?;
                let mut command = tokio::process::Command::new("node");
                command.arg(program);
                (command, Some(copy))
            }
        };
        if let Some(seed) = seed {
            command.env("NATS_NKEY", seed);
        }
        let mut child = command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().ok_or("no output")?;
        Ok(Self {
            child,
            lines: BufReader::new(output).lines(),
            _copy: copy,
        })
    }

    /// One that follows the project of the tests, from now on.
    pub(super) async fn live(language: &Language, url: &str) -> Outcome<Self> {
        Self::start(language, "live", &[url, "demo"])?
            .following()
            .await
    }

    /// When it says that it follows.
    pub(super) async fn following(self) -> Outcome<Self> {
        let mut consumer = self;
        let errors = consumer.child.stderr.take().ok_or("no errors")?;
        let mut errors = BufReader::new(errors).lines();
        let said = tokio::time::timeout(PATIENCE, errors.next_line()).await??;
        assert_eq!(said.as_deref(), Some("following"));
        // Whatever else it says must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = errors.next_line().await {} });
        Ok(consumer)
    }

    pub(super) async fn next(&mut self) -> Outcome<Value> {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        match line.map_err(|_| "nothing comes")?? {
            Some(line) => Ok(serde_json::from_str(&line)?),
            None => {
                let mut errors = String::new();
                if let Some(mut pipe) = self.child.stderr.take() {
                    pipe.read_to_string(&mut errors).await?;
                }
                Err(format!("it ended: {errors}").into())
            }
        }
    }

    /// Up to the end of this exec, that included.
    pub(super) async fn until_complete(&mut self, stream: &str) -> Outcome<Vec<Value>> {
        let mut seen = Vec::new();
        loop {
            let line = self.next().await?;
            let is_end = line[1]["stream"] == stream && line[1]["kind"] == "complete";
            seen.push(line);
            if is_end {
                return Ok(seen);
            }
        }
    }

    pub(super) fn signal(&self, signal: Signal) -> Outcome<()> {
        let pid = i32::try_from(self.child.id().ok_or("it has ended")?)?;
        let pid = rustix::process::Pid::from_raw(pid).ok_or("no pid")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }
}
