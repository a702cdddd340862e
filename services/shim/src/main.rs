//! The shim as a program of its own: a small static binary in the container.

use std::process::ExitCode;

use rdev_shim::Program;

fn main() -> ExitCode {
    rdev_shim::main(&Program::current([]), std::env::args_os().skip(1))
}
