//! The socket between a supervisor and the `serve` processes that follow it.
//!
//! `serve` passes requests about the exec on (acknowledge, signal, stdin); the supervisor answers,
//! and says with a *wake* that the journal has grown. Packets keep their bounds, so one packet is
//! one frame of [`rdev_frames`]. Invariants: neither side ever waits for the other here, and a wake
//! that finds the socket full may be dropped, because an unread one is in it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use bytes::BytesMut;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
    bind, connect, listen, recv, send, socket_with,
};

use crate::place::file;

/// The longest packet: a piece of standard input and what stands before it.
const MAX_PACKET_BYTES: usize = 2 * rdev_frames::MAX_STDIN_BYTES;

/// How many followers may wait to be accepted at once; there are rarely two.
const BACKLOG: i32 = 64;

/// What came of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The packet is in the socket.
    Yes,
    /// There is no room now.
    Full,
    /// The other side is gone.
    Closed,
}

/// What a receive gave.
#[derive(Debug)]
pub(crate) enum Received {
    /// One packet.
    Packet(BytesMut),
    /// Nothing now.
    Empty,
    /// The other side is gone.
    Closed,
}

/// Listens in a claim's directory.
pub(crate) fn listen_in(directory: &File) -> io::Result<OwnedFd> {
    let socket = new_socket()?;
    bind(&socket, &address_in(directory)?)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Connects to the supervisor of a claim's directory. `ConnectionRefused` or `NotFound` means that
/// it does not listen any more.
pub(crate) fn connect_in(directory: &File) -> io::Result<OwnedFd> {
    let socket = new_socket()?;
    connect(&socket, &address_in(directory)?)?;
    Ok(socket)
}

/// The next follower, if one waits.
pub(crate) fn accept(listener: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Ok(socket) => Ok(Some(socket)),
        Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sends one packet, or does nothing.
pub(crate) fn send_packet(socket: &impl AsFd, packet: &[u8]) -> Sent {
    loop {
        match send(socket, packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(_) => return Sent::Yes,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN | Errno::NOBUFS) => return Sent::Full,
            Err(_) => return Sent::Closed,
        }
    }
}

/// Takes one packet, if there is one.
pub(crate) fn receive_packet(socket: &impl AsFd) -> Received {
    let mut packet = BytesMut::zeroed(MAX_PACKET_BYTES);
    loop {
        match recv(socket, &mut packet[..], RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Received::Closed,
            Ok((_, length)) => {
                packet.truncate(length);
                return Received::Packet(packet);
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Received::Empty,
            Err(_) => return Received::Closed,
        }
    }
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// A socket's path may have 107 bytes, and a state directory's path may be longer: so the path goes
/// through the directory's descriptor.
fn address_in(directory: &File) -> io::Result<SocketAddrUnix> {
    let descriptor = directory.as_raw_fd();
    Ok(SocketAddrUnix::new(format!(
        "/proc/self/fd/{descriptor}/{}",
        file::LINK
    ))?)
}

/// Opens a claim's directory for [`listen_in`] and [`connect_in`].
pub(crate) fn open_directory(path: &std::path::Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_keep_their_bounds_and_closing_shows() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("d".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        let opened = open_directory(&deep).unwrap();
        let listener = listen_in(&opened).unwrap();
        assert!(accept(&listener).unwrap().is_none());
        let client = connect_in(&opened).unwrap();
        let server = accept(&listener).unwrap().unwrap();
        assert_eq!(send_packet(&client, b"one"), Sent::Yes);
        assert_eq!(send_packet(&client, b"three"), Sent::Yes);
        for expected in [&b"one"[..], b"three"] {
            let Received::Packet(packet) = receive_packet(&server) else {
                panic!("there is no packet");
            };
            assert_eq!(&packet[..], expected);
        }
        assert!(matches!(receive_packet(&server), Received::Empty));
        drop(client);
        assert!(matches!(receive_packet(&server), Received::Closed));
        assert_eq!(send_packet(&server, b"x"), Sent::Closed);
        drop(listener);
        assert_eq!(
            connect_in(&opened).unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
    }
}
