//! The whole of rdev on real servers, through its public API. Each test has a world of its own;
//! they run in parallel.

#[path = "flow/answers.rs"]
mod answers;
#[path = "flow/api.rs"]
mod api;
#[path = "flow/approvals.rs"]
mod approvals;
#[path = "flow/archive.rs"]
mod archive;
#[path = "flow/as_of.rs"]
mod as_of;
#[path = "flow/audit.rs"]
mod audit;
#[path = "flow/claude.rs"]
mod claude;
#[path = "flow/cli.rs"]
mod cli;
#[path = "flow/clients.rs"]
mod clients;
#[path = "flow/codex.rs"]
mod codex;
#[path = "flow/commands.rs"]
mod commands;
#[path = "flow/conformance.rs"]
mod conformance;
#[path = "flow/console.rs"]
mod console;
#[path = "flow/consumer.rs"]
mod consumer;
#[path = "flow/consumers.rs"]
mod consumers;
#[path = "flow/control.rs"]
mod control;
#[path = "flow/cursors.rs"]
mod cursors;
#[path = "flow/dev.rs"]
mod dev;
#[path = "flow/docs.rs"]
mod docs;
#[path = "flow/fanout.rs"]
mod fanout;
#[path = "flow/feeds.rs"]
mod feeds;
#[path = "flow/keys.rs"]
mod keys;
#[path = "flow/kube.rs"]
mod kube;
#[path = "flow/life.rs"]
mod life;
#[path = "flow/metrics.rs"]
mod metrics;
#[path = "flow/newer.rs"]
mod newer;
#[path = "flow/nginx.rs"]
mod nginx;
#[path = "flow/openapi.rs"]
mod openapi;
#[path = "flow/output.rs"]
mod output;
#[path = "programs.rs"]
mod programs;
#[path = "flow/published.rs"]
mod published;
#[path = "flow/queues.rs"]
mod queues;
#[path = "flow/recorded.rs"]
mod recorded;
#[path = "flow/restore.rs"]
mod restore;
#[path = "flow/retention.rs"]
mod retention;
#[path = "flow/secrets.rs"]
mod secrets;
#[path = "flow/stdin.rs"]
mod stdin;
#[path = "flow/tally.rs"]
mod tally;
#[path = "flow/tenants.rs"]
mod tenants;
#[path = "flow/terminal.rs"]
mod terminal;
#[path = "flow/times.rs"]
mod times;
#[path = "flow/tls.rs"]
mod tls;
#[path = "flow/traces.rs"]
mod traces;
#[path = "flow/typed_clients.rs"]
mod typed_clients;
#[path = "flow/upgrade.rs"]
mod upgrade;

use programs::{RDEV, options, world};
