//! Finds, installs and runs the real nats-server and PostgreSQL as child processes.
//!
//! Who uses it: `rdev dev`, the tests and the bench program. [`NatsServer`] and [`Postgres`] own one
//! server and its directory each; [`Program`] and [`Child`] are the generic piece below them, with
//! which `rdev dev` also runs the services.
//!
//! Invariants:
//! - A child does not outlive this process, however hard it is killed (see [`Program::spawn`]).
//! - One directory has one owner: a second start on it is refused while the first one lives, and
//!   what a dead owner left running there is ended before a new server starts (see `claim`).
//! - A server counts as started when it says so itself; nothing here sleeps and hopes.

mod account;
mod child;
mod claim;
mod disk;
mod install;
mod locate;
mod nats;
mod output;
mod port;
mod postgres;
mod secret;
mod server;
mod start;
mod version;
mod watch;

pub use child::{Child, DeathSignal, Program, SpawnError};
pub use claim::ClaimError;
pub use disk::free_bytes;
pub use install::InstallError;
pub use locate::{
    LocateError, NATS_SERVER_VARIABLE, POSTGRES_BIN_VARIABLE, PostgresPrograms, locate_nats_server,
    locate_postgres,
};
pub use nats::{NatsOptions, NatsServer, SyncInterval};
pub use output::Output;
pub use port::draw as draw_port;
pub use postgres::{Durability, Postgres, PostgresOptions};
/// A signal for a child, as in `Signal::TERM`.
pub use rustix::process::Signal;
pub use secret::{kept_in as password_kept_in, write as write_secret};
pub use server::{Home, Server};
pub use start::StartError;
pub use version::Version;
