//! Every scenario with its defaults, as one Markdown document: the machine, the date, and below each
//! command what it printed.
//!
//! Each scenario is a process of its own, so that none finds the memory of another.

use std::path::PathBuf;

use jiff::Timestamp;
use rdev_tests::Outcome;
use rustix::system::sysinfo;
use tokio::process::Command;

/// In the order of the document.
const SCENARIOS: [&[&str]; 10] = [
    &["latency"],
    &["short"],
    &["throughput"],
    &["overhead"],
    &["cancel"],
    &["queue"],
    &["project"],
    &["list"],
    &["read"],
    &["faults"],
];

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Rounds of `read` and of each fault; without it their defaults.
    #[arg(long)]
    rounds: Option<usize>,
    /// The server of the peer, for `read`.
    #[arg(long)]
    peer: Option<PathBuf>,
    /// Only these scenarios, joined by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// Runs the scenarios; one that fails does not stop the others.
///
/// # Errors
/// When any of them failed.
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
pub(crate) async fn run(settings: &Settings) -> Outcome<()> {
    println!("{}", machine()?);
    let mut failed = Vec::new();
    for scenario in SCENARIOS {
        let arguments = settings.arguments(scenario);
        if !settings.only.is_empty() && !settings.only.contains(&arguments[0]) {
            continue;
        }
        println!("\n## `rdev-bench {}`\n", arguments.join(" "));
        let mut program = Command::new(std::env::current_exe()?);
        let status = program.args(&arguments).kill_on_drop(true).status().await?;
        if !status.success() {
            println!("\nfailed: {status}");
            failed.push(arguments.join(" "));
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join("; ")).into())
    }
}

impl Settings {
    fn arguments(&self, scenario: &[&str]) -> Vec<String> {
        let mut arguments: Vec<String> = scenario.iter().map(ToString::to_string).collect();
        let has_rounds = matches!(scenario[0], "read" | "faults");
        if let Some(rounds) = self.rounds.filter(|_| has_rounds) {
            arguments.extend(["--rounds".to_owned(), rounds.to_string()]);
        }
        if let Some(peer) = self.peer.as_ref().filter(|_| scenario[0] == "read") {
            arguments.extend(["--peer".to_owned(), peer.display().to_string()]);
        }
        arguments
    }
}

/// What was measured on, when, and with what.
fn machine() -> Outcome<String> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let cores = std::thread::available_parallelism()?;
    let system = sysinfo();
    let gib = (system.totalram * u64::from(system.mem_unit)) >> 30;
    Ok(format!(
        "rdev {}, {}, on {cores} × {model}, {gib} GiB, {} {}: all of rdev, its servers and its readers, over \
         loopback",
        env!("CARGO_PKG_VERSION"),
        Timestamp::now().strftime("%Y-%m-%d"),
        std::env::consts::OS,
        std::env::consts::ARCH,
    ))
}
