//! When a service is started again, and when that is futile.

use std::error::Error;
use std::time::Duration;

use rdev_embedded::Program;
use rdev_runtime::Shutdown;

use super::{CAME_UP_AFTER, Service, count};

/// A directory of this test, and a service in it that runs this shell script.
fn service(test: &str, script: &str) -> Result<Service, Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("rdev-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let log = directory.join("log");
    std::fs::write(&log, "of an earlier start\n")?;
    let program = Program::new("/bin/sh")
        .arguments(["-c", script])
        .directory(directory)
        .log(log.clone());
    Ok(Service {
        name: "executor",
        program,
        log,
    })
}

fn remove(log: &std::path::Path) -> Result<(), Box<dyn Error>> {
    Ok(std::fs::remove_dir_all(log.parent().ok_or("no parent")?)?)
}

#[tokio::test]
async fn a_refused_setting_is_told_at_once_in_the_words_of_the_service()
-> Result<(), Box<dyn Error>> {
    let service = service(
        "refused",
        "echo start >> starts; echo RDEV_X is wrong >&2; exit 2",
    )?;
    let log = service.log.clone();
    let told = service.keep_running(Shutdown::new()).await.unwrap_err();
    let told = told.to_string();
    assert!(told.ends_with("it says:\nRDEV_X is wrong"), "{told}");
    let starts = std::fs::read_to_string(log.with_file_name("starts"))?;
    assert_eq!(starts.lines().count(), 1);
    remove(&log)
}

#[tokio::test]
async fn a_service_that_never_comes_up_is_given_up() -> Result<(), Box<dyn Error>> {
    let service = service("never-up", "echo start >> starts; exit 1")?;
    let log = service.log.clone();
    let told = service.keep_running(Shutdown::new()).await.unwrap_err();
    assert!(told.to_string().ends_with("nothing"), "{told}");
    let starts = std::fs::read_to_string(log.with_file_name("starts"))?;
    assert_eq!(starts.lines().count(), 5);
    remove(&log)
}

#[test]
fn a_service_that_came_up_once_is_never_given_up() {
    let briefly = Duration::from_millis(1);
    assert_eq!(count(Some(3), briefly), Some(4));
    assert_eq!(count(Some(4), CAME_UP_AFTER), None);
    assert_eq!(count(None, briefly), None);
}
