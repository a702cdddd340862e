//! `rdev`: the whole product in one program. `rdev dev` runs everything on one machine; the
//! services are subcommands, so that it can start them; `rdev shim` is what they start in turn.
//! `client` is what people work with: it speaks to a gateway and to nothing else.

mod agent;
mod api;
mod audit;
mod begin;
mod client;
mod demo;
mod dev;
mod dev_key;
mod dev_metrics;
mod doctor;
mod exec;
mod failure;
mod keys;
mod lists;
mod log_limit;
mod logs;
mod nats;
mod progress;
mod settings;
mod style;
mod supervise;
mod table;
mod target;

use std::process::ExitCode;

use clap::Parser;
use rdev_runtime::service;
use rdev_runtime::telemetry::TelemetryArgs;
use rdev_shim::Program;

/// The first argument that makes this program the shim: no flag of any other command is parsed.
const SHIM_ARGUMENT: &str = "shim";

/// Runs shell, git and claude commands in long-lived pods, and keeps what they print.
#[derive(Debug, Parser)]
#[command(name = "rdev", version)]
enum Command {
    /// Run everything on this machine: servers, services, and directories in place of pods.
    Dev(Box<dev::Options>),
    #[command(flatten)]
    Client(client::Client),
    /// Run the HTTP API.
    Gateway(Box<Service<rdev_gateway::Config>>),
    /// Run the service that runs commands.
    Executor(Box<rdev_executor::config::Config>),
    /// Run the service that writes the read model.
    Projector(Box<Service<rdev_projector::Config>>),
    /// Make the keys of a nats-server's users, and what it is to include in its configuration.
    NatsConfig(nats::ConfigOptions),
    /// Make the streams that consumers of one project read.
    NatsCopies(Box<nats::CopiesOptions>),
    /// Verify the log, and the read model against it.
    Audit(Box<audit::Options>),
    /// Make, list, rotate and revoke API keys.
    Keys(Box<keys::Options>),
}

/// A service's settings, and where it logs.
#[derive(Debug, clap::Args)]
struct Service<C: clap::Args> {
    #[command(flatten)]
    config: C,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == SHIM_ARGUMENT) {
        return rdev_shim::main(&Program::current([SHIM_ARGUMENT]), arguments);
    }
    match Command::parse() {
        Command::Dev(options) => {
            let telemetry = options.telemetry.clone();
            service::run("rdev dev", &telemetry, |shutdown| {
                dev::run(*options, shutdown)
            })
        }
        Command::Client(client) => client.run(),
        Command::Gateway(gateway) => {
            let Service { config, telemetry } = *gateway;
            service::run("rdev gateway", &telemetry, |shutdown| {
                rdev_gateway::run(config, shutdown)
            })
        }
        Command::Executor(config) => {
            rdev_executor::main(*config, Program::current([SHIM_ARGUMENT]))
        }
        Command::Projector(projector) => {
            let Service { config, telemetry } = *projector;
            let run = |shutdown| rdev_projector::run(config, shutdown);
            service::run("rdev projector", &telemetry, run)
        }
        Command::NatsConfig(options) => {
            let telemetry = options.telemetry.clone();
            let config = async |_| nats::config(options);
            service::run("rdev nats-config", &telemetry, config)
        }
        Command::NatsCopies(options) => {
            let telemetry = options.telemetry.clone();
            let copies = |shutdown| nats::copies(*options, shutdown);
            service::run("rdev nats-copies", &telemetry, copies)
        }
        Command::Audit(options) => audit::main(&options),
        Command::Keys(options) => {
            let telemetry = options.telemetry();
            service::run("rdev keys", &telemetry, |_| keys::run(*options))
        }
    }
}
