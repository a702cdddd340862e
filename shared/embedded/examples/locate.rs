//! Prints where the servers' programs are, after installing them if need be: for scripts that run
//! the same servers as `rdev dev`.

use rdev_embedded::{locate_nats_server, locate_postgres};
use std::error::Error;
use std::io::Write;

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    writeln!(out, "nats-server={}", locate_nats_server()?.display())?;
    writeln!(out, "initdb={}", locate_postgres(None)?.initdb.display())?;
    Ok(())
}
