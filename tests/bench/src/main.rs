//! The bench program: each scenario measures rdev beside a floor or a peer in the same run, and
//! prints a Markdown table, or one line of JSON. It starts everything that it needs.

mod all;
mod cancel;
mod faults;
mod latency;
mod list;
mod log;
mod overhead;
mod process;
mod project;
mod queue;
mod read;
mod report;
mod short;
mod throughput;

use std::process::ExitCode;

use clap::Parser;
use rdev_embedded::SyncInterval;
use rdev_tests::Outcome;
use rdev_tests::world::Options;

/// What of rdev runs as processes of this same program.
const COMMANDS: [&str; 5] = ["shim", "gateway", "executor", "projector", "audit"];
/// The server's own default between two syncs, for the runs without a sync before each ack.
const LAZY_SYNC: SyncInterval = SyncInterval::Every(std::time::Duration::from_secs(120));

/// Measures rdev on this machine.
#[derive(Debug, Parser)]
#[command(name = "rdev-bench", version)]
struct Bench {
    #[command(subcommand)]
    scenario: Scenario,
    /// Print one line of JSON and no table.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Scenario {
    /// From POST to the first output at a reader, beside spawning the same command directly.
    Latency(latency::Settings),
    /// One exec that prints a lot, read by one client, beside a bare pipe and one line a message.
    Throughput(throughput::Settings),
    /// Many short execs: how many a second.
    Short(short::Settings),
    /// From a cancel to the end of the command, beside killing it directly.
    Cancel(cancel::Settings),
    /// Appends beside plain publishes of the same: what fencing and leases cost.
    Overhead(overhead::Settings),
    /// Facts that the projector brings into the tables a second, beside only reading them.
    Project(project::Settings),
    /// A flood of one project beside the execs of another; many that wait; a scheduler's beginning.
    Queue(queue::Settings),
    /// Pages of a million execs, with filters and without.
    List(list::Settings),
    /// Many readers, long replays, coming back, stuck readers; beside bare axum and a peer.
    Read(read::Settings),
    /// Serves what `read` compares with.
    #[command(hide = true)]
    ReadFloor(read::floor::Settings),
    /// All of them with their defaults, as one document.
    All(all::Settings),
    /// Faults at random moments: what is lost, repeated, re-run or told wrongly.
    Faults(faults::Settings),
}

fn main() -> ExitCode {
    let first = std::env::args().nth(1).unwrap_or_default();
    if COMMANDS.contains(&first.as_str()) {
        return rdev_cli::main();
    }
    let bench = Bench::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(bench)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rdev-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(Bench { scenario, json }: Bench) -> Outcome<()> {
    let report = match scenario {
        Scenario::Latency(settings) => latency::run(&settings).await?,
        Scenario::Throughput(settings) => throughput::run(&settings).await?,
        Scenario::Short(settings) => short::run(&settings).await?,
        Scenario::Cancel(settings) => cancel::run(&settings).await?,
        Scenario::Overhead(settings) => overhead::run(&settings).await?,
        Scenario::Project(settings) => project::run(&settings).await?,
        Scenario::Queue(settings) => queue::run(&settings).await?,
        Scenario::List(settings) => list::run(&settings).await?,
        Scenario::Faults(settings) => return faults::run(&settings).await,
        Scenario::Read(settings) => return Box::pin(read::run(&settings, json)).await,
        Scenario::ReadFloor(settings) => return read::floor::serve(&settings).await,
        Scenario::All(settings) => return all::run(&settings).await,
    };
    report.print(json);
    Ok(())
}

/// Services of this program.
fn options(sync: SyncInterval) -> Outcome<Options> {
    let program = std::env::current_exe()?;
    let shim = program.with_file_name("rdev-bench-shim");
    let mut options = Options::new(program, shim).variable("RDEV_LOG", "warn");
    options.sync = sync;
    Ok(options)
}
