//! Settings of whoever keeps sessions. One executor does for all: give every executor the same.

use std::time::Duration;

use rdev_domain::template::Templates;
use rdev_runtime::parse_duration;

/// What pods are made from, and how long things may take.
#[derive(Debug, Clone, clap::Args)]
pub struct KeepSettings {
    /// File of the templates that pods may be made from, in YAML or JSON.
    #[arg(
        long,
        env = "RDEV_TEMPLATES",
        value_name = "RDEV_TEMPLATES",
        default_value = "",
        value_parser = templates
    )]
    pub templates: Templates,
    /// How long a pod may take to be ready, whether it is made or chosen.
    #[arg(
        long,
        env = "RDEV_PROVISION_TIMEOUT",
        value_name = "RDEV_PROVISION_TIMEOUT",
        default_value = "5m",
        value_parser = parse_duration
    )]
    pub provision_timeout: Duration,
    /// How long before its end a session is warned that has been idle.
    #[arg(
        long,
        env = "RDEV_IDLE_WARNING",
        value_name = "RDEV_IDLE_WARNING",
        default_value = "60s",
        value_parser = parse_duration
    )]
    pub idle_warning: Duration,
}

fn templates(path: &str) -> Result<Templates, String> {
    if path.is_empty() {
        return Ok(Templates::default());
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    Templates::parse(&text).map_err(|error| error.to_string())
}
