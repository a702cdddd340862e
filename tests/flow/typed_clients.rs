//! The clients in `clients/`, in TypeScript and Python: they are typed, their types are those of the
//! API, and whoever follows an exec with them sees every byte once, whatever breaks.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::proxy::Proxy;
use rdev_tests::transcript::Transcript;
use rdev_tests::world::World;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::OnceCell;

use super::clients::{CLIENTS, exists, install, python_packages};
use super::{conformance, options, world};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const TYPESCRIPT: [&str; 2] = ["typescript@5.9.3", "@types/node@20.19.25"];
const HTTPX: &[&str] = &["httpx==0.28.1"];
const MYPY: &[&str] = &["mypy==1.18.2", "httpx==0.28.1"];
/// Nothing that is waited for here takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(90);

/// The TypeScript client as programs use it, compiled as strictly as there is; none without npm.
async fn compiled() -> Outcome<Option<&'static Path>> {
    static COMPILED: OnceCell<Option<PathBuf>> = OnceCell::const_new();
    let compiled = COMPILED.get_or_try_init(|| async {
        if !exists("npm") {
            return Outcome::Ok(None);
        }
        let packages = install("typescript", |directory| {
            let mut npm = std::process::Command::new("npm");
            npm.args(["install", "--silent", "--prefix"])
                .arg(directory)
                .args(TYPESCRIPT);
            npm
        })?;
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("typescript-client");
        std::fs::create_dir_all(&built)?;
        let packages = packages.join("node_modules");
        let mut tsc = Command::new("node");
        tsc.arg(packages.join("typescript/bin/tsc"))
            .args(["--project", &format!("{ROOT}/clients/typescript")])
            .arg("--typeRoots")
            .arg(packages.join("@types"))
            .arg("--outDir")
            .arg(&built);
        succeeds(&mut tsc).await?;
        std::fs::write(built.join("package.json"), r#"{"type":"module"}"#)?;
        let readme = quoted("typescript", "ts")?.replace("rdev-client", "./src/index.js");
        std::fs::write(built.join("readme.ts"), readme)?;
        let mut tsc = Command::new("node");
        tsc.arg(packages.join("typescript/bin/tsc"))
            .args([
                "--noEmit",
                "--strict",
                "--skipLibCheck",
                "--module",
                "nodenext",
            ])
            .args(["--target", "es2022", "--types", "node", "--typeRoots"])
            .arg(packages.join("@types"))
            .arg(built.join("readme.ts"));
        succeeds(&mut tsc).await?;
        Ok(Some(built))
    });
    Ok(compiled.await?.as_deref())
}

/// The code in the page of a client, as one program.
fn quoted(client: &str, language: &str) -> Outcome<String> {
    let page = std::fs::read_to_string(format!("{ROOT}/clients/{client}/README.md"))?;
    let fence = format!("```{language}\n");
    let blocks = page.split(&*fence).skip(1);
    let blocks: Vec<_> = blocks
        .filter_map(|block| block.split("```").next())
        .collect();
    assert!(!blocks.is_empty(), "the page quotes no code");
    Ok(blocks.concat())
}

async fn succeeds(command: &mut Command) -> Outcome<()> {
    let output = command.kill_on_drop(true).output().await?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (&output.stdout, &output.stderr);
    let said = [out, err].map(|text| String::from_utf8_lossy(text).into_owned());
    Err(said.concat().into())
}

/// A Python program with the client.
fn python(program: &Path) -> Outcome<Command> {
    let packages = python_packages("httpx", HTTPX)?;
    let path = format!("{}:{ROOT}/clients/python/src", packages.display());
    let mut command = Command::new("python3");
    command.arg(program).env("PYTHONPATH", path);
    Ok(command)
}

fn typed(name: &str) -> PathBuf {
    Path::new(CLIENTS).join("typed").join(name)
}

/// A program at work, line by line.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(mut command: Command) -> Outcome<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().ok_or("no output")?;
        let lines = BufReader::new(output).lines();
        Ok(Self { child, lines })
    }

    async fn next(&mut self) -> Outcome<Option<String>> {
        Ok(tokio::time::timeout(PATIENCE, self.lines.next_line()).await??)
    }

    async fn until(&mut self, wanted: &str) -> Outcome<()> {
        match self.next().await? {
            Some(line) if line == wanted => Ok(()),
            other => Err(format!("{other:?} in the place of {wanted}").into()),
        }
    }

    async fn end(mut self) -> Outcome<()> {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await??;
        if status.success() {
            return Ok(());
        }
        Err(status.to_string().into())
    }
}

#[tokio::test]
async fn what_is_made_is_what_the_schemas_say() -> Outcome<()> {
    let mut generator = Command::new("python3");
    generator
        .arg(format!("{ROOT}/clients/generate.py"))
        .arg("--check");
    succeeds(&mut generator).await
}

#[tokio::test]
async fn the_python_client_is_typed() -> Outcome<()> {
    let packages = python_packages("mypy", MYPY)?;
    let directory = tempfile::tempdir()?;
    let readme = directory.path().join("readme.py");
    std::fs::write(&readme, quoted("python", "python")?)?;
    let mut mypy = Command::new("python3");
    mypy.args(["-m", "mypy", "--no-incremental", "src", "examples"])
        .arg(readme)
        .env("PYTHONPATH", packages)
        .current_dir(format!("{ROOT}/clients/python"));
    succeeds(&mut mypy).await
}

/// One program that follows, and what it has shown.
struct Follower {
    program: Running,
    shown: Vec<Value>,
}

impl Follower {
    /// Reads on until this line of the command has been shown.
    async fn until_line(&mut self, line: &str) -> Outcome<()> {
        let wanted = STANDARD.encode(format!("{line}\n"));
        while let Some(text) = self.program.next().await? {
            self.shown.push(serde_json::from_str(&text)?);
            if self.shown.last().is_some_and(|event| event[2] == *wanted) {
                return Ok(());
            }
        }
        Err(format!("it ended before {line}").into())
    }

    async fn rest(mut self) -> Outcome<Vec<Value>> {
        while let Some(text) = self.program.next().await? {
            self.shown.push(serde_json::from_str(&text)?);
        }
        self.program.end().await?;
        Ok(self.shown)
    }
}

async fn followers(url: &str, session: &str, exec: &str) -> Outcome<Vec<Follower>> {
    let mut programs = Vec::new();
    for kind in ["blocking", "asyncio"] {
        let mut program = python(&typed("follow.py"))?;
        program.args([kind, url, session, exec]);
        programs.push(program);
    }
    if let Some(client) = compiled().await? {
        let mut program = Command::new("node");
        program
            .arg(typed("follow.mjs"))
            .arg(client.join("src/index.js"))
            .args([url, session, exec]);
        programs.push(program);
        if exists("chromium") {
            let mut program = Command::new("python3");
            program
                .arg(typed("follow_in_chromium.py"))
                .arg(client)
                .args([url, session, exec])
                .env("PYTHONPATH", CLIENTS);
            programs.push(program);
        }
    }
    let follower = |program| {
        let program = Running::start(program)?;
        Ok(Follower {
            program,
            shown: Vec::new(),
        })
    };
    programs.into_iter().map(follower).collect()
}

/// Waits at each gate until it is opened, with plenty of odd bytes between them.
fn gated(gates: usize) -> String {
    format!(
        r"for i in $(seq {gates}); do seq $i 200; printf '\377\0\r%s' $i >&2; echo gate $i; \
          until [ -e open$i ]; do sleep 0.02; done; done; printf 'end without a newline'; exit 3"
    )
}

fn address(client: &Client) -> Outcome<SocketAddr> {
    Ok(client.base.trim_start_matches("http://").parse()?)
}

fn joined(shown: &[Value], stream: &str) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    for event in shown.iter().filter(|event| event[1] == stream) {
        bytes.extend(STANDARD.decode(event[2].as_str().unwrap_or_default())?);
    }
    Ok(bytes)
}

fn same(shown: &[Value], ours: &Transcript) -> Outcome<()> {
    let ids: Vec<_> = shown.iter().map(|event| event[0].clone()).collect();
    let wanted: Vec<_> = ours
        .numbered()
        .iter()
        .map(|event| json!(event.id))
        .collect();
    assert_eq!(ids, wanted, "each event once and in order");
    for stream in ["stdout", "stderr"] {
        assert!(
            joined(shown, stream)? == ours.bytes(stream),
            "{stream} differs"
        );
    }
    assert_eq!(shown.last().ok_or("nothing")?[3], ours.complete());
    Ok(())
}

/// A gateway is killed, connections are reset, and another gateway drains, while clients follow.
#[tokio::test]
async fn whoever_follows_sees_every_byte_once_whatever_breaks() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let (second, at_second) = world.gateway()?;
    world.ready(&at_second).await?;
    let client = &services.client;
    let session = client.session("pod").await?;
    let body = json!({"type": "shell", "command": gated(4), "stream_id": "gated"});
    client.exec(&session, &body).await?;
    let balancer = Proxy::start(address(client)?).await?;
    let url = format!("http://{}", balancer.address());
    let mut followers = followers(&url, &session, "gated").await?;
    let open = |gate: usize| std::fs::write(world.pod("pod").join(format!("open{gate}")), "");
    let shown = async |followers: &mut Vec<Follower>, gate: usize| {
        for follower in followers {
            follower.until_line(&format!("gate {gate}")).await?;
        }
        Outcome::Ok(())
    };
    shown(&mut followers, 1).await?;
    services.gateway.kill().await;
    open(1)?;
    balancer.lead_to(address(&at_second)?);
    shown(&mut followers, 2).await?;
    balancer.reset_connections();
    open(2)?;
    shown(&mut followers, 3).await?;
    let (_third, at_third) = world.gateway()?;
    world.ready(&at_third).await?;
    balancer.lead_to(address(&at_third)?);
    second.stop().await;
    let open = |gate: usize| std::fs::write(world.pod("pod").join(format!("open{gate}")), "");
    open(3)?;
    shown(&mut followers, 4).await?;
    open(4)?;
    let ours = at_third.transcript(&session, "gated").await?;
    ours.check()?;
    for follower in followers {
        same(&follower.rest().await?, &ours)?;
    }
    Ok(())
}

/// The examples are killed again and again; their files hold every byte once.
#[tokio::test]
async fn the_examples_resume_when_they_were_killed() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let session = client.session("pod").await?;
    let command =
        "i=0; until [ -e open ]; do i=$((i + 1)); printf '%s\\377\\r\\n' $i; sleep 0.01; done";
    let body = json!({"type": "shell", "command": command, "stream_id": "counting"});
    client.exec(&session, &body).await?;
    let mut programs = vec![(
        "python",
        Path::new(ROOT).join("clients/python/examples/resume.py"),
    )];
    if let Some(compiled) = compiled().await? {
        programs.push(("typescript", compiled.join("examples/resume.js")));
    }
    let kept = |name: &str| world.directory().join(format!("{name}.out"));
    let start = |name: &str, program: &Path| {
        let mut command = if name == "python" {
            python(program)?
        } else {
            let mut node = Command::new("node");
            node.arg(program);
            node
        };
        command
            .args([&*client.base, "demo", &session, "counting"])
            .arg(kept(name));
        Running::start(command)
    };
    let length = |name: &str| std::fs::metadata(kept(name)).map_or(0, |file| file.len());
    let mut before = BTreeSet::new();
    for _ in 0..3 {
        for (name, program) in &programs {
            let (began, mut running) = (length(name), start(name, program)?);
            while length(name) <= began + 100 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            running.child.kill().await?;
            before.insert((*name, length(name)));
        }
    }
    assert!(
        before.len() == 3 * programs.len(),
        "each time something new: {before:?}"
    );
    std::fs::write(world.pod("pod").join("open"), "")?;
    let ours = client.transcript(&session, "counting").await?;
    ours.check()?;
    for (name, program) in &programs {
        let mut running = start(name, program)?;
        running.until("exited 0").await?;
        running.end().await?;
        assert!(
            std::fs::read(kept(name))? == ours.bytes("stdout"),
            "{name}: the file differs"
        );
    }
    Ok(())
}

#[tokio::test]
async fn they_do_everything_else_too() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let claude = super::claude::stand_in(directory.path())?;
    let (mut world, services) = World::start(options().variable("RDEV_CLAUDE_BIN", claude)).await?;
    let client = &services.client;
    let (session, exec) = conformance::expired(&world, client).await?;
    let gap = format!("{session}/{exec}");
    let mut tour = python(&typed("tour.py"))?;
    tour.args([&client.base, &gap]);
    let mut tours = vec![Running::start(tour)?];
    if let Some(compiled) = compiled().await? {
        let mut tour = Command::new("node");
        tour.arg(typed("tour.mjs"))
            .arg(compiled.join("src/index.js"))
            .args([&client.base, &gap]);
        tours.push(Running::start(tour)?);
    }
    for tour in &mut tours {
        tour.until("away").await?;
    }
    world.nats.kill().await;
    for tour in &mut tours {
        let input = tour.child.stdin.as_mut().ok_or("no input")?;
        input.write_all(b"\n").await?;
    }
    // What is posted meanwhile is refused, theirs as ours; they send it again until it is taken.
    let path = format!("/sessions/{session}/exec");
    let ours = json!({"type": "shell", "command": "true"});
    assert_eq!(client.post(&path, &ours).await?.status, 503);
    world.nats.restart().await?;
    for mut tour in tours {
        tour.until("done").await?;
        tour.end().await?;
    }
    Ok(())
}
