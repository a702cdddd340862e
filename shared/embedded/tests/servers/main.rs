//! Tests with real servers: found on this machine, or installed into the cache at the first run.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod children;
mod death;
mod nats;
mod postgres;
mod user;

use rdev_embedded::{Durability, NatsOptions, Postgres, PostgresOptions};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

fn nats_options(directory: &Path) -> NatsOptions {
    NatsOptions {
        login: Some(("rdev".to_owned(), "secret".to_owned())),
        extra_config: "authorization { user: rdev, password: secret }".to_owned(),
        ..NatsOptions::new(directory.join("nats"))
    }
}

fn postgres_options(directory: &Path) -> PostgresOptions {
    PostgresOptions {
        durability: Durability::Fast,
        ..PostgresOptions::new(directory.join("postgres"))
    }
}

/// Runs SQL with the real client and returns what it prints.
fn sql(url: &str, statement: &str) -> Result<String, String> {
    let psql = rdev_embedded::locate_postgres(None)
        .unwrap()
        .initdb
        .with_file_name("psql");
    let output = Command::new(psql)
        .args([
            "--no-psqlrc",
            "--no-align",
            "--tuples-only",
            "--command",
            statement,
            url,
        ])
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// Speaks the protocol of nats-server far enough to learn whether it lets us in; returns its answer
/// to CONNECT and PING.
fn nats_ping(port: u16, user_and_password: Option<(&str, &str)>) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let info = lines.next().unwrap().unwrap();
    assert!(info.contains("\"jetstream\":true"), "{info}");
    assert!(info.contains("\"max_payload\":1048576"), "{info}");
    let login = user_and_password.map_or_else(String::new, |(user, password)| {
        format!(",\"user\":\"{user}\",\"pass\":\"{password}\"")
    });
    write!(stream, "CONNECT {{\"verbose\":false{login}}}\r\nPING\r\n").unwrap();
    lines.next().unwrap().unwrap()
}

/// The user, password and port of a URL like `nats://user:password@127.0.0.1:4222`.
fn login(url: &str) -> (&str, &str) {
    let (_, rest) = url.split_once("://").unwrap();
    let (login, _) = rest.split_once('@').unwrap();
    login.split_once(':').unwrap()
}

fn handle(pid: u32) -> OwnedFd {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    pidfd_open(pid, PidfdFlags::empty()).unwrap()
}

/// Whether the process ends within so many seconds.
fn ends_within(process: &OwnedFd, seconds: i64) -> bool {
    let timeout = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    poll(&mut polled, Some(&timeout)).unwrap() > 0
}

async fn postgres(directory: &Path) -> Postgres {
    Postgres::start(postgres_options(directory)).await.unwrap()
}

/// This test program again, running only `test`, in a process of its own.
fn myself(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command
}
