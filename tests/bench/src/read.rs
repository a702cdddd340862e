//! The read path: many readers, long replays, coming back, and readers that do not read.
//!
//! Each row starts what it needs and measures ours beside the floor and the peer in turn, in the
//! same run; figures are medians of the rounds. All servers are processes of their own. Lines are
//! stored before they are shown: ours and the peer sync to disk before each append is answered.

mod client;
mod fanout;
pub(crate) mod floor;
mod idle;
mod lane;
mod line;
mod nats;
mod ours;
mod peer;
mod replay;
mod resume;
mod stuck;
mod table;

use std::path::{Path, PathBuf};

use rdev_tests::Outcome;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use table::Table;

/// A part of the scenario that can be run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Row {
    /// 100 readers of one exec.
    Fanout100,
    /// 1,000 readers of one exec.
    Fanout1000,
    /// Readers of one exec that wait: memory, and one event to all of them.
    Idle,
    /// The same number of readers on 1,000 execs: memory.
    IdleSpread,
    /// 200 readers that catch up at once.
    Catchup,
    /// One reader of a long exec.
    Replay,
    /// Coming back in the middle of an exec, among few and among many other messages.
    Resume,
    /// A fast reader beside stuck ones.
    Stuck,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Which rows, joined by commas; without it all.
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<Row>,
    /// Rounds of each row.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Readers that wait.
    #[arg(long, default_value_t = 8000)]
    readers: usize,
    /// Other messages in the log when a reader comes back.
    #[arg(long, default_value_t = 1_000_000)]
    foreign: u64,
    /// The server of the peer (`cargo install durable-streams --root DIRECTORY`).
    #[arg(long)]
    peer: Option<PathBuf>,
}

/// What all rows have to know.
#[derive(Debug)]
struct Context {
    rounds: usize,
    readers: usize,
    foreign: u64,
    peer: Option<PathBuf>,
}

impl Context {
    fn peer(&self) -> Option<&Path> {
        self.peer.as_deref()
    }
}

/// Runs the rows that were asked for and prints one table.
///
/// # Errors
/// When something cannot be started, or a reader does not get what was written.
pub(crate) async fn run(settings: &Settings, json: bool) -> Outcome<()> {
    raise_open_files()?;
    let context = Context {
        rounds: settings.rounds.max(1),
        readers: settings.readers,
        foreign: settings.foreign,
        peer: settings.peer.clone(),
    };
    let mut rows = settings.rows.clone();
    if rows.is_empty() {
        rows = <Row as clap::ValueEnum>::value_variants().to_vec();
    }
    let mut table = Table::new();
    let mut failures = Vec::new();
    for row in rows {
        eprintln!("rdev-bench: {row:?}");
        // The other rows are still worth having.
        match measure(&context, row).await {
            Ok(figures) => table.add(figures),
            Err(error) => failures.push(format!("{row:?}: {error}")),
        }
    }
    table.print(json);
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("; ").into())
    }
}

async fn measure(context: &Context, row: Row) -> Outcome<Vec<table::Figure>> {
    match row {
        Row::Fanout100 => fanout::run(context, fanout::HUNDRED).await,
        Row::Fanout1000 => fanout::run(context, fanout::THOUSAND).await,
        Row::Idle => idle::run(context, idle::ONE_EXEC).await,
        Row::IdleSpread => idle::run(context, idle::MANY_EXECS).await,
        Row::Catchup => replay::catch_up(context).await,
        Row::Replay => replay::long(context).await,
        Row::Resume => resume::run(context).await,
        Row::Stuck => stuck::run(context).await,
    }
}

/// Ten thousand readers are as many files, here and in the servers, which inherit the limit.
fn raise_open_files() -> Outcome<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}
