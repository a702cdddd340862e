//! The whole of rdev on real servers, through its public API. Each test has a world of its own;
//! they run in parallel.

#[path = "flow/answers.rs"]
mod answers;
#[path = "flow/api.rs"]
mod api;
#[path = "flow/as_of.rs"]
mod as_of;
#[path = "flow/audit.rs"]
mod audit;
#[path = "flow/claude.rs"]
mod claude;
#[path = "flow/clients.rs"]
mod clients;
#[path = "flow/commands.rs"]
mod commands;
#[path = "flow/conformance.rs"]
mod conformance;
#[path = "flow/consumer.rs"]
mod consumer;
#[path = "flow/consumers.rs"]
mod consumers;
#[path = "flow/cursors.rs"]
mod cursors;
#[path = "flow/dev.rs"]
mod dev;
#[path = "flow/fanout.rs"]
mod fanout;
#[path = "flow/feeds.rs"]
mod feeds;
#[path = "flow/kube.rs"]
mod kube;
#[path = "flow/nginx.rs"]
mod nginx;
#[path = "flow/output.rs"]
mod output;
#[path = "flow/published.rs"]
mod published;
#[path = "flow/retention.rs"]
mod retention;
#[path = "flow/tally.rs"]
mod tally;

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
