//! The same as an ordinary user: when the tests run as root, they become one.

use crate::{login, myself, nats_options, nats_ping, postgres_options, sql};
use rdev_embedded::{NatsServer, Postgres};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

/// `nobody`, on every Linux.
const ORDINARY_USER: u32 = 65_534;

#[tokio::test]
#[ignore = "run by the test below, as an ordinary user"]
async fn runs_both_servers() {
    assert!(!rustix::process::geteuid().is_root());
    let home = std::env::var_os("HOME").unwrap();
    let directory = tempfile::tempdir_in(home).unwrap();
    let nats = NatsServer::start(nats_options(directory.path()))
        .await
        .unwrap();
    assert_eq!(nats_ping(nats.port(), Some(login(&nats.url()))), "PONG");
    let mut postgres = Postgres::start(postgres_options(directory.path()))
        .await
        .unwrap();
    postgres.kill().await;
    postgres.restart().await.unwrap();
    assert_eq!(sql(&postgres.url(), "select 1").unwrap(), "1");
    println!("\nboth ran");
}

#[test]
fn an_ordinary_user_runs_both_servers() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    let mut command = myself("user::runs_both_servers");
    if rustix::process::geteuid().is_root() {
        // The test program itself may be where an ordinary user cannot read it.
        let program = directory.path().join("test");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(&home, Some(ORDINARY_USER), Some(ORDINARY_USER)).unwrap();
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        command = Command::new("setpriv");
        command
            .args([
                format!("--reuid={ORDINARY_USER}"),
                format!("--regid={ORDINARY_USER}"),
            ])
            .arg("--clear-groups")
            .arg(program)
            .args(arguments)
            .env(
                "RDEV_NATS_SERVER",
                rdev_embedded::locate_nats_server().unwrap(),
            )
            .current_dir("/");
    }
    let output = command
        .env("HOME", &home)
        .env_remove("TMPDIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("both ran"), "{said}\n{problems}");
}
