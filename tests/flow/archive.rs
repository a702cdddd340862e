//! What retention removes is archived before, and read on as if it were still in the log.

#[path = "archive/archiver.rs"]
mod archiver;
#[path = "archive/audited.rs"]
mod audited;
#[path = "archive/reading.rs"]
mod reading;
#[path = "archive/s3.rs"]
mod s3;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rdev_bus::{Bus, LogStream};
use rdev_contract::id::ExecId;
use rdev_contract::subject::Filter;
use rdev_tests::Outcome;
use rdev_tests::audit::Audited;
use rdev_tests::client::Client;
use rdev_tests::world::{Options, Services, World};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::options;

/// How long messages are kept. An exec is archived when a quarter of it has passed since its end.
const LIFE: Duration = Duration::from_secs(10);
/// The longest run that such a life allows for.
const LONGEST_RUN: &str = "5s";
/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Which messages have a short life.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Short {
    Output,
    Everything,
}

/// A world with an archive in a directory.
struct Kept {
    world: World,
    services: Services,
    bus: Bus,
    directory: TempDir,
    short: Short,
}

impl Kept {
    async fn start(short: Short) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let archive = format!("file://{}", directory.path().display());
        let claude = claude(directory.path().parent().unwrap_or(Path::new("/")))?;
        let options = short_lived(short)
            .variable("RDEV_ARCHIVE_URL", archive)
            .variable("RDEV_CLAUDE_BIN", claude);
        let (world, services) = World::start(options).await?;
        let bus = world.bus().await?;
        Ok(Self {
            world,
            services,
            bus,
            directory,
            short,
        })
    }

    fn client(&self) -> &Client {
        &self.services.client
    }

    /// `rdev audit` with the settings of the services.
    async fn audit(&self, arguments: &[&str]) -> Outcome<Audited> {
        let archive = format!("file://{}", self.directory.path().display());
        let mut variables = vec![("RDEV_ARCHIVE_URL".to_owned(), archive)];
        variables.extend(lives(self.short));
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.world.audit(arguments, &variables).await
    }

    /// Waits until the log holds no message of this exec that has a short life.
    async fn until_expired(&self, exec: &ExecId, short: Short) -> Outcome<()> {
        let looking = async {
            while held(&self.bus, exec, short).await? > 0 {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            Outcome::Ok(())
        };
        tokio::time::timeout(PATIENCE, looking).await?
    }

    /// Waits until there is an object of this exec.
    async fn until_archived(&self, exec: &ExecId) -> Outcome<PathBuf> {
        let looking = async {
            loop {
                if let Some(object) = objects(self.directory.path(), exec).pop() {
                    return object;
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        Ok(tokio::time::timeout(PATIENCE, looking).await?)
    }
}

/// How long messages live.
fn lives(short: Short) -> Vec<(String, String)> {
    let life = format!("{}s", LIFE.as_secs());
    let mut lives = vec![("RDEV_OUTPUT_TTL".to_owned(), life.clone())];
    if short == Short::Everything {
        lives.push(("RDEV_FACTS_TTL".to_owned(), life));
    }
    lives
}

fn short_lived(short: Short) -> Options {
    let options = options().variable("RDEV_MAX_TIMEOUT", LONGEST_RUN);
    let set = |options: Options, (name, value): (String, String)| options.variable(&name, value);
    lives(short).into_iter().fold(options, set)
}

/// How many messages of an exec the log holds, of those that have a short life.
async fn held(bus: &Bus, exec: &ExecId, short: Short) -> Outcome<u64> {
    let counts = bus
        .count_by_subject(LogStream::Exec, &Filter::exec(exec))
        .await?;
    let is_short = |subject: &str| short == Short::Everything || subject.ends_with(".output");
    let counts = counts.iter().filter(|(subject, _)| is_short(subject));
    Ok(counts.map(|(_, count)| count).sum())
}

/// What is asked for, and the feed of the whole session, up to the present.
async fn feed(client: &Client, session: &str) -> Outcome<(String, String)> {
    let path = format!("/sessions/{session}/events");
    let answer = client.get_as(&path, "application/x-ndjson", None).await?;
    Ok((path, answer.text))
}

/// The objects of an exec in the archive's directory.
fn objects(directory: &Path, exec: &ExecId) -> Vec<PathBuf> {
    let of_exec = directory.join("v1/execs").join(exec.to_string());
    let entries = std::fs::read_dir(of_exec).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    // What is being written has another name.
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "zst"))
        .collect()
}

/// A CLI that prints a line of a megabyte, and a result.
fn claude(directory: &Path) -> Outcome<String> {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::Builder::new()
        .prefix("claude-")
        .tempdir_in(directory)?
        .keep();
    let id = "5f1e2d3c-0000-4000-8000-000000000001";
    let lines = [
        json!({"type": "system", "subtype": "init", "session_id": id}),
        json!({"type": "assistant", "session_id": id, "text": "é\u{0}x".repeat(200_000)}),
        json!({"type": "result", "subtype": "success", "is_error": false, "session_id": id,
            "result": "done", "total_cost_usd": 0.01}),
    ];
    let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    std::fs::write(directory.join("printed"), lines.join("\n") + "\n")?;
    let path = directory.join("claude");
    let script = format!(
        "#!/bin/sh\ncat >/dev/null\ncat '{}/printed'\n",
        directory.display()
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path.display().to_string())
}
