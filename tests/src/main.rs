//! `rdev`, as a binary of this package, so that tests can start it as the process it is.

use std::process::ExitCode;

fn main() -> ExitCode {
    rdev_cli::main()
}
