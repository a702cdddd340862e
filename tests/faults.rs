//! The short form of each fault, on real servers: what was printed is what is read, by every
//! reader; the command ran once; and the log says so. The long form, at random moments, is
//! `rdev-bench faults`.

#[path = "faults/channel.rs"]
mod channel;
#[path = "faults/container.rs"]
mod container;
#[path = "faults/expired.rs"]
mod expired;
#[path = "faults/fenced.rs"]
mod fenced;
#[path = "faults/killed.rs"]
mod killed;
#[path = "faults/outage.rs"]
mod outage;
#[path = "faults/trial.rs"]
mod trial;

use rdev_tests::Outcome;
use rdev_tests::world::{Options, Services, World};

/// The program that the services are subcommands of.
const RDEV: &str = env!("CARGO_BIN_EXE_rdev-under-test");

/// The shim on its own.
const SHIM: &str = env!("CARGO_BIN_EXE_rdev-shim-under-test");

/// How the worlds of these tests are.
fn options() -> Options {
    Options::new(RDEV, SHIM)
}

/// A world with one of each service.
async fn world() -> Outcome<(World, Services)> {
    World::start(options()).await
}
