//! Free TCP ports on 127.0.0.1.
//!
//! PostgreSQL cannot choose a port itself, and a port that the kernel chooses comes from the range of
//! outgoing connections, where a stranger can take it while the server restarts. So we draw from
//! below that range, and the server's own bind decides: on "address in use" the caller draws again.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener};

/// The lowest port that is drawn: above the well-known services.
const LOWEST_PORT: u16 = 15_000;

/// How many ports there are to draw from; they end below 32768, where Linux's outgoing range begins.
const PORT_COUNT: u16 = 17_000;

/// How often we draw before we give up; with half of the range taken, this fails once in 10^9 times.
const DRAWS: usize = 30;

/// What servers print (in C locale) when their port is taken.
const TAKEN_MESSAGE: &str = "address already in use";

/// Draws a port of 127.0.0.1 that nobody listens on right now. Somebody may be faster than the
/// caller's bind, however unlikely that is: then draw again.
///
/// # Errors
/// The system has no free port, or no random numbers.
pub fn draw() -> io::Result<u16> {
    let mut last_error = None;
    for _ in 0..DRAWS {
        let [high, low] = random_bytes()?;
        let port = LOWEST_PORT + u16::from_be_bytes([high, low]) % PORT_COUNT;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last_error = Some(error),
        }
    }
    Err(last_error.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

/// Whether a server's log says that its port was taken.
pub(crate) fn was_taken(log_tail: &str) -> bool {
    log_tail.to_lowercase().contains(TAKEN_MESSAGE)
}

/// Random bytes of the kernel.
pub(crate) fn random_bytes<const COUNT: usize>() -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_ports_are_free_and_below_the_outgoing_range() {
        for _ in 0..50 {
            let port = draw().unwrap();
            assert!((LOWEST_PORT..32_768).contains(&port));
        }
    }

    #[test]
    fn both_servers_words_are_understood() {
        assert!(was_taken(
            "[FTL] Error listening on port: 127.0.0.1:4222, \"listen tcp 127.0.0.1:4222: bind: address already in use\""
        ));
        assert!(was_taken(
            "LOG:  could not bind IPv4 address \"127.0.0.1\": Address already in use"
        ));
        assert!(!was_taken("FATAL:  data directory has wrong ownership"));
    }
}
