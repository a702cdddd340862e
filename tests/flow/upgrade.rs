//! Two builds side by side on one log, while commands run and are read: each service is replaced by one
//! of the other build, there, back and there again.
//!
//! `RDEV_UPGRADE_FROM` names the program `rdev` of an earlier build; the test then goes every way that there
//! is. Without it the other build is this one, which is a rolling restart. How it is done by hand is in
//! docs/upgrading.md.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use rdev_contract::event::Kind;
use rdev_tests::client::Client;
use rdev_tests::log::{ExecLog, exec_id};
use rdev_tests::reader::Reader;
use rdev_tests::transcript::Transcript;
use rdev_tests::world::{Service, World};
use rdev_tests::{Failure, Outcome};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{RDEV, claude, codex, options};

/// The program of an earlier build.
pub(super) const FROM_VARIABLE: &str = "RDEV_UPGRADE_FROM";
/// What a projector of a build before V7 of the tables says when newer ones are there: then the newer one
/// stays.
const NOT_ON_NEWER_TABLES: &str = "the migrations do not fit the database";
/// Folding anew what an earlier build made takes the active projector moments.
const FOLDED_WITHIN: Duration = Duration::from_secs(60);
/// Of the command that runs all the time: one at the start, and one behind each replacement.
const LINES: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Projector,
    Executor,
    Gateway,
}

use Part::{Executor, Gateway, Projector};

/// The first is the order that docs/upgrading.md tells of.
const ORDERS: [[Part; 3]; 6] = [
    [Projector, Executor, Gateway],
    [Gateway, Executor, Projector],
    [Executor, Gateway, Projector],
    [Executor, Projector, Gateway],
    [Projector, Gateway, Executor],
    [Gateway, Projector, Executor],
];

/// The way that a service goes.
#[derive(Debug, Clone, Copy)]
enum Way {
    Asked,
    Killed,
}

async fn end(service: &Service, way: Way) {
    match way {
        Way::Asked => service.stop().await,
        Way::Killed => service.kill().await,
    }
}

/// A world whose next service is of the build that the link leads to.
struct Rollout {
    world: World,
    link: PathBuf,
    /// Of the two places where gateways are, the one that there is, then the other.
    gateways: [Client; 2],
    running: [Service; 3],
    _directory: TempDir,
}

impl Rollout {
    /// All of the build at `from`.
    async fn start(from: &str) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let link = directory.path().join("rdev");
        symlink(from, &link)?;
        let mut options = options()
            // So that a second command of a session waits for its turn.
            .variable("RDEV_SESSION_RUNNING_MAX", "1")
            .variable("RDEV_CLAUDE_BIN", claude::stand_in(directory.path())?)
            .variable("RDEV_CODEX_BIN", codex::stand_in(directory.path())?);
        options.program.clone_from(&link);
        let mut world = World::bare(options).await?;
        let place = || -> Outcome<Client> {
            let port = rdev_embedded::draw_port()?;
            let base = format!("http://127.0.0.1:{port}");
            Ok(Client::new(base, rdev_tests::world::PROJECT))
        };
        let gateways = [place()?, place()?];
        let projector = world.projector()?;
        let executor = world.executor()?;
        let gateway = gateway(&mut world, &gateways[0])?;
        world.ready(&gateways[0]).await?;
        Ok(Self {
            world,
            link,
            gateways,
            running: [projector, executor, gateway],
            _directory: directory,
        })
    }

    fn use_build(&self, program: &str) -> Outcome<()> {
        std::fs::remove_file(&self.link)?;
        Ok(symlink(program, &self.link)?)
    }

    fn client(&self) -> &Client {
        &self.gateways[0]
    }

    /// Starts one of the other build, and ends the one that there was as soon as the new one works.
    /// `is_earlier`: the other build may be from before the tables that are there.
    async fn replace(&mut self, part: Part, way: Way, is_earlier: bool) -> Outcome<()> {
        let new = match part {
            Part::Projector => {
                let projector = self.world.projector()?;
                let stands_by = tokio::select! {
                    said = projector.until_it_says("standing by") => said.map(|()| true)?,
                    said = projector.until_it_says(NOT_ON_NEWER_TABLES) => said.map(|()| false)?,
                };
                if !stands_by {
                    let refused = "a build refuses its own tables";
                    return is_earlier.then_some(()).ok_or_else(|| refused.into());
                }
                projector
            }
            Part::Executor => {
                let executor = self.world.executor()?;
                executor.until_it_says("executor is ready").await?;
                executor
            }
            Part::Gateway => {
                let gateway = gateway(&mut self.world, &self.gateways[1])?;
                gateway.until_it_says("serving").await?;
                self.both_gateways_say_the_same().await?;
                self.gateways.swap(0, 1);
                gateway
            }
        };
        let old = std::mem::replace(&mut self.running[part as usize], new);
        end(&old, way).await;
        if part == Part::Projector {
            let new = &self.running[part as usize];
            new.until_it_says("this projector is the active one")
                .await?;
        }
        Ok(())
    }

    /// What one shows is what the other shows; and ids of the one are good at the other.
    async fn both_gateways_say_the_same(&self) -> Outcome<()> {
        let session = self.client().session("both").await?;
        let body = json!({"type": "shell", "command": "echo one; echo two >&2; echo three"});
        let stream = self.client().exec(&session, &body).await?;
        let [one, other] = &self.gateways;
        for (one, other) in [(one, other), (other, one)] {
            let whole = checked(one.transcript(&session, &stream).await?)?;
            let again = checked(other.transcript(&session, &stream).await?)?;
            let seen = whole.numbered();
            assert_eq!(again.numbered(), seen);
            let behind = other.events(&session, &stream, Some(&seen[1].id)).await?;
            let rest = behind.rest().await?;
            assert_eq!(rest.numbered(), seen[2..]);
        }
        Ok(())
    }

    /// Whatever there is besides plain commands, through whichever builds are there right now.
    async fn stage(&self, name: &str) -> Outcome<()> {
        let client = self.client();
        let session = client.session(name).await?;
        let body = json!({"type": "shell", "command": "printf 'a\\0b\\nc'; exit 7"});
        let transcript = checked(client.run(&session, &body).await?)?;
        assert_eq!(transcript.bytes("stdout"), b"a\0b\nc");
        assert_eq!(transcript.complete()["exit_code"], 7);
        for (agent, prompt) in [
            ("claude", "simple"),
            ("claude", "unicode"),
            ("codex", "hello"),
        ] {
            let body = json!({"type": agent, "prompt": prompt});
            let transcript = checked(client.run(&session, &body).await?)?;
            assert_eq!(transcript.complete()["ok"], true, "{agent} {prompt}");
        }
        let stream = client
            .exec(
                &session,
                &json!({"type": "shell", "command": "echo up; exec sleep 300"}),
            )
            .await?;
        let mut events = client.events(&session, &stream, None).await?;
        events.until("output").await?;
        let answer = client.cancel(&session, &stream).await?;
        assert_eq!(answer.status, 202, "{}", answer.text);
        let end = events.until("complete").await?;
        assert_eq!(end.json()["outcome"], "canceled");
        Ok(())
    }

    /// The tables are what the log says, once the active projector has folded anew what other builds
    /// made; and every exec is whole.
    async fn audit(&self) -> Outcome<()> {
        let folded = async {
            loop {
                let audited = self.world.audit(&[], &[]).await?;
                // It could not find out: rows of an earlier build are still there.
                if audited.code != Some(2) {
                    return audited.expect_equal();
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let folded: Result<Outcome<()>, _> = tokio::time::timeout(FOLDED_WITHIN, folded).await;
        folded.map_err(|_| Failure::from("the tables are not judged"))??;
        self.world.audit(&["--execs"], &[]).await?.expect_equal()
    }
}

fn gateway(world: &mut World, place: &Client) -> Outcome<Service> {
    let address = place.base.trim_start_matches("http://").to_owned();
    world.gateway_with(&[("RDEV_LISTEN", address)])
}

fn checked(transcript: Transcript) -> Outcome<Transcript> {
    transcript.check()?;
    Ok(transcript)
}

/// Prints a line on each stream for each file that appears.
fn stepping() -> Value {
    let command = format!(
        "i=0; while [ $i -lt {LINES} ]; do until [ -e step$i ]; do sleep 0.02; done; \
         echo \"line $i\"; echo \"also $i\" >&2; i=$((i + 1)); done"
    );
    json!({"type": "shell", "command": command})
}

/// A command that runs through everything, and its reader.
struct Stepping {
    session: String,
    stream: String,
    reader: Reader,
    steps: usize,
}

impl Stepping {
    async fn begin(rollout: &Rollout) -> Outcome<Self> {
        let client = rollout.client();
        let session = client.session("steps").await?;
        std::fs::create_dir_all(rollout.world.pod("steps"))?;
        let stream = client.exec(&session, &stepping()).await?;
        let reader = Reader::start(rollout.gateways.to_vec(), &session, &stream);
        let mut begun = Self {
            session,
            stream,
            reader,
            steps: 0,
        };
        begun.step(rollout).await?;
        Ok(begun)
    }

    /// The next line comes, whoever has it to bring.
    async fn step(&mut self, rollout: &Rollout) -> Outcome<()> {
        let file = format!("step{}", self.steps);
        std::fs::write(rollout.world.pod("steps").join(file), "")?;
        self.steps += 1;
        self.reader.until_count(2 * self.steps).await
    }

    /// It has ended with the last line: nothing was lost, and each executor had it once.
    async fn end(self, rollout: &Rollout) -> Outcome<()> {
        assert_eq!(self.steps, LINES);
        let seen = self.reader.end().await?;
        seen.transcript.check()?;
        let lines =
            |word: &str| -> String { (0..LINES).map(|line| format!("{word} {line}\n")).collect() };
        assert_eq!(seen.transcript.stdout(), lines("line"));
        let stderr = seen.transcript.bytes("stderr");
        assert_eq!(String::from_utf8(stderr)?, lines("also"));
        let client = rollout.client();
        let replay = client.transcript(&self.session, &self.stream).await?;
        let replayed: Vec<_> = replay.numbered().into_iter().cloned().collect();
        assert_eq!(replayed, seen.transcript.events);
        let exec = exec_id(client, &self.session, &self.stream)?;
        let log = ExecLog::read(&rollout.world.bus().await?, &exec).await?;
        log.check()?;
        assert_eq!(log.count(Kind::Started), 1);
        assert_eq!(log.attempts(), [1, 2, 3, 4]);
        Ok(())
    }
}

async fn roll(from: &str, to: &str, order: [Part; 3], ways: [Way; 3]) -> Outcome<()> {
    let mut rollout = Rollout::start(from).await?;
    let mut stepping = Stepping::begin(&rollout).await?;
    // Waits behind the other all the time: every scheduler knows of it.
    let waiting = json!({"type": "shell", "command": "echo at last"});
    let waiting = rollout.client().exec(&stepping.session, &waiting).await?;
    for (pass, (build, way)) in [to, from, to].into_iter().zip(ways).enumerate() {
        rollout.use_build(build)?;
        for part in order {
            let is_earlier = build == from && from != to;
            rollout.replace(part, way, is_earlier).await?;
            stepping.step(&rollout).await?;
            rollout
                .stage(&format!("stage-{pass}-{}", part as usize))
                .await?;
        }
    }
    let session = stepping.session.clone();
    stepping.end(&rollout).await?;
    let last = rollout.client().transcript(&session, &waiting).await?;
    assert_eq!(checked(last)?.stdout(), "at last\n");
    rollout.audit().await
}

#[tokio::test]
async fn builds_are_exchanged_under_running_commands() -> Outcome<()> {
    let Ok(from) = std::env::var(FROM_VARIABLE) else {
        return roll(RDEV, RDEV, ORDERS[0], [Way::Asked, Way::Killed, Way::Asked]).await;
    };
    for order in ORDERS {
        for ways in [[Way::Asked; 3], [Way::Killed, Way::Asked, Way::Killed]] {
            roll(&from, RDEV, order, ways)
                .await
                .map_err(|error| format!("{order:?}, {ways:?}: {error}"))?;
        }
    }
    Ok(())
}
