//! The short form of each fault, on real servers: what was printed is what is read, by every
//! reader; the command ran once; and the log says so. The long form, at random moments, is
//! `rdev-bench faults`.

#[path = "faults/approvals.rs"]
mod approvals;
#[path = "faults/channel.rs"]
mod channel;
#[path = "faults/container.rs"]
mod container;
#[path = "faults/control.rs"]
mod control;
#[path = "faults/expired.rs"]
mod expired;
#[path = "faults/fenced.rs"]
mod fenced;
#[path = "faults/killed.rs"]
mod killed;
#[path = "faults/life.rs"]
mod life;
#[path = "faults/outage.rs"]
mod outage;
#[path = "programs.rs"]
mod programs;
#[path = "faults/queue.rs"]
mod queue;
#[path = "faults/terminal.rs"]
mod terminal;
#[path = "faults/trial.rs"]
mod trial;

use programs::{options, world};
