//! What a scenario found: a Markdown table for people, or a line of JSON for programs.

use std::time::Duration;

use serde::Serialize;

/// The result of one scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    scenario: String,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    what: String,
    value: String,
    beside: String,
}

impl Report {
    pub(crate) fn new(scenario: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            rows: Vec::new(),
        }
    }

    /// One figure, and what it is to be compared with.
    pub(crate) fn row(&mut self, what: &str, value: String, beside: String) {
        self.rows.push(Row {
            what: what.to_owned(),
            value,
            beside,
        });
    }

    #[expect(clippy::print_stdout, reason = "this is what the program is for")]
    pub(crate) fn print(&self, json: bool) {
        if json {
            return print_json(self);
        }
        println!("| {} | figure | beside |\n|---|---|---|", self.scenario);
        for row in &self.rows {
            println!("| {} | {} | {} |", row.what, row.value, row.beside);
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
pub(crate) fn print_json(found: &impl Serialize) {
    if let Ok(json) = serde_json::to_string(found) {
        println!("{json}");
    }
}

/// Samples of one duration.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// Takes the samples of another.
    pub(crate) fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The value below which this share of the samples is.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        let last = sorted.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index among a few thousand samples"
        )]
        let index = (last as f64 * share).round() as usize;
        sorted.get(index).copied().unwrap_or_default()
    }
}

/// In milliseconds, as reports write it.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}
