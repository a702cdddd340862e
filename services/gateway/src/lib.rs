//! The HTTP API of rdev: the only axum.
//!
//! Commands come in (`accept`) and go into the log, as do orders for them (`control`) and answers to what their agents ask (`approvals`); events come out of the log and go to
//! readers as server-sent events (`events`) or as the bytes that were printed (`output`); sessions and single execs are folded from the log,
//! lists come from the read model. What the log has forgotten is read from the archive (`history`). All paths are in `routes`, with
//! what each needs of whoever asks (`trust`), all errors in `problem`. Keys are made and ended in `keys`. `console` has pages for people.
//!
//! Invariant: a gateway keeps no state that matters. Any replica serves any request, and ending
//! one loses nothing that a reader cannot resume elsewhere.

mod accept;
mod approvals;
mod as_of;
mod config;
mod console;
mod control;
mod conversations;
mod cors;
mod events;
mod execs;
mod filter;
mod flights;
mod health;
mod history;
mod keys;
mod known;
mod lives;
mod metrics;
mod output;
mod problem;
mod projects;
mod provisions;
mod published;
mod queue;
mod request;
mod routes;
mod screen;
mod serve;
mod sessions;
mod start;
mod state;
mod surroundings;
mod tickets;
mod timeline;
mod tls;
mod traces;
mod trust;
mod usage;
mod watchdog;

pub use config::{Arguments, Config};
pub use cors::CorsOrigins;
pub use start::{Prepared, StartError, check_health, prepare, run};
pub use trust::{RequireKeys, TrustArgs};
