//! The process that started the servers is killed hard.

use crate::{ends_within, handle, login, myself, nats_options, nats_ping, postgres_options, sql};
use rdev_embedded::{NatsServer, Postgres};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

const DIRECTORY: &str = "TEST_DIRECTORY";

/// Starts the owner and returns it with the process numbers of its servers.
fn owner(directory: &Path) -> (Child, u32, u32) {
    let mut owner = myself("death::owns_both_servers_for_ever")
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let line = lines
        .map(Result::unwrap)
        .find(|line| line.starts_with("ready "))
        .unwrap();
    let mut words = line.split(' ').skip(1).map(|word| word.parse().unwrap());
    (owner, words.next().unwrap(), words.next().unwrap())
}

#[tokio::test]
#[ignore = "run by the tests below, in a process of its own"]
async fn owns_both_servers_for_ever() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let nats = NatsServer::start(nats_options(&directory)).await.unwrap();
    let postgres = Postgres::start(postgres_options(&directory)).await.unwrap();
    for statement in ["create table t as select 1 as kept", "checkpoint"] {
        sql(&postgres.url(), statement).unwrap();
    }
    println!("\nready {} {}", nats.pid(), postgres.pid());
    std::future::pending().await
}

async fn both_start_again_in(directory: &Path) {
    let nats = NatsServer::start(nats_options(directory)).await.unwrap();
    assert_eq!(nats_ping(nats.port(), Some(login(&nats.url()))), "PONG");
    let postgres = Postgres::start(postgres_options(directory)).await.unwrap();
    assert_eq!(sql(&postgres.url(), "select kept from t").unwrap(), "1");
}

#[tokio::test]
async fn the_servers_end_with_their_owner() {
    let directory = tempfile::tempdir().unwrap();
    let (mut owner, nats, postgres) = owner(directory.path());
    let servers = [handle(nats), handle(postgres)];
    owner.kill().unwrap();
    for server in &servers {
        assert!(ends_within(server, 1), "within a second");
    }
    owner.wait().unwrap();
    both_start_again_in(directory.path()).await;
}

#[tokio::test]
async fn a_start_right_after_the_kill_works() {
    let directory = tempfile::tempdir().unwrap();
    let (mut owner, _, _) = owner(directory.path());
    owner.kill().unwrap();
    owner.wait().unwrap();
    both_start_again_in(directory.path()).await;
}

/// A server that did not get its death signal, or is stuck, as a stopped one is.
#[tokio::test]
async fn a_server_that_is_left_over_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    // Only SIGKILL ends a stopped process; PostgreSQL's death signal is another one.
    let (mut owner, _, postgres) = owner(directory.path());
    let server = handle(postgres);
    rustix::process::pidfd_send_signal(&server, rdev_embedded::Signal::STOP).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(!ends_within(&server, 0));
    both_start_again_in(directory.path()).await;
    assert!(ends_within(&server, 0));
}
