//! Faults at seeded random moments of counting commands, as many rounds as asked for.
//!
//! Invariant: a round ends when every reader has `complete`, and is judged by what the readers
//! got, by what the command noted in its pod, and by the messages in the log.

mod lane;
mod random;
mod scenario;
mod table;

use futures::future::try_join_all;
use rdev_tests::Outcome;

use lane::Lane;
use random::Random;
use scenario::Scenario;
use table::{Row, Table};

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Rounds of each scenario; without it 100 of the killed executor and 20 of each other.
    #[arg(long)]
    rounds: Option<usize>,
    /// Decides about every moment.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only scenarios whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// How many worlds work on the rounds of a scenario at once.
    #[arg(long, default_value_t = 4)]
    lanes: usize,
}

/// Runs the scenarios and prints the table as it grows.
///
/// # Errors
/// When anything was lost, repeated, launched twice or told wrongly, or a world cannot be made.
pub(crate) async fn run(settings: &Settings) -> Outcome<()> {
    let mut table = Table::default();
    table.print_head();
    for (number, scenario) in Scenario::ALL.into_iter().enumerate() {
        let is_wanted = settings
            .only
            .as_ref()
            .is_none_or(|only| scenario.name().contains(only.as_str()));
        if !is_wanted {
            continue;
        }
        let rounds = settings.rounds.unwrap_or(scenario.rounds());
        let row = rounds_of(scenario, number, rounds, settings).await?;
        table.add(row);
    }
    table.verdict()
}

async fn rounds_of(
    scenario: Scenario,
    number: usize,
    rounds: usize,
    settings: &Settings,
) -> Outcome<Row> {
    let lanes = scenario.lanes(settings.lanes).clamp(1, rounds.max(1));
    let working = (0..lanes).map(|lane| async move {
        let mut row = Row::new(scenario.name());
        let mut world = Lane::start(scenario.place()).await?;
        for round in (lane..rounds).step_by(lanes) {
            let random = Random::of([settings.seed, number as u64, round as u64]);
            let result = scenario.round(&mut world, round, random).await;
            row.add(round, result);
        }
        world.end().await;
        Outcome::Ok(row)
    });
    let mut row = Row::new(scenario.name());
    for found in try_join_all(working).await? {
        row.merge(found);
    }
    Ok(row)
}
