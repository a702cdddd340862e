//! The projector as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use rdev_projector::{Arguments, check_health, run};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    rdev_runtime::service::run("rdev-projector", &arguments.telemetry, async |shutdown| {
        if arguments.check_health {
            return check_health(&arguments.config).await;
        }
        run(arguments.config, shutdown).await
    })
}
