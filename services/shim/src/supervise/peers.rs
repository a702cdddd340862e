//! The `serve` processes that follow this exec.
//!
//! Invariant: none of them is ever waited for. One that does not take its answers is cut off, and
//! connects again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::BytesMut;
use rdev_frames::{Acknowledged, Reply, Request, Tag};

use crate::link::{self, Received, Sent};

/// The sockets of everyone who follows.
#[derive(Debug)]
pub(crate) struct Peers {
    listener: OwnedFd,
    peers: Vec<Peer>,
    /// The packet that says that the journal has grown.
    wake: BytesMut,
    greeting: BytesMut,
}

#[derive(Debug)]
struct Peer {
    socket: OwnedFd,
    /// Wants to hear when standard input has room again, under this tag.
    waits_for_room: Option<Tag>,
    is_gone: bool,
}

impl Peers {
    /// Nobody yet. Everyone who comes is told the command's process.
    pub(crate) fn new(listener: OwnedFd, pid: u32) -> Self {
        let acknowledged = Acknowledged::default();
        let greeting = Reply::Accepted {
            tag: 0,
            existing: true,
            acknowledged,
            pid,
        };
        Self {
            listener,
            peers: Vec::new(),
            wake: packet(&Reply::Pong { number: 0 }),
            greeting: packet(&greeting),
        }
    }

    /// What to poll for: the listener, then every peer in order.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let peers = self.peers.iter().map(|peer| peer.socket.as_fd());
        std::iter::once(self.listener.as_fd()).chain(peers)
    }

    /// Takes in whoever waits at the listener.
    pub(crate) fn accept(&mut self) -> io::Result<()> {
        while let Some(socket) = link::accept(&self.listener)? {
            if link::send_packet(&socket, &self.greeting) == Sent::Yes {
                self.peers.push(Peer {
                    socket,
                    waits_for_room: None,
                    is_gone: false,
                });
            }
        }
        Ok(())
    }

    /// What the peer at `index` asks, and whether it is still there.
    pub(crate) fn receive(&self, index: usize) -> (Vec<Request>, bool) {
        let mut requests = Vec::new();
        let Some(peer) = self.peers.get(index) else {
            return (requests, false);
        };
        loop {
            match link::receive_packet(&peer.socket) {
                Received::Empty => return (requests, true),
                Received::Closed => return (requests, false),
                Received::Packet(mut packet) => match Request::decode(&mut packet) {
                    Ok(request) => requests.extend(request),
                    Err(_) => return (requests, false),
                },
            }
        }
    }

    /// Answers the peer at `index`.
    pub(crate) fn answer(&mut self, index: usize, reply: &Reply) -> bool {
        let Some(peer) = self.peers.get(index) else {
            return false;
        };
        link::send_packet(&peer.socket, &packet(reply)) == Sent::Yes
    }

    /// The peer at `index` could not give all its input.
    pub(crate) fn wait_for_room(&mut self, index: usize, tag: Tag) {
        if let Some(peer) = self.peers.get_mut(index) {
            peer.waits_for_room = Some(tag);
        }
    }

    /// There is room for input again, from `offset` on, or it was closed.
    pub(crate) fn tell_room(&mut self, offset: u64, closed: bool) {
        for peer in &mut self.peers {
            if let Some(tag) = peer.waits_for_room.take() {
                let reply = packet(&Reply::StdinIs {
                    tag,
                    offset,
                    full: false,
                    closed,
                });
                peer.is_gone |= link::send_packet(&peer.socket, &reply) != Sent::Yes;
            }
        }
    }

    /// The peer at `index` is gone or does not take its answers. The others keep their places until
    /// the next [`Peers::tell`].
    pub(crate) fn drop_later(&mut self, index: usize) {
        if let Some(peer) = self.peers.get_mut(index) {
            peer.is_gone = true;
        }
    }

    /// Ends a round: forgets who is gone, and says to the others if the journal has grown.
    pub(crate) fn tell(&mut self, grown: bool) {
        let wake = &self.wake;
        self.peers.retain(|peer| {
            !peer.is_gone && (!grown || link::send_packet(&peer.socket, wake) != Sent::Closed)
        });
    }
}

/// Every reply sent here is small: it always fits into a frame.
fn packet(reply: &Reply) -> BytesMut {
    let mut packet = BytesMut::new();
    let _ = reply.encode(&mut packet);
    packet
}
