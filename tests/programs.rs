//! The programs under test. Only a test target is told where they are, so each includes this file.

#![allow(dead_code, reason = "each test target uses a part of it")]

use rdev_tests::Outcome;
use rdev_tests::world::{Options, Services, World};

/// The program that the services are subcommands of.
pub(crate) const RDEV: &str = env!("CARGO_BIN_EXE_rdev-under-test");

/// The shim on its own.
const SHIM: &str = env!("CARGO_BIN_EXE_rdev-shim-under-test");

/// How the worlds of these tests are.
pub(crate) fn options() -> Options {
    Options::new(RDEV, SHIM)
}

/// A world with one of each service.
pub(crate) async fn world() -> Outcome<(World, Services)> {
    World::start(options()).await
}
