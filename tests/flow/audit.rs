//! `rdev audit` on real servers: it finds nothing where nothing is wrong, and what is wrong it
//! names.

#[path = "audit/exec.rs"]
mod exec;
#[path = "audit/tables.rs"]
mod tables;
