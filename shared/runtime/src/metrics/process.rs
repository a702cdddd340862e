//! What this process takes of its machine, under the names that every Prometheus client uses.

use std::fs;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::{Fraction, Gauge, fraction, gauge, register};

/// Handles, and what does not change.
pub(super) struct Process {
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge,
    virtual_memory: Gauge,
    open_files: Gauge,
    max_files: Gauge,
    threads: Gauge,
    started: Fraction,
}

impl Process {
    pub(super) fn new() -> Self {
        let cpu = "User and system time of this process";
        Self {
            cpu: register("process_cpu_seconds", cpu, Counter::default()),
            resident: gauge("process_resident_memory_bytes", "Memory in use"),
            virtual_memory: gauge("process_virtual_memory_bytes", "Address space in use"),
            open_files: gauge("process_open_fds", "Open files, sockets among them"),
            max_files: gauge("process_max_fds", "Files that may be open"),
            threads: gauge("process_threads", "Threads"),
            started: fraction(
                "process_start_time_seconds",
                "When this process began, since 1970",
            ),
        }
    }

    /// What cannot be read stays as it was: a process without /proc has other troubles.
    pub(super) fn look_up(&self) {
        if let Some(stat) = Stat::read() {
            let cpu = seconds(stat.cpu_ticks);
            self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
            self.resident.set(stat.resident_pages * bytes(page_size()));
            self.virtual_memory.set(stat.virtual_bytes);
            self.threads.set(stat.threads);
            if let Some(booted) = booted() {
                self.started.set(booted + seconds(stat.started_ticks));
            }
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // One of them is this look.
            self.open_files.set(bytes(files.count().saturating_sub(1)));
        }
        let max = getrlimit(Resource::Nofile).current;
        let max = max.and_then(|max| i64::try_from(max).ok());
        self.max_files.set(max.unwrap_or(i64::MAX));
    }
}

fn bytes(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a process of millions of years may be off by a tick"
)]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

/// When the machine was started, in seconds since 1970.
fn booted() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

/// What `/proc/self/stat` says, proc_pid_stat(5).
struct Stat {
    cpu_ticks: u64,
    threads: i64,
    started_ticks: u64,
    virtual_bytes: i64,
    resident_pages: i64,
}

impl Stat {
    fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is a name in parentheses, which may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The manual counts from 1, and what is behind the name begins with the third.
        let field = |number: usize| fields.get(number - 3).copied();
        let whole = |number| field(number)?.parse::<i64>().ok();
        let ticks = |number| field(number)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: ticks(14)? + ticks(15)?,
            threads: whole(20)?,
            started_ticks: ticks(22)?,
            virtual_bytes: whole(23)?,
            resident_pages: whole(24)?,
        })
    }
}
