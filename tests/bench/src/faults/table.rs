//! The table of what faults did.

use std::time::Duration;

use rdev_tests::Outcome;
use rdev_tests::count::Finding;

use crate::report::Samples;

/// What one command of a round showed.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) finding: Finding,
    /// How long its reader waited for the next event.
    pub(crate) silence: Duration,
    pub(crate) stream: String,
}

/// All rounds of one scenario.
#[derive(Debug)]
pub(crate) struct Row {
    name: &'static str,
    rounds: usize,
    execs: usize,
    finding: Finding,
    wrong: Vec<String>,
    silences: Samples,
}

impl Row {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            rounds: 0,
            execs: 0,
            finding: Finding::default(),
            wrong: Vec::new(),
            silences: Samples::default(),
        }
    }

    /// One more round; one that did not come to its end is wrong.
    pub(crate) fn add(&mut self, round: usize, shown: Outcome<Vec<Shown>>) {
        self.rounds += 1;
        let shown = match shown {
            Ok(shown) => shown,
            Err(error) => return self.wrong.push(format!("round {round}: {error}")),
        };
        for one in shown {
            self.execs += 1;
            self.silences.add(one.silence);
            self.finding.bytes_lost += one.finding.bytes_lost;
            self.finding.bytes_repeated += one.finding.bytes_repeated;
            self.finding.launches = self.finding.launches.max(one.finding.launches);
            let launches = one.finding.launches;
            let miscounted = (launches != 1).then(|| format!("{launches} launches"));
            if let Some(wrong) = one.finding.wrong.or(miscounted) {
                self.wrong
                    .push(format!("round {round}, {}: {wrong}", one.stream));
            }
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.execs += other.execs;
        self.finding.bytes_lost += other.finding.bytes_lost;
        self.finding.bytes_repeated += other.finding.bytes_repeated;
        self.finding.launches = self.finding.launches.max(other.finding.launches);
        self.wrong.extend(other.wrong);
        self.silences.merge(other.silences);
    }

    fn is_clean(&self) -> bool {
        self.wrong.is_empty() && self.finding.bytes_lost + self.finding.bytes_repeated == 0
    }
}

/// The rows so far.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    #[expect(clippy::print_stdout, reason = "this is what the program is for")]
    pub(crate) fn print_head(&self) {
        println!(
            "| fault | rounds | commands | bytes lost | bytes repeated | launches, most | wrong \
             outcomes | time to continue p50 | p99 | max |\n|---|---|---|---|---|---|---|---|---|---|"
        );
    }

    #[expect(clippy::print_stdout, reason = "this is what the program is for")]
    pub(crate) fn add(&mut self, row: Row) {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| seconds(row.silences.quantile(share)));
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {p50} | {p99} | {max} |",
            row.name,
            row.rounds,
            row.execs,
            row.finding.bytes_lost,
            row.finding.bytes_repeated,
            row.finding.launches,
            row.wrong.len(),
        );
        for wrong in &row.wrong {
            eprintln!("{}: {wrong}", row.name);
        }
        self.0.push(row);
    }

    /// Whether all of it is as promised.
    ///
    /// # Errors
    /// The faults under which it is not.
    pub(crate) fn verdict(&self) -> Outcome<()> {
        let unclean: Vec<_> = self.0.iter().filter(|row| !row.is_clean()).collect();
        if unclean.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = unclean.iter().map(|row| row.name).collect();
        Err(format!("not as promised: {}", names.join(", ")).into())
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
