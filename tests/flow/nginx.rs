//! Debian's nginx in front of a gateway, with nothing configured but where to pass requests on:
//! its default is to speak HTTP/1.0 to the gateway and to collect what it answers.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rdev_tests::Outcome;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Child;

/// Debian installs it where only the superuser's `PATH` leads.
const PROGRAMS: [&str; 2] = ["nginx", "/usr/sbin/nginx"];
/// Longer than any start on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
const READY_INTERVAL: Duration = Duration::from_millis(20);

/// A running nginx; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Nginx {
    _child: Child,
    _directory: TempDir,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Nginx {
    /// In front of `target` (`host:port`); none where the program is missing, which it says.
    pub(crate) async fn start(target: &str) -> Outcome<Option<Self>> {
        let Some(program) = program() else {
            return Ok(None);
        };
        let directory = tempfile::Builder::new().prefix("rdev-nginx-").tempdir()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rdev_embedded::draw_port()?));
        let path = directory.path().join("nginx.conf");
        std::fs::write(&path, configuration(directory.path(), address, target))?;
        let child = tokio::process::Command::new(program)
            .arg("-p")
            .arg(directory.path())
            .arg("-c")
            .arg(&path)
            .args(["-e", "stderr"])
            .kill_on_drop(true)
            .spawn()?;
        let listening = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(READY_INTERVAL).await;
            }
        };
        tokio::time::timeout(READY_TIMEOUT, listening)
            .await
            .map_err(|_| "nginx does not listen")?;
        Ok(Some(Self {
            _child: child,
            _directory: directory,
            address,
        }))
    }
}

#[expect(clippy::print_stdout, reason = "a test that is left out says so")]
fn program() -> Option<PathBuf> {
    let runs = |name: &&str| Command::new(name).arg("-v").output().is_ok();
    let found = PROGRAMS.into_iter().find(runs).map(PathBuf::from);
    if found.is_none() {
        println!("skipped: there is no nginx on this machine");
    }
    found
}

/// One process as whoever runs the tests, and all its files in one directory.
fn configuration(directory: &Path, address: SocketAddr, target: &str) -> String {
    let directory = directory.display();
    format!(
        "daemon off;\n\
         master_process off;\n\
         pid {directory}/pid;\n\
         events {{}}\n\
         http {{\n\
             access_log off;\n\
             client_body_temp_path {directory}/body;\n\
             proxy_temp_path {directory}/proxy;\n\
             fastcgi_temp_path {directory}/fastcgi;\n\
             uwsgi_temp_path {directory}/uwsgi;\n\
             scgi_temp_path {directory}/scgi;\n\
             server {{\n\
                 listen {address};\n\
                 location / {{ proxy_pass http://{target}; }}\n\
             }}\n\
         }}\n"
    )
}
