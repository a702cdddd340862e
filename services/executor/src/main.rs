//! `rdev-executor`: the service, and (as `rdev-executor shim …`) the shim that it starts.

use std::process::ExitCode;

use clap::Parser;
use rdev_executor::config::Config;
use rdev_shim::Program;

/// The first argument that makes this program the shim.
const SHIM_ARGUMENT: &str = "shim";

fn main() -> ExitCode {
    let shim = Program::current([SHIM_ARGUMENT]);
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == SHIM_ARGUMENT) {
        return rdev_shim::main(&shim, arguments);
    }
    rdev_executor::main(Config::parse(), shim)
}
