//! Settings of the queue. The scheduler's hold for all executors: give every executor the same.

use std::collections::BTreeMap;

use rdev_contract::id::ProjectId;
use rdev_contract::queue::QueueLimits;

/// How many execs of one session, and of one project, run at once.
#[derive(Debug, Clone, clap::Args)]
pub struct QueueSettings {
    /// How many execs of one session run at once; further ones wait for their turn.
    #[arg(long, env = "RDEV_SESSION_RUNNING_MAX", value_name = "RDEV_SESSION_RUNNING_MAX",
          default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub session_running_max: u32,
    /// How many execs of one project run at once; further ones wait for their turn.
    #[arg(long, env = "RDEV_PROJECT_RUNNING_MAX", value_name = "RDEV_PROJECT_RUNNING_MAX",
          default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub project_running_max: u32,
    /// Shares of projects that want more than there is, as in a=3,b=2; all others have 1.
    #[arg(long, env = "RDEV_PROJECT_WEIGHTS", value_name = "RDEV_PROJECT_WEIGHTS",
          default_value = "", value_parser = weights)]
    pub project_weights: Weights,
}

/// Weights of projects.
type Weights = BTreeMap<ProjectId, u32>;

/// Beyond this a share of one is none, and a turn would cost next to nothing.
const WEIGHT_MAX: u32 = 1_000;

impl QueueSettings {
    /// What a scheduler keeps to.
    #[must_use]
    pub fn limits(&self) -> QueueLimits {
        QueueLimits {
            session_running_max: self.session_running_max,
            project_running_max: self.project_running_max,
            weights: self.project_weights.clone(),
        }
    }
}

fn weights(text: &str) -> Result<Weights, String> {
    let mut weights = Weights::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (project, weight) = part
            .split_once('=')
            .ok_or_else(|| format!("{part:?} is not of the form project=weight"))?;
        let project: ProjectId = project
            .trim()
            .parse()
            .map_err(|error| format!("{project:?}: {error}"))?;
        let weight = weight.trim().parse().ok();
        let weight = weight
            .filter(|weight| (1..=WEIGHT_MAX).contains(weight))
            .ok_or_else(|| format!("{part:?}: a weight is 1 to {WEIGHT_MAX}"))?;
        if weights.insert(project, weight).is_some() {
            return Err(format!("{part:?}: the project is named twice"));
        }
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_a_list() {
        assert_eq!(weights(""), Ok(Weights::new()));
        let expected = [("a", 3), ("b-2", 1_000)];
        let expected = expected.map(|(project, weight)| (project.parse().unwrap(), weight));
        assert_eq!(weights("a=3, b-2=1000"), Ok(Weights::from(expected)));
        for wrong in ["a", "a=", "a=0", "a=1001", "a=-1", "A=1", "=1", "a=1,a=2"] {
            assert!(weights(wrong).is_err(), "{wrong}");
        }
    }
}
