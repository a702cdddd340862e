//! Every command of the documentation is run, page by page, as a reader would: against `rdev dev`, or,
//! where a page says so, against pods of a cluster's stand-in. What is not run says why, beside it.

#[path = "docs/page.rs"]
mod page;
#[path = "docs/settings.rs"]
mod settings;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rdev_embedded::draw_port;
use rdev_kube_standin::PodSpec;
use rdev_tests::Outcome;
use rdev_tests::cluster::{Cluster, LABEL, NAMESPACE};
use rdev_tests::world::PROJECT;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::clients::{NATS_PY, python_packages};
use super::{RDEV, options};
use page::{Kind, Page, Step, is_printed};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The address that pages are written with.
const USUAL_ADDRESS: &str = "127.0.0.1:8080";
/// Far more than a page takes on a busy machine.
const PAGE_TIMEOUT: Duration = Duration::from_secs(180);
/// What a page in need of pods says.
const NEEDS_CLUSTER: &str = "<!-- run in a cluster -->";
/// Directories without pages of ours.
const NOT_OURS: [&str; 3] = ["target", "node_modules", "fixtures"];

/// Every page of the checkout, by its path.
fn pages() -> Outcome<Vec<(String, String)>> {
    let (mut found, mut directories) = (Vec::new(), vec![PathBuf::from(ROOT)]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && !name.starts_with('.') && !NOT_OURS.contains(&&*name) {
                directories.push(path);
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path)?;
                found.push((path.strip_prefix(ROOT)?.display().to_string(), text));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Where a page is run: a directory like a checkout, with the programs that it would have built.
struct Place {
    directory: TempDir,
    variables: Vec<(String, String)>,
    /// What stands in the place of the usual address.
    address: String,
}

impl Place {
    fn new(address: String) -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("rdev-docs-").tempdir()?;
        let place = Self {
            directory,
            variables: Vec::new(),
            address,
        };
        for entry in fs::read_dir(ROOT)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if !name.starts_with('.') && name != "target" && name != "deploy" {
                symlink(&path, place.path(&name))?;
            }
        }
        // Pages write into this one.
        let mut copy = std::process::Command::new("cp");
        copy.arg("-r")
            .arg(format!("{ROOT}/deploy"))
            .arg(place.path("deploy"));
        assert!(copy.status()?.success());
        fs::create_dir_all(place.path("bin"))?;
        symlink(RDEV, place.path("bin/rdev"))?;
        // It has been built: only what comes behind `--` is of interest.
        let cargo = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift; exec rdev \"$@\"\n";
        place.program("cargo", cargo)?;
        let agent = fs::read_to_string(format!("{ROOT}/tests/clients/agent.sh"))?;
        place.program("claude", &agent)?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn program(&self, name: &str, text: &str) -> Outcome<()> {
        let path = self.path("bin").join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn variable(&mut self, name: &str, value: impl Into<String>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    /// A program in this place.
    fn command(&self, program: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .current_dir(self.directory.path())
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("FIXTURES", format!("{ROOT}/tests/fixtures/claude"))
            .env("RDEV_CLAUDE_BIN", self.path("bin/claude"))
            .env("RDEV_LISTEN", &self.address)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true);
        command
    }

    /// The whole page as one program of the shell, whose pieces print into files of their own.
    fn script(&self, page: &Page) -> String {
        let mut script = "set -euo pipefail\nbackground=()\n\
            trap '[ ${#background[@]} = 0 ] || { kill -- \"${background[@]}\"; wait; }' EXIT\n"
            .to_owned();
        for (
            index,
            Step {
                script: text, kind, ..
            },
        ) in page.steps.iter().enumerate()
        {
            let output = self.path(&format!("{index}.out")).display().to_string();
            let errors = self.path(&format!("{index}.err")).display().to_string();
            // Writing to a String cannot fail.
            let _ = match kind {
                // A group of processes of its own, which is ended as one.
                Kind::Until(until) => writeln!(
                    script,
                    "set -m\n{{\n{text}\n}} >{output} 2>{errors} & background+=(-$!)\nset +m\n\
                     until grep -qF '{until}' {output}; do kill -0 $! && sleep 0.05; done"
                ),
                Kind::Run | Kind::Prints(_) => {
                    writeln!(script, "{{\n{text}\n}} >{output} 2>{errors}")
                }
            };
        }
        script.replace(USUAL_ADDRESS, &self.address)
    }

    /// Runs it; says which piece is not as the page says.
    async fn run(&self, name: &str, page: &Page) -> Outcome<()> {
        let mut shell = self.command("bash");
        shell.arg("-c").arg(self.script(page)).stdin(Stdio::null());
        let output = tokio::time::timeout(PAGE_TIMEOUT, shell.output()).await;
        let output = output.map_err(|_| format!("{name}: it does not end"))??;
        let said = |index: usize, kind: &str| {
            fs::read_to_string(self.path(&format!("{index}.{kind}"))).unwrap_or_default()
        };
        for (index, Step { line, kind, script }) in page.steps.iter().enumerate() {
            let has_begun = self.path(&format!("{index}.out")).exists();
            let is_last = !self.path(&format!("{}.out", index + 1)).exists();
            let (out, err) = (said(index, "out"), said(index, "err"));
            let failed = format!("{name}:{line}: {script}\n--- printed\n{out}--- and\n{err}");
            if !has_begun || is_last && !output.status.success() {
                let shell = String::from_utf8_lossy(&output.stderr);
                return Err(format!("{failed}--- the shell\n{shell}").into());
            }
            if let Kind::Prints(wanted) = kind
                && !is_printed(&wanted.replace(USUAL_ADDRESS, &self.address), &out)
            {
                return Err(format!("{failed}--- in the place of\n{wanted}").into());
            }
        }
        for index in 0..page.steps.len() {
            fs::remove_file(self.path(&format!("{index}.out")))?;
        }
        Ok(())
    }
}

/// `rdev dev` in a place; the variables of the place say where everything is.
async fn dev(place: &mut Place) -> Outcome<Child> {
    let log = fs::File::create(place.path("dev.log"))?;
    let mut dev = place.command("rdev");
    dev.arg("dev").stdout(Stdio::piped()).stderr(log);
    let mut dev = dev.spawn()?;
    let mut lines = BufReader::new(dev.stdout.take().ok_or("no output")?).lines();
    let base = format!("http://{}/projects/{PROJECT}", place.address);
    place.variable("base", base.clone());
    place.variable("project", PROJECT);
    while let Some(line) = tokio::time::timeout(PAGE_TIMEOUT, lines.next_line()).await?? {
        let word = |name: &str| {
            let value = line
                .trim_start()
                .strip_prefix(name)?
                .split_whitespace()
                .next();
            value.map(str::to_owned)
        };
        for (name, variable) in [
            ("NATS, for consumers:", "RDEV_NATS_URL"),
            ("PostgreSQL, for audits:", "RDEV_POSTGRES_URL"),
            ("archive, for audits:", "RDEV_ARCHIVE_URL"),
        ] {
            if let Some(value) = word(name) {
                place.variable(variable, value);
            }
        }
        if let Some((_, rest)) = line.split_once("/sessions/")
            && let Some((session, _)) = rest.split_once("/exec ")
        {
            place.variable("session", session);
        }
        if line.trim_start().starts_with("logs and data:") {
            // Whatever else it prints must not fill the pipe.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(dev);
        }
    }
    Err(fs::read_to_string(place.path("dev.log"))?.into())
}

fn free_address() -> Outcome<String> {
    Ok(format!("127.0.0.1:{}", draw_port()?))
}

/// Pages that are run, in turn, in a place; all of them are tried.
async fn run_all(place: &Place, pages: &[(String, Page)]) {
    let mut failures = String::new();
    for (name, page) in pages {
        if let Err(failure) = place.run(name, page).await {
            failures += &format!("\n{failure}\n");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// Pages with something to run, that are for such a place.
fn runnable(is_wanted: impl Fn(&str, &Page) -> bool) -> Outcome<Vec<(String, Page)>> {
    let mut found = Vec::new();
    for (name, text) in pages()? {
        let page = Page::parse(&text).map_err(|error| format!("{name}: {error}"))?;
        if !page.steps.is_empty() && is_wanted(&text, &page) {
            found.push((name, page));
        }
    }
    Ok(found)
}

fn starts_its_own(page: &Page) -> bool {
    page.steps
        .iter()
        .any(|step| matches!(step.kind, Kind::Until(_)))
}

#[tokio::test]
async fn pages_that_use_an_rdev() -> Outcome<()> {
    let mut place = Place::new(free_address()?)?;
    place.variable(
        "PYTHONPATH",
        python_packages("nats-py-nkeys", NATS_PY)?
            .display()
            .to_string(),
    );
    let _dev = dev(&mut place).await?;
    let is_wanted =
        |text: &str, page: &Page| !text.contains(NEEDS_CLUSTER) && !starts_its_own(page);
    run_all(&place, &runnable(is_wanted)?).await;
    Ok(())
}

#[tokio::test]
async fn pages_that_start_one() -> Outcome<()> {
    for page in runnable(|_, page| starts_its_own(page))? {
        let mut place = Place::new(free_address()?)?;
        place.variable(
            "PYTHONPATH",
            python_packages("nats-py-nkeys", NATS_PY)?
                .display()
                .to_string(),
        );
        run_all(&place, &[page]).await;
    }
    Ok(())
}

#[tokio::test]
async fn pages_that_use_a_cluster() -> Outcome<()> {
    let pages = runnable(|text, _| text.contains(NEEDS_CLUSTER))?;
    if !super::clients::exists("kubectl") {
        return Ok(());
    }
    let cluster = Cluster::start(options(), &[]).await?;
    // It has no label yet: that is for the page to say.
    cluster
        .standin
        .add_pod(PodSpec::new(NAMESPACE, "workspace").label("app", "box"))?;
    let address = cluster
        .client()
        .base
        .trim_start_matches("http://")
        .to_owned();
    let mut place = Place::new(address)?;
    place.variable(
        "KUBECONFIG",
        cluster.standin.kubeconfig().display().to_string(),
    );
    place.variable("base", cluster.client().url(""));
    place.variable("label", LABEL);
    run_all(&place, &pages).await;
    cluster.shutdown().await;
    Ok(())
}

/// Says how much of the documentation is run, and what is not. Reads every page, so a fence that can
/// neither be run nor says why fails here.
#[test]
fn what_is_run() -> Outcome<()> {
    let (mut run, mut not_run) = (0, Vec::new());
    for (name, text) in pages()? {
        let page = Page::parse(&text).map_err(|error| format!("{name}: {error}"))?;
        run += page.steps.len();
        not_run.extend(
            page.not_run
                .iter()
                .map(|reason| format!("{name}: {reason}")),
        );
    }
    println!(
        "{run} commands and blocks are run, {} are not:\n  {}",
        not_run.len(),
        not_run.join("\n  ")
    );
    assert!(run > not_run.len(), "most of the documentation is not run");
    Ok(())
}
