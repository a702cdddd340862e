//! What the rows found: a Markdown table for people, or a line of JSON for programs.

use serde::Serialize;

use crate::report::print_json;

/// What is asked of the ratio.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing: the row is for information.
    Nothing,
}

impl Asked {
    fn is_met(self, ratio: f64) -> Option<bool> {
        match self {
            Self::AtMost(limit) => Some(ratio <= limit),
            Self::AtLeast(limit) => Some(ratio >= limit),
            Self::Nothing => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::AtLeast(limit) => format!("≥ {limit}"),
            Self::Nothing => String::new(),
        }
    }
}

/// One figure of each of those that were measured in the same run.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    row: &'static str,
    what: String,
    unit: &'static str,
    ours: f64,
    /// Bare axum.
    floor: Option<f64>,
    /// Bare NATS.
    nats: Option<f64>,
    peer: Option<f64>,
    /// Of ours to that which is named in `against`.
    ratio: Option<f64>,
    against: &'static str,
    asked: String,
    met: Option<bool>,
}

impl Figure {
    pub(crate) fn new(row: &'static str, what: &str, unit: &'static str, ours: f64) -> Self {
        Self {
            row,
            what: what.to_owned(),
            unit,
            ours,
            floor: None,
            nats: None,
            peer: None,
            ratio: None,
            against: "",
            asked: String::new(),
            met: None,
        }
    }

    pub(crate) fn floor(mut self, floor: Option<f64>) -> Self {
        self.floor = floor;
        self
    }

    pub(crate) fn nats(mut self, nats: Option<f64>) -> Self {
        self.nats = nats;
        self
    }

    pub(crate) fn peer(mut self, peer: Option<f64>) -> Self {
        self.peer = peer;
        self
    }

    pub(crate) fn against_floor(self, asked: Asked) -> Self {
        let floor = self.floor;
        self.against("floor", floor, asked)
    }

    pub(crate) fn against_peer(self, asked: Asked) -> Self {
        let peer = self.peer;
        self.against("peer", peer, asked)
    }

    /// Compares with something that has no column, or with one that has.
    pub(crate) fn against(mut self, name: &'static str, value: Option<f64>, asked: Asked) -> Self {
        self.against = name;
        self.asked = asked.text();
        self.ratio = value.map(|value| self.ours / value);
        self.met = self.ratio.and_then(|ratio| asked.is_met(ratio));
        self
    }
}

/// All figures of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Table {
    scenario: &'static str,
    figures: Vec<Figure>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            scenario: "read",
            figures: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, figures: Vec<Figure>) {
        self.figures.extend(figures);
    }

    #[expect(clippy::print_stdout, reason = "this is what the program is for")]
    pub(crate) fn print(&self, json: bool) {
        if json {
            return print_json(self);
        }
        println!("| row | figure | ours | floor | NATS | peer | ratio | asked | met |");
        println!("|---|---|---|---|---|---|---|---|---|");
        for figure in &self.figures {
            println!("{}", line(figure));
        }
    }
}

fn line(figure: &Figure) -> String {
    let value = |value: Option<f64>| value.map_or_else(String::new, number);
    let ratio = figure.ratio.map_or_else(String::new, |ratio| {
        format!("{ratio:.2} × {}", figure.against)
    });
    let met = match figure.met {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "",
    };
    format!(
        "| {} | {}, {} | {} | {} | {} | {} | {ratio} | {} | {met} |",
        figure.row,
        figure.what,
        figure.unit,
        number(figure.ours),
        value(figure.floor),
        value(figure.nats),
        value(figure.peer),
        figure.asked,
    )
}

/// Beyond this, digits after the point are noise.
const WHOLE_FROM: f64 = 1000.0;

fn number(value: f64) -> String {
    if value >= WHOLE_FROM {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// The middle one of several rounds; none where nothing was measured.
pub(crate) fn median(mut rounds: Vec<f64>) -> Option<f64> {
    rounds.sort_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).copied()
}
