//! The shim on its own, as it is uploaded into containers.

use std::process::ExitCode;

use rdev_shim::Program;

fn main() -> ExitCode {
    rdev_shim::main(&Program::current([]), std::env::args_os().skip(1))
}
