//! These make wheels of their own and install them with the real pip, so they need no network.

use super::*;

/// Makes a wheel in `directory` with a small Python program, and returns its SHA-256.
fn make_wheel(directory: &Path) -> String {
    let script = r##"
import base64, hashlib, sys, zipfile
name = "rdev_test_wheel-1.0.0"
files = {
    "rdev_test_wheel/bin/server": b"#!/bin/sh\necho 'server v1.0.0'\n",
    name + ".dist-info/METADATA": b"Metadata-Version: 2.1\nName: rdev-test-wheel\nVersion: 1.0.0\n",
    name + ".dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
record = ""
for path, data in files.items():
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    record += f"{path},sha256={digest},{len(data)}\n"
record += name + ".dist-info/RECORD,,\n"
target = sys.argv[1] + "/" + name + "-py3-none-any.whl"
with zipfile.ZipFile(target, "w") as wheel:
    for path, data in files.items():
        wheel.writestr(path, data)
    wheel.writestr(name + ".dist-info/RECORD", record)
print(hashlib.sha256(open(target, "rb").read()).hexdigest())
"##;
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(directory)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A wheel under test; its hash lives as long as the test process.
fn wheel(sha256: String) -> Wheel {
    let sha256: &'static [&'static str] = vec![&*sha256.leak()].leak();
    Wheel {
        package: "rdev-test-wheel",
        version: "1.0.0",
        carries: "a wheel of the tests",
        programs: "rdev_test_wheel/bin",
        sha256,
    }
}

/// pip takes its settings from the environment, which belongs to the whole process: so each of these
/// tests runs in a process of its own, with the wheels' directory as the only place to install from.
fn in_own_process(test: &str, wheels: &Path, cache: &Path) -> std::process::Output {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("install::tests::{test}"),
            "--ignored",
            "--nocapture",
        ])
        .env("PIP_NO_INDEX", "1")
        .env("PIP_FIND_LINKS", wheels)
        .env("TEST_CACHE", cache)
        .env("TEST_WHEELS", wheels)
        .output()
        .unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_wheel_is_installed_once_by_many_at_once() {
    let wheels = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    let hash = make_wheel(wheels.path());
    fs::write(wheels.path().join("hash"), hash).unwrap();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| in_own_process("installs", wheels.path(), cache.path())))
            .collect();
        let mut lines = 0;
        for run in runs {
            let output = run.join().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            lines += said.matches("rdev: installing").count();
        }
        assert_eq!(lines, 1, "one of them installs, the others wait");
    });
    let name = format!("rdev-test-wheel-1.0.0-{}", std::env::consts::ARCH);
    assert_eq!(
        names(cache.path()),
        [name, "rdev-test-wheel.lock".to_owned()]
    );
}

#[test]
#[ignore = "run by a_wheel_is_installed_once_by_many_at_once, in a process of its own"]
fn installs() {
    let hash = fs::read_to_string(setting("TEST_WHEELS").unwrap().join("hash")).unwrap();
    let programs = wheel(hash)
        .installed(&setting("TEST_CACHE").unwrap())
        .unwrap();
    let output = Command::new(programs.join("server")).output().unwrap();
    assert_eq!(output.stdout, b"server v1.0.0\n");
}

#[test]
fn other_bytes_are_refused_and_nothing_is_left() {
    let wheels = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    make_wheel(wheels.path());
    let output = in_own_process("refuses", wheels.path(), cache.path());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(names(cache.path()), ["rdev-test-wheel.lock"]);
}

#[test]
#[ignore = "run by other_bytes_are_refused_and_nothing_is_left, in a process of its own"]
fn refuses() {
    let error = wheel("0".repeat(64))
        .installed(&setting("TEST_CACHE").unwrap())
        .unwrap_err();
    let said = error.to_string().to_lowercase();
    assert!(said.contains("rdev-test-wheel 1.0.0"), "{said}");
    assert!(said.contains("hash"), "{said}");
}

#[test]
fn what_a_killed_installer_left_is_cleared() {
    let wheels = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    let hash = make_wheel(wheels.path());
    fs::write(wheels.path().join("hash"), hash).unwrap();
    let name = format!("rdev-test-wheel-1.0.0-{}", std::env::consts::ARCH);
    let partial = cache
        .path()
        .join(format!("{name}.partial/rdev_test_wheel/bin"));
    fs::create_dir_all(&partial).unwrap();
    fs::write(partial.join("half"), "half of a program").unwrap();

    let output = in_own_process("installs", wheels.path(), cache.path());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let place = cache.path().join(&name);
    assert!(!place.join("rdev_test_wheel/bin/half").exists());
    assert_eq!(
        names(cache.path()),
        [name, "rdev-test-wheel.lock".to_owned()]
    );
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a file");
    fs::write(&file, "").unwrap();
    let error = wheel("0".repeat(64))
        .installed(&file.join("cache"))
        .unwrap_err();
    assert!(error.to_string().contains("RDEV_CACHE_DIR"), "{error}");
}
