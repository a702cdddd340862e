use crate::{login, myself, nats_options, nats_ping};
use rdev_embedded::{NatsServer, SyncInterval};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

#[tokio::test]
async fn only_the_password_gets_in() {
    let directory = tempfile::tempdir().unwrap();
    let server = NatsServer::start(nats_options(directory.path()))
        .await
        .unwrap();
    assert_eq!(nats_ping(server.port(), Some(login(&server.url()))), "PONG");
    assert!(nats_ping(server.port(), None).starts_with("-ERR 'Authorization"));
}

#[tokio::test]
async fn killed_and_restarted_it_has_its_port_and_store() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = nats_options(directory.path());
    options.extra_config = String::new();
    options.monitor_port = Some(0);
    let mut server = NatsServer::start(options).await.unwrap();
    let (port, pid, monitor) = (server.port(), server.pid(), server.monitor_url());
    assert_eq!(nats_ping(port, None), "PONG");
    assert!(monitor.is_some());

    assert!(server.kill().await.code().is_none(), "ended by a signal");
    server.restart().await.unwrap();
    assert_eq!(server.port(), port);
    assert_eq!(server.monitor_url(), monitor);
    assert_ne!(server.pid(), pid);
    assert_eq!(nats_ping(port, None), "PONG");

    server.stop().await;
    let log = fs::read_to_string(server.log()).unwrap();
    assert!(log.contains("Initiating Shutdown"), "an orderly end: {log}");
    server.restart().await.unwrap();
    assert_eq!(nats_ping(port, None), "PONG");
}

#[tokio::test]
async fn the_sync_interval_and_more_text_reach_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let always = NatsServer::start(nats_options(directory.path()))
        .await
        .unwrap();
    let configuration = directory.path().join("nats/nats.conf");
    let text = fs::read_to_string(&configuration).unwrap();
    assert!(text.contains("sync_interval: always"), "{text}");
    assert_eq!(
        fs::metadata(&configuration).unwrap().permissions().mode() & 0o777,
        0o600
    );
    drop(always);

    let other = tempfile::tempdir().unwrap();
    let mut options = nats_options(other.path());
    options.sync_interval = SyncInterval::Every(Duration::from_secs(120));
    options.extra_config = "max_connections: not-a-number".to_owned();
    let error = NatsServer::start(options).await.unwrap_err().to_string();
    assert!(error.contains("nats-server failed"), "{error}");
    assert!(error.contains("nats.conf:"), "the log's own words: {error}");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = nats_options(directory.path());
    options.port = listener.local_addr().unwrap().port();
    let error = NatsServer::start(options.clone())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(&format!("port {}", options.port)), "{error}");
    drop(listener);
    NatsServer::start(options).await.unwrap();
}

#[tokio::test]
async fn a_directory_has_one_server() {
    let directory = tempfile::tempdir().unwrap();
    let server = NatsServer::start(nats_options(directory.path()))
        .await
        .unwrap();
    let error = NatsServer::start(nats_options(directory.path()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("in use by process"), "{error}");
    drop(server);
    // The dropped server has been signalled; the new start waits for its end.
    NatsServer::start(nats_options(directory.path()))
        .await
        .unwrap();
}

fn old_server(directory: &Path) -> std::path::PathBuf {
    let program = directory.join("nats-server");
    fs::write(&program, "#!/bin/sh\necho 'nats-server: v2.9.10'\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[test]
fn an_old_server_is_refused_by_version() {
    let directory = tempfile::tempdir().unwrap();
    let output = myself("nats::locates")
        .env("RDEV_NATS_SERVER", old_server(directory.path()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("is version 2.9.10, but 2.12 or later is needed"),
        "{said}"
    );
    assert!(said.contains("RDEV_NATS_SERVER="), "{said}");
}

#[test]
fn without_any_server_the_error_says_what_to_install() {
    let directory = tempfile::tempdir().unwrap();
    old_server(directory.path());
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let output = myself("nats::locates")
        .env("PATH", path)
        .env_remove("RDEV_NATS_SERVER")
        .env("RDEV_CACHE_DIR", directory.path().join("cache"))
        .env("PIP_NO_INDEX", "1")
        .env_remove("PIP_FIND_LINKS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("is version 2.9.10"), "{said}");
    assert!(
        said.contains("Install nats-server 2.12 or later, or set RDEV_NATS_SERVER"),
        "{said}"
    );
}

#[test]
#[ignore = "run by the tests above, in a process of its own"]
fn locates() {
    match rdev_embedded::locate_nats_server() {
        Ok(program) => println!("found {}", program.display()),
        Err(error) => println!("error: {error}"),
    }
}
